"""The values that travel between rooms: frozen, plain, and free of behaviour."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["ok", "failed", "skipped"]
Level = Literal["info", "warning"]


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the user's data.

    Attributes:
        text: What the model reads.
        label: What it should answer; None when unknown (prediction).
        row: The row's number in its file, counted from 1 without the header.
    """

    text: str
    label: str | None = None
    row: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a data check found.

    Attributes:
        code: Short stable name, for example ``overlap`` or ``near_duplicates``.
        level: ``warning`` when the user should act, ``info`` otherwise.
        message: One sentence for a person.
        count: How many rows it concerns.
        samples: A few of them, as printable strings.
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
        train: Training examples.
        validation: Examples that settings and early stopping are chosen on.
        test: Examples that are scored once.
        labels: Every label, sorted; a label's index is its class id.
        how: Where the split came from, in words (``"given files"``, ``"stratified, seed 13"``).
        findings: What the data checks found.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    how: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """A metric with its 95 % interval (equal to the value where none was computed)."""

    value: float
    low: float
    high: float


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
    """One validation during training; losses are means per example, in nats."""

    step: int
    epoch: float
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How one class fared on the test set."""

    label: str
    precision: float
    recall: float
    f1: Score
    support: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Test predictions of similar confidence: what was claimed and what was right."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training example near a given text; similarity is a cosine."""

    text: str
    label: str
    similarity: float
    row: int = 0


@dataclass(frozen=True, slots=True)
class WrongExample:
    """A test example the arm got wrong; confidence is the probability of what it predicted."""

    row: int
    text: str
    label: str
    predicted: str
    confidence: float
    nearest: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class SeedScore:
    """One seed's headline scores."""

    seed: int
    validation_accuracy: float
    test_accuracy: float
    test_macro_f1: float


@dataclass(frozen=True, slots=True)
class ReloadCheck:
    """What a fresh process found when it loaded the saved arm and predicted again."""

    identical: bool
    examples: int
    max_difference: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One way of adapting the model, scored."""

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
    reload: ReloadCheck | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired test between two arms on the same test examples.

    Attributes:
        difference: Accuracy of ``a`` minus accuracy of ``b``, with a paired bootstrap interval.
        p: Two-sided p-value of the named test.
        p_holm: The same, Holm-corrected over all comparisons with the best arm.
    """

    a: str
    b: str
    difference: Score
    p: float
    p_holm: float
    test: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which way to use, and why, in a sentence a manager understands."""

    best: str | None
    recommended: str | None
    tied_with: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What the data was.

    Attributes:
        counts: Rows per part: ``{"train": 900, "validation": 180, "test": 300}``.
        class_counts: Rows per label and part: ``{"spam": {"train": 40, ...}}``.
        columns: ``{"text": "body", "label": "category"}``.
    """

    source: str
    columns: dict[str, str]
    labels: tuple[str, ...]
    counts: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    how: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a run found; `report.json` is this, `report.html` draws it."""

    kind: Literal["tune", "compare", "rag"]
    data: DataSummary
    arms: tuple[ArmReport, ...]
    verdict: Verdict
    comparisons: tuple[Comparison, ...] = ()
    model: str = ""
    command: str = ""
    created: str = ""
    seconds: float = 0.0
    environment: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    schema_version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, ``schema_version`` and ``kind`` first."""
        plain = asdict(self)
        head = {"schema_version": plain.pop("schema_version"), "kind": plain.pop("kind")}
        return head | plain


def report_from_json(plain: dict[str, Any]) -> Report:
    """Rebuild a `Report` from what `Report.to_json` made.

    Raises:
        KeyError: A required key is missing.
        TypeError: A key is not known.
    """
    from pydantic import TypeAdapter

    return TypeAdapter(Report).validate_python(plain)
