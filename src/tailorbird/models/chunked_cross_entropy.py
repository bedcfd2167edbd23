"""Cross-entropy of the trained tokens alone, a chunk at a time.

A language model's head computes ``[tokens, vocabulary]`` logits. Only trained tokens need them, and
not all at once: each chunk's logits become their gradient in place and are freed, as in Liger's
fused linear cross-entropy (Hsu et al. 2024, arXiv 2410.10989, section 3.2) and Cut Cross-Entropy
(Wijmans et al. 2024, arXiv 2411.09009).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# One chunk of fp32 logits, small enough for a CPU's cache where possible.
_CHUNK_BYTES = {"cpu": 32 * 2**20, "cuda": 512 * 2**20}
_FEWEST_ROWS = 16


@dataclass(frozen=True)
class Head:
    """The map from hidden states to logits: ``cap(scale * (hidden W^T + bias))``.

    Attributes:
        scale: Factor on the logits (Granite, Cohere).
        cap: ``cap * tanh(logits / cap)`` if not None (Gemma 2).
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float = 1.0
    cap: float | None = None


def plain_head(model: nn.Module) -> Head | None:
    """Return the head of a causal language model; None if it is no plain linear layer."""
    linear: Any = model.get_output_embeddings()  # type: ignore[operator]
    if type(linear) is not nn.Linear:
        return None
    config: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    scale = 1.0
    if getattr(config, "logits_scaling", None):
        scale = 1.0 / float(config.logits_scaling)
    elif getattr(config, "logit_scale", None):
        scale = float(config.logit_scale)
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(linear.weight, linear.bias, scale, None if cap is None else float(cap))


def target_loss(hidden: torch.Tensor, head: Head, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy in nats, differentiable.

    Args:
        hidden: ``[targets, hidden]`` states that predict the targets.
    """
    loss: torch.Tensor = _TargetLoss.apply(  # type: ignore[no-untyped-call]
        _in_product_format(hidden), head.weight, head.bias, targets, head
    )
    return loss


@torch.no_grad()
def target_scores(
    hidden: torch.Tensor, head: Head, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each target's loss in nats ``[targets]``, and whether it was the most likely token."""
    hidden = _in_product_format(hidden)
    losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    hits = torch.empty(len(targets), dtype=torch.bool, device=hidden.device)
    weight = head.weight.to(hidden.dtype)
    for rows in _chunks(len(targets), weight):
        logits = _logits(hidden[rows], weight, head)
        picked = logits.gather(1, targets[rows, None]).squeeze(1)
        losses[rows] = torch.logsumexp(logits, dim=1) - picked
        hits[rows] = logits.argmax(dim=1) == targets[rows]
    return losses, hits


def _in_product_format(hidden: torch.Tensor) -> torch.Tensor:
    """Return the states in autocast's format: an fp32 norm returns fp32."""
    kind = hidden.device.type
    return hidden.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else hidden


def _chunks(count: int, weight: torch.Tensor) -> list[slice]:
    budget = _CHUNK_BYTES.get(weight.device.type, _CHUNK_BYTES["cpu"])
    rows = max(_FEWEST_ROWS, budget // (4 * len(weight)))
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]


def _logits(hidden: torch.Tensor, weight: torch.Tensor, head: Head) -> torch.Tensor:
    """Return ``[rows, vocabulary]`` in fp32."""
    logits = (hidden @ weight.T).float()
    if head.bias is not None:
        logits += head.bias
    if head.scale != 1.0:
        logits *= head.scale
    if head.cap is not None:
        logits.div_(head.cap).tanh_().mul_(head.cap)
    return logits


class _TargetLoss(torch.autograd.Function):
    """Computes the gradient with the loss: the loss is a sum, so only a factor is missing."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        head: Head,
    ) -> torch.Tensor:
        kind = hidden.device.type
        with torch.autocast(kind, enabled=False):
            wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
            cast = weight.to(hidden.dtype)
            grad_hidden = torch.empty_like(hidden) if wants_hidden else None
            grad_weight = (
                torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
                if wants_weight
                else None
            )
            grad_bias = torch.zeros_like(bias) if bias is not None and wants_bias else None
            # Apple's GPUs have no fp64.
            wide = torch.float32 if kind == "mps" else torch.float64
            total = torch.zeros((), dtype=wide, device=hidden.device)
            for rows in _chunks(len(targets), cast):
                logits = _logits(hidden[rows], cast, head)
                picked = logits.gather(1, targets[rows, None])
                norm = torch.logsumexp(logits, dim=1, keepdim=True)
                total += (norm - picked).sum(dtype=wide)
                # d cap(x) / dx = 1 - (cap(x) / cap)^2, computed before the logits are overwritten.
                bend = None if head.cap is None else 1 - (logits / head.cap) ** 2
                grad = logits.sub_(norm).exp_()
                grad.scatter_add_(1, targets[rows, None], grad.new_full(picked.shape, -1.0))
                if bend is not None:
                    grad.mul_(bend)
                if head.scale != 1.0:
                    grad.mul_(head.scale)
                if grad_bias is not None:
                    grad_bias += grad.sum(dim=0)
                thin = grad.to(hidden.dtype)
                if grad_hidden is not None:
                    torch.matmul(thin, cast, out=grad_hidden[rows])
                if grad_weight is not None:
                    grad_weight += (thin.T @ hidden[rows]).float()
        ctx.grads = (grad_hidden, grad_weight, grad_bias)
        ctx.weight_dtype = weight.dtype
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        factor = grads[0]
        hidden, weight, bias = ctx.grads
        ctx.grads = (None, None, None)
        return (
            None if hidden is None else hidden.mul_(factor.to(hidden.dtype)),
            None if weight is None else weight.mul_(factor).to(ctx.weight_dtype),
            None if bias is None else bias.mul_(factor),
            None,
            None,
        )
