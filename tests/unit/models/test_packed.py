"""Texts read end to end: each as if it were alone, on every family, or not packed at all."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tailorbird.data.tokens import Tokens, pack
from tailorbird.models import chunked_cross_entropy, packed as room
from tailorbird.models.device import choose
from tailorbird.models.packed import Reader, sequence_losses
from tailorbird.models.packed_attention import NAME

VOCABULARY, LAYERS = 97, 2
CPU = choose("cpu", "fp32")
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # Wide, so that outputs depend on words and places as a trained model's do.
    "initializer_range": 0.3,
}
_GROUPED = {"num_key_value_heads": 2}
_GEMMA = _GROUPED | {"head_dim": 8}
# What is special about a family stands behind it.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _GROUPED),
    "qwen2": ("Qwen2", _GROUPED),
    "qwen3": ("Qwen3", _GROUPED | {"head_dim": 8}),
    "mistral": ("Mistral", _GROUPED | {"sliding_window": 5}),
    "gemma": ("Gemma", _GEMMA),
    "gemma2": (
        "Gemma2",
        _GEMMA
        | {
            "sliding_window": 5,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
            "query_pre_attn_scalar": 4,
        },
    ),
    "gpt2": ("GPT2", {}),
    "gptneox": ("GPTNeoX", {"rotary_pct": 0.5}),
    "opt": ("OPT", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "phi3": ("Phi3", _GROUPED),
    "phimoe": ("Phimoe", _GROUPED),
    "granite": ("Granite", _GROUPED | {"logits_scaling": 4.0, "embedding_multiplier": 2.0}),
    "cohere": ("Cohere", _GROUPED | {"logit_scale": 0.25}),
}


def family(name: str, **more: Any) -> Any:
    """Return an untrained two-layer model of a family, the same at every call."""
    import transformers

    kind, own = FAMILIES[name]
    config = getattr(transformers, f"{kind}Config")(**_SIZES | own | more)
    suffix = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = getattr(transformers, f"{kind}{suffix}")(config)
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases and norms start at 0 and 1: as if they were not there
                nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    return model.eval()


def texts(lengths: tuple[int, ...] = (19, 7, 18, 2, 12, 11)) -> Tokens:
    """Return random sequences; of each, some stretches are trained."""
    rng = np.random.default_rng(4)
    ids = [rng.integers(3, VOCABULARY, n).astype(np.int32) for n in lengths]
    trained = [np.arange(n) >= max(1, n // 3) for n in lengths]
    trained[0][9:12] = False
    return Tokens(ids, trained, [], np.arange(len(ids)))


def alone(model: Any, tokens: Tokens, virtual: int = 0) -> list[torch.Tensor]:
    """Return each sequence's losses as the model's own forward gives them, one at a time."""
    found = []
    for ids, trained in zip(tokens.ids, tokens.trained, strict=True):
        inputs = torch.from_numpy(ids.astype(np.int64))[None]
        logits = model(input_ids=inputs).logits[0, virtual:].float()
        losses = nn.functional.cross_entropy(logits[:-1], inputs[0, 1:], reduction="none")
        found.append(losses[torch.from_numpy(trained[1:])])
    return found


def likeliest(model: Any, tokens: Tokens) -> list[int]:
    """Return of each sequence how many trained tokens were the likeliest."""
    found = []
    for ids, trained in zip(tokens.ids, tokens.trained, strict=True):
        inputs = torch.from_numpy(ids.astype(np.int64))
        best = model(input_ids=inputs[None]).logits[0, :-1].argmax(1)
        found.append(int((best == inputs[1:])[torch.from_numpy(trained[1:])].sum()))
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_losses_are_those_of_single_texts(name: str) -> None:
    model, tokens = family(name), texts()
    reader = Reader(model, CPU, tokens)
    assert (reader.way, reader.notes) == ("packed", [])
    found = sequence_losses(reader, tokens, CPU)
    with torch.no_grad():
        single = alone(model, tokens)
        np.testing.assert_array_equal(found.hits, likeliest(model, tokens))
    expected = np.asarray([float(losses.double().sum()) for losses in single])
    np.testing.assert_allclose(found.loss_sums, expected, rtol=2e-5)
    np.testing.assert_array_equal(found.counts, [len(losses) for losses in single])
    assert found.per_token == pytest.approx(expected.sum() / found.counts.sum(), rel=2e-5)
    assert expected.std() > 0.1, "a model that says the same to everything"


def test_a_window_that_attention_does_not_tell_of_is_not_passed_over() -> None:
    """Phi-MoE keeps its window to the mask, and packed rows have none."""
    small = {"num_local_experts": 2, "num_experts_per_tok": 1}
    model, tokens = family("phimoe", sliding_window=56, **small), texts((19, 64, 62))
    tokens = replace(tokens, trained=[np.arange(n) >= n - 6 for n in tokens.lengths])
    reader = Reader(model, CPU, tokens)
    assert reader.way != "packed"
    assert "attends 56 tokens back" in reader.notes[0]
    found = sequence_losses(reader, tokens, CPU)
    with torch.no_grad():
        expected = [float(losses.double().sum()) for losses in alone(model, tokens)]
    np.testing.assert_allclose(found.loss_sums, expected, rtol=2e-5)
    short = texts()
    assert Reader(model, CPU, short).way == "packed"
    assert Reader(model, CPU, short, longest=64).way != "packed"


@pytest.mark.parametrize("way", ["padded", "own"])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "opt"])
def test_the_slower_ways_say_the_same(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = family(name), texts()
    reader = Reader(model, CPU, tokens, packing=False)
    assert (reader.way, reader.notes) == ("padded", [])
    monkeypatch.setattr(reader, "way", way)
    found = sequence_losses(reader, tokens, CPU)
    with torch.no_grad():
        expected = [float(losses.double().sum()) for losses in alone(model, tokens)]
    np.testing.assert_allclose(found.loss_sums, expected, rtol=2e-5)


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt2"])
def test_texts_do_not_see_each_other(name: str) -> None:
    """Other words in one text leave every other text's losses alone."""
    model, tokens = family(name), texts()
    reader = Reader(model, CPU, tokens)
    assert reader.way == "packed"
    before = sequence_losses(reader, tokens, CPU).loss_sums
    for changed in range(len(tokens)):
        other = texts()
        other.ids[changed][:] = (other.ids[changed] + 17) % (VOCABULARY - 3) + 3
        after = sequence_losses(reader, other, CPU).loss_sums
        rest = np.arange(len(tokens)) != changed
        np.testing.assert_allclose(after[rest], before[rest], rtol=1e-6)
        assert abs(after[changed] - before[changed]) > 1e-2


def test_losses_do_not_depend_on_how_much_is_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, tokens = family("llama"), texts((19, 7, 18, 2, 12, 11, 30, 3))
    whole = sequence_losses(model, tokens, CPU)
    for most in (1, 20, 40):
        monkeypatch.setattr(room, "_TOKENS_AT_ONCE", {"cpu": most})
        cut = sequence_losses(model, tokens, CPU)
        np.testing.assert_allclose(cut.loss_sums, whole.loss_sums, rtol=1e-6)
        np.testing.assert_array_equal(cut.hits, whole.hits)


# --- models that do not take it --------------------------------------------------------------


def _bloom() -> Any:
    """Return a Bloom: places are told by a bias on the scores (ALiBi), not by position ids."""
    import transformers

    config = transformers.BloomConfig(
        vocab_size=VOCABULARY, hidden_size=32, n_layer=LAYERS, n_head=4, initializer_range=0.3
    )
    torch.manual_seed(11)
    return transformers.BloomForCausalLM(config).eval()


def _blind() -> Any:
    """Return a Llama whose attention never asks which attention is set."""
    from types import MethodType

    model = family("llama")

    def forward(self: Any, hidden_states: Any, position_embeddings: Any, **_: Any) -> Any:
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, repeat_kv

        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        parts = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (part(hidden_states).view(shape).transpose(1, 2) for part in parts)
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        k, v = (repeat_kv(t, self.num_key_value_groups) for t in (k, v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = mixed.transpose(1, 2).reshape(*hidden_states.shape[:-1], -1)
        return self.o_proj(mixed), None

    for layer in model.model.layers:
        layer.self_attn.forward = MethodType(forward, layer.self_attn)
    return model


@pytest.mark.parametrize("make", [_bloom, _blind])
def test_a_model_that_cannot_be_packed_is_read_padded_and_says_so(
    make: Callable[[], Any],
) -> None:
    model, tokens = make(), texts()
    reader = Reader(model, CPU, tokens)
    assert reader.way == "padded", reader.notes
    (note,) = reader.notes
    assert note.startswith("no packed batches of texts: ")
    found = sequence_losses(reader, tokens, CPU)
    with torch.no_grad():
        expected = [float(losses.double().sum()) for losses in alone(model, tokens)]
    np.testing.assert_allclose(found.loss_sums, expected, rtol=2e-5)


def test_a_head_that_does_more_than_we_know_makes_its_own_logits() -> None:
    """Here the model halves its logits in a setting of its own: the probe sees it."""
    model, tokens = family("llama"), texts()
    model.lm_head.register_forward_hook(lambda _, args, output: output / 2)
    reader = Reader(model, CPU, tokens)
    assert reader.way == "own"
    assert [note.split(":")[0] for note in reader.notes] == [
        "no packed batches of texts",
        "no padded batches of texts",
    ]
    assert all("losses differ by" in note for note in reader.notes)
    found = sequence_losses(reader, tokens, CPU)
    with torch.no_grad():
        expected = [float(losses.double().sum()) for losses in alone(model, tokens)]
    np.testing.assert_allclose(found.loss_sums, expected, rtol=2e-5)


def test_short_texts_are_probed_and_read_too() -> None:
    """Two tokens are the least that a loss can be had of; one is read and gives none."""
    model = family("llama")
    for lengths in ((2,), (2, 2), (1, 2, 1), (1, 1)):
        tokens = Tokens(
            [np.arange(3, 3 + n, dtype=np.int32) for n in lengths],
            [np.arange(n) > 0 for n in lengths],
            [],
            np.arange(len(lengths)),
        )
        found = sequence_losses(model, tokens, CPU)
        with torch.no_grad():
            expected = [float(losses.double().sum()) for losses in alone(model, tokens)]
        np.testing.assert_allclose(found.loss_sums, expected, rtol=2e-5)


@pytest.mark.parametrize("lengths", [(1, 9, 1, 12), (1, 1, 40, 1)])
def test_first_texts_of_one_token_do_not_spoil_the_probe(lengths: tuple[int, ...]) -> None:
    model, tokens = family("llama"), texts(lengths)
    reader = Reader(model, CPU, tokens)
    assert (reader.way, reader.notes) == ("packed", [])


# --- what stays of it ------------------------------------------------------------------------


def test_the_models_own_attention_is_back_afterwards() -> None:
    model, tokens = family("llama"), texts()
    before = model.config._attn_implementation
    reader = Reader(model, CPU, tokens)
    assert model.config._attn_implementation == before
    with reader.reading():
        assert model.config._attn_implementation == NAME
        with reader.reading():  # validation within training
            assert model.config._attn_implementation == NAME
        assert model.config._attn_implementation == NAME
        assert sequence_losses(reader, tokens, CPU).counts.sum() > 0
        assert model.config._attn_implementation == NAME
    assert model.config._attn_implementation == before
    with pytest.raises(ZeroDivisionError), reader.reading():
        raise ZeroDivisionError
    assert model.config._attn_implementation == before
    with torch.no_grad():
        alone(model, tokens)


def test_a_probe_that_fails_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = family("llama"), texts()
    model.model.train()  # and its head stays in evaluation, as parts of PEFT's models do
    modes = {name: module.training for name, module in model.named_modules()}

    def broken(*_: Any) -> Any:
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr(Reader, "_read_row", broken)
    reader = Reader(model, CPU, tokens)
    assert reader.way == "padded"
    assert reader.notes == ["no packed batches of texts: RuntimeError: no kernel for this"]
    assert model.config._attn_implementation == "sdpa"
    assert {name: module.training for name, module in model.named_modules()} == modes


# --- gradients -------------------------------------------------------------------------------


def gradients(model: Any) -> dict[str, torch.Tensor]:
    """Return what backward left, and forget it."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def _with_lora(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(model, LoraConfig(r=3, target_modules="all-linear"))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.1)
    return wrapped.eval()


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt2", "cohere"])
def test_packed_gradients_are_those_of_single_texts(
    name: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_cross_entropy, "_CHUNK_BYTES", {"cpu": 4 * VOCABULARY * 7})
    monkeypatch.setattr(chunked_cross_entropy, "_FEWEST_ROWS", 1)
    model, tokens = family(name), texts()
    if method == "lora":
        model = _with_lora(model)
    reader = Reader(model, CPU, tokens)
    assert reader.way == "packed"
    sum(losses.sum() for losses in alone(model, tokens)).backward()
    expected = gradients(model)
    with reader.reading():
        reader.loss_sum(tokens, np.arange(len(tokens))).backward()
    found = gradients(model)
    assert set(found) == set(expected)
    largest = max(float(grad.abs().max()) for grad in expected.values())
    assert largest > 0.1
    for key, grad in expected.items():
        torch.testing.assert_close(found[key], grad, rtol=1e-4, atol=1e-5 * largest, msg=key)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    model, tokens = family(name), texts()
    reader = Reader(model, CPU, tokens)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with reader.reading():
        reader.loss_sum(tokens, np.arange(len(tokens))).backward()
    plain = gradients(model)
    seen = _count_forwards(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    with reader.reading():
        reader.loss_sum(tokens, np.arange(len(tokens))).backward()
    assert seen() == 2, "the layers run again for the backward pass"
    for key, grad in gradients(model).items():
        torch.testing.assert_close(grad, plain[key], rtol=1e-5, atol=1e-6, msg=key)


def _count_forwards(model: Any) -> Callable[[], int]:
    inner = next(m for n, m in model.named_modules() if n.endswith(("self_attn", "attn")))
    count = [0]

    def note(*_: Any) -> None:
        count[0] += 1

    inner.register_forward_pre_hook(note)
    return lambda: count[0]


# --- prompt tuning ---------------------------------------------------------------------------


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_virtual_tokens_are_pefts(name: str, packing: bool) -> None:
    from peft import PromptTuningConfig, get_peft_model

    virtual = 3
    prompt = PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=virtual,
        token_dim=32,
        num_layers=LAYERS,
        num_attention_heads=4,
    )
    model, tokens = get_peft_model(family(name), prompt).eval(), texts()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.5)
    reader = Reader(model, CPU, tokens, packing=packing)
    assert (reader.way, reader.notes) == ("packed" if packing else "padded", [])
    assert reader.virtual == virtual
    losses = alone(model, tokens, virtual)
    total = sum(one.sum() for one in losses)
    found = sequence_losses(reader, tokens, CPU)
    expected = [float(one.detach().double().sum()) for one in losses]
    np.testing.assert_allclose(found.loss_sums, expected, rtol=2e-5)
    total.backward()
    (grad,) = gradients(model).values()
    with reader.reading():
        reader.loss_sum(tokens, np.arange(len(tokens))).backward()
    (ours,) = gradients(model).values()
    torch.testing.assert_close(ours, grad, rtol=1e-4, atol=1e-4)


# --- other number formats --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "phi3"])
def test_in_bf16_packing_costs_no_more_than_rounding(name: str) -> None:
    model, tokens = family(name, initializer_range=0.1), texts()
    device = choose("cpu", "bf16")
    reader = Reader(model, device, tokens)
    assert (reader.way, reader.notes) == ("packed", [])
    found = sequence_losses(reader, tokens, device)
    with torch.no_grad():
        expected = [float(losses.double().sum()) for losses in alone(model, tokens)]
    assert np.abs(found.loss_sums - expected).max() / np.mean(found.counts) < 0.05


def test_a_read_row_has_one_state_per_token() -> None:
    """Whatever the lengths: what attention padded is gone again."""
    model = family("llama")
    tokens = texts((30, 29, 3, 3, 2, 12))
    reader = Reader(model, CPU, tokens)
    packed = pack(tokens, np.arange(len(tokens)))
    assert len(packed.groups) > 2
    with reader.reading(), torch.inference_mode():
        states = reader._read_row(packed)
    assert states.shape == (int(tokens.lengths.sum()), 32)
