"""A loaded run that predicts labels or numbers, whatever computes its outputs."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from tailorbird.arms.predictor import Predictor, PredictorSpec
from tailorbird.data.encode import Text, words_of
from tailorbird.errors import UserError, check_utf8
from tailorbird.records import Neighbour, Target
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.predictions import check_texts
from tailorbird.tasks.registry import head_task


class OutputSource(ABC):
    """Computes the probabilities, or values, of a `HeadPredictor`.

    Attributes:
        target: The meaning of the outputs.
    """

    target: Target
    learns = False
    parallel = False
    """Whether several threads may compute at once."""

    @property
    def labels(self) -> Sequence[str]:
        """The names of the outputs, in their order."""
        return self.target.labels

    @abstractmethod
    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """Return ``[n, outputs]``, or ``[words, outputs]`` if each word has a label."""

    def near(self, texts: Sequence[Text]) -> Sequence[tuple[Neighbour, ...]]:
        """Return the labelled examples that voted on each text."""
        return [()] * len(texts)

    def add(self, texts: Sequence[str], labels: Sequence[str]) -> list[str]:
        """Add labelled examples, effective at once; return all labels of the source."""
        raise NotImplementedError

    def remove(self, text: str, label: str) -> None:
        """Remove the latest added example with a text and a label."""
        raise NotImplementedError

    def save(self) -> None:  # noqa: B027 - most have nothing to do
        """Save added examples to the folder."""


class HeadPredictor(Predictor):
    """A loaded run that predicts labels or numbers.

    Attributes:
        labels: Class names in the order of the probabilities; for regression the targets' names.
    """

    def __init__(self, folder: RunFolder, source: OutputSource) -> None:
        self.name, self.target, self.source = str(folder.path), source.target, source
        self.labels = list(source.labels)
        self._lock = threading.RLock()
        self._asking: AbstractContextManager[Any] = nullcontext() if source.parallel else self._lock

    @property
    def spec(self) -> PredictorSpec:
        """See `Predictor.spec`."""
        labels, pairs = tuple(self.labels), self.target.pairs
        return PredictorSpec(self.target.task, labels, pairs, learns=self.source.learns)

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """Return probabilities ``[n, classes]`` in the order of `labels`; for regression values.

        Raises:
            UserError: The run reads pairs and these are single texts, or the other way round.
        """
        if not texts:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        check_texts(texts, self.target, self.name)
        with self._asking:
            return self.source.probabilities(texts, title)

    def predict(self, inputs: Sequence[Text], title: str = "") -> list[Any]:
        """Return one `Prediction`, `LabelSet`, `Value` or `Tagged` per text, or pair of texts."""
        task = head_task(self.target.task)
        with self._asking:
            outputs = task.by_text(self.probabilities(inputs, title), list(map(words_of, inputs)))
            near = self.source.near(inputs)
            target = replace(self.target, labels=tuple(self.labels))
        return [
            task.prediction(row, target, tuple(neighbours), text)
            for row, neighbours, text in zip(outputs, near, inputs, strict=True)
        ]

    def stream(self, text: Text) -> Iterator[str]:
        """Raise: labels and numbers are not generated piece by piece."""
        raise UserError(
            f"{self.name} gives labels or numbers and cannot generate text", "use `predict`"
        )

    def add(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Add labelled examples to a retrieval run, effective from the next prediction on.

        Raises:
            UserError: The run does not retrieve, or the lists differ in length.
        """
        if not self.source.learns:
            raise UserError(
                f"{self.name} learns only by training",
                "add examples to a rag run of one label each, or tune again",
            )
        if len(texts) != len(labels):
            raise UserError(f"{len(texts)} texts, but {len(labels)} labels", "give as many of both")
        check_utf8([*texts, *labels], "a text or label to add")
        with self._lock:
            self.labels = self.source.add(texts, labels)

    def remove(self, text: str, label: str) -> None:
        """Remove the latest added example with a text and a label.

        Raises:
            ValueError: There is none.
        """
        with self._lock:
            self.source.remove(text, label)

    def save(self) -> None:
        """Save added examples to the run folder."""
        with self._lock:
            self.source.save()
