"""The interface of a fine-tuning method, and helpers that several methods share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.config.method import Defaults, MethodConfig, MethodSpec, method_spec
from tailorbird.config.schema import Config
from tailorbird.errors import UserError
from tailorbird.models.device import Device
from tailorbird.models.load import Base

if TYPE_CHECKING:
    import torch
    from torch import nn


class Method(ABC):
    """One way of making a model trainable.

    A method owns its file format and nothing else: the loop, the data and the metrics are the same
    for all methods.

    Attributes:
        name: The method's name in the table, which is also the name of its folder.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def spec(self) -> MethodSpec:
        """The method's options and facts."""
        return method_spec(self.name)

    @property
    def defaults(self) -> Defaults:
        """The method's tuned defaults."""
        return self.spec.defaults

    def options(self, config: MethodConfig) -> dict[str, Any]:
        """Return the method's options with its defaults filled in."""
        own = self.spec.options
        values = {name: v for name, v in config.own_options.items() if name in own.model_fields}
        return own.model_validate(values).filled()

    def load_options(
        self, config: MethodConfig, head: tuple[str, ...], device: Device
    ) -> dict[str, Any]:
        """Return arguments for ``from_pretrained`` (for example quantisation)."""
        return {}

    @abstractmethod
    def attach(self, base: Base, config: Config) -> "nn.Module":
        """Return the model with exactly this method's parameters (and the head) trainable.

        Before the first step its output equals the base model's (prompt tuning excepted: its
        virtual tokens change the input).

        Raises:
            UserError: An option does not fit the model.
        """

    @abstractmethod
    def save(self, model: "nn.Module", folder: Path) -> None:
        """Write the trained weights, including the head, in the method's standard format."""

    @abstractmethod
    def load(self, base: Base, folder: Path) -> "nn.Module":
        """Return `base` with the saved weights; it predicts exactly as the saved model did.

        Raises:
            UserError: The folder is incomplete or damaged.
        """

    @abstractmethod
    def merge(self, model: "nn.Module") -> "nn.Module":
        """Return a plain model of the base's own class with the same predictions.

        Raises:
            UserError: The method has no merged form.
        """


def freeze_all_but(model: "nn.Module", trained: tuple[str, ...]) -> None:
    """Freeze every parameter whose name has no part in `trained`."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(f".{part}." in f".{name}." for part in trained))


def trained_parameters(model: "nn.Module") -> Iterator[tuple[str, "torch.nn.Parameter"]]:
    """Yield the trainable parameters with their names."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter


def no_merge(name: str, why: str) -> UserError:
    """Return the error for a method that has no merged form."""
    return UserError(
        f"a model made by {name} cannot be merged into a plain one: {why}",
        "deploy it with `tailor predict` or load it with its own library",
    )
