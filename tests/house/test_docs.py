"""The documentation says what the code does: generated pages are fresh, names exist."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tailorbird.config.method import METHODS, method_spec
from tailorbird.config.schema import Config, Section

FILE_ENDINGS = {"csv", "tsv", "json", "jsonl", "ndjson", "parquet", "md", "py", "conll"}


def tool(root: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings() -> dict[str, set[str]]:
    """Return the names of every section's settings."""
    found: dict[str, set[str]] = {}
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found[name] = set(field.annotation.model_fields)
    return found


def pages(root: Path) -> list[Path]:
    own = [root / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")]
    return [*own, *sorted((root / "docs").glob("*.md"))]


def test_generated_pages_are_fresh(root: Path) -> None:
    # In a process of its own: other tests put leaves of theirs into the tables.
    command = [sys.executable, str(root / "tools" / "docs_config.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_is_in_the_generated_page(root: Path) -> None:
    page = (root / "docs" / "config.md").read_text(encoding="utf-8")
    names = [f"{section}.{name}" for section, inner in settings().items() for name in inner]
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_settings_named_in_the_docs_exist(root: Path) -> None:
    known = settings()
    named = re.compile(rf"(?<![\w./-])({'|'.join(known)})\.([a-z_]+)\b(?!\()")
    wrong = [
        f"{page.name}: {match.group()}"
        for page in pages(root)
        for match in named.finditer(page.read_text(encoding="utf-8"))
        if match.group(2) not in known[match.group(1)] | FILE_ENDINGS
    ]
    assert wrong == []


def test_links_between_pages_lead_somewhere(root: Path) -> None:
    wrong = [
        f"{page.name}: {target}"
        for page in pages(root)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert wrong == []


def test_every_method_and_option_is_described(root: Path) -> None:
    page = (root / "docs" / "methods.md").read_text(encoding="utf-8")
    for method in METHODS:
        options = method_spec(method).options.model_fields
        assert f"`{method}`" in page
        missing = [option for option in options if f"`method.{option}`" not in page]
        assert missing == [], method


def test_every_finding_is_described(root: Path, sources: list[Any]) -> None:
    page = (root / "docs" / "data.md").read_text(encoding="utf-8")
    written = "\n".join(s.path.read_text(encoding="utf-8") for s in sources if s.room == "data")
    codes = set(re.findall(r'(?:code=|inding\(\s*)"(\w+)"', written))
    codes |= {"overlap", "overlap_spacing"}
    codes |= {"missing_text", "missing_label", "unusable"}
    assert len(codes) > 10
    assert sorted(code for code in codes if f"`{code}`" not in page) == []


def test_every_file_of_a_run_is_described(root: Path) -> None:
    from tailorbird.runs import folder

    page = (root / "docs" / "run_folder.md").read_text(encoding="utf-8")
    names = {v for k, v in vars(folder).items() if k.isupper() and isinstance(v, str)} - {"memory"}
    assert names >= {"report.json", "journal.jsonl"}
    assert sorted(name for name in names if f"`{name}" not in page) == []


def test_readme_is_short_and_has_its_places(root: Path) -> None:
    page = (root / "README.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 150
    marks = tool(root, "readme_table")
    assert page.index(marks.START) < page.index(marks.END)
    assert page.index(marks.QUESTIONS_START) < page.index(marks.QUESTIONS_END)
