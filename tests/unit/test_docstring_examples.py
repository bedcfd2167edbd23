"""Examples in docstrings run and print what stands below them."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import tailorbird

SRC = Path(tailorbird.__file__).parent
MODULES = [
    ".".join(path.relative_to(SRC.parent).with_suffix("").parts)
    for path in sorted(SRC.rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_they_run(name: str) -> None:
    failed, attempted = doctest.testmod(import_module(name))
    assert attempted and not failed
