"""What a comparison on questions found: documents, fine-tuning, or both."""

from dataclasses import dataclass, field
from typing import Any

from tailorbird.records.scores import Score
from tailorbird.records.tuning import Status


@dataclass(frozen=True, slots=True)
class QuestionCost:
    """What an arm costs; None where it does not apply.

    Attributes:
        answer_seconds: Of 1,000 questions, passages found included.
        prompt_tokens, answer_tokens: Of 1,000 questions, read and written.
        train_seconds: Of its training, or of the training of the weights that it takes.
    """

    answer_seconds: float
    prompt_tokens: float = 0.0
    answer_tokens: float = 0.0
    train_seconds: float | None = None
    peak_memory_bytes: int | None = None
    artifact_bytes: int | None = None

    def total_seconds(self, questions: int) -> float:
        """Return the seconds of training and of answering so many questions."""
        return (self.train_seconds or 0.0) + self.answer_seconds * questions / 1000


@dataclass(frozen=True, slots=True)
class ChangeScores:
    """How an arm answers after the documents changed, without training again.

    Attributes:
        before: Share of the changed questions that it answered rightly before.
        current, stale, other: Shares that give the new answer, the old one, anything else.
        control: By how much its share of right answers to untouched questions moved; None where
            the change touches all.
    """

    before: Score
    current: Score
    stale: Score
    other: Score
    control: Score | None


@dataclass(frozen=True, slots=True)
class QuestionArmReport:
    """How one way of answering fared.

    Attributes:
        scores: By name: ``answer_match`` and what stands beside it.
        failures: Answers that are not right, by where it went wrong.
        change: After the documents changed; None where that was not tested.
        bound: Whether it is given the right passage: never recommended.
        floor: Whether it is there to be beaten.
        retrieves: Whether it reads what is found.
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
class ShownAnswer:
    """What an arm answered to one question, and the mark that it got."""

    arm: str
    text: str
    outcome: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """A question about which arms disagree.

    Attributes:
        passages: What was found: heading, text, and whether it holds the answer.
        stale: The answer before a change; empty where nothing changed.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    passages: tuple[tuple[str, str, bool], ...]
    given: tuple[ShownAnswer, ...]
    stale: str = ""


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From how many questions on an arm that was trained has cost no more than one that was not.

    Attributes:
        questions: None: never, for it also answers more slowly.
    """

    trained: str
    untrained: str
    questions: float | None


@dataclass(frozen=True, slots=True)
class QuestionSections:
    """What the report of a comparison on questions has of its own.

    Attributes:
        hits: Of the retriever, by name: the answer, or the right document, among the first k.
        contamination: What may make an arm look better than it is: shares by name.
        budget: What was chosen to fit this machine, in words.
        reindex_seconds: Of bringing the knowledge base up to date with the change.
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
    disagreements: tuple[ShownQuestion, ...] = ()
    price_per_hour: float | None = None
    notes: tuple[str, ...] = ()
