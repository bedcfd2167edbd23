"""Causal attention over packed sequences, each separate from the others."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from tailorbird.data.tokens import PackedBatch

NAME = "tailorbird_packed"


@dataclass(frozen=True)
class Group:
    """Consecutive sequences: tokens ``first`` to ``past``, as ``batch`` rows of ``width``.

    `real` has each token's place in the padded ``[batch * width]``; None: no padding.
    """

    first: int
    past: int
    batch: int
    width: int
    real: torch.Tensor | None


@dataclass(frozen=True)
class Rows:
    """The layout of a packed row's sequences in attention.

    Attributes:
        windows: The attention windows of the layers in tokens; None: unlimited.
    """

    groups: tuple[Group, ...]
    windows: set[int | None] = field(default_factory=set, compare=False)

    @classmethod
    def of(cls, packed: PackedBatch, device: torch.device, *, as_one: bool = False) -> "Rows":
        """Return the row's groups; `as_one` pads all its sequences to one length."""
        starts = packed.starts
        runs = ((0, len(starts) - 1),) if as_one else packed.groups
        groups = []
        for first, past in runs:
            lengths = np.diff(starts[first : past + 1])
            width = int(lengths.max())
            real = None
            if as_one or int(lengths.min()) < width:
                rows = np.repeat(np.arange(past - first), lengths)
                columns = np.arange(lengths.sum()) - np.repeat(starts[first:past], lengths)
                columns += starts[first]
                real = torch.from_numpy(rows * width + columns).to(device)
            groups.append(Group(int(starts[first]), int(starts[past]), past - first, width, real))
        return cls(tuple(groups))


class _Spread(torch.autograd.Function):
    """``[tokens, size]`` to ``[places, size]``: row i goes to place ``real[i]``, others are 0."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, real: torch.Tensor, places: int) -> torch.Tensor:
        ctx.save_for_backward(real)
        return x.new_zeros(places, x.shape[1]).index_copy_(0, real, x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (real,) = ctx.saved_tensors
        return grads[0].index_select(0, real), None, None


class _Gather(torch.autograd.Function):
    """The inverse: the rows at the places ``real``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(real)
        ctx.places = len(x)
        return x.index_select(0, real)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (real,) = ctx.saved_tensors
        grad = grads[0]
        return grad.new_zeros(ctx.places, grad.shape[1]).index_copy_(0, real, grad), None


def pad(x: torch.Tensor, group: Group) -> torch.Tensor:
    """Return tokens ``[tokens, ...]`` as ``[batch, width, ...]``."""
    part = x[group.first : group.past]
    shape = (group.batch, group.width, *x.shape[1:])
    if group.real is None:
        return part.reshape(shape)
    spread: torch.Tensor = _Spread.apply(  # type: ignore[no-untyped-call]
        part.reshape(len(part), -1), group.real, group.batch * group.width
    )
    return spread.view(shape)


def register() -> None:
    """Register the attention with transformers under `NAME`, without a mask."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _packed_attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)


def _packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Return ``[1, total, heads, size]`` from query, key, value ``[1, heads, total, size]``.

    The signature is transformers' for attention functions.
    """
    rows: Rows = more["packed_rows"]
    rows.windows.add(more.get("sliding_window"))
    outputs = []
    # Rotary embeddings leave query and key in fp32 under autocast.
    query, key = query.to(value.dtype), key.to(value.dtype)
    query, key, value = (t[0].transpose(0, 1) for t in (query, key, value))
    for group in rows.groups:
        q, k, v = (pad(t, group).transpose(1, 2) for t in (query, key, value))
        mixed = _attend(q, k, v, scaling, more).transpose(1, 2)
        flat = mixed.reshape(group.batch * group.width, -1)
        if group.real is not None:
            flat = _Gather.apply(flat, group.real)  # type: ignore[no-untyped-call]
        outputs.append(flat)
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return joined.view(1, len(joined), query.shape[1], -1), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    more: dict[str, Any],
) -> torch.Tensor:
    """Causal attention within ``[batch, heads, width, size]``, padded on the right."""
    width, window, cap = query.shape[2], more.get("sliding_window"), more.get("softcap")
    if more.get("s_aux") is not None or more.get("position_bias") is not None:
        raise NotImplementedError(
            "attention sinks and position biases are not supported in packed batches"
        )
    grouped = query.shape[1] != key.shape[1]
    near: torch.Tensor | None = None
    if cap is not None or (window is not None and width > window):
        place = torch.arange(width, device=query.device)
        distance = place[:, None] - place[None, :]
        near = (distance >= 0) & (distance < (window or width))
    if cap is None or near is None:
        return nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=near, is_causal=near is None, scale=scaling,
            enable_gqa=grouped,
        )  # fmt: skip
    if grouped:
        times = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(times, dim=1) for t in (key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = cap * torch.tanh(query @ key.transpose(-1, -2) * scale / cap)
    shares = scores.masked_fill(~near, float("-inf")).softmax(dim=-1, dtype=torch.float32)
    mixed: torch.Tensor = shares.to(value.dtype) @ value
    return mixed
