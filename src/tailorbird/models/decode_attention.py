"""Attention and key-value cache for generation with a causal LM on a CPU.

torch's fused kernel is made for long rows without a mask. With padded prompts, plain products in
bf16 are twice as fast (`benchmarks/attention.py --writing`), and transformers' cache copies all
keys and values for every new token.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from tailorbird.models.device import Device

NAME = "tailorbird_decode"
# Queries per block, whose scores fit the processor's cache.
_BLOCK = 64
# Arguments whose effect only transformers' own function implements.
_SPECIAL = ("s_aux", "position_bias", "softcap", "cache")


@contextmanager
def fast_decoding(model: Any, device: Device) -> Iterator[None]:
    """Use plain products instead of torch's fused attention, for reading and generation.

    Args:
        model: A causal LM of transformers; nothing changes on other devices than a CPU, or with
            another configured attention.
    """
    config = getattr(model, "config", None)
    text: Any = config.get_text_config() if config is not None else None
    if device.kind != "cpu" or getattr(text, "_attn_implementation", None) != "sdpa":
        yield
        return
    _register()
    text._attn_implementation = NAME
    try:
        yield
    finally:
        text._attn_implementation = "sdpa"


def roomy_cache(model: Any, tokens: int) -> Cache | None:
    """Return a preallocated cache of keys and values for `tokens` tokens a row, or None.

    None if a layer stores anything but all keys and values (windows, states), for which
    transformers' own cache is used.
    """
    config = getattr(model, "config", None)
    if config is None or config.is_encoder_decoder or getattr(model, "_is_stateful", False):
        return None
    cache = DynamicCache(config=config.get_text_config())
    if not cache.layers or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    cache.layers = [RoomyLayer(tokens) for _ in cache.layers]
    return cache


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, written into preallocated memory."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._whole: list[torch.Tensor] = []

    def room(self, length: int) -> int:
        """Return the capacity in tokens for a given length."""
        room = self._whole[0].shape[2] if self._whole else self._room
        return room if length <= room else length + room

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append new tokens ``[batch, heads, new, size]``; return keys and values of all."""
        new = (key_states, value_states)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._whole = [
                t.new_zeros(*t.shape[:2], self.room(t.shape[2]), t.shape[3]) for t in new
            ]
        first = self.get_seq_length()
        past = first + key_states.shape[2]
        if (room := self.room(past)) > self._whole[0].shape[2]:
            more = (0, 0, 0, room - self._whole[0].shape[2])
            self._whole = [nn.functional.pad(whole, more) for whole in self._whole]
        views = []
        for whole, states in zip(self._whole, new, strict=True):
            whole[:, :, first:past] = states
            view = whole[:, :, :past]
            # Products over the whole capacity need no copy; unwritten positions are masked.
            view.whole = whole  # type: ignore[attr-defined]
            views.append(view)
        self.keys, self.values = views
        return views[0], views[1]


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Return ``[batch, seq, heads, size]`` from query ``[batch, heads, seq, size]`` and the rest.

    The signature is transformers' for attention functions.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    mask = attention_mask
    special = any(more.get(name) is not None for name in _SPECIAL)
    if special or not _left_to_right(module, query, key, mask):
        mixed, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **more)
        return mixed, None
    # Rotary embeddings leave query and key in fp32 under autocast.
    query = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)).to(value.dtype)
    if query.shape[2] == 1:
        return _attend_once(query, key, value, mask).transpose(1, 2), None
    return attend_left_to_right(query, key.to(value.dtype), value, mask), None


def attend_left_to_right(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Causal attention of several tokens.

    Args:
        query: ``[batch, heads, seq, size]``, scaled.
        key: ``[batch, groups, length, size]``, of which the last are those of the queries.
        value: The same.
        mask: ``[batch, 1, seq or 1, length]``, the visible positions; None: all before.

    Returns:
        ``[batch, seq, heads, size]``.
    """
    length, places = key.shape[2], query.shape[2]
    before = length - places
    mixed = value.new_empty(len(query), places, query.shape[1], value.shape[3])
    for first in range(0, places, _BLOCK):
        past = min(first + _BLOCK, places)
        end = before + past
        rows = slice(first, past) if mask is not None and mask.shape[2] > 1 else slice(None)
        visible = None if mask is None else mask[:, :, rows, :end]
        if visible is None or visible.shape[2] == 1:
            earlier = torch.ones(past - first, end, dtype=torch.bool).tril(before + first)
            visible = earlier if visible is None else visible & earlier
        block = attend(query[:, :, first:past], key[:, :, :end], value[:, :, :end], visible)
        mixed[:, first:past] = block.transpose(1, 2)
    return mixed


def _left_to_right(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None
) -> bool:
    """Return whether attention is causal, so that products with later tokens can be skipped."""
    places, length = query.shape[2], key.shape[2]
    if mask is None:
        return places == 1 or (places == length and bool(getattr(module, "is_causal", False)))
    if mask.dtype != torch.bool or mask.shape[-1] != length:
        return False
    if places == 1:
        return True
    # Computed once, since all layers of a forward pass share the mask.
    answer = getattr(mask, "left_to_right", None)
    if answer is None:
        answer = not bool(mask.triu(length - places + 1).any())
        mask.left_to_right = answer  # type: ignore[attr-defined]
    return bool(answer)


def _attend_once(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attend with one token ``[batch, heads, 1, size]`` to a cache's whole capacity."""
    length = key.shape[2]
    key, value = (getattr(t, "whole", t) for t in (key, value))
    room = key.shape[2]
    if room > length:
        mask = _over_room(mask, length, room)
    return attend(query, key.to(value.dtype), value, mask)


def _over_room(mask: torch.Tensor | None, length: int, room: int) -> torch.Tensor:
    """Return the mask of one token over a cache's whole capacity."""
    if mask is None:
        return torch.arange(room)[None, None, None] < length
    # Built once, since all layers of a forward pass share the mask.
    whole: torch.Tensor | None = getattr(mask, "whole", None)
    if whole is None or whole.shape[-1] != room:
        whole = nn.functional.pad(mask, (0, room - length))
        mask.whole = whole  # type: ignore[attr-defined]
    return whole


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, visible: torch.Tensor | None
) -> torch.Tensor:
    """Attend where `visible` is true; fully masked rows get finite values."""
    batch, heads, places, size = query.shape
    groups, length = key.shape[1], key.shape[2]
    queries = query.reshape(batch * groups, -1, size)
    scores = torch.bmm(queries, key.reshape(batch * groups, length, size).transpose(1, 2))
    scores = scores.view(batch, heads, places, length)
    if visible is not None:
        scores.masked_fill_(~visible, torch.finfo(scores.dtype).min)
    shares = scores.softmax(dim=-1).view(batch * groups, -1, length)
    mixed = torch.bmm(shares, value.reshape(batch * groups, length, -1))
    return mixed.view(batch, heads, places, -1)
