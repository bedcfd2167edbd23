"""What a run is when it is loaded: it takes texts and gives answers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tailorbird.records import TaskName


@dataclass(frozen=True, slots=True)
class PredictorSpec:
    """What a loaded run takes and gives.

    Attributes:
        labels: Class names in the order of the probabilities; of regression the targets' names;
            empty where answers are written.
        pairs: Whether an input is two texts.
        streams: Whether an answer can be had piece by piece as it is written.
        learns: Whether labelled examples can be added that count at once.
    """

    task: TaskName
    labels: tuple[str, ...] = ()
    pairs: bool = False
    streams: bool = False
    learns: bool = False


class Predictor(ABC):
    """A loaded run; safe to call from several threads. A context manager.

    Attributes:
        name: The run's folder.
    """

    name: str

    @property
    @abstractmethod
    def spec(self) -> PredictorSpec:
        """What it takes and gives."""

    @abstractmethod
    def predict(self, inputs: Sequence[Any], title: str = "") -> list[Any]:
        """Return one answer per input.

        Args:
            inputs: Texts, pairs of texts or prompts; see `spec`.
            title: Of the progress bar; empty: none.

        Returns:
            One `Prediction`, `LabelSet`, `Value`, `Tagged` or `WrittenPrediction` per input.

        Raises:
            UserError: An input is not what the run reads.
        """

    @abstractmethod
    def stream(self, text: Any) -> Iterator[str]:
        """Yield the answer to one prompt piece by piece as it is written.

        Raises:
            UserError: The run does not write.
        """

    def sampled(self, **settings: Any) -> "Predictor":
        """Return one that writes otherwise (`temperature`, `max_new_tokens` ...); else itself."""
        return self

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Free what it holds in memory; nothing can be predicted afterwards."""

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()
