"""The input of every question arm: the same questions with their retrieved passages."""

from dataclasses import dataclass, field

from tailorbird.runs.folder import RunFolder

QUESTION_SET, ANSWERS = "data/questions.json", "answers.json"


@dataclass(frozen=True, slots=True)
class PromptPassage:
    """A passage in a prompt.

    Attributes:
        source: Its document.
        heading: Title and headings.
        answers: Whether it contains a correct answer.
    """

    source: str
    heading: str
    text: str
    answers: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its retrieved passages.

    Attributes:
        found: The retrieved passages, best first: more than are shown, for training without the
            relevant one.
        gold: A passage with the answer, from the relevant document if that is known; None if there
            is none.
        shots: Similar training questions with their answers, most similar first.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    answerable: bool
    found: tuple[PromptPassage, ...] = ()
    gold: PromptPassage | None = None
    shots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """All questions of a comparison.

    Attributes:
        passages: The number of retrieved passages before a question.
        changed: Test questions after the change of documents, with new answers and passages.
        unchanged: Test questions unaffected by the change, with passages retrieved after it.
        store: The knowledge base; `changed_store`: the one after the change.
    """

    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    test: tuple[Item, ...]
    passages: int
    store: str
    changed: tuple[Item, ...] = ()
    unchanged: tuple[Item, ...] = ()
    changed_store: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One answer.

    Attributes:
        text: The raw answer.
        prompt_tokens, tokens: Numbers of prompt and generated tokens; 0 without a model.
        shown: The number of passages that fitted into the prompt.
    """

    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    shown: int = 0


@dataclass(frozen=True, slots=True)
class ArmAnswers:
    """An arm's answers and their cost.

    Attributes:
        test, changed, unchanged: Answers in the order of the question set.
        seconds: Time to answer the test questions.
        load_seconds: Time before the first of them.
        train_seconds: Time of its own training, or None.
        settings: Tuned settings: RAFT's share, the method's options.
        notes: Remarks in words.
    """

    test: tuple[Output, ...]
    changed: tuple[Output, ...] = ()
    unchanged: tuple[Output, ...] = ()
    seconds: float = 0.0
    load_seconds: float = 0.0
    train_seconds: float | None = None
    peak_memory_bytes: int | None = None
    artifact_bytes: int | None = None
    settings: dict[str, str | float | int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_question_set(run: RunFolder) -> QuestionSet:
    """Return a run's questions.

    Raises:
        UserError: They are missing or damaged.
    """
    return run.read_as(QUESTION_SET, QuestionSet)


def read_outputs(folder: RunFolder) -> ArmAnswers | None:
    """Return an arm's saved answers; None if it did not finish."""
    return folder.read_as(ANSWERS, ArmAnswers) if folder.file(ANSWERS).is_file() else None
