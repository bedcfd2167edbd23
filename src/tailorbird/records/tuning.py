"""Examples, scores and reports: what tuning and comparing hand on."""

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
"""What chat templates call an assistant's thoughts before its answer; each knows one of them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        trained: Whether an assistant's turn is trained on; other roles never are.
        extra: What else the chat template may want (``tool_calls``, ``name``, ``tool_call_id``,
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
        text: What the model reads. Of a conversation: the words before the last assistant turn,
            for people, for the search for duplicates and for retrieval; the model reads
            `messages`. Of plain text: the text.
        label: What it should answer; None when unknown (prediction) or for plain text. Of a
            conversation: the last assistant turn.
        row: The row's number in its file, counted from 1 without the header.
        messages: The whole conversation, the answer included; empty for labels and plain text.
        tools: Tool definitions the conversation may call, as the template takes them.
        pair: Of two texts that belong together, both; `text` is the two, one under the other.
        labels: Of multi-label data, its labels; none is an answer too. Of token classification
            the label of each word. `label` lists them.
        values: Of regression, its numbers, one per target; `label` writes them.
        words: Of token classification, the words; `text` joins them.
        group: Whose it is: rows of one group are never in two parts; empty where not asked for.
        time: When it was, in seconds; only the order matters. None where not asked for.
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
        folder: Where more may be kept beside them.
    """

    folder: Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a data check found.

    Attributes:
        code: Short stable name, for example ``overlap`` or ``near_duplicates``.
        level: ``warning`` when the user should act, ``info`` otherwise.
    """

    code: str
    level: Level
    message: str
    count: int = 0
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Checked examples, ready to train on: the same object for every arm of a comparison.

    Attributes:
        validation: Examples that settings and early stopping are chosen on.
        labels: Every label, sorted; a label's index is its class id. Of regression the names of
            the targets; empty where words are written or read on.
        how: Where the split came from, in words (``"given files"``, ``"stratified, seed 13"``).
        form: The format the rows were in, in words (``"instruction, input, output (Alpaca)"``).
        separator: What stood between the labels in a cell; of numbers, their decimal mark.
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
    """What an arm cost; None where it does not apply."""

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

    Of classification per example; of written answers per answer token, and the accuracy is the
    share of answer tokens that were the likeliest. Of other tasks it is their own figure: macro-F1
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
    """A stretch of a training example as the model reads it, and whether it is trained on."""

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
    """What a fresh process found when it loaded the saved arm and predicted again."""

    identical: bool
    examples: int
    max_difference: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of a search, judged on validation.

    Attributes:
        state: ``ok``, ``pruned`` (given up: clearly behind) or ``failed``.
        score: The best validation; None where there was none. Higher or lower is better as
            `Search.metric` says.
        seen: ``(validation number, score)`` as training went on.
        asked: Whether it had the settings as they were asked for.
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
    """A search for settings: every trial, and what was taken.

    Attributes:
        best: The number of the trial that was taken.
        space: The settings that were searched, each with its values in words.
        importance: Share of the differences in score that each setting explains (fANOVA).
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
        answers: Of written answers, the same test rows for every arm, to be read side by side.
        worst: Of written answers, those that scored lowest.
        residuals: Of regression, truth and prediction of test examples, at most 500 per target.
        slices: Parts of the test examples, those that fared worst first.
        test: Of a comparison's arm, the method's scores: means over its trainings, and the
            headline's interval says what training again would give. Else the saved model's.
        model_test: The saved model's own test scores, where they are not `test`.
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
        difference: The headline metric of ``a`` minus that of ``b``, with an interval that has the
            choice of examples and, of trained arms, the luck of training in it.
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
    """Which way to use, and why, in a sentence a manager understands.

    Attributes:
        tied_with: The arms that are not inferior to the best by more than the margin.
        open: The arms that the best is not shown to be better than.
        margin: What a difference must exceed to matter, in the headline metric.
        luck: How much scores differ from training to training; None where nothing was trained.
        effective: How many independent test examples those at hand are worth; None: all of them.
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
    """What the data was.

    Attributes:
        counts: Rows per part: ``{"train": 900, "validation": 180, "test": 300}``.
        class_counts: Rows per label and part: ``{"spam": {"train": 40, ...}}``.
        columns: ``{"text": "body", "label": "category"}``.
        form: The format the rows were in, in words; empty for labels.
        shown: A few training examples as the model reads them, trained and ignored parts marked.
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
    """What reports of `tailor tune` and `tailor compare` have of their own."""

    data: DataSummary
    learning_curve: LearningCurve | None = None
