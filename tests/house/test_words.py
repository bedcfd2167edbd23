"""What the repository says: no stray prints or paths, and every documented command exists."""

import ast
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Python = Callable[..., subprocess.CompletedProcess[str]]

# In two pieces, so that this file does not contain what it looks for.
MACHINE_PATHS = ["/" + name for name in ("work/", "root/", "home/", "tmp/", "Users/")]
FENCE = re.compile(r"^ *```(?:console|bash|shell|sh)\b[^\n]*\n(.*?)^ *```", re.M | re.S)
OPERATORS = set("();<>|&")


def tracked(root: Path) -> list[Path]:
    """Return the files that are in the repository."""
    if not (root / ".git").exists():
        return [path for path in root.rglob("*") if path.is_file()]
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True
    )
    paths = [root / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def commands(markdown: str) -> Iterator[list[str]]:
    """Yield the words of every ``tailor`` command in the fenced shell blocks of a page."""
    for block in FENCE.findall(markdown):
        for line in block.replace("\\\n", " ").splitlines():
            shell = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars=True)
            shell.whitespace_split = True
            try:
                words = list(shell)
            except ValueError:  # output that is shown below a command and is no shell
                continue
            yield from _tailor_only(words)


def _tailor_only(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if not set(word) <= OPERATORS:
            command.append(word)
            continue
        while command and re.match(r"^[A-Z_]+=", command[0]):  # FOO=1 tailor ...
            command.pop(0)
        if command[:1] == ["tailor"]:
            yield command[1:]
        command = []


def flags(words: list[str]) -> list[str]:
    """Return the flags among a command's words, without their values."""
    return [w.partition("=")[0] for w in words if re.match(r"^--?[a-zA-Z]", w)]


def problems(words: list[str], python: Python) -> list[str]:
    """Return what is wrong with a documented command, by its verb's own help."""
    verb = words[:1] if words and not words[0].startswith("-") else []
    shown = python("-m", "tailorbird.cli.main", *verb, "--help")
    if shown.returncode:
        return [f"tailor {' '.join(words)}: there is no verb {verb}"]
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", shown.stdout))
    unknown = [flag for flag in flags(words[len(verb) :]) if flag not in known]
    return [f"tailor {' '.join(words)}: unknown {', '.join(unknown)}"] if unknown else []


def test_commands_are_found() -> None:
    page = """
Text with `tailor ignored`.

```console
$ tailor compare my.csv --set train.learning_rate=1e-4 --json | jq .verdict
best  lora --not-a-flag isn't shell
$ CUDA_VISIBLE_DEVICES=0 tailor tune a.csv \\
    --method=lora > out.json && tailor doctor   # a comment --no
```

```python
tailor never
```
"""
    found = list(commands(page))
    assert found == [
        ["compare", "my.csv", "--set", "train.learning_rate=1e-4", "--json"],
        ["tune", "a.csv", "--method=lora"],
        ["doctor"],
    ]
    assert [flags(words) for words in found] == [["--set", "--json"], ["--method"], []]


def test_documented_commands_exist(root: Path, python: Python) -> None:
    pages = [path for path in tracked(root) if path.suffix == ".md"]
    assert root / "README.md" in pages
    wrong = [
        f"{page.relative_to(root)}: {problem}"
        for page in pages
        for words in commands(page.read_text(encoding="utf-8"))
        for problem in problems(words, python)
    ]
    assert wrong == []


def test_prints_are_in_the_cli_only(sources: list[Any]) -> None:
    wrong = [
        f"{source.place}:{node.lineno}"
        for source in sources
        if source.room != "cli"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert wrong == []


@pytest.mark.parametrize("fragment", MACHINE_PATHS)
def test_no_paths_of_one_machine(fragment: str, root: Path) -> None:
    inside = re.compile(rf"(?<![\w./-]){re.escape(fragment)}".encode())
    wrong = [str(p.relative_to(root)) for p in tracked(root) if inside.search(p.read_bytes())]
    assert wrong == []
