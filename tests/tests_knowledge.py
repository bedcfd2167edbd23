"""Documents and an embedder for the tests of knowledge bases: real tokenizer, vectors of words."""

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.models.embed import Embedded
from tailorbird.records import Document, Mark


class FastTokenizer:
    """The builtin embedder's tokenizer, without the seconds of importing transformers."""

    model_max_length = 512

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        from tailorbird.models.builtin import resolve

        place = Path(resolve("builtin:minilm")) / "tokenizer.json"
        self.backend_tokenizer = Tokenizer.from_file(str(place))

    def num_special_tokens_to_add(self, pair: bool) -> int:
        return int(self.backend_tokenizer.num_special_tokens_to_add(pair))


class WordVectors:
    """Sums of fixed random vectors, one per word; `embedded` counts the texts."""

    dimension = 32

    def __init__(self, name: str = "words") -> None:
        self.name, self.embedded, self.fingerprint = name, 0, name
        self.tokenizer = tokenizer()

    def embed_documents(self, texts: Sequence[str], title: str = "") -> Embedded:
        self.embedded += len(texts)
        # The empty word is in every text, so that no sum is nothing.
        sums = [sum((_word(self.name, w) for w in t.split()), _word("", "")) for t in texts]
        found = np.stack(sums)
        return Embedded((found / np.linalg.norm(found, axis=1, keepdims=True)).astype("f4"), 0.0)

    embed_queries = embed_documents


@cache
def tokenizer() -> FastTokenizer:
    return FastTokenizer()


@cache
def _word(name: str, word: str) -> Any:
    seed = int.from_bytes(hashlib.sha256(f"{name} {word}".encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=WordVectors.dimension)


@cache
def load(name: str) -> Any:
    return WordVectors(name)


def without_vectors_of(word: str) -> Callable[..., Embedded]:
    """Return a method of an embedder that gives no numbers for texts with a word."""
    plain = load("words").embed_documents

    def embed(texts: Sequence[str], title: str = "") -> Embedded:
        embedded: Embedded = plain(texts, title)
        embedded.vectors[[word in text for text in texts]] = np.nan
        return embedded

    return embed


def document(source: str, number: int, sections: int = 6) -> Document:
    """Return a document whose every line says which version it is."""
    lines = [f"version {number} of {source} line {n} " + f"word{n} " * 12 for n in range(sections)]
    text = "\n\n".join(lines)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Document(source, text, source, (Mark(0),), {"number": number}, digest)


def versions(kb: KnowledgeFolder) -> dict[str, set[str]]:
    """Return the versions that a reader sees of every document; whole ones have one."""
    with kb.reading() as view:
        found = {}
        for source in view.sources():
            chunks, text = view.chunks(source), view.text(source)
            assert all(text[c.start : c.end] == c.text for c in chunks)
            assert chunks[-1].end == len(text.rstrip()) and chunks[0].start == 0
            found[source] = set(re.findall(r"version (\d+) of", text))
        return found
