"""Loads the arm in a run folder."""

from dataclasses import asdict, dataclass
from pathlib import Path

from tailorbird.arms.predictor import Predictor
from tailorbird.arms.registry import TABLE, get_arm
from tailorbird.records import TaskName, has_head
from tailorbird.runs.checked_files import damaged
from tailorbird.runs.finished_run import arm_folder
from tailorbird.runs.folder import KIND, MODEL, TASK, RunFolder
from tailorbird.tasks.arm_job import read_task
from tailorbird.tasks.head_scoring import load_target

# The arm of older folders, which do not record it, by a file in them.
_FILES = {
    "majority.json": "constant",
    "mix.json": "mix",
    "rag.json": "neighbours",
    "probe.json": "probe",
}


@dataclass(frozen=True, slots=True)
class SavedKind:
    """The contents of `kind.json`."""

    arm: str
    task: TaskName


def save_kind(folder: RunFolder, arm: str, task: TaskName) -> None:
    """Record the arm and the task of an arm's folder."""
    folder.write_json(KIND, asdict(SavedKind(arm, task)))


def saved_kind(folder: RunFolder) -> SavedKind:
    """Return the arm and the task of an arm's folder.

    Raises:
        UserError: The folder is damaged.
    """
    path = folder.file(KIND)
    if not path.is_file():
        return _older_kind(folder)
    kind = folder.read_as(KIND, SavedKind)
    if kind.arm not in TABLE:
        raise damaged(path, f"there is no arm {kind.arm!r}")
    # Only a generative task has this file, which records its prompts and scoring.
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
    """Load a run (``RUN/arms/lora``, or a comparison's folder: its recommended arm).

    Args:
        trust: Whether code that came with the model may run.
        few: Only a few texts will be predicted, see `Arm.open`.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    return open_arm(arm_folder(Path(run)), trust=trust, few=few)


def open_arm(folder: RunFolder, *, trust: bool, few: bool = False) -> Predictor:
    """Load the arm in this folder; see `load`."""
    return get_arm(saved_kind(folder).arm).open(folder, trust=trust, few=few)
