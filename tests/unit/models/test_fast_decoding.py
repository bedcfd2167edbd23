"""Decoding without transformers' modules gives their numbers, and leaves the model as it was."""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from tailorbird.models import fast_decoding as decode
from tailorbird.models.bf16_linear import reordered
from tailorbird.models.device import Device
from tailorbird.models.fast_decoding import fast_attention, fast_decoding, preallocated_cache

BF16 = Device("cpu", "bf16", "")


@pytest.fixture(autouse=True)
def fast_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_CPU_BF16", "fast")


def small(**more: Any) -> Any:
    torch.manual_seed(4)
    config = LlamaConfig(
        vocab_size=90, hidden_size=48, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=400, **more,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def logits_of(
    model: Any, ready: Callable[[Any, Device], AbstractContextManager[None]], rows: int, width: int,
    *, embedded: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Return the logits after a padded prompt and after each of four more tokens."""
    ids = torch.arange(rows * width).view(rows, width) * 7 % 90
    mask = (torch.arange(width) >= 5 * torch.arange(rows)[:, None]).long()
    inputs: dict[str, Any] = {"input_ids": ids}
    if embedded:
        inputs = {"inputs_embeds": model.get_input_embeddings()(ids)}
    with torch.no_grad(), BF16.autocast(), fast_attention(model, BF16), ready(model, BF16):
        cache = preallocated_cache(model, width + 2)  # too little room: it grows
        found = []
        for step in range(5):
            places = (mask.cumsum(dim=1) - 1).clamp(min=0)
            output = model(
                **inputs, attention_mask=mask, past_key_values=cache, use_cache=True,
                position_ids=places if not step else places[:, -1:], logits_to_keep=1,
            )  # fmt: skip
            found.append(output.logits[:, -1])
            mask = torch.nn.functional.pad(mask, (0, 1), value=1)
            inputs = {"input_ids": torch.full((rows, 1), step)}
    assert cache.get_seq_length() == width + 4
    return torch.stack(found)


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize(("rows", "width"), [(1, 6), (1, 1), (4, 90)])
def test_the_logits_are_those_of_transformers(rows: int, width: int, embedded: bool) -> None:
    model = small(attention_bias=True, mlp_bias=True)
    expected = logits_of(model, reordered, rows, width, embedded=embedded)
    actual = logits_of(model, fast_decoding, rows, width, embedded=embedded)
    assert actual.dtype == expected.dtype == torch.bfloat16
    # A wider product may sum in another order: mostly the same to the last bit.
    torch.testing.assert_close(actual, expected, rtol=2**-6, atol=2**-8)


def test_the_model_and_the_threads_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    model, threads = small(), torch.get_num_threads()
    plain = model.forward
    with pytest.raises(KeyError), fast_decoding(model, BF16):
        # Without our memory of keys and values transformers' own forward runs.
        assert model(torch.tensor([[3, 4]])).logits.dtype == torch.float32
        assert model.forward != plain and torch.get_num_threads() == threads
        assert model(input_ids=torch.tensor([[3]]), past_key_values=preallocated_cache(model, 4))
        assert torch.get_num_threads() == 1
        monkeypatch.setattr(decode, "_ONE_THREAD", 10)
        assert model(input_ids=torch.tensor([[3]]), past_key_values=preallocated_cache(model, 4))
        assert torch.get_num_threads() == threads
        raise KeyError
    assert model.forward == plain and torch.get_num_threads() == threads


def test_what_is_not_plain_is_left_to_transformers() -> None:
    tuned = get_peft_model(small(), LoraConfig(target_modules=["q_proj"]))
    hooked, half, other = small(), small().bfloat16(), small(hidden_act="gelu")
    hooked.model.layers[1].register_forward_hook(lambda *_: None)
    for model in (tuned.get_base_model(), hooked, half, other):
        with fast_decoding(model, BF16):
            assert "forward" not in vars(model)
    model = small()
    with fast_decoding(model, Device("cpu", "fp32", "")):
        assert "forward" not in vars(model)


def test_layers_are_kept_until_a_weight_changes_and_no_longer_than_the_model() -> None:
    model = small()
    with fast_decoding(model, BF16):
        pass
    first = decode._DECODERS[model][1]
    with fast_decoding(model, BF16):
        assert decode._DECODERS[model][1] is first
    logits = logits_of(model, fast_decoding, 1, 6)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.mul_(1.5)
    changed = logits_of(model, fast_decoding, 1, 6)
    assert not torch.equal(changed, logits)
    torch.testing.assert_close(changed, logits_of(model, reordered, 1, 6), rtol=2**-6, atol=2**-8)
    count = len(decode._DECODERS)
    del model, first
    gc.collect()
    assert len(decode._DECODERS) < count
