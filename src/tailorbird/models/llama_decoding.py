"""Decoding with Llama-shaped models on a CPU, in a quarter of the calls of transformers' modules.

A token of a small model takes a few microseconds of arithmetic per layer and a hundred of Python.
Here products of the same states are fused, keys are stored in the layout of their product, and
masks and angles are computed once for all layers. The numbers are those of autocast, bit for bit
except for sums that a wider product may reorder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from tailorbird.models.decode_attention import RoomyLayer, attend, attend_left_to_right
from tailorbird.models.device import Device
from tailorbird.models.reorder import computes_bf16, reordered

# With fewer multiplications, a layer's products end before a second thread has begun.
_ONE_THREAD = 100_000_000
# Cached with their models while the weights are unchanged, so that later calls start faster.
_STACKS: WeakKeyDictionary[Any, tuple[list[tuple[int, int]], "_Stack"]] = WeakKeyDictionary()


@contextmanager
def ready_to_decode(model: Any, device: Device) -> Iterator[None]:
    """Make a causal LM generate as fast as this processor can, inside the context.

    Args:
        model: transformers' own; its weights must not change meanwhile, and gradients are not
            available. Nothing changes on other devices, and in other formats than bf16.
        device: The model's device.
    """
    if not (computes_bf16(device) and _is_plain_llama(model)):
        with reordered(model, device):
            yield
        return
    threads = torch.get_num_threads()
    plain = model.forward
    stack = _stack_of(model)

    @wraps(plain)
    def forward(*args: Any, **inputs: Any) -> Any:
        cache = inputs.get("past_key_values")
        if args or cache is None or any(type(one) is not RoomyLayer for one in cache.layers):
            return plain(*args, **inputs)
        ids = inputs.get("input_ids")
        rows, places = (inputs["inputs_embeds"] if ids is None else ids).shape[:2]
        torch.set_num_threads(1 if rows * places * stack.weights < _ONE_THREAD else threads)
        return stack(**inputs)

    model.forward = forward
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        del model.forward


def _stack_of(model: Any) -> "_Stack":
    """Return the model's prepared layers, rebuilt if a weight has changed."""
    state = [(weight.data_ptr(), weight._version) for weight in model.parameters()]
    before = _STACKS.get(model)
    if before is not None and before[0] == state:
        return before[1]
    with torch.no_grad():
        stack = _Stack(model)
    _STACKS[model] = state, stack
    return stack


def _is_plain_llama(model: Any) -> bool:
    from transformers import LlamaForCausalLM

    if type(model) is not LlamaForCausalLM or model.config.hidden_act != "silu":
        return False
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    hooked = any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())
    own = any("forward" in vars(each) for each in model.modules())
    # Seven linear modules per layer and the last; otherwise something replaced one.
    whole = len(layers) == 7 * len(model.model.layers) + 1
    formats = {weight.dtype for weight in model.parameters()}
    return whole and not hooked and not own and formats == {torch.float32} and all(
        type(layer) is nn.Linear for layer in layers
    )  # fmt: skip


class _Stack:
    """The layers of a model, with fused weights laid out for products in bf16."""

    def __init__(self, model: Any) -> None:
        # Not the model itself, since a cache entry must not keep its key alive.
        self._embed, self._angles = model.model.embed_tokens, model.model.rotary_emb
        self._norm, config = model.model.norm, model.config
        self._size = model.model.layers[0].self_attn.head_dim
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._layers = [_Layer(layer) for layer in model.model.layers]
        self._head = _Product(model.lm_head)
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

        cache = past_key_values
        states = self._embed(input_ids) if inputs_embeds is None else inputs_embeds
        places, before = states.shape[1], cache.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(before, before + places)[None]
        cos, sin = (part[:, None] for part in self._angles(states, position_ids))
        visible = _visible(attention_mask, before, places, cache)
        for layer, own in zip(self._layers, cache.layers, strict=True):
            joined = layer.joined(layer.before(states))
            joined = joined.view(*states.shape[:2], -1, self._size).transpose(1, 2)
            mixed = self._attend(layer, joined, cos, sin, visible, own)
            states = states + layer.out(mixed.reshape(*states.shape[:2], -1))
            gate, up = layer.wide(layer.after(states)).chunk(2, dim=-1)
            states = states + layer.narrow(nn.functional.silu(gate) * up)
        states = self._norm(states[:, -logits_to_keep:])
        return CausalLMOutputWithPast(logits=self._head(states), past_key_values=cache)

    def _attend(
        self,
        layer: "_Layer",
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
        query = (turned[:, : self._heads] * layer.scaling).to(joined.dtype)
        key = turned[:, self._heads :].to(joined.dtype)
        key, value = cache.update(key, joined[:, self._heads + self._groups :])
        if query.shape[2] > 1:
            return attend_left_to_right(query, key, value, visible)
        return attend(query, key.whole, value.whole, visible).transpose(1, 2)


def _visible(
    mask: torch.Tensor | None, before: int, places: int, cache: Any
) -> torch.Tensor | None:
    """Return each token's visible positions by the mask; for one token, over the whole capacity."""
    length = before + places
    if places > 1:
        return None if mask is None or bool(mask.all()) else mask[:, None, None].bool()
    room = cache.layers[0].room(length)
    if mask is None:
        return torch.arange(room)[None, None, None] < length
    return nn.functional.pad(mask.bool(), (0, room - length))[:, None, None]


class _Layer:
    """One layer's norms and products."""

    def __init__(self, layer: Any) -> None:
        attention, wide = layer.self_attn, layer.mlp
        self.before, self.after = layer.input_layernorm, layer.post_attention_layernorm
        self.scaling = attention.scaling
        self.joined = _Product(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = _Product(attention.o_proj)
        self.wide, self.narrow = _Product(wide.gate_proj, wide.up_proj), _Product(wide.down_proj)


class _Product:
    """Linear layers with the same input, as one product in bf16."""

    def __init__(self, *layers: Any) -> None:
        whole = torch.cat([layer.weight for layer in layers]).bfloat16()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(whole)
        biases = [layer.bias for layer in layers]
        self._bias = None if biases[0] is None else torch.cat(biases).bfloat16()

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            states.bfloat16(), self._weight, self._bias, "none", [], ""
        )
        return product
