"""What every arm must do: made, saved with its kind, loaded again, predicting what it predicted.

A toy arm, one file and one line in the table, is an arm like the others.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tailorbird.arms
import tailorbird.arms.registry as arms
import tiny
from tailorbird.arms.head_predictor import HeadPredictor
from tailorbird.arms.predictor import Predictor
from tailorbird.arms.saved_arm import load, saved_kind
from tailorbird.config import for_arm, load_config
from tailorbird.errors import UserError
from tailorbird.flows.prepare import Prepared, prepare
from tailorbird.records import TASKS, ArmReport
from tailorbird.runs.folder import KIND, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.registry import get_task

TOY = Path(__file__).parents[1] / "toy_arm.py"
LABELS = ("majority", "rag", "probe", "length", "lora", "rag+lora")
WORDS = ("nearest", "base", "rag", "lora", "rag+lora")
TEXTS = ["what a film, with a long and winding story", "poor"]


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Add the toy: one file, one line."""
    place = tmp_path_factory.mktemp("leaf")
    shutil.copy(TOY, place / "length.py")
    tailorbird.arms.__path__.append(str(place))
    arms.TABLE["length"] = arms.ArmRow(
        "length.LengthArm",
        "the text's length decides",
        lambda task: ("length",) if task.head and not task.per_word else (),
    )
    yield
    del arms.TABLE["length"]
    tailorbird.arms.__path__.remove(str(place))


@pytest.fixture(scope="module")
def made(
    models: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[RunFolder, ArmReport, Prepared]]:
    """Return an arm of a task that was made, in the order of the names above."""
    place, encoder = tmp_path_factory.mktemp("arms"), str(models("bert"))
    words = place / "written.csv"
    rows = [f"{text},{label}" for text, label in tiny.rows()[:24]]
    words.write_text("prompt,completion\n" + "\n".join(rows) + "\n")
    flags = {
        "model.precision": "fp32",
        "rag.embedder": encoder,
        "train.epochs": 0.5,
        "train.tensorboard": False,
        "evaluate.examples": 2,
        "generate.max_new_tokens": 4,
    }
    data: dict[str, dict[str, Any]] = {
        "classification": {"data.train": str(tiny.write_csv(place / "labels.csv")),
                           "model.name": encoder},
        "generation": {"data.train": str(words), "data.task": "generation",
                       "model.name": str(models("llama"))},
    }  # fmt: skip
    prepared: dict[str, Prepared] = {}
    reports: dict[tuple[str, str], ArmReport] = {}

    def make(task: str, name: str) -> tuple[RunFolder, ArmReport, Prepared]:
        run, config = RunFolder(place / task), load_config(flags=flags | data[task])
        if task not in prepared:
            prepared[task] = prepare(config, run)
        for other in LABELS if task == "classification" else WORDS:
            folder = run.arm(other)
            if (task, other) not in reports:
                own = for_arm(config, other) if other == "lora" else config
                folder.path.mkdir(parents=True)
                job = ArmJob(other, own, prepared[task].split, folder)
                reports[task, other] = arms.run_arm(job)
            if other == name:
                break
        return run.arm(name), reports[task, name], prepared[task]

    return make


CASES = [("classification", name) for name in LABELS] + [("generation", name) for name in WORDS]


def test_every_arm_of_the_table_is_tried() -> None:
    tried = {arms.arm_named(name, task).key for task, name in CASES}  # type: ignore[arg-type]
    assert tried == set(arms.TABLE)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_loaded_arm_is_the_one_that_was_made(
    task: str, name: str, made: Callable[..., tuple[RunFolder, ArmReport, Prepared]]
) -> None:
    folder, report, prepared = made(task, name)
    assert report.status == "ok" and report.name == name
    kind = saved_kind(folder)
    assert (kind.task, arms.get_arm(kind.arm)) == (task, arms.arm_named(name, kind.task))
    with load(folder.path) as predictor:
        check = get_task(kind.task).reload_check(predictor, folder, prepared.split)
        assert check.identical and check.examples, check
        assert predictor.spec.task == task
        answers = predictor.predict(TEXTS)
    # Folders that were made before arms wrote their kind load all the same; the toy is younger.
    if name != "length":
        plain = folder.file(KIND).read_text()
        folder.file(KIND).unlink()
        try:
            assert saved_kind(folder) == kind
            assert load(folder.path).predict(TEXTS) == answers
        finally:
            folder.file(KIND).write_text(plain)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_it_writes_or_says_that_it_does_not(
    task: str, name: str, made: Callable[..., tuple[RunFolder, ArmReport, Prepared]]
) -> None:
    predictor = load(made(task, name)[0].path)
    if predictor.spec.streams:
        assert "".join(predictor.stream(TEXTS[0])) == predictor.predict(TEXTS[:1])[0].text
    else:
        with pytest.raises(UserError, match="cannot generate text"):
            predictor.stream(TEXTS[0])


@pytest.mark.parametrize(("task", "name"), [("classification", "lora"), ("generation", "rag")])
def test_threads_share_a_predictor(
    task: str, name: str, made: Callable[..., tuple[RunFolder, ArmReport, Prepared]]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    predictor: Predictor = load(made(task, name)[0].path)
    alone = [predictor.predict([text]) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: predictor.predict([text]), TEXTS * 8))
    assert together == alone * 8


def test_a_call_changes_no_setting_of_the_run(
    made: Callable[..., tuple[RunFolder, ArmReport, Prepared]],
) -> None:
    writer: Any = load(made("generation", "base")[0].path)
    before = writer.predict(TEXTS)
    assert all(answer.tokens <= 1 for answer in writer.sampled(max_new_tokens=1).predict(TEXTS))
    assert writer.predict(TEXTS) == before


def test_the_toy_is_an_arm_of_every_comparison_that_it_fits() -> None:
    names = {task: arms.arm_names(task) for task in TASKS}
    assert [task for task in names if "length" in names[task]] == [
        "classification", "multilabel", "regression",
    ]  # fmt: skip


def test_the_toy_says_what_it_computed(
    made: Callable[..., tuple[RunFolder, ArmReport, Prepared]],
) -> None:
    predictor = load(made("classification", "length")[0].path)
    assert isinstance(predictor, HeadPredictor)
    first = predictor.probabilities(["abc"])[0, 0]
    assert first == np.float32(1 - 1 / 5)
