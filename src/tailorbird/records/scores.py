"""Records of an arm's scores and the examples behind them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """A metric with its 95 % interval (equal to the value if not computed)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Luck:
    """The variation of a score between trainings.

    Attributes:
        deviation: Standard deviation of the score over trainings of one method.
        freedom: Its degrees of freedom; 8 of them are assumed.
    """

    deviation: float
    freedom: float


@dataclass(frozen=True, slots=True)
class ClassScore:
    """The scores of one class on the test set.

    Attributes:
        threshold: For multilabel, the probability from which the label is predicted.
    """

    label: str
    precision: float
    recall: float
    f1: Score
    support: int
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Test predictions of similar confidence: mean confidence and accuracy."""

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
    """A misclassified test example.

    Attributes:
        confidence: The probability of the predicted label; 0 if it predicts no single one.
        loss: The loss in nats, or for regression the distance.
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
    """True and predicted value of one target of a test example."""

    target: str
    truth: float
    predicted: float


@dataclass(frozen=True, slots=True)
class Slice:
    """An arm's loss on a part of the test examples, compared with the rest.

    Attributes:
        name: The part: ``"class: sport"``, ``"long texts (40 words or more)"``.
        loss: Their mean loss (for labels the error rate).
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
    """An arm's answer to one test prompt.

    Attributes:
        score: The headline metric of this answer.
        loss: Mean loss of the reference in nats per token.
        nearest: Similar training examples.
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
    """Loss on an unrelated text, in nats per token, before and after training."""

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
    """The expected gain from more training examples.

    Attributes:
        rows: Training examples in all.
        more: The number of new ones.
        gain: The gain over the score of all present ones.
        low, high: Its 90 % interval.
        why_not: Why it is unknown; empty: it is known.
    """

    rows: int
    more: int
    gain: float
    low: float
    high: float
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The score by number of training examples.

    Attributes:
        metric: The score as counted here: higher is better, so losses are negative.
        scores: By size, the last with all training examples.
        gains: The expected gains from more examples, nearest first.
        why_not: Why there is no curve; empty: there is one.
    """

    arm: str
    metric: str
    scores: tuple[CurveScore, ...] = ()
    gains: tuple[Gain, ...] = ()
    why_not: str = ""
