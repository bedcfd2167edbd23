"""Documents, chunks, hits and answers: what retrieval hands on."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mark:
    """From where in a document's text on something holds: its page, its headings.

    Attributes:
        start: Offset in the document's text, in characters.
        page: Page, slide or sheet, counted from 1; None where the kind has none.
        headings: Trail of headings above this place, the outermost first.
    """

    start: int
    page: int | None = None
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a knowledge base.

    Attributes:
        source: What it is known by, once in a knowledge base: a file's path, or the path with
            ``#`` and the row's id for files of many documents.
        marks: Where pages and headings begin, by offset; the first stands at 0.
        metadata: What filters may ask for: ``path``, ``kind``, ``modified`` (ISO 8601) and the
            columns or front matter of the user.
        digest: Hash of all of the above but ``modified``: equal when nothing has changed.
    """

    source: str
    text: str
    title: str = ""
    marks: tuple[Mark, ...] = ()
    metadata: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, the unit that is embedded and found.

    Attributes:
        id: 32 hex digits: hash of source, position and text.
        position: Its number in the document, from 0.
        text: ``document.text[start:end]``, to the letter.
        title: The document's title; what of it leaves half of the chunk's tokens to the text.
        headings: Trail of headings at its first character; the outermost go first where there is
            no room for all.
        tokens: Length in the embedder's tokens, title and headings included.
    """

    id: str
    source: str
    position: int
    text: str
    start: int
    end: int
    title: str = ""
    page: int | None = None
    headings: tuple[str, ...] = ()
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found.

    Attributes:
        score: What it is ranked by, higher is better.
        dense: Cosine similarity to the question; None where that side did not find it.
        words: BM25; None where that side did not find it.
        reranked: A cross-encoder's score, where one ranked.
    """

    chunk: Chunk
    score: float
    dense: float | None = None
    words: float | None = None
    reranked: float | None = None
    metadata: dict[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """Neighbouring hits of one document joined: what a prompt or an answer cites.

    Attributes:
        number: What a citation names, from 1; 0 while it has none.
        text: ``document.text[start:end]``.
        score: The best of its hits'.
        dense: The best cosine similarity of its hits.
        words: The best BM25 of its hits.
    """

    number: int
    source: str
    title: str
    text: str
    start: int
    end: int
    score: float
    page: int | None = None
    headings: tuple[str, ...] = ()
    chunks: tuple[str, ...] = ()
    dense: float | None = None
    words: float | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a sentence has its support: offsets are of the document's text."""

    number: int
    source: str
    title: str
    page: int | None
    headings: tuple[str, ...]
    start: int
    end: int
    quote: str
    support: float


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of an answer, with what was checked of it.

    Attributes:
        citations: Those that stood the check.
        wrong: Numbers it cited that were not supplied, or whose passage does not say it.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    supported: bool = False
    wrong: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer from a knowledge base.

    Attributes:
        searched: What was searched for: the question, rewritten with the conversation.
        dropped: Passages that were found and not given, each with the reason.
        refused: Whether it says that it does not know.
        why: Why it refused; empty otherwise.
        generator: ``extractive``, a run, a model or an endpoint.
        prompt_tokens: Length of the prompt; 0 without one.
    """

    question: str
    searched: str
    text: str
    claims: tuple[Claim, ...] = ()
    passages: tuple[Passage, ...] = ()
    dropped: tuple[tuple[Passage, str], ...] = ()
    refused: bool = False
    why: str = ""
    generator: str = "extractive"
    prompt_tokens: int = 0
    seconds: float = 0.0
