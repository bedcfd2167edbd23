"""Documents and an embedder for the tests of knowledge bases: real tokenizer, vectors of words."""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from tailorbird.rag.embed import Embedded
from tailorbird.records import Document, Mark


class WordVectors:
    """Sums of fixed random vectors, one per word; `embedded` counts the texts."""

    dimension = 32

    def __init__(self, name: str = "words") -> None:
        from tailorbird.config.schema import ModelConfig
        from tailorbird.models.load import load_tokenizer

        self.name, self.embedded, self.fingerprint = name, 0, name
        self.tokenizer = load_tokenizer(ModelConfig(name="builtin:minilm"))

    def embed_documents(self, texts: Sequence[str], title: str = "") -> Embedded:
        self.embedded += len(texts)
        # The empty word is in every text, so that no sum is nothing.
        sums = [sum((_word(self.name, w) for w in t.split()), _word("", "")) for t in texts]
        found = np.stack(sums)
        return Embedded((found / np.linalg.norm(found, axis=1, keepdims=True)).astype("f4"), 0.0)

    embed_queries = embed_documents


@cache
def _word(name: str, word: str) -> Any:
    seed = int.from_bytes(hashlib.sha256(f"{name} {word}".encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=WordVectors.dimension)


@cache
def load(name: str) -> Any:
    return WordVectors(name)


def document(source: str, number: int, sections: int = 6) -> Document:
    """Return a document whose every line says which version it is."""
    lines = [f"version {number} of {source} line {n} " + f"word{n} " * 12 for n in range(sections)]
    text = "\n\n".join(lines)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Document(source, text, source, (Mark(0),), {"number": number}, digest)
