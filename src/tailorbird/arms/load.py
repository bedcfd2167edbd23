"""A run folder -> which arm it holds, how it was made, and the arm loaded again."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailorbird.arms import TABLE, get_arm
from tailorbird.arms.predictor import Predictor
from tailorbird.config import Config, load_config
from tailorbird.errors import UserError
from tailorbird.records import ArmReport, Report, TaskName, has_head, report_from_json
from tailorbird.runs.files import damaged, inner, reading
from tailorbird.runs.folder import ARMS, CONFIG, KIND, MODEL, REPORT, TASK, RunFolder
from tailorbird.tasks.arm_job import read_task
from tailorbird.tasks.scoring import load_target

PROMPTED = "prompted.json"
"""In the model's folder of an arm that answers in words and was not trained: how it answers."""

# What the folders of arms hold that were made before they said what they are.
_FILES = {
    "majority.json": "constant",
    "mix.json": "mix",
    "rag.json": "neighbours",
    "probe.json": "probe",
}


@dataclass(frozen=True, slots=True)
class SavedKind:
    """What `kind.json` holds.

    Attributes:
        arm: The arm's key in the table of arms.
        task: The task that it answers.
    """

    arm: str
    task: TaskName


def save_kind(folder: RunFolder, arm: str, task: TaskName) -> None:
    """Write what an arm's folder holds."""
    folder.write_json(KIND, asdict(SavedKind(arm, task)))


def saved_kind(folder: RunFolder) -> SavedKind:
    """Return what an arm's folder holds.

    Raises:
        UserError: It is damaged.
    """
    path = folder.file(KIND)
    if not path.is_file():
        return _older_kind(folder)
    kind = folder.read_as(KIND, SavedKind)
    if kind.arm not in TABLE:
        raise damaged(path, f"there is no arm {kind.arm!r}")
    # The same file that says what is asked says how it is scored.
    answers_in_words = folder.file(TASK).is_file()
    if answers_in_words == has_head(kind.task) or (
        answers_in_words and read_task(folder).task != kind.task
    ):
        raise damaged(path, f"its task is not the one of the run: {kind.task}")
    return kind


def _older_kind(folder: RunFolder) -> SavedKind:
    if folder.file(TASK).is_file():
        from tailorbird.arms.generative_predictor import read_prompted

        prompted = read_prompted(folder)
        return SavedKind(prompted.arm if prompted else "trained", read_task(folder).task)
    model = folder.file(MODEL)
    arm = next((arm for name, arm in _FILES.items() if (model / name).is_file()), "trained")
    return SavedKind(arm, load_target(folder).task)


def load(run: Path | str, *, trust: bool = False, few: bool = False) -> Predictor:
    """Load a run (``RUN/arms/lora``, or the folder of a comparison: its recommended arm).

    Args:
        run: Its folder.
        trust: Whether code may run that came with its model.
        few: It will be asked for a few texts, see `Arm.open_for_few`.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    return open_arm(arm_folder(Path(run)), trust=trust, few=few)


def open_arm(folder: RunFolder, *, trust: bool, few: bool = False) -> Predictor:
    """Load the arm that lies in this folder; see `load`."""
    arm = get_arm(saved_kind(folder).arm)
    return (arm.open_for_few if few else arm.open)(folder, trust=trust)


def arm_folder(path: Path) -> RunFolder:
    """Return the folder of an arm; for a comparison's folder, of the arm it recommends.

    Raises:
        UserError: There is no run, or it did not come to its end.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise UserError(f"there is no run {path}", "give a folder that `tailor tune` made")
    if folder.file(MODEL).is_dir():
        return folder
    if (path / ARMS).is_dir():
        report = read_report(folder)
        _refuse_questions(folder, report)
        name = report.verdict.recommended
        if name is None:
            raise UserError(
                f"{path} recommends no arm: none succeeded, or all scored next to nothing",
                f"look at its report.html, and name an arm: {path / ARMS}/NAME",
            )
        return RunFolder(inner(folder.file(REPORT), path / ARMS, name))
    if folder.exists:
        raise UserError(f"the run {path} did not come to its end", "go on with it: --resume")
    raise UserError(
        f"{path} holds no run", "give a folder that `tailor tune` or `tailor compare` made"
    )


def _refuse_questions(folder: RunFolder, report: Report[Any, Any]) -> None:
    """Refuse to choose an arm that may need documents to answer."""
    if report.kind == "questions":
        raise UserError(
            f"{folder.path} compared answers to questions, and has no one model",
            f"name a tuned arm, such as {folder.path / ARMS / 'lora'}, or ask the documents: "
            "tailor ask QUESTION --store KB",
        )


def read_report(folder: RunFolder) -> Report[Any, Any]:
    """Read the report of a run, of whatever kind.

    Raises:
        UserError: It is missing or damaged.
    """
    plain, path = folder.read_json(REPORT), folder.file(REPORT)
    with reading(path):
        report = report_from_json(plain)
    names = {arm.name for arm in report.arms}
    if {report.verdict.recommended, report.verdict.best} - names - {None}:
        raise damaged(path, "its verdict names an arm that it does not have")
    for arm in report.arms:
        tested = isinstance(arm, ArmReport) and arm.status == "ok"
        if tested and report.headline not in arm.test:
            raise damaged(path, f"arm {arm.name!r} has no {report.headline}")
    return report


def run_config(folder: RunFolder, *, trust: bool) -> Config:
    """Return the settings of a finished run; the folder may come from another person.

    Args:
        folder: The run, or an arm of it.
        trust: Whether the caller lets code run that came with its model; what the folder says of
            that does not count.

    Raises:
        UserError: They are missing or damaged.
    """
    try:
        config = load_config(folder.file(CONFIG))
    except UserError as error:
        raise damaged(folder.file(CONFIG), error.problem) from error
    model = config.model.model_copy(update={"trust_remote_code": trust})
    return config.model_copy(update={"model": model})
