"""The training loop's workloads: labels, numbers, labelled words, conversations and plain texts."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from tailorbird.data.encode import Encoded, collate, shuffled_batches
from tailorbird.data.tokens import Tokens, token_groups
from tailorbird.models.device import Device
from tailorbird.models.packed import Reader, tokens_at_once
from tailorbird.train.head_losses import LossSum, cross_entropy_sum
from tailorbird.train.settings import Settings
from tailorbird.train.short_attention import fastest_attention


@dataclass(frozen=True)
class LabelWork:
    """The workload of labels and numbers: the loss is a mean over examples."""

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
        """Return the number of examples."""
        return float(len(indices))

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """Split a batch into micro-batches."""
        size = self.micro_batch_size
        return [indices[i : i + size] for i in range(0, len(indices), size)]

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss."""
        assert self.train.targets is not None
        targets = torch.from_numpy(self.train.targets[indices]).to(self.device.name)
        return self.loss(model(**self.inputs(indices)).logits.float(), targets)

    def inputs(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the padded model inputs of these texts, each ``[batch, seq]``."""
        arrays = collate(self.train, indices, self.pad_id)
        return {k: torch.from_numpy(v).to(self.device.name) for k, v in arrays.items()}

    def reading(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return the context with the fastest attention for short texts."""
        return fastest_attention(model, self.device)


@dataclass(frozen=True)
class TokenWork(LabelWork):
    """The workload of token classification: the loss is a mean over words.

    A word's label is trained at its first token; its other tokens are only context.
    """

    @cached_property
    def starts(self) -> np.ndarray:
        """``[n + 1]``: the start of each sentence among all words."""
        assert self.train.firsts is not None
        return np.cumsum([0, *map(len, self.train.firsts)])

    def weight(self, indices: np.ndarray) -> float:
        """Return the number of labelled words."""
        assert self.train.firsts is not None
        return float(max(1, sum(int((self.train.firsts[i] >= 0).sum()) for i in indices)))

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss of the words."""
        assert self.train.targets is not None and self.train.firsts is not None
        inputs = self.inputs(indices)
        logits = model(**inputs).logits.float()
        # Virtual tokens precede the text.
        logits = logits[:, logits.shape[1] - inputs["input_ids"].shape[1] :]
        firsts = [self.train.firsts[i] for i in indices]
        labelled = [np.flatnonzero(each >= 0) for each in firsts]
        rows = np.concatenate([np.full(len(words), row) for row, words in enumerate(labelled)])
        columns = np.concatenate([p[words] for p, words in zip(firsts, labelled, strict=True)])
        places = [self.starts[i] + words for i, words in zip(indices, labelled, strict=True)]
        targets = self.train.targets[np.concatenate(places)]
        picked = logits[torch.from_numpy(rows), torch.from_numpy(columns)]
        return self.loss(picked, torch.from_numpy(targets).to(self.device.name))


class GenerativeWork:
    """The workload of generation: the loss is a mean over trained tokens.

    A batch is counted in examples; a micro-batch is bounded in tokens.

    Args:
        model: The model with the method attached.
        longest: Tokens of the longest validation sequence.
    """

    divisible = True

    def __init__(
        self, tokens: Tokens, model: nn.Module, device: Device, settings: Settings, longest: int = 0
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
