"""Nearest-neighbour classification: the k most similar labelled examples vote by similarity.

The idea is that of nearest-neighbour language models (Khandelwal et al. 2020, arXiv 1911.00172)
applied to labels. Nothing is trained, so a new example counts at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from tailorbird.records import Example, Neighbour

_KS = (1, 3, 5, 10, 20, 50, 100)
_TEMPERATURES = (0.02, 0.05, 0.1, 0.2)
# A class without a neighbour is unlikely, not impossible: log-loss stays finite.
_SMOOTHING = 0.02
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class VoteSettings:
    """How neighbours vote: `k` of them, each with weight exp(similarity / temperature)."""

    k: int
    temperature: float


class LabelledVectors:
    """Unit vectors of labelled examples.

    Args:
        labels: Class names; index = class id. Empty for generation tasks, where neighbours are
            found but do not vote.
        values: ``[n, outputs]``: each example's target, if that is not one class; the output is
            their weighted mean.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        examples: Sequence[Example],
        labels: Sequence[str],
        values: np.ndarray | None = None,
    ) -> None:
        self.vectors = vectors
        self.examples = list(examples)
        self.labels = list(labels)
        self.values = values
        self._classes = self._class_ids()

    def add(self, vectors: np.ndarray, examples: Sequence[Example]) -> None:
        """Add examples, effective at once. A new label becomes a new class, the last one."""
        assert self.values is None, "only classes are added"
        for example in examples if self.labels else ():
            if _label(example) not in self.labels:
                self.labels.append(_label(example))
        self.vectors = np.concatenate([self.vectors, vectors])
        self.examples.extend(examples)
        self._classes = self._class_ids()

    def remove(self, text: str, label: str) -> None:
        """Remove the latest added example with a text and a label.

        Raises:
            ValueError: There is none.
        """
        own = [(e.text, _label(e)) for e in reversed(self.examples)].index((text, label))
        place = len(self.examples) - 1 - own
        self.vectors = np.delete(self.vectors, place, axis=0)
        del self.examples[place]
        self._classes = self._class_ids()

    def _class_ids(self) -> np.ndarray:
        if not self.labels or self.values is not None:
            return np.empty(0, dtype=np.int64)
        return np.asarray([self.labels.index(_label(e)) for e in self.examples])

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices and similarities ``[n, k]`` of the nearest examples, nearest first."""
        k = min(k, len(self.examples))
        indices = np.empty((len(queries), k), dtype=np.int64)
        similarities = np.empty((len(queries), k), dtype=np.float32)
        for start in range(0, len(queries), _BLOCK):
            scores = queries[start : start + _BLOCK] @ self.vectors.T
            top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            values = np.take_along_axis(scores, top, axis=1)
            # Ties keep the order of the examples, so that a run repeats exactly.
            order = np.lexsort((top, -values), axis=1)
            indices[start : start + _BLOCK] = np.take_along_axis(top, order, axis=1)
            similarities[start : start + _BLOCK] = np.take_along_axis(values, order, axis=1)
        return indices, similarities

    def probabilities(self, queries: np.ndarray, settings: VoteSettings) -> np.ndarray:
        """Return ``[n, classes]`` float32 class probabilities, or the mean of `values`."""
        indices, similarities = self.nearest(queries, settings.k)
        return self._vote(indices, similarities, settings)

    def neighbours(self, query: np.ndarray, k: int) -> tuple[Neighbour, ...]:
        """Return the `k` nearest examples of one vector ``[dimension]``."""
        indices, similarities = self.nearest(query[None], k)
        return tuple(
            Neighbour(e.text, _label(e), float(s), e.row)
            for e, s in zip((self.examples[i] for i in indices[0]), similarities[0], strict=True)
        )

    def choose(
        self,
        queries: np.ndarray,
        targets: np.ndarray,
        fixed: tuple[int | None, float | None],
        judge: Callable[[np.ndarray], tuple[float, float]] | None = None,
    ) -> VoteSettings:
        """Return the settings with the best accuracy on these examples, then the best log-loss.

        Args:
            queries: ``[n, dimension]`` vectors of validation examples.
            targets: ``[n]`` their class ids.
            fixed: (k, temperature) as set by the user; None: tuned here.
            judge: Scores outputs that are not classes; higher is better.
        """
        ks: Iterable[int] = [fixed[0]] if fixed[0] else [k for k in _KS if k <= len(self.examples)]
        temperatures = [fixed[1]] if fixed[1] else list(_TEMPERATURES)
        indices, similarities = self.nearest(queries, max(ks))
        rows = np.arange(len(targets))

        def quality(settings: VoteSettings) -> tuple[float, float]:
            k = settings.k
            answers = self._vote(indices[:, :k], similarities[:, :k], settings)
            if judge is not None:
                return judge(answers)
            right = float((answers.argmax(axis=1) == targets).mean())
            return right, float(np.log(answers[rows, targets]).mean())

        return max((VoteSettings(k, t) for k, t in product(ks, temperatures)), key=quality)

    def _vote(
        self, indices: np.ndarray, similarities: np.ndarray, settings: VoteSettings
    ) -> np.ndarray:
        weights = np.exp((similarities - similarities[:, :1]) / settings.temperature)
        if self.values is not None:
            shares = weights / weights.sum(axis=1, keepdims=True)
            mean: np.ndarray = np.einsum("nk,nko->no", shares, self.values[indices])
            return mean
        votes = np.zeros((len(indices), len(self.labels)))
        rows = np.repeat(np.arange(len(indices)), indices.shape[1])
        np.add.at(votes, (rows, self._classes[indices].ravel()), weights.ravel())
        votes /= votes.sum(axis=1, keepdims=True)
        return ((1 - _SMOOTHING) * votes + _SMOOTHING / len(self.labels)).astype(np.float32)


def _label(example: Example) -> str:
    assert example.label is not None, "a memory holds labelled examples"
    return example.label
