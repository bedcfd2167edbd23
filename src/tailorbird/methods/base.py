"""What every method is, and the few things several of them do."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tailorbird.config.schema import Config, MethodConfig
from tailorbird.errors import UserError
from tailorbird.models.device import Device
from tailorbird.models.load import Base

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Defaults:
    """A method's tuned defaults; docs/methods.md says where each number comes from.

    Attributes:
        learning_rate, epochs: For labels.
        bi_encoder_rate: For pairs whose texts are read one by one, where it is another.
        writing_factor: For answers in words, times full fine-tuning's rate.
        writing_rate: The rate itself, where it does not follow from the model's width.
        writing_epochs: For answers in words.
        cost: What training takes, times the quickest method's (README's table, rounded).
    """

    learning_rate: float
    epochs: float
    weight_decay: float = 0.0
    writing_factor: float = 1.0
    writing_rate: float | None = None
    writing_epochs: float = 2
    bi_encoder_rate: float | None = None
    cost: float = 1.0


class Method(Protocol):
    """One way of making a model trainable.

    A method owns its file format and nothing else: the loop, the data and the metrics are the
    same for all of them.
    """

    name: str
    defaults: Defaults

    def options(self, config: MethodConfig) -> dict[str, Any]:
        """Return the method's options with its defaults filled in."""
        ...

    def load_options(
        self, config: MethodConfig, head: tuple[str, ...], device: Device
    ) -> dict[str, Any]:
        """Return arguments for ``from_pretrained`` (for example quantisation)."""
        ...

    def attach(self, base: Base, config: Config) -> "nn.Module":
        """Return the model with exactly this method's parameters (and the head) trainable.

        Before the first step its output equals the base model's (prompt tuning excepted: its
        virtual tokens change the input).

        Raises:
            UserError: An option does not fit the model.
        """
        ...

    def save(self, model: "nn.Module", folder: Path) -> None:
        """Write what was trained, head included, in the method's standard format."""
        ...

    def load(self, base: Base, folder: Path) -> "nn.Module":
        """Return `base` with what `save` wrote, ready to predict exactly as the saved model did.

        Raises:
            UserError: The folder is incomplete or damaged.
        """
        ...

    def merge(self, model: "nn.Module") -> "nn.Module":
        """Return a plain model of the base's own class that predicts the same.

        Raises:
            UserError: The method has no merged form.
        """
        ...


def peft_task(base: Base) -> str:
    """Return what PEFT calls the base's task."""
    if base.per_word:
        return "TOKEN_CLS"
    return "CAUSAL_LM" if base.writes else "SEQ_CLS"


def freeze_all_but(model: "nn.Module", trained: tuple[str, ...]) -> None:
    """Freeze every parameter except those whose name has one of `trained` as a part."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in f".{name}." for part in _dotted(trained)))


def _dotted(names: tuple[str, ...]) -> list[str]:
    return [f".{name}." for name in names]


def shrink_frozen(model: "nn.Module", device: Device) -> None:
    """Keep frozen matrices in the device's number format: half the memory, the same products.

    Only what autocast would cast at every step is cast here once, so a plain copy of the model in
    fp32 under autocast predicts bit for bit the same; norms and embeddings stay as they are.
    """
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if device.precision == "fp32":
        return
    for module in model.modules():
        if not isinstance(module, nn.Linear | Conv1D):
            continue
        for parameter in (module.weight, module.bias):
            if parameter is None or parameter.requires_grad:
                continue
            if parameter.dtype == torch.float32:
                parameter.data = parameter.data.to(device.dtype)


def trained_parameters(model: "nn.Module") -> Iterator[tuple[str, "torch.nn.Parameter"]]:
    """Yield the names and parameters that training changes."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter


def no_merge(name: str, why: str) -> UserError:
    """Return the error of a method that has no merged form."""
    return UserError(
        f"a model made by {name} cannot be merged into a plain one: {why}",
        "deploy it with `tailor predict` or load it with its own library",
    )
