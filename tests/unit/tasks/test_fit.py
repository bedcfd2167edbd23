"""A training that collapses is repeated at a lower rate, unless the user chose the rate."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tailorbird import log
from tailorbird.config import Config, dump_config, load_config
from tailorbird.errors import TrainingDiverged
from tailorbird.methods.base import Method
from tailorbird.records import CurvePoint, Example, Split
from tailorbird.runs.folder import CONFIG, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.fit import TaskFit, _collapse, fit_model

MakeJob = Callable[..., ArmJob]


@pytest.fixture
def make_job(tiny_encoder: Path, tmp_path: Path) -> MakeJob:
    rows = tuple(
        Example(f"{'good' if i % 2 else 'bad'} number {i}", "yes" if i % 2 else "no", i)
        for i in range(48)
    )

    def make(**train: Any) -> ArmJob:
        config = Config.model_validate(
            {
                "model": {"name": str(tiny_encoder), "device": "cpu", "precision": "fp32"},
                "method": {"name": "full"},
                "train": {"epochs": 3, "tensorboard": False, "check_memory": False} | train,
            }
        )
        split = Split(rows[:32], rows[32:40], rows[40:], ("no", "yes"))
        return ArmJob("full", config, split, RunFolder(tmp_path), resume=True)

    return make


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(log, "warn", lines.append)
    return lines


@pytest.fixture
def collapses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training counts as collapsed, at a default rate of 4e-3."""
    defaults = property(lambda self: replace(self.spec.defaults, learning_rate=4e-3))
    monkeypatch.setattr(Method, "defaults", defaults)
    monkeypatch.setattr("tailorbird.tasks.fit._collapse", lambda curve: "it was flat")


def test_a_training_that_learns_runs_once(make_job: MakeJob, warnings: list[str]) -> None:
    _, trained = fit_model(make_job(learning_rate=1e-2), scored=False)
    assert trained.curve[-1].train_loss < trained.curve[0].train_loss
    assert (trained.notes, warnings) == ((), [])


@pytest.mark.usefixtures("collapses")
def test_a_default_rate_is_halved_twice(make_job: MakeJob, warnings: list[str]) -> None:
    job = make_job()
    fit, trained = fit_model(job, scored=False)
    assert fit.settings.learning_rate == 1e-3
    assert load_config(job.folder.file(CONFIG)).train.learning_rate == 1e-3
    rates = [note.split(" the training")[0] for note in trained.notes]
    assert rates == [f"with learning rate {rate}" for rate in ("0.004", "0.002", "0.001")]
    ends = [note.rpartition("; ")[2] for note in trained.notes]
    assert ends == [*["trained again with half of it"] * 2, "set a lower train.learning_rate"]
    assert len(warnings) == 3


@pytest.mark.usefixtures("collapses")
def test_a_rate_of_the_user_is_kept(make_job: MakeJob, warnings: list[str]) -> None:
    fit, trained = fit_model(make_job(learning_rate=5e-3), scored=False)
    assert fit.settings.learning_rate == 5e-3
    assert len(trained.notes) == len(warnings) == 1


@pytest.mark.usefixtures("collapses")
def test_no_second_attempt_without_time_for_it(make_job: MakeJob) -> None:
    # Its 6 steps are too few for the loop to foresee that they end too late.
    fit, trained = fit_model(replace(make_job(), deadline=time.monotonic()), scored=False)
    assert (fit.settings.learning_rate, len(trained.notes)) == (4e-3, 1)
    assert trained.notes[0].endswith("set a lower train.learning_rate")


def test_a_loss_that_is_not_finite_is_a_collapse(
    make_job: MakeJob, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = TaskFit.train

    def diverge(fit: TaskFit) -> Any:
        if fit.settings.learning_rate > 1e-4:
            raise TrainingDiverged("the loss became nan")
        return train(fit)

    monkeypatch.setattr(TaskFit, "train", diverge)
    defaults = property(lambda self: replace(self.spec.defaults, learning_rate=2e-4))
    monkeypatch.setattr(Method, "defaults", defaults)
    fit, trained = fit_model(make_job(), scored=False)
    assert fit.settings.learning_rate == 1e-4
    assert trained.notes[0].endswith("the loss became nan; trained again with half of it")
    with pytest.raises(TrainingDiverged):
        fit_model(make_job(learning_rate=2e-4), scored=False)


def test_a_resumed_run_keeps_the_rate_of_its_attempt(make_job: MakeJob) -> None:
    job = make_job()
    job.folder.write(CONFIG, dump_config(make_job(learning_rate=5e-3).config))
    fit, _ = fit_model(job, scored=False)
    assert fit.settings.learning_rate == 5e-3


@pytest.mark.parametrize(
    ("points", "collapsed"),
    [
        ([(0.5, 0.69, 0.67), (1, 0.67, 0.69), (1.5, 0.70, 0.69), (2, 0.69, 0.69)], True),
        ([(0.53, 0.698, 0.68), (1.07, 0.705, 0.698), (2.13, 0.696, 0.685)], True),
        ([(0.5, 0.69, 0.69), (1, 0.60, 0.69), (1.5, 0.50, 0.69), (2, 0.40, 0.69)], False),
        ([(1, 0.5, 0.6), (2, 0.3, 0.4), (3, 0.69, 0.69)], False),  # the second weights are kept
        ([(1, 0.69, 0.69), (2, float("nan"), 0.69)], True),
        ([(0.5, 0.5, 0.7), (1, 0.6, 0.7), (1.5, 0.7, 0.7)], False),  # not yet the same examples
        ([(2, 0.69, 0.69)], False),
        ([(1, 0.0, 0.0), (2, 0.0, 0.0)], False),
    ],
)
def test_collapsed_is_a_loss_that_has_not_decreased(
    points: list[tuple[float, float, float]], collapsed: bool
) -> None:
    curve = [CurvePoint(i, e, loss, val, 0.5, 1e-3) for i, (e, loss, val) in enumerate(points)]
    assert bool(_collapse(curve)) is collapsed
