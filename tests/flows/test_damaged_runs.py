"""Files of a run that somebody else made or damaged: the file's name, and never a traceback.

Each example changes one file of small, real runs, by a value of another type at a random place, or
by other bytes, and uses what reads it.
"""

import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

import tiny
from tailorbird.arms.registry import run_arm
from tailorbird.arms.saved_arm import load
from tailorbird.cli.show_results import show_report
from tailorbird.config import for_arm, load_config
from tailorbird.data.check import summarise
from tailorbird.errors import UserError
from tailorbird.flows.evaluate import evaluate
from tailorbird.flows.predict import predict_file
from tailorbird.flows.prepare import prepare
from tailorbird.metrics.verdict import verdict
from tailorbird.records import Report, TuningSections
from tailorbird.report.comparison_table import print_report
from tailorbird.runs.finished_run import arm_folder
from tailorbird.runs.folder import REPORT, RunFolder
from tailorbird.tasks.arm_job import ArmJob, read_arm
from tailorbird.train.journal import Journal

MOST_SECONDS = 20


@dataclass(frozen=True)
class Runs:
    """A comparison of label arms, an arm that writes, one that copies, and a table to predict."""

    labels: Path
    writer: Path
    nearest: Path
    table: Path
    models: tuple[Path, Path]


def _quick(model: Path, **more: Any) -> Any:
    flags = {
        "model.name": str(model),
        "rag.embedder": str(model),
        "model.precision": "fp32",
        "train.epochs": 0.5,
        "train.tensorboard": False,
        "evaluate.examples": 2,
        "generate.max_new_tokens": 4,
    }
    return load_config(flags=flags | more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, models: Any) -> Runs:
    place = tmp_path_factory.mktemp("runs")
    encoder = Path(shutil.copytree(models("bert"), place / "encoder"))
    decoder = Path(shutil.copytree(models("llama"), place / "decoder"))
    table = tiny.write_csv(place / "data.csv")
    labels, report = RunFolder(place / "labels"), []
    config = _quick(encoder, **{"data.train": str(table)})
    prepared = prepare(config, labels)
    for name in ("majority", "probe", "rag", "full", "lora", "adapter", "prompt"):
        own = for_arm(config, name) if name in ("full", "lora", "adapter", "prompt") else config
        job = ArmJob(name, own, prepared.split, labels.arm(name))
        job.folder.path.mkdir(parents=True)
        report.append(run_arm(job))
    mix = ArmJob("rag+lora", config, prepared.split, labels.arm("rag+lora"))
    mix.folder.path.mkdir(parents=True)
    report.append(run_arm(mix))
    whole = Report(
        kind="compare",
        sections=TuningSections(summarise(prepared.split, prepared.source, prepared.columns)),
        arms=tuple(report),
        verdict=verdict(report, (), "accuracy"),
    )
    labels.write_json(REPORT, whole.to_json())
    rows = [{"prompt": text, "completion": label} for text, label in tiny.rows()[:24]]
    written = place / "written.jsonl"
    written.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = RunFolder(place / "words")
    config = _quick(decoder, **{"data.train": str(written), "rag.embedder": str(encoder)})
    prepared = prepare(config, words)
    for name in ("lora", "nearest"):
        job = ArmJob(name, config, prepared.split, words.arm(name))
        job.folder.path.mkdir(parents=True)
        run_arm(job)
    return Runs(
        labels.path, words.arm("lora").path, words.arm("nearest").path, table, (encoder, decoder)
    )


def _ask(run: Path) -> None:
    load(run).predict(["a text about the moon"])


def _report(run: Path) -> None:
    arm_folder(run)
    with redirect_stdout(io.StringIO()):
        show_report(evaluate(run), False, run, print_report)


def _journal(run: Path) -> None:
    Journal(RunFolder(run), tensorboard=False, after_step=1).__exit__(None, None, None)


# The files, and what reads each. `{}` is the comparison, `{w}` the writer, `{n}` what copies.
READERS: dict[str, Callable[[Runs, Path], Any]] = {
    "labels/report.json": lambda runs, _: _report(runs.labels),
    "labels/data/split.json": lambda runs, _: predict_file(
        runs.labels / "arms/majority", runs.table, None
    ),
    "labels/data/train.jsonl": lambda runs, _: _split(runs.labels),
    "labels/data/test.jsonl": lambda runs, _: _split(runs.labels),
    "labels/arms/lora/arm.json": lambda _, file: read_arm(RunFolder(file.parent)),
    "labels/arms/lora/journal.jsonl": lambda _, file: _journal(file.parent),
    "labels/arms/lora/config.yaml": lambda _, file: _ask(file.parent),
    "labels/arms/lora/kind.json": lambda _, file: _ask(file.parent),
    "words/arms/lora/kind.json": lambda _, file: _ask(file.parent),
    "labels/arms/majority/target.json": lambda _, file: _ask(file.parent),
    "labels/arms/probe/target.json": lambda _, file: _ask(file.parent),
    "labels/arms/rag/target.json": lambda _, file: _ask(file.parent),
    "labels/arms/majority/labels.json": lambda _, file: _ask(file.parent),
    "words/arms/lora/task.json": lambda _, file: _ask(file.parent),
    "words/arms/nearest/task.json": lambda _, file: _ask(file.parent),
} | {
    f"labels/arms/{name}": lambda _, file: _ask(file.parent.parent)
    for name in (
        "majority/model/majority.json", "probe/model/probe.json", "probe/model/probe.npz",
        "rag/model/rag.json", "rag/model/vectors.npy", "rag/model/examples.jsonl",
        "rag+lora/model/mix.json", "lora/model/adapter_config.json",
        "lora/model/adapter_model.safetensors", "adapter/model/adapter_config.json",
        "adapter/model/adapter_model.safetensors", "prompt/model/adapter_config.json",
        "full/model/config.json", "full/model/model.safetensors",
    )
} | {
    f"words/arms/{name}": lambda _, file: _ask(file.parent.parent)
    for name in (
        "lora/model/adapter_config.json", "lora/model/tokenizer_config.json",
        "lora/model/tokenizer.json", "nearest/model/prompted.json",
        "nearest/model/examples.jsonl", "nearest/model/vectors.npy",
    )
} | {
    f"encoder/{name}": lambda runs, _: _ask(runs.labels / "arms/lora")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
} | {
    f"decoder/{name}": lambda runs, _: _ask(runs.writer)
    for name in ("config.json", "generation_config.json")
}  # fmt: skip


def _split(run: Path) -> None:
    from tailorbird.runs.saved_split import load_split

    load_split(RunFolder(run))


_NAMES = ("", "..", "../../encoder", "/etc", "lora", "rag+lora", "(a+)+$", "a\0b", "\ud800", "ja")
_NUMBERS = (0, 1, -1, 3, 10**6, 10**9, 10**30, 0.5, 1e308, float("nan"), float("inf"))
_LEAVES = st.sampled_from([None, True, False, *_NUMBERS, *_NAMES, "x" * 3000])
_VALUES = st.one_of(
    _LEAVES,
    st.lists(_LEAVES, max_size=2),
    st.dictionaries(st.sampled_from(["", "a", "r", "task"]), _LEAVES, max_size=2),
)


def _at_random(draw: st.DrawFn, value: Any, depth: int = 0) -> Any:
    """Return `value` with another value, or none, somewhere in it."""
    inner = isinstance(value, dict | list) and value and depth < 6
    if not inner or (depth and draw(st.integers(0, 3)) == 0):
        return draw(_VALUES)
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    place = draw(st.sampled_from(places[:200]))
    copy = value.copy()
    if draw(st.integers(0, 7)) == 0:
        del copy[place]
        return copy
    copy[place] = _at_random(draw, value[place], depth + 1)
    return copy


def _arrays(draw: st.DrawFn) -> bytes:
    """Return arrays of other shapes and kinds, pickles among them."""
    kinds = (np.zeros(3), np.zeros((3, 4), dtype="i8"), np.array([{}, "x"], dtype=object))
    strange = (*kinds, np.array("a"), np.full((3, 32), np.nan), np.zeros((0, 32)))
    buffer, one = io.BytesIO(), strange[draw(st.integers(0, len(strange) - 1))]
    if draw(st.booleans()):
        np.save(buffer, one, allow_pickle=True)
    else:
        np.savez(buffer, weights=one, bias=one)
    return buffer.getvalue()


@st.composite
def damages(draw: st.DrawFn, names: tuple[str, ...], places: Path) -> tuple[str, bytes]:
    """Return a file's name and what it holds from now on."""
    name = draw(st.sampled_from(names))
    data = (places / name).read_bytes()
    how = draw(st.integers(0, 5))
    if how == 0:
        return name, data[: draw(st.integers(0, len(data)))]
    if how == 1:
        junk = (b"", b"null", b"[" * 5000, b"\xff\xfe\x00", b"9" * 6000, b"{}", b"[]", b"\0" * 64)
        return name, draw(st.sampled_from(junk))
    if name.endswith((".npz", ".npy")):
        return name, _arrays(draw)
    if name.endswith(".safetensors"):
        size = draw(st.sampled_from([0, 10, 10**6, 2**62]))
        return name, size.to_bytes(8, "little") + data[8:]
    if name.endswith(".yaml"):
        return name, yaml.safe_dump(_at_random(draw, yaml.safe_load(data))).encode()
    if name.endswith(".jsonl"):
        rows = [json.loads(line) for line in data.decode().splitlines()]
        rows = _at_random(draw, rows)
        lines = rows if isinstance(rows, list) else [rows]
        return name, "".join(json.dumps(row) + "\n" for row in lines).encode()
    return name, json.dumps(_at_random(draw, json.loads(data))).encode()


def _try(runs: Runs, name: str, data: bytes) -> None:
    """Use what reads the file: it works, or the file's fault is told by name."""
    place = runs.labels.parent
    file = place / name
    before = file.read_bytes()
    try:
        file.write_bytes(data)
        READERS[name](runs, file)
    except UserError as error:
        assert error.exit_code == 2
        told = str(error)
        # A value that fits its type may name another model, which then is at fault.
        if not name.endswith("config.yaml") and not told.startswith("model "):
            assert str(place) in told or file.name in told, told
    finally:
        file.write_bytes(before)


LIGHT = tuple(name for name in READERS if "model/" not in name and "coder/" not in name)
HEAVY = tuple(name for name in READERS if name not in LIGHT)


def _examples(most: int) -> Any:
    return settings(
        max_examples=most,
        deadline=1000 * MOST_SECONDS,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def _run_all(runs: Runs, names: tuple[str, ...], most: int) -> None:
    @_examples(most)
    @given(damages(names, runs.labels.parent))
    def each(damage: tuple[str, bytes]) -> None:
        _try(runs, *damage)

    each()


def test_every_file_is_read_here(runs: Runs) -> None:
    """And every reader works on what was not changed."""
    for name, read in READERS.items():
        read(runs, runs.labels.parent / name)


@pytest.mark.parametrize(("names", "most"), [(LIGHT, 60), (HEAVY, 40)], ids=["light", "heavy"])
def test_no_file_ends_in_a_traceback(runs: Runs, names: tuple[str, ...], most: int) -> None:
    _run_all(runs, names, most)


@pytest.mark.slow
@pytest.mark.parametrize(("names", "most"), [(LIGHT, 600), (HEAVY, 400)], ids=["light", "heavy"])
def test_no_file_ends_in_a_traceback_of_many(runs: Runs, names: tuple[str, ...], most: int) -> None:
    _run_all(runs, names, most)
