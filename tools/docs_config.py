"""Write docs/config.md and the tables of other pages that are made from the tables of the code.

Usage: python tools/docs_config.py [--check]; with --check nothing is written, and the exit code
says whether a page is stale.
"""

import re
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from tailorbird.arms.question_arms.registry import TABLE as QUESTION_ARMS
from tailorbird.arms.registry import BEST, TABLE as ARMS
from tailorbird.config.method import METHODS, MethodConfig, method_spec
from tailorbird.config.schema import Config, Section
from tailorbird.documents.file_kinds import READERS, UNREAD
from tailorbird.documents.readers import ARCHIVES
from tailorbird.knowledge.backends import BACKENDS
from tailorbird.records import TASKS

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Settings

<!-- Made by tools/docs_config.py from src/tailorbird/config/schema.py; do not edit. -->

All settings with their defaults. A setting's name has a dot. Its value comes from the command's
own flag if there is one, else from `--set NAME=VALUE`, else from the file given with `-c`, else
from the default:

```console
$ tailor tune train.csv -c run.yaml --set train.learning_rate=1e-4 --set method.rank=8
```

```yaml
# run.yaml: only what differs from the defaults
method:
  name: lora
  rank: 32
train:
  epochs: 5
```

In Python, write two underscores for the dot: `tailorbird.tune("train.csv", train__epochs=5)`.
Unknown names, wrong values and options that the method does not have are errors, all reported at
once. The default *none* means that the value is decided later, as the description says.
"""
_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def config_page() -> str:
    """Return docs/config.md."""
    parts = [HEAD]
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            parts.append(_section(name, section))
        else:
            parts.append(f"## {name}\n\n{_cell(field.description or '')}\n")
    return "\n".join(parts)


def _with_table(page: str, name: str, table: str) -> str:
    """Return a page with one of its tables written anew."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = page.partition(start)
    assert rest, f"the page has no place for {name}"
    _, _, after = rest.partition(end)
    return f"{before}{start}{table}{end}{after}"


def _section(name: str, section: type[Section]) -> str:
    lines = [
        f"## {name}",
        "",
        (section.__doc__ or "").strip(),
        "",
        "| setting | values | default | |",
        "|---|---|---|---|",
    ]
    for key, field in section.model_fields.items():
        words = _cell(field.description or "")
        default = _default(field, section)
        lines.append(f"| `{name}.{key}` | {_values(field)} | {default} | {words} |")
    return "\n".join([*lines, ""])


def _values(field: FieldInfo) -> str:
    kinds = [_kind(part) for part in _parts(field.annotation) if part is not type(None)]
    bounds = [
        words.format(getattr(rule, name))
        for rule in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([" or ".join(kinds), *bounds])


def _parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (tuple, list):
        return "list"
    if get_origin(annotation) is dict:
        to_number = get_args(annotation)[1] is float
        return f"names, each with {'a number' if to_number else 'a list or a range'}"
    return {bool: "yes or no", int: "whole number", float: "number", str: "text"}[annotation]


def _default(field: FieldInfo, section: type[Section]) -> str:
    value = field.default
    if value is None:
        return "by method" if section is MethodConfig else "none"
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value) or "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


def _defaults() -> str:
    """Return the table of what each method does when nothing is said."""
    from tailorbird.methods.registry import get_method

    lines = [
        "| method | learning rate | written answers | epochs | weight decay | options |",
        "|---|---|---|---|---|---|",
    ]
    for name in METHODS:
        method = get_method(name)
        tuned, given = method.defaults, method.options(MethodConfig(name=name))
        options = ", ".join(f"{k} {_plain(v)}" for k, v in given.items()) or "none"
        lines.append(
            f"| `{name}` | {tuned.learning_rate:g} | {_writing(tuned)} | {tuned.epochs:g} "
            f"| {tuned.weight_decay:g} | {options} |"
        )
    return "\n".join([*lines, ""])


def _options(name: str) -> str:
    """Return the options of a method as a list, each with its help."""
    fields = method_spec(name).options.model_fields
    lines = [f"- `method.{option}`: {_cell(f.description or '')}" for option, f in fields.items()]
    return "\n".join([*lines, ""]) if lines else "It has no options.\n"


def _methods_page(path: Path) -> str:
    """Return docs/methods.md with what the table of methods says."""
    text = _with_table(path.read_text(encoding="utf-8"), "defaults", _defaults())
    for name in METHODS:
        text = _with_table(text, f"options of {name}", _options(name))
    return _with_table(text, "arms", _arms())


def _arms() -> str:
    """Return the table of the arms of comparisons."""
    lines = ["| arms | of | what answers |", "|---|---|---|"]
    for row in ARMS.values():
        tasks = [task for task in TASKS.values() if row.names(task) or row.mixes(task)]
        names = {name for task in tasks for name in row.names(task)}
        own = ", ".join(f"`{name}`" for name in sorted(names) or [BEST])
        lines.append(f"| {own} | {', '.join(task.answers for task in tasks)} | {row.words} |")
    return "\n".join([*lines, ""])


def _writing(tuned: Any) -> str:
    """Return a method's learning rate for written answers, in words."""
    if tuned.generative_rate is not None:
        return f"{tuned.generative_rate:g}"
    return "r" if tuned.generative_factor == 1 else f"{tuned.generative_factor:g} r"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _kinds() -> str:
    """Return the tables of the documents that are read, by what their readers' docstrings say."""
    endings: dict[Callable[..., Any], list[str]] = {}
    for ending, (_, _, module, name) in READERS.items():
        reader = getattr(import_module(f"tailorbird.documents.{module}"), name)
        endings.setdefault(reader, []).append(ending)
    for ending, reader in ARCHIVES.items():
        endings.setdefault(reader, []).append(ending)
    lines = ["| ending | read as |", "|---|---|"]
    for reader, own in endings.items():
        words = cleandoc(reader.__doc__ or "").split("\n\n")[1]
        lines.append(f"| {_listed(own)} | {_cell(words.removesuffix('.'))} |")
    reasons: dict[str, list[str]] = {}
    for ending, why in UNREAD.items():
        reasons.setdefault(why, []).append(ending)
    lines += ["", "| not read | why |", "|---|---|"]
    lines += [f"| {_listed(own)} | {why} |" for why, own in reasons.items()]
    return "\n".join([*lines, ""])


def _listed(endings: list[str]) -> str:
    return ", ".join(f"`{ending}`" for ending in endings)


def pages() -> dict[Path, str]:
    """Return every generated page as it should be."""
    docs = ROOT / "docs"
    return {
        docs / "config.md": config_page(),
        docs / "methods.md": _methods_page(docs / "methods.md"),
        docs / "documents.md": _with_table(
            (docs / "documents.md").read_text(encoding="utf-8"), "kinds", _kinds()
        ),
        ROOT / "CONTRIBUTING.md": _with_table(
            (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "axes", _axes()
        ),
    }


def _axes() -> str:
    """Return where the next leaf of each axis goes, and which leaves there are."""
    readers = {name for _, _, module, name in READERS.values()}
    rows = [
        ("task", "one file in `tasks/` and a line in `records/tasks.py` with its facts",
         "contracts/test_new_leaves.py", TASKS),
        ("method", "one folder in `methods/`: its options (`__init__.py`), its training "
         "(`method.py`), and a line in `config/method.py`",
         "contracts/test_methods_contract.py", METHODS),
        ("way of answering (an arm)", "one file in `arms/` and a line in `arms/registry.py`",
         "contracts/test_arms_contract.py", ARMS),
        ("way of answering questions from documents", "one file in "
         "`arms/question_arms/` and a line in its `registry.py`", "flows/test_questions_flow.py",
         QUESTION_ARMS),
        ("store of knowledge bases", "one file in `knowledge/` and a line in "
         "`knowledge/backends.py`", "contracts/test_store_contract.py", BACKENDS),
        ("kind of document", "a reader in `documents/`, whose docstring is the docs entry, and a "
         "line in `documents/file_kinds.py`",
         "unit/documents/test_damaged_bytes.py", sorted(readers)),
    ]  # fmt: skip
    lines = ["| to add | write | its test | existing |", "|---|---|---|---|"]
    for what, where, contract, leaves in rows:
        lines.append(f"| a new {what} | {where} | `tests/{contract}` | {', '.join(leaves)} |")
    return "\n".join([*lines, ""])


def stale() -> list[str]:
    """Return the pages that are not as they should be."""
    return [
        str(path.relative_to(ROOT))
        for path, text in pages().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    if arguments == ["--check"]:
        for page in stale():
            print(f"{page} is stale: run python tools/docs_config.py")
        return 1 if stale() else 0
    if arguments:
        print(__doc__)
        return 0 if re.fullmatch("-h|--help", arguments[0]) else 2
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
