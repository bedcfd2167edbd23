"""The line before training: said, cut with the reason, or refused before anything was done."""

from dataclasses import replace
from pathlib import Path

import pytest

from tailorbird import log
from tailorbird.config import Config
from tailorbird.config.schema import MethodConfig, ModelConfig, TrainConfig
from tailorbird.errors import DoesNotFit
from tailorbird.models.device import Device
from tailorbird.planning import memory_check
from tailorbird.planning.data_size import work_of
from tailorbird.planning.device_fit import Planner
from tailorbird.planning.devices import place_of
from tailorbird.planning.model_shape import read_shape
from tailorbird.records import Example, Split
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.memory_limit import MemoryLimit
from tailorbird.tasks.arm_job import ArmJob

MIB = 2**20


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(log, "say", told.append)
    monkeypatch.setattr(log, "warn", told.append)
    return told


@pytest.fixture
def job(tiny_encoder: Path, tmp_path: Path) -> ArmJob:
    rows = tuple(Example("word " * 100, label, i) for i, label in enumerate(["no", "yes"] * 40))
    config = Config(
        model=ModelConfig(name=str(tiny_encoder), device="cpu", precision="fp32"),
        method=MethodConfig(name="full"),
        train=TrainConfig(batch_size=64),
    )
    return ArmJob("full", config, Split(rows, rows, rows, ("no", "yes")), RunFolder(tmp_path))


def needed(job: ArmJob) -> int:
    shape = read_shape(job.config.model)
    work, _ = work_of(job.split, shape, job.config)
    return Planner(shape, job.config, work).memory("full", place_of("cpu", precision="fp32")).bytes


def limit(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    at = MemoryLimit(round(size), "that this container may use (its cgroup)", False)
    monkeypatch.setattr(memory_check, "memory_limit", lambda: at)


def test_said_where_there_is_plenty(
    job: ArmJob, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 50e9)
    assert memory_check.within_memory(job) is job
    (line,) = lines
    assert line.startswith("full: needs less than") and "this container may use" in line


def test_cut_with_the_reason(
    job: ArmJob, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, needed(job) * 1.05)
    cut = memory_check.within_memory(job).config.train
    assert cut.micro_batch_size is not None and cut.micro_batch_size < 64
    assert replace(job, config=job.config).config.train.batch_size == cut.batch_size == 64
    (line,) = lines
    assert f"train.micro_batch_size={cut.micro_batch_size}" in line and "learns the same" in line


def test_refused_before_it_cost_anything(
    job: ArmJob, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 300 * MIB)
    with pytest.raises(DoesNotFit) as refusal:
        memory_check.within_memory(job)
    assert "training needs about" in refusal.value.problem and "0.3 GiB" in refusal.value.problem
    assert "train.check_memory=false" in refusal.value.fix
    assert list(job.folder.path.iterdir()) == [] and lines == []


def test_not_asked_not_planned(
    job: ArmJob, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 1)
    train = job.config.train.model_copy(update={"check_memory": False})
    off = replace(job, config=job.config.model_copy(update={"train": train}))
    assert memory_check.within_memory(off) is off and lines == []


def test_processes_that_train_together_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_check, "memory_limit", lambda: MemoryLimit(12 << 30, "here", False))
    cpu = Device("cpu", "fp32", "")
    alone, _ = memory_check._room(cpu)
    third, words = memory_check._room(cpu, processes=3)
    assert (alone.capacity_bytes, third.capacity_bytes) == (12 << 30, 4 << 30)
    assert words == "4.0 GiB, its part of the 12.0 GiB here"
