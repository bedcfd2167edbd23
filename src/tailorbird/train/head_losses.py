"""Losses, by name.

Each returns a sum over examples, not a mean: the loop divides by the size of the whole batch, so
that a batch of 32 and four micro-batches of 8 have the same gradient. Within an example, the loss
is a mean over labels or targets.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from tailorbird.config.schema import TrainConfig
from tailorbird.records import Target

LossSum = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps logits ``[batch, outputs]`` and targets to the summed loss."""

_MOST_POSITIVE = 100.0


def cross_entropy_sum(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy in nats.

    Args:
        logits: ``[batch, classes]``.
        targets: ``[batch]`` class ids.
    """
    return functional.cross_entropy(logits.float(), targets, reduction="sum")


def weighted_cross_entropy_sum(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the summed cross-entropy with class weights ``[classes]`` and label smoothing."""
    weight = None if weights is None else weights.to(logits.device)
    return functional.cross_entropy(
        logits.float(), targets, weight=weight, label_smoothing=smoothing, reduction="sum"
    )


def focal_sum(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    gamma: float = 2.0,
) -> torch.Tensor:
    """Return the summed focal loss ``-(1 - p)^gamma log p`` (Lin et al. 2017, arXiv 1708.02002)."""
    logs = functional.log_softmax(logits.float(), dim=-1)
    of_target = logs.gather(-1, targets[:, None])[:, 0]
    each = -((1 - of_target.exp()) ** gamma) * of_target
    if weights is not None:
        each = each * weights.to(logits.device)[targets]
    return each.sum()


def bce_sum(
    logits: torch.Tensor, targets: torch.Tensor, positive: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the summed binary cross-entropy, a mean over the labels of each example.

    Args:
        logits: ``[batch, labels]``.
        targets: ``[batch, labels]`` 0 and 1.
        positive: ``[labels]``: the weight of a label's positive examples.
    """
    weight = None if positive is None else positive.to(logits.device)
    each = functional.binary_cross_entropy_with_logits(
        logits.float(), targets.float(), pos_weight=weight, reduction="none"
    )
    return each.mean(dim=-1).sum()


def distance_sum(
    logits: torch.Tensor,
    targets: torch.Tensor,
    each: Callable[..., torch.Tensor] = functional.mse_loss,
) -> torch.Tensor:
    """Return the summed distance ``[batch, targets]``, a mean over the targets of each example."""
    return each(logits.float(), targets.float(), reduction="none").mean(dim=-1).sum()


def make_loss(name: str, options: TrainConfig, target: Target, outputs: np.ndarray) -> LossSum:
    """Return the loss called `name` with the options of the configuration.

    Args:
        name: A loss that fits the task (`config.losses.check_loss`).
        outputs: The targets of the training examples, for balanced weights.
    """
    if name in ("cross_entropy", "focal"):
        weights = None
        if options.class_weights is not None:
            weights = class_weights(options.class_weights, target, outputs)
        if name == "focal":
            return partial(focal_sum, weights=weights, gamma=options.focal_gamma)
        if weights is None and not options.label_smoothing:
            return cross_entropy_sum
        return partial(
            weighted_cross_entropy_sum, weights=weights, smoothing=options.label_smoothing
        )
    if name == "bce":
        if options.positive_weights is None:
            return bce_sum
        return partial(
            bce_sum, positive=positive_weights(options.positive_weights, target, outputs)
        )
    by_name: dict[str, Callable[..., torch.Tensor]] = {
        "mse": functional.mse_loss,
        "mae": functional.l1_loss,
        "huber": partial(functional.huber_loss, delta=options.huber_delta),
    }
    return partial(distance_sum, each=by_name[name])


def class_weights(
    options: str | Mapping[str, float], target: Target, outputs: np.ndarray
) -> torch.Tensor:
    """Return a weight per class: configured, or ``n / (classes * rows of the class)``."""
    if isinstance(options, Mapping):
        return torch.tensor([float(options.get(label, 1.0)) for label in target.labels])
    rows = np.bincount(outputs, minlength=len(target.labels)).clip(min=1)
    return torch.from_numpy((len(outputs) / (len(rows) * rows)).astype(np.float32))


def positive_weights(
    options: str | Mapping[str, float], target: Target, outputs: np.ndarray
) -> torch.Tensor:
    """Return a weight per label: configured, or negatives per positive, at most 100."""
    if isinstance(options, Mapping):
        return torch.tensor([float(options.get(label, 1.0)) for label in target.labels])
    rows = outputs.sum(axis=0).clip(min=1)
    return torch.from_numpy(np.clip((len(outputs) - rows) / rows, None, _MOST_POSITIVE)).float()


def mean_loss(loss: LossSum, logits: np.ndarray, outputs: np.ndarray) -> float:
    """Return the mean loss of computed logits ``[n, outputs]``."""
    with torch.inference_mode():
        total = loss(torch.from_numpy(logits), torch.from_numpy(outputs))
    return float(total) / max(1, len(logits))
