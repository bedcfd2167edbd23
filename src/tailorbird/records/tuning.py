"""Records of tuning and comparing: examples, scores and reports."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator

from tailorbird.records.scores import (
    CalibrationBin,
    ClassScore,
    Forgetting,
    LearningCurve,
    Luck,
    Residual,
    Score,
    Slice,
    WrittenAnswer,
    WrongExample,
)

Status = Literal["ok", "failed", "skipped"]
Level = Literal["info", "warning"]


def _task_name(name: str) -> str:
    from tailorbird.records.tasks import TASKS

    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}")
    return name


TaskName = Annotated[str, AfterValidator(_task_name)]
"""A task of the table in `records/tasks.py`."""


THOUGHTS = ("reasoning_content", "thinking")
"""The chat templates' names for an assistant's reasoning before its answer; each uses one of
them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        trained: Whether an assistant's turn is trained; other roles never are.
        extra: Further fields for the chat template (``tool_calls``, ``name``, ``tool_call_id``,
            the `THOUGHTS`).
    """

    role: str
    content: str
    trained: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the user's data.

    Attributes:
        text: The model's input. For a conversation: the words before the last assistant turn, for
            people, duplicate detection and retrieval, while the model reads `messages`. For plain
            text: the text.
        label: The true answer; None if unknown (prediction) or for plain text. For a conversation:
            the last assistant turn.
        row: The row's number in its file, counted from 1 without the header.
        messages: The whole conversation, including the answer; empty for labels and plain text.
        tools: Tool definitions of the conversation, as the template takes them.
        pair: For pairs of texts, both; `text` is the two, one under the other.
        labels: For multilabel, its labels, possibly none. For token classification the label of
            each word. `label` lists them.
        values: For regression, its numbers, one per target; `label` writes them.
        words: For token classification, the words; `text` joins them.
        group: Its group: rows of one group are never in two parts; empty if not requested.
        time: Its time, in seconds; only the order matters. None if not requested.
    """

    text: str
    label: str | None = None
    row: int = 0
    messages: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    pair: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    group: str = ""
    time: float | None = None


@runtime_checkable
class ExamplesOnDisk(Protocol):
    """Training examples that stay in a file, a `Sequence` of them.

    Attributes:
        folder: A folder for further files.
    """

    folder: Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a data check.

    Attributes:
        code: Short stable name, for example ``overlap`` or ``near_duplicates``.
        level: ``warning`` if the user should act, ``info`` otherwise.
    """

    code: str
    level: Level
    message: str
    count: int = 0
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Checked examples, ready for training: the same object for every arm of a comparison.

    Attributes:
        validation: Examples for choosing settings and early stopping.
        labels: Every label, sorted; a label's index is its class id. For regression the names of
            the targets; empty for generation and plain text.
        how: The origin of the split, in words (``"given files"``, ``"stratified, seed 13"``).
        form: The format of the rows, in words (``"instruction, input, output (Alpaca)"``).
        separator: The separator of labels in a cell; for numbers, their decimal mark.
    """

    train: Sequence[Example]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    how: str = ""
    findings: tuple[Finding, ...] = ()
    task: TaskName = "classification"
    form: str = ""
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of an arm; None where not applicable."""

    train_seconds: float | None = None
    search_seconds: float | None = None
    examples_per_second: float | None = None
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    artifact_bytes: int | None = None
    predict_ms_per_example: float | None = None


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One validation during training; losses are means in nats.

    For classification per example; for generation per answer token, and the accuracy is the
    share of answer tokens that were the most likely. Other tasks have their own metric: macro-F1
    or R².
    """

    step: int
    epoch: float
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a decoded training example, and whether it is trained."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class SeedScore:
    """One seed's scores, by metric."""

    seed: int
    validation: dict[str, float]
    test: dict[str, float]


@dataclass(frozen=True, slots=True)
class ReloadCheck:
    """The result of reloading a saved arm in a fresh process and predicting again."""

    identical: bool
    examples: int
    max_difference: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of a search, scored on validation.

    Attributes:
        state: ``ok``, ``pruned`` (given up: clearly behind) or ``failed``.
        score: The best validation; None if there was none. `Search.metric` decides whether higher
            or lower is better.
        seen: ``(validation number, score)`` during training.
        asked: Whether it had the user's own settings.
    """

    number: int
    state: Literal["ok", "pruned", "failed"]
    values: dict[str, Any]
    score: float | None = None
    seconds: float = 0.0
    seen: tuple[tuple[int, float], ...] = ()
    asked: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """A hyperparameter search: every trial, and the choice.

    Attributes:
        best: The number of the chosen trial.
        space: The searched settings, each with its values in words.
        importance: Share of the variance in score that each setting explains (fANOVA).
    """

    sampler: str
    pruner: str
    metric: str
    best: int
    space: dict[str, str]
    trials: tuple[Trial, ...]
    importance: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One way of adapting the model, scored.

    Attributes:
        answers: For generation, the same test rows for every arm, to compare.
        worst: For generation, those with the lowest scores.
        residuals: For regression, truth and prediction of test examples, at most 500 per target.
        slices: Parts of the test examples, the worst first.
        test: In a comparison, the method's scores: means over its trainings, and the headline's
            interval covers training again. Otherwise the saved model's.
        model_test: The saved model's own test scores, if they are not `test`.
    """

    name: str
    status: Status
    why: str = ""
    validation: dict[str, Score] = field(default_factory=dict)
    test: dict[str, Score] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    run: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seeds: tuple[SeedScore, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    per_class: tuple[ClassScore, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    errors: tuple[WrongExample, ...] = ()
    answers: tuple[WrittenAnswer, ...] = ()
    worst: tuple[WrittenAnswer, ...] = ()
    forgetting: Forgetting | None = None
    reload: ReloadCheck | None = None
    search: Search | None = None
    residuals: tuple[Residual, ...] = ()
    slices: tuple[Slice, ...] = ()
    model_test: dict[str, Score] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired test between two arms on the same test examples.

    Attributes:
        difference: The headline metric of ``a`` minus that of ``b``, with an interval that includes
            the sampling of examples and, for trained arms, the variation between trainings.
        p: Two-sided p-value of the named test.
        p_holm: The same, Holm-corrected over all pairs.
        error: Standard error of the difference.
        freedom: Its degrees of freedom.
    """

    a: str
    b: str
    difference: Score
    p: float
    p_holm: float
    test: str
    error: float = 0.0
    freedom: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The recommended arm, and why, in a sentence for a manager.

    Attributes:
        tied_with: The arms that are not inferior to the best by more than the margin.
        open: The arms that the best is not shown to be better than.
        margin: The difference that matters, in the headline metric.
        luck: The variation of scores between trainings; None without trainings.
        effective: The effective number of independent test examples; None: all of them.
    """

    best: str | None
    recommended: str | None
    tied_with: tuple[str, ...]
    reason: str
    open: tuple[str, ...] = ()
    margin: float | None = None
    luck: Luck | None = None
    effective: float | None = None


@dataclass(frozen=True, slots=True)
class DataSummary:
    """A summary of the data.

    Attributes:
        counts: Rows per part: ``{"train": 900, "validation": 180, "test": 300}``.
        class_counts: Rows per label and part: ``{"spam": {"train": 40, ...}}``.
        columns: ``{"text": "body", "label": "category"}``.
        form: The format of the rows, in words; empty for labels.
        shown: A few decoded training examples, with trained and ignored parts marked.
    """

    source: str
    columns: dict[str, str]
    labels: tuple[str, ...]
    counts: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    how: str
    findings: tuple[Finding, ...] = ()
    task: TaskName = "classification"
    form: str = ""
    shown: tuple[tuple[Piece, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class TuningSections:
    """The sections of reports of `tailor tune` and `tailor compare`."""

    data: DataSummary
    learning_curve: LearningCurve | None = None
