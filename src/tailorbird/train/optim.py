"""Optimizers and learning-rate schedules, by name."""

import math
from typing import TYPE_CHECKING, Any

from tailorbird.train.settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import nn


def make_optimizer(model: "nn.Module", settings: Settings) -> "torch.optim.Optimizer":
    """Return the optimizer over the trainable parameters; biases and norms are not decayed."""
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = settings.learning_rate
    if settings.optimizer == "adamw":
        # fused: one pass over memory per step instead of several; on a CPU three times as fast.
        return torch.optim.AdamW(groups, lr=rate, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, fused=True)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9)
    return torch.optim.Adagrad(groups, lr=rate)


def rate_factor(step: int, total: int, settings: Settings) -> float:
    """Return the factor on the peak learning rate for optimizer step `step` (from 0) of `total`."""
    warm = round(settings.warmup * total)
    if step < warm:
        return (step + 1) / warm
    if settings.schedule == "constant":
        return 1.0
    done = (step - warm) / max(1, total - warm)
    return 1.0 - done if settings.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
