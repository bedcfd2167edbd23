"""Loads and caches the embedders of a knowledge base, by name."""

import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from tailorbird.errors import UserError
from tailorbird.knowledge.ledger import Generation

_OWN = ("embedders/", "rerankers/")

LoadEmbedder = Callable[[str], Any]
"""Loads a model by name or folder; the model has `embed_documents`, `embed_queries`, `tokenizer`,
`dimension` and `fingerprint`."""


def load_embedder(name: str, few: bool = False) -> Any:
    """Load an embedder; for `few`, see `models.embed.open_embedder`."""
    from tailorbird.config.schema import ModelConfig
    from tailorbird.models.embed import open_embedder

    return open_embedder(ModelConfig(name=name), few)


class NoVectorError(UserError):
    """An embedder returned no finite numbers for some texts."""

    def __init__(self, embedder: str, texts: Collection[str]) -> None:
        one = shorten(min(texts), 80, placeholder=" ...")
        super().__init__(
            f"{embedder} gives no valid vector (not a number) for {len(texts):,} texts, such as: "
            f"{one}",
            "leave them out, or embed with another model: --embedder",
        )
        self.texts = frozenset(texts)


class Embedders:
    """Embedders by their names in the ledger.

    Args:
        folder: The knowledge base; paths of models inside it are relative, so that both can be
            moved.
    """

    def __init__(self, folder: Path, load: LoadEmbedder) -> None:
        self._folder, self._load = folder, load
        self._loaded: dict[str, Any] = {}
        self._guard = threading.Lock()

    def named(self, name: str) -> Any:
        """Return a model by name, loaded once."""
        inside = self._folder.resolve() / name
        place = str(inside) if name.startswith(_OWN) and inside.is_dir() else name
        with self._guard:
            if name not in self._loaded:
                self._loaded[name] = self._load(place)
            return self._loaded[name]

    def name_of(self, model: str) -> str:
        """Return a model's name in the ledger."""
        try:
            inside = Path(model).resolve().relative_to(self._folder.resolve()).as_posix()
        except ValueError:
            return model
        return inside if inside.startswith(_OWN) else model

    def of(self, generation: Generation) -> Any:
        """Return a generation's model.

        Raises:
            UserError: It cannot be loaded, or its weights have changed, so that vectors would not
                match.
        """
        model = self.named(generation.embedder)
        if generation.fingerprint not in ("", model.fingerprint):
            name, folder = generation.embedder, self._folder
            raise UserError(
                f"the weights of {name} have changed since it embedded {folder}",
                f"embed again: tailor index --store {folder} --embedder {name}",
            )
        return model

    def embed(
        self, generation: Generation, texts: Mapping[bytes, str], title: str = ""
    ) -> dict[bytes, np.ndarray]:
        """Return the vectors of texts by their hashes.

        Raises:
            NoVectorError: The model returns no finite vector for a text, which no search could
                find.
        """
        if not texts:
            return {}
        vectors = self.of(generation).embed_documents(list(texts.values()), title).vectors
        usable = np.isfinite(vectors).all(axis=1)
        if not usable.all():
            bad = [text for text, use in zip(texts.values(), usable, strict=True) if not use]
            raise NoVectorError(generation.embedder, bad)
        return dict(zip(texts, vectors, strict=True))
