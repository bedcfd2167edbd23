"""The interface of a loaded run: texts in, predictions out."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tailorbird.records import TaskName


@dataclass(frozen=True, slots=True)
class PredictorSpec:
    """The inputs and outputs of a loaded run.

    Attributes:
        labels: Class names in the order of the probabilities; for regression the targets' names;
            empty for generation.
        pairs: Whether an input is a pair of texts.
        streams: Whether an answer can be streamed as it is generated.
        learns: Whether labelled examples can be added, effective at once.
    """

    task: TaskName
    labels: tuple[str, ...] = ()
    pairs: bool = False
    streams: bool = False
    learns: bool = False


class Predictor(ABC):
    """A loaded run; thread-safe. A context manager.

    Attributes:
        name: The run's folder.
    """

    name: str

    @property
    @abstractmethod
    def spec(self) -> PredictorSpec:
        """The inputs and outputs of the run."""

    @abstractmethod
    def predict(self, inputs: Sequence[Any], title: str = "") -> list[Any]:
        """Return one prediction per input.

        Args:
            inputs: Texts, pairs of texts or prompts; see `spec`.
            title: Title of the progress bar; empty: no bar.

        Returns:
            One `Prediction`, `LabelSet`, `Value`, `Tagged` or `GeneratedText` per input.

        Raises:
            UserError: An input has another kind than the run reads.
        """

    @abstractmethod
    def stream(self, text: Any) -> Iterator[str]:
        """Yield the answer to one prompt piece by piece as it is generated.

        Raises:
            UserError: The run does not generate text.
        """

    def sampled(self, **settings: Any) -> "Predictor":
        """Return a predictor with other generation settings; itself without generation."""
        return self

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Free the memory; the predictor cannot be used afterwards."""

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()
