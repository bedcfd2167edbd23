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
        count: How many examples are in it.
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
        prompt: What was asked, without the chat template's tokens.
        reference: The answer in the data.
        output: The answer that was generated.
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
