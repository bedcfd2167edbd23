"""What a reader must hold only ever shrinks; every axis says where its next leaf goes."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def house(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", root / "tools" / "house.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_figure_passes_its_ceiling(house: ModuleType) -> None:
    ceilings = json.loads(house.CEILINGS.read_text("utf-8"))
    figures = house.figures()
    assert set(figures) == set(ceilings), "run python tools/house.py --write"
    passed = {k: f"{v:,} above {ceilings[k]:,}" for k, v in figures.items() if v > ceilings[k]}
    assert passed == {}, "make it smaller, or say in the commit why it must grow"


def test_reach_follows_imports_tables_and_no_type_checking(house: ModuleType) -> None:
    reached = house.imports("tailorbird.arms.registry")
    assert {"tailorbird.arms.probe", "tailorbird.arms.trained", "tailorbird.records"} <= reached
    # Only type checkers import it.
    assert "tailorbird.tasks.arm_job" not in reached
    assert "tailorbird.tasks.generation" in house.imports("tailorbird.tasks.registry")
    assert house.reach("tailorbird.version") < 100


@pytest.mark.parametrize("axis", ["tasks", "arms", "methods", "knowledge", "documents"])
def test_where_the_next_leaf_goes_is_said(axis: str, root: Path) -> None:
    page = (root / "CONTRIBUTING.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| a new ")]
    assert any(f"`{axis}/" in row and "line in" in row for row in rows), axis
