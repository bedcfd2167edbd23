"""What every arm is given: the same questions, with what was found for each."""

from dataclasses import dataclass, field

from tailorbird.runs.folder import RunFolder

SHEET, ANSWERS = "data/questions.json", "answers.json"


@dataclass(frozen=True, slots=True)
class PromptPassage:
    """A passage as it stands before a question.

    Attributes:
        source: Its document.
        heading: Title and headings.
        answers: Whether it holds a right answer.
    """

    source: str
    heading: str
    text: str
    answers: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One question with what was found for it.

    Attributes:
        found: What the retriever found, best first: more than are shown, for training without the
            right one.
        gold: A passage that holds the answer, of the right document where it is known; None where
            there is none.
        shots: Training questions like it with their answers, the most similar first.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    answerable: bool
    found: tuple[PromptPassage, ...] = ()
    gold: PromptPassage | None = None
    shots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """All questions of a comparison.

    Attributes:
        passages: How many of what was found stand before a question.
        changed: Test questions after the documents changed, their new answers and passages.
        unchanged: Test questions that the change does not touch, with what is found now.
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
        text: As it was written.
        prompt_tokens, tokens: Read and written; 0 where no model wrote.
        shown: Passages that fitted before the question.
    """

    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    shown: int = 0


@dataclass(frozen=True, slots=True)
class ArmAnswers:
    """What an arm leaves: its answers, and what they cost.

    Attributes:
        test, changed, unchanged: In the order of the sheet's.
        seconds: Of answering the test questions.
        load_seconds: Before the first of them.
        train_seconds: Of its own training; None where it has none.
        settings: What was chosen: RAFT's share, the method's options.
        notes: What to know of it, in words.
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


def read_sheet(run: RunFolder) -> Sheet:
    """Return a run's questions.

    Raises:
        UserError: They are missing or damaged.
    """
    return run.read_as(SHEET, Sheet)


def read_outputs(folder: RunFolder) -> ArmAnswers | None:
    """Return what an arm left; None where it did not come to its end."""
    return folder.read_as(ANSWERS, ArmAnswers) if folder.file(ANSWERS).is_file() else None
