"""The arm whose nearest examples vote: how often a text is embedded, and that nothing stays old."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tailorbird.arms.knn_vote import NeighboursSource
from tailorbird.models.embed import Embedded
from tailorbird.rag.labelled_vectors import LabelledVectors, VoteSettings
from tailorbird.records import Example


class Letters:
    """Embeds a text by its first letter, and counts what it embeds."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str], title: str = "") -> Embedded:
        self.texts += texts
        return Embedded(np.eye(3, dtype=np.float32)[["abc".index(t[0]) for t in texts]], 0.0)


def test_a_prediction_embeds_each_text_once() -> None:
    source: Any = object.__new__(NeighboursSource)
    source.embedder = Letters()
    examples = [Example("a1", "x"), Example("b1", "y"), Example("c1", "z")]
    source.memory = LabelledVectors(np.eye(3, dtype=np.float32), examples, ["x", "y", "z"])
    source.settings = VoteSettings(1, 0.1)
    source._last = ((), np.empty((0, 3), dtype=np.float32))
    texts = ["a", "b"]
    assert source.probabilities(texts).argmax(axis=1).tolist() == [0, 1]
    assert [near[0].label for near in source.near(texts)] == ["x", "y"]
    assert source.embedder.texts == ["a", "b"]
    # The same list with other texts in it is asked anew, and so is the same text a second time.
    source.probabilities(texts)
    texts[0] = "c"
    assert [near[0].label for near in source.near(texts)] == ["z", "y"]
    assert source.embedder.texts == ["a", "b", "a", "b", "c", "b"]
    assert [near[0].label for near in source.near(texts)] == ["z", "y"]
    assert source.probabilities(["b"]).argmax(axis=1).tolist() == [1]
