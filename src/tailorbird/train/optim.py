"""Optimizers, learning-rate schedules, and learning rates per parameter."""

import math
import re
from typing import TYPE_CHECKING, Any

from tailorbird.errors import UserError
from tailorbird.methods.base import trained_parameters
from tailorbird.train.settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import nn

_FACTOR = "rate_factor"
_LAYER = re.compile(r"\.(?:layers?|h|blocks?)\.(\d+)\.")
_EMBEDDING = re.compile(r"embed|\.(?:wte|wpe|shared)\.")
_LORA_B = re.compile(r"\.lora_(?:embedding_)?B\.")


def make_optimizer(model: "nn.Module", settings: Settings) -> "torch.optim.Optimizer":
    """Return the optimizer of the trainable parameters, without weight decay on biases and norms.

    Raises:
        UserError: The optimizer does not run on this machine.
    """
    import torch

    groups = _groups(model, settings)
    rate = settings.learning_rate
    if settings.optimizer == "adamw":
        # fused: one pass over memory per step; three times as fast on a CPU.
        return torch.optim.AdamW(groups, lr=rate, fused=True)
    if settings.optimizer == "adamw8bit":
        return _adamw_8bit(groups, rate)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, fused=True)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9)
    return torch.optim.Adagrad(groups, lr=rate)


def set_rate(optimizer: "torch.optim.Optimizer", rate: float) -> None:
    """Set every group's learning rate to `rate` times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[_FACTOR]


def _groups(model: "nn.Module", settings: Settings) -> list[dict[str, Any]]:
    """Return parameter groups, by weight decay and learning-rate factor."""
    factors = _rate_factors(model, settings)
    groups: dict[tuple[float, float], list[Any]] = {}
    # Decayed ones first, since saved optimizer states depend on the order.
    for decayed in (True, False):
        for name, parameter in trained_parameters(model):
            if (parameter.ndim > 1) == decayed:
                decay = settings.weight_decay if decayed else 0.0
                groups.setdefault((decay, factors[name]), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, _FACTOR: factor}
        for (decay, factor), parameters in groups.items()
    ]


def _rate_factors(model: "nn.Module", settings: Settings) -> dict[str, float]:
    """Return the learning-rate factor of each trained parameter."""
    names = [name for name, _ in trained_parameters(model)]
    if settings.b_rate_factor is not None:
        fast = settings.b_rate_factor
        return {name: fast if _LORA_B.search(name) else 1.0 for name in names}
    if settings.layer_decay is None:
        return dict.fromkeys(names, 1.0)
    places = {name: _depth(name) for name in names}
    top = 1 + max((place for place in places.values() if place is not None), default=0)
    return {
        name: settings.layer_decay ** (top - (top if place is None else place))
        for name, place in places.items()
    }


def _depth(name: str) -> int | None:
    """Return 0 for embeddings, i + 1 for layer i, None above all layers."""
    dotted = f".{name}"
    layer = _LAYER.search(dotted)
    if layer:
        return int(layer[1]) + 1
    return 0 if _EMBEDDING.search(dotted) else None


def _adamw_8bit(groups: list[dict[str, Any]], rate: float) -> "torch.optim.Optimizer":
    """Return AdamW with block-wise 8-bit moments (Dettmers et al. 2022, arXiv 2110.02861)."""
    import torch

    device = groups[0]["params"][0].device
    try:
        from bitsandbytes.optim import AdamW8bit

        # A trial step, so that a machine without its kernels fails now and not during the run.
        trial = torch.nn.Parameter(torch.zeros(4096, device=device))
        trial.grad = torch.ones_like(trial)
        AdamW8bit([trial], lr=rate).step()
    except Exception as error:
        raise UserError(
            f"train.optimizer=adamw8bit does not run on {device.type} here: "
            f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:150]}",
            "use train.optimizer=adamw",
        ) from error
    optimizer: torch.optim.Optimizer = AdamW8bit(groups, lr=rate, weight_decay=0.0)
    return optimizer


def rate_factor(step: int, total: int, settings: Settings) -> float:
    """Return the learning-rate factor for optimizer step `step` (from 0) of `total`."""
    warm = round(settings.warmup * total)
    if step < warm:
        return (step + 1) / warm
    progress = (step - warm) / max(1, total - warm)
    falling = {"linear": 1.0 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
    return falling.get(settings.schedule, 1.0)
