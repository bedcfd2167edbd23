"""Attention while writing is torch's own to rounding, and its memory holds what was read."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, MistralConfig, T5Config
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tailorbird.models.device import choose
from tailorbird.models.fast_decoding import attention, fast_attention, preallocated_cache

LAYER: Any = SimpleNamespace(training=False, is_causal=True, num_key_value_groups=3)
HEADS, GROUPS, SIZE = 6, 2, 8


def states(rows: int, places: int, length: int, kind: torch.dtype) -> list[torch.Tensor]:
    dice = torch.Generator().manual_seed(places)
    shapes = ((HEADS, places), (GROUPS, length), (GROUPS, length))
    return [torch.randn(rows, *shape, SIZE, generator=dice).to(kind) for shape in shapes]


def padded(rows: int, places: int, length: int) -> torch.Tensor:
    mask = torch.ones(length, length, dtype=torch.bool).tril().repeat(rows, 1, 1, 1)
    for row in range(rows):
        mask[row, ..., : 3 * row] = False
    return mask[:, :, length - places :]


@pytest.mark.parametrize(("kind", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize(("places", "length"), [(1, 90), (150, 150), (70, 90), (64, 64)])
def test_padded_rows_attend_as_with_torch(
    kind: torch.dtype, near: float, places: int, length: int
) -> None:
    query, key, value = states(4, places, length, kind)
    mask = padded(4, places, length)
    expected, _ = sdpa_attention_forward(LAYER, query, key, value, mask, scaling=0.3)
    actual, _ = attention(LAYER, query, key, value, mask, scaling=0.3)
    real = mask.any(dim=-1)[:, 0]
    assert actual.shape == expected.shape and bool(actual.isfinite().all())
    assert (actual[real].float() - expected[real].float()).abs().max() < near


@pytest.mark.parametrize("places", [1, 100])
def test_without_padding_there_is_no_mask(places: int) -> None:
    query, key, value = states(2, places, 100, torch.float32)
    expected, _ = sdpa_attention_forward(LAYER, query, key, value, None)
    actual, _ = attention(LAYER, query, key, value, None)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_tokens_that_look_ahead_are_left_to_torch() -> None:
    """A picture's or a prefix's tokens see each other, later ones too."""
    query, key, value = states(2, 90, 90, torch.float32)
    mask = padded(2, 90, 90)
    mask[:, :, 3:80, 3:80] = True
    expected, _ = sdpa_attention_forward(LAYER, query, key, value, mask)
    actual, _ = attention(LAYER, query, key, value, mask)
    real = mask.any(dim=-1)[:, 0]
    torch.testing.assert_close(actual[real], expected[real], atol=1e-5, rtol=0)


def test_the_cache_holds_what_was_read_and_grows_when_the_room_was_too_small() -> None:
    model = SimpleNamespace(config=LlamaConfig(num_hidden_layers=2))
    cache = preallocated_cache(model, 5)
    assert cache is not None and len(cache.layers) == 2
    _, key, value = states(3, 9, 9, torch.float32)
    for first, past in ((0, 4), (4, 5), (5, 6), (6, 9)):
        keys, values = cache.update(key[:, :, first:past], value[:, :, first:past], 0)
        assert torch.equal(keys, key[:, :, :past]) and torch.equal(values, value[:, :, :past])
        assert cache.get_seq_length(0) == past
    once, _ = attention(LAYER, states(3, 1, 9, torch.float32)[0], keys, values, None)
    plain, _ = attention(LAYER, states(3, 1, 9, torch.float32)[0], key, value, None)
    torch.testing.assert_close(once, plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", [T5Config(), MistralConfig(sliding_window=8)])
def test_models_that_keep_something_else_get_transformers_own_cache(config: Any) -> None:
    assert preallocated_cache(SimpleNamespace(config=config), 5) is None


def test_a_model_told_to_attend_otherwise_does() -> None:
    for way, inside in (("eager", "eager"), ("sdpa", "tailorbird_decode")):
        config = LlamaConfig(attn_implementation=way)
        with fast_attention(SimpleNamespace(config=config), choose("cpu", "fp32")):
            assert config._attn_implementation == inside
        assert config._attn_implementation == way
