"""Rooms import leftwards only, and each third party has one door."""

import ast
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from tailorbird.config import METHODS

# Left to right, as in the design; rooms on one line do not import each other.
ORDER = (
    ("version", "errors", "lazy_import", "log", "processes", "terminal", "yaml_text"),
    ("records",),
    ("config",),
    ("data", "metrics", "runs"),
    ("models",),
    ("methods",),
    ("train",),
    ("tasks",),
    ("planning",),
    ("documents",),
    ("knowledge",),
    ("rag",),
    ("arms",),
    ("report",),
    ("flows",),
    ("serve",),
    ("cli",),
    ("", "__main__"),  # tailorbird/__init__.py, the Python front door, and `python -m tailorbird`
)
# Retrieval and fine-tuning stand side by side: neither knows of the other.
APART = {
    (room, other)
    for room in ("documents", "knowledge", "rag")
    for other in ("methods", "train", "tasks")
}

DOORS: dict[str, str | tuple[str, ...]] = {
    "peft": "methods/",
    "bitsandbytes": ("methods/", "train/optim.py"),
    "optuna": "train/hyperparameter_study.py",
    "ray": "runs/ray_nodes.py",
    "typer": "cli/",
    "click": "cli/",
    "charset_normalizer": "data/charset.py",
    "lxml": "documents/",
    "markdown_it": "documents/markdown.py",
    "pathspec": "documents/ignore_rules.py",
    "pypdfium2": "documents/pdf.py",
    "python_calamine": "documents/sheets.py",
    "oxmsg": "documents/mail.py",
    "striprtf": "documents/rtf.py",
    "lancedb": "knowledge/lance.py",
    "psycopg": ("knowledge/postgres_ledger.py", "knowledge/postgres_server.py"),
    "pgvector": "knowledge/postgres_server.py",
    "httpx2": "rag/http_connection.py",
    "snowballstemmer": "knowledge/index_terms.py",
    "sentence_transformers": ("rag/", "models/", "train/ranking_workloads.py"),
    "onnx": "models/onnx.py",
    "onnxruntime": "models/onnx.py",
    "filelock": "knowledge/sqlite_ledger.py",
    "fastapi": "serve/",
    "uvicorn": "serve/",
    "starlette": "serve/",
    "prometheus_client": "serve/prometheus.py",
    "yaml": "yaml_text.py",
    "rich": ("terminal.py", "log.py", "report/", "tasks/fit_generative.py"),
}
NO_ROOMS = {"utils", "util", "helpers", "helper", "common", "misc"}


def may_import(room: str) -> set[str]:
    """Return the rooms that ``room`` may import: itself and all to the left of it."""
    left = {r for rooms in takewhile(lambda rooms: room not in rooms, ORDER) for r in rooms}
    leaves = set(ORDER[0]) if room in ORDER[0] else set()
    return {r for r in left | leaves if (room, r) not in APART} | {room}


def test_order_itself() -> None:
    assert may_import("errors") == set(ORDER[0])
    assert "rag" not in may_import("train") | may_import("methods") | may_import("data")
    assert {"methods", "train"}.isdisjoint(may_import("rag"))
    assert {"config", "metrics", "records"} <= may_import("rag")
    assert {"metrics", "report", "serve"} <= may_import("cli")


def test_every_kind_of_import_is_seen(sources: list[Any]) -> None:
    code = """
import torch.nn as nn
from . import arm_plots
from ..metrics.classification_intervals import holm
def late():
    from tailorbird import runs
    import importlib
    importlib.import_module("peft")
if TYPE_CHECKING:
    from tailorbird.records import Score
"""
    page = next(source for source in sources if source.name == "tailorbird.report.comparison_page")
    assert {found.module for found in replace(page, tree=ast.parse(code)).imports()} == {
        "torch.nn",
        "tailorbird.report.arm_plots",
        "tailorbird.metrics.classification_intervals",
        "tailorbird.runs",
        "importlib",
        "peft",
        "tailorbird.records",
    }


def test_every_room_has_a_place(sources: list[Any]) -> None:
    known = {room for rooms in ORDER for room in rooms}
    assert sorted({s.room for s in sources} - known) == []


def test_rooms_import_leftwards(sources: list[Any]) -> None:
    wrong = []
    for source in sources:
        allowed = may_import(source.room)
        for found in source.imports():
            package, _, inside = found.module.partition(".")
            if package == "tailorbird" and inside.partition(".")[0] not in allowed:
                wrong.append(f"{source.place}:{found.line} imports {found.module}")
    assert wrong == []


@pytest.mark.parametrize("room", ["report", "metrics"])
def test_no_torch_in(room: str, sources: list[Any]) -> None:
    """Neither itself nor through any module of ours that it reaches, however late."""
    by_name = {source.name: source for source in sources}
    queue = [source.name for source in sources if source.room == room]
    reached: dict[str, str] = dict.fromkeys(queue, "")
    wrong = []
    while queue:
        source = by_name[queue.pop()]
        for found in source.imports():
            if found.module.partition(".")[0] == "torch":
                wrong.append(f"{source.place}:{found.line}{reached[source.name]}")
            if found.module in by_name and found.module not in reached:
                reached[found.module] = f" (from {source.name}{reached[source.name]})"
                queue.append(found.module)
    assert wrong == []


# What `ask --model` alone needs, and the Python front door, which names all verbs.
BESIDE_QUOTING = {"tailorbird.arms.local_generator", "tailorbird"}
# Settings are made from what can be set of the methods, and that is all that is read of them.
SETTABLE = {"tailorbird.methods", *(f"tailorbird.methods.{name}" for name in METHODS)}


def test_quoting_needs_nothing_of_training(sources: list[Any]) -> None:
    """Neither by an import, however late, nor by a module's name in a string."""
    by_name = {source.name: source for source in sources}
    reached: dict[str, str] = {}
    queue = [("tailorbird.cli.ask", "")]
    while queue:
        name, way = queue.pop()
        if name in reached or name == "tailorbird" or name not in by_name:
            continue
        reached[name] = f"{way} -> {name}"
        words = [
            node.value.partition(":")[0]
            for node in ast.walk(by_name[name].tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        named = {found.module for found in by_name[name].imports()} | set(words)
        named -= BESIDE_QUOTING
        named |= {module.rpartition(".")[0] for module in named if module in by_name}
        named |= SETTABLE & {f"{word}.{method}" for word in words for method in METHODS}
        queue += [(module, reached[name]) for module in sorted(named)]
    assert set(reached) > SETTABLE
    assert {"tailorbird.rag.answerer", "tailorbird.knowledge.base"} <= set(reached)
    training = {"arms", "methods", "tasks", "train"}
    wrong = {name: way for name, way in reached.items() if by_name[name].room in training}
    assert {name: way for name, way in wrong.items() if name not in SETTABLE} == {}


def test_one_door_per_third_party(sources: list[Any]) -> None:
    wrong = []
    for source in sources:
        inside = source.place.removeprefix("src/tailorbird/")
        for found in source.imports():
            door = DOORS.get(found.module.partition(".")[0])
            if door and not inside.startswith(door):
                wrong.append(f"{source.place}:{found.line} imports {found.module}: only in {door}")
    assert wrong == []


def test_no_room_for_leftovers(sources: list[Any]) -> None:
    places = [source.place.removesuffix(".py") for source in sources]
    assert [place for place in places if NO_ROOMS & set(place.split("/"))] == []


def test_no_module_hides_what_its_package_defines(sources: list[Any]) -> None:
    """An imported module becomes an attribute of its package, over a function of that name."""
    modules = {source.name for source in sources}
    hidden = [
        f"{source.name}.{node.name}"
        for source in sources
        if source.place.endswith("__init__.py")
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and f"{source.name}.{node.name}" in modules
    ]
    assert hidden == []


def test_benchmarks_and_tools_import_what_there_is(root: Path) -> None:
    """Nothing else would tell that a benchmark no longer runs after a renaming."""
    missing = [
        f"{file.name}:{node.lineno} {node.module}.{alias.name}"
        for folder in ("benchmarks", "tools")
        for file in sorted((root / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tailorbird")
        for alias in node.names
        if not _has(root / "src" / str(node.module).replace(".", "/"), alias.name)
    ]
    assert missing == []


def _has(module: Path, name: str) -> bool:
    """Say whether a module binds a name at its top, or a package has a module of that name."""
    if (module / f"{name}.py").is_file() or (module / name).is_dir():
        return True
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    if not file.is_file():
        return False
    tree = ast.parse(file.read_text(encoding="utf-8"))
    bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    bound |= {n.asname or n.name for node in tree.body if isinstance(node, ast.ImportFrom)
              for n in node.names}  # fmt: skip
    defs = (ast.FunctionDef, ast.ClassDef)
    return name in bound | {node.name for node in tree.body if isinstance(node, defs)}


def test_no_module_waits_for_itself(sources: list[Any]) -> None:
    """What a module imports when it is loaded is whole before it: there is no cycle."""
    by_name = {source.name: source for source in sources}
    needs = {}
    for source in sources:
        loads = [node for node in source.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        found = replace(source, tree=ast.Module(loads, [])).imports()
        needs[source.name] = {i.module for i in found if i.module in by_name} - {source.name}
    # Modules whose needs are all met go first; what is left over waits for itself.
    while ready := [name for name, modules in needs.items() if not modules & set(needs)]:
        for name in ready:
            del needs[name]
    assert sorted(needs) == []


# Leaves of tables, verbs, and processes that are started by their name stay by themselves.
BY_THEMSELVES = ("arms/", "cli/", "methods/", "tasks/", "serve/routes_", "rag/ledger.py")
SMALL = {
    "metrics/manual_grades.py": "figures know nothing of the folders that grades are kept in",
}


def test_a_small_file_with_one_reader_is_part_of_it(sources: list[Any]) -> None:
    readers: dict[str, set[str]] = {}
    for source in sources:
        for found in source.imports():
            readers.setdefault(found.module, set()).add(source.name)
    wrong = [
        source.place
        for source in sources
        if source.lines < 60
        and not source.place.endswith("__init__.py")
        and len(readers.get(source.name, ())) == 1
        and not source.place.partition("tailorbird/")[2].startswith(BY_THEMSELVES)
        and source.place.partition("tailorbird/")[2] not in SMALL
    ]
    assert wrong == []
