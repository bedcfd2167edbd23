"""Full fine-tuning: every weight is trained."""

from pathlib import Path
from typing import TYPE_CHECKING

from tailorbird.config.schema import Config, ModelConfig
from tailorbird.methods.base import Method
from tailorbird.models.load import Base
from tailorbird.models.weights import check_numbers, pretrained

if TYPE_CHECKING:
    from torch import nn


class Full(Method):
    """Trains all weights in fp32; matrix products run in the device's number format."""

    def attach(self, base: Base, config: Config) -> "nn.Module":
        """Make every parameter trainable."""
        base.model.requires_grad_(True)
        return base.model

    def save(self, model: "nn.Module", folder: Path) -> None:
        """Write a plain ``save_pretrained`` folder."""
        model.save_pretrained(folder)  # type: ignore[operator]

    def load(self, base: Base, folder: Path) -> "nn.Module":
        """Load the saved folder."""
        check_numbers(folder)
        saved = ModelConfig(name=str(folder))  # the base's own class, whose code is installed
        model, _ = pretrained(type(base.model), folder, saved, dtype="float32")
        loaded: nn.Module = model.to(base.device.name)
        loaded.config.use_cache = False  # type: ignore[union-attr]
        return loaded.eval()

    def merge(self, model: "nn.Module") -> "nn.Module":
        """Return the model unchanged: it is already plain."""
        return model


METHOD = Full("full")
