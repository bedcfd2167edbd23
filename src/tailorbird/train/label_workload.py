"""Texts with labels or numbers, as the loop reads them."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from tailorbird.data.encode import Encoded, collate, shuffled_batches
from tailorbird.models.device import Device
from tailorbird.train.attention import fastest_attention
from tailorbird.train.loss import LossSum, cross_entropy_sum


@dataclass(frozen=True)
class LabelWork:
    """The workload of labels and numbers: the loss is a mean over examples.

    Attributes:
        micro_batch_size: Examples per forward pass.
        loss: What is summed over them.
    """

    train: Encoded
    pad_id: int
    device: Device
    micro_batch_size: int
    loss: LossSum = cross_entropy_sum
    divisible: ClassVar[bool] = True

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` tokens of each text."""
        return self.train.lengths

    def batches(self, size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Return one epoch's batches, each of similar lengths."""
        return shuffled_batches(self.lengths, size, seed, epoch)

    def weight(self, indices: np.ndarray) -> float:
        """Return how many examples there are."""
        return float(len(indices))

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """Cut a batch into micro-batches."""
        size = self.micro_batch_size
        return [indices[i : i + size] for i in range(0, len(indices), size)]

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss."""
        assert self.train.targets is not None
        targets = torch.from_numpy(self.train.targets[indices]).to(self.device.name)
        return self.loss(model(**self.inputs(indices)).logits.float(), targets)

    def inputs(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Return what the model reads of these texts, padded, each ``[batch, seq]``."""
        arrays = collate(self.train, indices, self.pad_id)
        return {k: torch.from_numpy(v).to(self.device.name) for k, v in arrays.items()}

    def reading(self, model: nn.Module) -> AbstractContextManager[None]:
        """Use the attention that is fastest for short texts."""
        return fastest_attention(model, self.device)
