"""How an arm fared: scores, and the examples behind them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """A metric with its 95 % interval (equal to the value where none was computed)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Luck:
    """How much a score differs from training to training.

    Attributes:
        deviation: Standard deviation of the score over trainings of one method.
        freedom: Degrees of freedom with which it is known; 8 of them are assumed.
    """

    deviation: float
    freedom: float


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How one class fared on the test set.

    Attributes:
        threshold: Of several labels, the probability from which it is given.
    """

    label: str
    precision: float
    recall: float
    f1: Score
    support: int
    threshold: float | None = None


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
    """A test example the arm got wrong.

    Attributes:
        confidence: The probability of the label it predicted; 0 where it predicts no single one.
        loss: How far off it was: a loss in nats, or of regression the distance.
    """

    row: int
    text: str
    label: str
    predicted: str
    confidence: float
    nearest: tuple[Neighbour, ...] = ()
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Residual:
    """What one target of a test example is, and what was predicted."""

    target: str
    truth: float
    predicted: float


@dataclass(frozen=True, slots=True)
class Slice:
    """How an arm fared on a part of the test examples, against the others.

    Attributes:
        name: Which part: ``"class: sport"``, ``"long texts (40 words or more)"``.
        loss: Their mean loss (of labels the share that is wrong).
        rest: The same of the others.
        p_holm: One-sided p-value of the loss being higher in the slice, Holm-corrected.
        worse: Whether it is significantly so, at 5 %.
    """

    name: str
    count: int
    loss: float
    rest: float
    p_holm: float
    worse: bool


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """What an arm wrote for one test prompt.

    Attributes:
        score: The headline metric of this answer.
        loss: Mean loss of the reference in nats per token.
        nearest: Training examples like it.
    """

    row: int
    prompt: str
    reference: str
    output: str
    score: float
    loss: float
    nearest: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Loss on a text that was not trained on, in nats per token, before and after training."""

    before: float
    after: float
    tokens: int
    source: str


@dataclass(frozen=True, slots=True)
class CurveScore:
    """The score after training on a part of the data.

    Attributes:
        score: Mean over the trainings.
        low, high: Its 90 % interval.
    """

    rows: int
    score: float
    low: float
    high: float
    runs: tuple[float, ...]

    @property
    def range(self) -> tuple[float, float]:
        """The interval."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Gain:
    """What more training examples are expected to add.

    Attributes:
        rows: Training examples in all.
        more: How many of them are new.
        gain: What they add to the score of all there are now.
        low, high: Its 90 % interval.
        why_not: Why it cannot be told; empty: it can.
    """

    rows: int
    more: int
    gain: float
    low: float
    high: float
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """What more labels would buy.

    Attributes:
        metric: The score, as it is counted here: higher is better, so losses are negative.
        scores: By size, the last with all training examples.
        gains: What more examples are expected to add, nearest first.
        why_not: Why there is no curve; empty: there is one.
    """

    arm: str
    metric: str
    scores: tuple[CurveScore, ...] = ()
    gains: tuple[Gain, ...] = ()
    why_not: str = ""
