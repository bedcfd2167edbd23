"""Fast generation with a causal LM of transformers on a CPU, with the same numbers.

Linear layers multiply by prepared weights (`bf16_linear`). Attention uses plain products: torch's
fused kernel is made for long rows without a mask, and with padded prompts they are twice as fast
(`benchmarks/attention.py --writing`). Keys and values go into a preallocated cache, where
transformers' cache copies all of them for every new token. Llama-shaped models skip transformers'
modules: a token of a small model takes a few microseconds of arithmetic per layer and a hundred of
Python.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from tailorbird.models.bf16_linear import Product, computes_bf16, reordered
from tailorbird.models.device import Device

NAME = "tailorbird_decode"
# Queries per block, whose scores fit the processor's cache.
_BLOCK = 64
# Arguments whose effect only transformers' own function implements.
_SPECIAL = ("s_aux", "position_bias", "softcap", "cache")
# With fewer multiplications, a layer's products end before a second thread has begun.
_ONE_THREAD = 100_000_000


@contextmanager
def fast_decoding(model: Any, device: Device) -> Iterator[None]:
    """Make a causal LM generate as fast as this processor can, inside the context.

    Args:
        model: transformers' own; its weights must not change meanwhile, and gradients are not
            available. Nothing changes on other devices than a CPU; in other formats than bf16 only
            the attention does.
        device: The model's device.
    """
    joined = computes_bf16(device) and _is_plain_llama(model)
    layers = _joined_layers(model) if joined else reordered(model, device)
    with fast_attention(model, device), layers:
        yield


@contextmanager
def fast_attention(model: Any, device: Device) -> Iterator[None]:
    """Use plain products instead of torch's fused attention, inside the context.

    Args:
        model: A causal LM of transformers; nothing changes on other devices than a CPU, or with
            another configured attention.
        device: The model's device.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    config = getattr(model, "config", None)
    text: Any = config.get_text_config() if config is not None else None
    if device.kind != "cpu" or getattr(text, "_attn_implementation", None) != "sdpa":
        yield
        return
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    text._attn_implementation = NAME
    try:
        yield
    finally:
        text._attn_implementation = "sdpa"


def preallocated_cache(model: Any, tokens: int) -> Cache | None:
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
    cache.layers = [PreallocatedLayer(tokens) for _ in cache.layers]
    return cache


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
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
    if query.shape[2] > 1:
        return _attend_before(query, key.to(value.dtype), value, mask), None
    length = key.shape[2]
    key, value = (getattr(states, "whole", states) for states in (key, value))
    mask = _over_room(mask, length, key.shape[2])
    return _attend(query, key.to(value.dtype), value, mask).transpose(1, 2), None


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


def _attend_before(
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
        block = _attend(query[:, :, first:past], key[:, :, :end], value[:, :, :end], visible)
        mixed[:, first:past] = block.transpose(1, 2)
    return mixed


def _over_room(mask: torch.Tensor | None, length: int, room: int) -> torch.Tensor | None:
    """Return the mask of one token over a cache's whole capacity, built once for all layers."""
    if room == length:
        return mask
    if mask is None:
        return _first(length, room)
    whole: torch.Tensor | None = getattr(mask, "whole", None)
    if whole is None or whole.shape[-1] != room:
        whole = nn.functional.pad(mask, (0, room - length))
        mask.whole = whole  # type: ignore[attr-defined]
    return whole


@lru_cache(maxsize=1)
def _first(length: int, room: int) -> torch.Tensor:
    return torch.arange(room)[None, None, None] < length


def _attend(
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


@contextmanager
def _joined_layers(model: Any) -> Iterator[None]:
    """Make a Llama-shaped model skip transformers' modules, inside the context."""
    threads, plain, decoder = torch.get_num_threads(), model.forward, _decoder_of(model)

    @wraps(plain)
    def forward(*args: Any, **inputs: Any) -> Any:
        cache = inputs.get("past_key_values")
        if args or cache is None or any(type(one) is not PreallocatedLayer for one in cache.layers):
            return plain(*args, **inputs)
        ids = inputs.get("input_ids")
        rows, places = (inputs["inputs_embeds"] if ids is None else ids).shape[:2]
        torch.set_num_threads(1 if rows * places * decoder.weights < _ONE_THREAD else threads)
        return decoder(**inputs)

    model.forward = forward
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        del model.forward


def _is_plain_llama(model: Any) -> bool:
    from transformers import LlamaForCausalLM

    if type(model) is not LlamaForCausalLM or model.config.hidden_act != "silu":
        return False
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    changed = any(
        each._forward_hooks or each._forward_pre_hooks or "forward" in vars(each)
        for each in model.modules()
    )
    # Seven linear modules per layer and the last; otherwise something replaced one.
    whole = len(layers) == 7 * len(model.model.layers) + 1
    formats = {weight.dtype for weight in model.parameters()}
    return whole and not changed and formats == {torch.float32} and all(
        type(layer) is nn.Linear for layer in layers
    )  # fmt: skip


def _decoder_of(model: Any) -> "_LlamaDecoder":
    """Return the model's prepared layers, rebuilt if a weight has changed."""
    state = [(weight.data_ptr(), weight._version) for weight in model.parameters()]
    before = _DECODERS.get(model)
    if before is not None and before[0] == state:
        return before[1]
    with torch.no_grad():
        decoder = _LlamaDecoder(model)
    _DECODERS[model] = state, decoder
    return decoder


class _LlamaDecoder:
    """The layers of a model, where products of the same states are fused.

    Masks and angles are computed once for all layers. The numbers are those of autocast, bit for
    bit except for sums that a wider product may reorder.
    """

    def __init__(self, model: Any) -> None:
        # Not the model itself, since a cache entry must not keep its key alive.
        self._embed, self._angles = model.model.embed_tokens, model.model.rotary_emb
        self._norm, config = model.model.norm, model.config
        self._size = model.model.layers[0].self_attn.head_dim
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._layers = [_LlamaLayer(layer) for layer in model.model.layers]
        self._head = Product(model.lm_head)
        self.weights = sum(weight.numel() for weight in model.parameters())

    def __call__(
        self,
        past_key_values: Any,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> Any:
        """Return the logits ``[batch, seq, vocabulary]``, as the model's own forward does."""
        from transformers.modeling_outputs import CausalLMOutputWithPast

        cache, mask = past_key_values, attention_mask
        states = self._embed(input_ids) if inputs_embeds is None else inputs_embeds
        places, before = states.shape[1], cache.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(before, before + places)[None]
        cos, sin = (part[:, None] for part in self._angles(states, position_ids))
        visible = None if mask is None or bool(mask.all()) else mask[:, None, None].bool()
        if places == 1:
            visible = _over_room(visible, before + 1, cache.layers[0].room(before + 1))
        for layer, own in zip(self._layers, cache.layers, strict=True):
            joined = layer.joined(layer.before(states))
            joined = joined.view(*states.shape[:2], -1, self._size).transpose(1, 2)
            mixed = self._mix(layer.scaling, joined, cos, sin, visible, own)
            states = states + layer.out(mixed.reshape(*states.shape[:2], -1))
            gate, up = layer.wide(layer.after(states)).chunk(2, dim=-1)
            states = states + layer.narrow(nn.functional.silu(gate) * up)
        states = self._norm(states[:, -logits_to_keep:])
        return CausalLMOutputWithPast(logits=self._head(states), past_key_values=cache)

    def _mix(
        self,
        scaling: float,
        joined: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        visible: torch.Tensor | None,
        cache: Any,
    ) -> torch.Tensor:
        """Return ``[batch, seq, heads, size]`` from concatenated queries, keys and values."""
        turning = joined[:, : self._heads + self._groups]
        first, second = turning.chunk(2, dim=-1)
        turned = turning * cos + torch.cat((-second, first), dim=-1) * sin
        query = (turned[:, : self._heads] * scaling).to(joined.dtype)
        key = turned[:, self._heads :].to(joined.dtype)
        key, value = cache.update(key, joined[:, self._heads + self._groups :])
        if query.shape[2] > 1:
            return _attend_before(query, key, value, visible)
        return _attend(query, key.whole, value.whole, visible).transpose(1, 2)


class _LlamaLayer:
    """One layer's norms and products."""

    def __init__(self, layer: Any) -> None:
        attention, wide = layer.self_attn, layer.mlp
        self.before, self.after = layer.input_layernorm, layer.post_attention_layernorm
        self.scaling = attention.scaling
        self.joined = Product(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = Product(attention.o_proj)
        self.wide, self.narrow = Product(wide.gate_proj, wide.up_proj), Product(wide.down_proj)


# Cached with their models while the weights are unchanged, so that later calls start faster.
_DECODERS: WeakKeyDictionary[Any, tuple[list[tuple[int, int]], _LlamaDecoder]] = WeakKeyDictionary()
