"""Records of retrieval: documents, chunks, hits, passages and answers."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mark:
    """Page and headings of a document's text from an offset on.

    Attributes:
        start: Offset in the document's text, in characters.
        page: Page, slide or sheet, counted from 1; None if the kind has none.
        headings: Path of headings above this place, the outermost first.
    """

    start: int
    page: int | None = None
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a knowledge base.

    Attributes:
        source: Its unique name in a knowledge base: a file's path, or the path with ``#`` and the
            row's id for files of many documents.
        marks: Starts of pages and headings, by offset; the first is at 0.
        metadata: Values for filters: ``path``, ``kind``, ``modified`` (ISO 8601) and the user's
            columns or front matter.
        digest: Hash of all of the above but ``modified``: equal if nothing has changed.
    """

    source: str
    text: str
    title: str = ""
    marks: tuple[Mark, ...] = ()
    metadata: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, the unit of embedding and search.

    Attributes:
        id: 32 hex digits: hash of source, position and text.
        position: Its number in the document, from 0.
        text: ``document.text[start:end]``, verbatim.
        title: The document's title, cut so that half of the chunk's tokens remain for the text.
        headings: Path of headings at its first character; without room for all, the outermost are
            dropped first.
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
    """A retrieved chunk.

    Attributes:
        score: Its ranking score, higher is better.
        dense: Cosine similarity to the question; None if the dense search did not find it.
        words: BM25; None if the word search did not find it.
        reranked: A cross-encoder's score, if it was reranked.
    """

    chunk: Chunk
    score: float
    dense: float | None = None
    words: float | None = None
    reranked: float | None = None
    metadata: dict[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """Joined neighbouring hits of one document: the unit of prompts and citations.

    Attributes:
        number: Its number in citations, from 1; 0 if it has none.
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
    """The place that supports a sentence; offsets are in the document's text."""

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
    """One sentence of an answer, with the result of its check.

    Attributes:
        citations: Its confirmed citations.
        wrong: Cited numbers that do not exist, or whose passage does not support it.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    supported: bool = False
    wrong: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer from a knowledge base.

    Attributes:
        searched: The search query: the question, rewritten with the conversation.
        dropped: Retrieved passages left out of the prompt, each with the reason.
        refused: Whether it is a refusal.
        why: The reason of a refusal; empty otherwise.
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
