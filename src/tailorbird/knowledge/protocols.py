"""What retrieval needs of a knowledge base: one unchanging look at it, and what is kept there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tailorbird.models.embed import Embedded
from tailorbird.records import Chunk, Hit


class EmbedsQuestions(Protocol):
    """The side of an embedder that questions meet."""

    def embed_queries(self, questions: Sequence[str], title: str = "") -> Embedded:
        """Return the vectors of questions."""
        ...


class View(Protocol):
    """One snapshot: what is found, read and cited here belongs together."""

    @property
    def embedder(self) -> EmbedsQuestions:
        """The model whose vectors are searched here."""
        ...

    def nearest(self, vector: np.ndarray, k: int, where: str | None = None) -> list[Hit]:
        """Return the chunks most like a unit vector ``[d]``, by cosine, best first."""
        ...

    def matching(self, question: str, k: int, where: str | None = None) -> list[Hit]:
        """Return the chunks that match the words best, by BM25, best first."""
        ...

    def neighbours(self, chunk: Chunk, n: int) -> list[Chunk]:
        """Return up to `n` chunks of its document before and after a chunk, in order."""
        ...

    def sources(self) -> list[str]:
        """Return the sources of all documents, sorted."""
        ...

    def text(self, source: str) -> str:
        """Return a document's text, to which the chunks' offsets belong."""
        ...

    def vectors(self, hits: Sequence[Hit]) -> np.ndarray:
        """Return the chunks' unit vectors ``[n, d]``."""
        ...


class Knowledge(Protocol):
    """A knowledge base as a retriever sees it."""

    folder: Path

    @property
    def embedder(self) -> EmbedsQuestions:
        """The model that its chunks were embedded with."""
        ...

    def reading(self) -> AbstractContextManager[View]:
        """Return a look at it that no writer changes."""
        ...

    def get_setting(self, name: str) -> Any:
        """Return a value that was kept, None where there is none."""
        ...
