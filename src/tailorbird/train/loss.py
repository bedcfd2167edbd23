"""Losses, by name."""

import torch
from torch.nn import functional


def cross_entropy_sum(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy in nats.

    A sum, not a mean: the loop divides by the size of the whole batch, so that a batch of 32 and
    four micro-batches of 8 give the same gradient.

    Args:
        logits: ``[batch, classes]``.
        targets: ``[batch]`` class ids.
    """
    return functional.cross_entropy(logits.float(), targets, reduction="sum")
