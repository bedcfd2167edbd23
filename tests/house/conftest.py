"""What the house tests look at: every source file, parsed, and what it imports."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"


@dataclass(frozen=True)
class Import:
    """One imported module, absolute, and the line that does it."""

    module: str
    line: int


@dataclass(frozen=True)
class Source:
    """One Python file of the package."""

    path: Path
    tree: ast.Module
    lines: int

    @property
    def name(self) -> str:
        """The dotted module name; a package's is that of its folder."""
        parts = self.path.relative_to(SRC).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        return str(self.path.relative_to(ROOT))

    @property
    def room(self) -> str:
        """The folder or the top-level file that it is in: ``metrics``, ``errors``; or ``""``."""
        return (self.name.split(".") + [""])[1]

    def imports(self) -> Iterator[Import]:
        """Yield every import, also those inside functions and by a constant name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from self._from(node)
            elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
                names = [a.value for a in node.args if isinstance(a, ast.Constant)]
                yield from (Import(n, node.lineno) for n in names if isinstance(n, str))

    def _from(self, node: ast.ImportFrom) -> Iterator[Import]:
        base = node.module or ""
        if node.level:
            package = self.name.split(".")
            if self.path.stem != "__init__":
                package = package[:-1]
            kept = package[: len(package) - node.level + 1]
            base = ".".join([*kept, base] if base else kept)
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield Import(inner if _is_module(inner) else base, node.lineno)


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


@cache
def _is_module(name: str) -> bool:
    path = SRC.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Every Python file of the package."""
    paths = sorted((SRC / "tailorbird").rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return [
        Source(path, ast.parse(text), len(text.splitlines()))
        for path, text in zip(paths, texts, strict=True)
    ]


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a runner of a fresh interpreter that sees the package and a plain, wide terminal."""

    @cache
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        plain = {"COLUMNS": "240", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(SRC)}
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | plain,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return run
