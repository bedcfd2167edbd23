"""Records of a comparison on questions: retrieval, fine-tuning, or both."""

from dataclasses import dataclass, field
from typing import Any

from tailorbird.records.scores import Score
from tailorbird.records.tuning import Status


@dataclass(frozen=True, slots=True)
class QuestionCost:
    """The cost of an arm; None where not applicable.

    Attributes:
        answer_seconds: For 1,000 questions, including retrieval.
        prompt_tokens, answer_tokens: For 1,000 questions.
        train_seconds: Of its training, or of the training of the weights that it uses.
    """

    answer_seconds: float
    prompt_tokens: float = 0.0
    answer_tokens: float = 0.0
    train_seconds: float | None = None
    peak_memory_bytes: int | None = None
    artifact_bytes: int | None = None

    def total_seconds(self, questions: int) -> float:
        """Return the seconds of training and of answering `questions` questions."""
        return (self.train_seconds or 0.0) + self.answer_seconds * questions / 1000


@dataclass(frozen=True, slots=True)
class ChangeScores:
    """An arm's answers after the documents changed, without training again.

    Attributes:
        before: Share of the changed questions answered correctly before.
        current, stale, other: Shares of answers with the new answer, the old one, anything else.
        control: Change in the share of correct answers to unaffected questions; None if the change
            affects all.
    """

    before: Score
    current: Score
    stale: Score
    other: Score
    control: Score | None


@dataclass(frozen=True, slots=True)
class QuestionArmReport:
    """The results of one way of answering.

    Attributes:
        scores: By name: ``answer_match`` and further metrics.
        failures: Numbers of wrong answers, by kind of failure.
        change: After the documents changed; None if not tested.
        bound: Whether it gets the relevant passage: never recommended.
        floor: Whether it is a baseline to beat.
        retrieves: Whether it uses retrieved passages.
    """

    name: str
    words: str
    status: Status
    why: str = ""
    scores: dict[str, Score] = field(default_factory=dict)
    mean_words: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    cost: QuestionCost | None = None
    change: ChangeScores | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bound: bool = False
    floor: bool = False
    retrieves: bool = False
    method: str | None = None


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """An arm's answer to one question, with its mark."""

    arm: str
    text: str
    outcome: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class SampleQuestion:
    """A question on which arms disagree.

    Attributes:
        passages: Retrieved passages: heading, text, and whether it contains the answer.
        stale: The answer before a change; empty without one.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    passages: tuple[tuple[str, str, bool], ...]
    given: tuple[SampleAnswer, ...]
    stale: str = ""


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The number of questions from which a trained arm costs no more than an untrained one.

    Attributes:
        questions: None: never, since it also answers more slowly.
    """

    trained: str
    untrained: str
    questions: float | None


@dataclass(frozen=True, slots=True)
class QuestionSections:
    """The sections of a report on questions.

    Attributes:
        hits: Of the retriever, by name: the answer, or the relevant document, in the top k.
        contamination: What may make an arm look better than it is: shares by name.
        budget: Amounts chosen for this machine, in words.
        reindex_seconds: Time to update the knowledge base after the change.
    """

    source: str
    store: str
    counts: dict[str, int]
    how: str
    passages: int
    hits: dict[str, Score]
    contamination: dict[str, float]
    budget: tuple[str, ...]
    change_words: str = ""
    reindex_seconds: float | None = None
    break_even: tuple[BreakEven, ...] = ()
    disagreements: tuple[SampleQuestion, ...] = ()
    price_per_hour: float | None = None
    notes: tuple[str, ...] = ()
