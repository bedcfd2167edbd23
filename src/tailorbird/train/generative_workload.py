"""The training loop's workload of conversations and plain texts."""

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

from tailorbird.data.encode import shuffled_batches
from tailorbird.data.tokens import Tokens, token_groups
from tailorbird.models.device import Device
from tailorbird.models.packed import Reader, tokens_at_once
from tailorbird.train.settings import Settings


class WritingWork:
    """The workload of generation: the loss is a mean over trained tokens.

    A batch is counted in examples; a micro-batch is bounded in tokens.

    Args:
        model: The model with the method attached.
        longest: Tokens of the longest validation sequence.
    """

    divisible = True

    def __init__(
        self,
        tokens: Tokens,
        model: nn.Module,
        device: Device,
        settings: Settings,
        longest: int = 0,
    ) -> None:
        self.tokens, self._lengths, self._weights = tokens, tokens.lengths, tokens.weights
        self.reader = Reader(model, device, tokens, packing=settings.packing, longest=longest)
        self._most_tokens = settings.micro_batch_tokens or tokens_at_once(device)
        self._most_examples = settings.micro_batch_size

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` tokens of each sequence."""
        return self._lengths

    def batches(self, size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Return one epoch's batches, each of similar lengths."""
        return shuffled_batches(self.lengths, size, seed, epoch)

    def weight(self, indices: np.ndarray) -> float:
        """Return the number of trained tokens."""
        return float(self._weights[indices].sum())

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """Split a batch, longest sequences first, into micro-batches of bounded tokens."""
        order = indices[np.argsort(-self._lengths[indices], kind="stable")]
        most = self._most_examples
        return [
            group[i : i + most]
            for group in token_groups(self._lengths + self.reader.virtual, order, self._most_tokens)
            for i in range(0, len(group), most)
        ]

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed cross-entropy of the trained tokens."""
        return self.reader.loss_sum(self.tokens, indices)

    def reading(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return the context in which attention handles packed rows."""
        return self.reader.reading()
