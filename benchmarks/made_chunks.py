"""Chunks with ready vectors for the benchmarks of the store: topics, and words as in real texts."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from tailorbird.documents.chunk import chunk_id
from tailorbird.documents.chunk_context import contextual_text
from tailorbird.knowledge.ledger import PendingDocument
from tailorbird.models.embed import Embedded
from tailorbird.records import Chunk, Document

DIMENSION = 384
PER_DOCUMENT = 5
WORDS = 110  # in a chunk: 150 tokens of English
TOPICS = 200
_VOCABULARY, _OWN = 50_000, 400
# Real ones at the head: a word index leaves them out, as it does with real texts.
_COMMON_WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had
an they which you were all their one we can has there been if more when will would who so no
"""
_COMMON = _COMMON_WORDS.split()
_SPREAD = 1.1  # cosine between two texts of a topic: 1 / (1 + 1.1 * 1.1) = 0.45


@dataclass(frozen=True)
class Ready:
    """Documents of some chunks each, and the vectors that an embedder would have made of them."""

    prepared: tuple[PendingDocument, ...]
    vectors: dict[str, np.ndarray]


class ReadyVectors:
    """An embedder that looks up what was made: embedding is left out of what is measured."""

    name, dimension, fingerprint = "ready", DIMENSION, "ready"
    tokenizer = SimpleNamespace(model_max_length=512)

    def __init__(self) -> None:
        self.known: dict[str, np.ndarray] = {}

    def embed_documents(self, texts: Sequence[str], title: str = "") -> Embedded:
        """Return the vectors given for these texts."""
        return Embedded(np.stack([self.known[text] for text in texts]), 0.0)

    embed_queries = embed_documents


class Maker:
    """Makes the same documents for the same numbers, one block at a time.

    Words follow Zipf's law (exponent 1.07); a third of a text's words are its topic's own. Vectors
    lie around their topic's centre.
    """

    def __init__(self, seed: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self.words = np.asarray(_vocabulary(rng))
        weights = 1.0 / (np.arange(_VOCABULARY) + 2.7) ** 1.07
        self.chances = np.cumsum(weights / weights.sum())
        self.centres = _unit(rng.normal(size=(TOPICS, DIMENSION)))
        self.own = rng.integers(len(_COMMON), _VOCABULARY, size=(TOPICS, _OWN))

    def blocks(self, chunks: int, block: int = 2000) -> Iterator[Ready]:
        """Yield documents of `chunks` chunks together, about `block` at a time."""
        documents = chunks // PER_DOCUMENT
        step = block // PER_DOCUMENT
        for first in range(0, documents, step):
            yield self.documents(range(first, min(first + step, documents)))

    def documents(self, numbers: Sequence[int], version: int = 0) -> Ready:
        """Return documents by number; another version has other texts of the same topic."""
        rng = np.random.default_rng([numbers[0], len(numbers), version])
        topics = rng.integers(TOPICS, size=len(numbers))
        count = len(numbers) * PER_DOCUMENT
        texts = self._texts(rng, np.repeat(topics, PER_DOCUMENT))
        vectors = self.vectors(rng, np.repeat(topics, PER_DOCUMENT))
        prepared, known = [], {}
        for place, number in enumerate(numbers):
            here = slice(place * PER_DOCUMENT, (place + 1) * PER_DOCUMENT)
            one = _prepared(f"doc-{number}.md", f"Document {number}", texts[here])
            prepared.append(one)
            known |= dict(zip(one.texts, vectors[here], strict=True))
        assert len(known) == count
        return Ready(tuple(prepared), known)

    def questions(self, count: int, seed: int) -> list[tuple[str, np.ndarray]]:
        """Return questions of ten words of a topic's text, each with a vector near the topic."""
        rng = np.random.default_rng(seed)
        topics = rng.integers(TOPICS, size=count)
        texts = self._texts(rng, topics)
        vectors = self.vectors(rng, topics)
        return [(" ".join(t.split()[:10]), v) for t, v in zip(texts, vectors, strict=True)]

    def vectors(self, rng: np.random.Generator, topics: np.ndarray) -> np.ndarray:
        """Return unit vectors ``[n, d]`` around the topics' centres."""
        noise = _unit(rng.normal(size=(len(topics), DIMENSION)))
        return _unit(self.centres[topics] + _SPREAD * noise).astype(np.float32)

    def _texts(self, rng: np.random.Generator, topics: np.ndarray) -> list[str]:
        drawn = np.searchsorted(self.chances, rng.random((len(topics), WORDS)))
        drawn = drawn.clip(max=_VOCABULARY - 1)
        # A topic's own words are unevenly common as well.
        places = (_OWN * rng.random((len(topics), WORDS)) ** 3).astype(np.int64)
        own = self.own[topics[:, None], places]
        chosen = np.where(rng.random((len(topics), WORDS)) < 1 / 3, own, drawn)
        return [" ".join(row) for row in self.words[chosen].tolist()]


def _prepared(source: str, title: str, texts: Sequence[str]) -> PendingDocument:
    body = "\n\n".join(texts)
    chunks, start = [], 0
    for position, text in enumerate(texts):
        end = start + len(text)
        name = chunk_id(source, position, text)
        chunks.append(
            Chunk(name, source, position, text, start, end, title, tokens=len(text.split()))
        )
        start = end + 2
    digest = hashlib.sha256(body.encode()).hexdigest()
    document = Document(source, body, title, (), {"number": int(digest[:6], 16)}, digest)
    said = tuple(contextual_text(chunk) for chunk in chunks)
    return PendingDocument(document, source, tuple(chunks), said, "default/32")


def _vocabulary(rng: np.random.Generator) -> list[str]:
    starts, vowels, ends = "bcdfghjklmnprstvwz", "aeiou", ["", "n", "r", "s", "ng", "ted", "tion"]
    words = dict.fromkeys(_COMMON)
    while len(words) < _VOCABULARY:
        length = int(rng.integers(1, 4))
        syllables = ["".join(_syllable(rng, starts, vowels)) for _ in range(length)]
        words["".join(syllables) + ends[int(rng.integers(len(ends)))]] = None
    return list(words)


def _syllable(rng: np.random.Generator, starts: str, vowels: str) -> tuple[str, str]:
    return starts[int(rng.integers(len(starts)))], vowels[int(rng.integers(len(vowels)))]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
