"""Batches, schedules, optimizers, dropout, the head's start: against other libraries' numbers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import tiny
from tailorbird.data.encode import (
    Encoded,
    collate,
    encode,
    padded_widths,
    shuffled_batches,
    token_batches,
)
from tailorbird.methods.base import trained_parameters
from tailorbird.metrics.classification import softmax
from tailorbird.models.device import choose
from tailorbird.train.dropout import _ByteDropout, set_dropout
from tailorbird.train.head_losses import cross_entropy_sum
from tailorbird.train.optim import make_optimizer, rate_factor, set_rate
from tailorbird.train.settings import Settings

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=400).map(np.asarray)
ASKED = Settings(
    epochs=1,
    batch_size=8,
    micro_batch_size=8,
    learning_rate=0.1,
    optimizer="adamw",
    weight_decay=0.2,
    schedule="linear",
    warmup=0.1,
    max_grad_norm=1,
    head_start=False,
    dropout=None,
    evaluate_every=None,
    patience=4,
    seed=1,
    gradient_checkpointing=False,
    tensorboard=False,
)


# --- batches ---------------------------------------------------------------------------------


@given(LENGTHS, st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_index_once(
    lengths: np.ndarray, size: int, seed: int, epoch: int
) -> None:
    batches = shuffled_batches(lengths, size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert all(0 < len(batch) <= size for batch in batches)
    again = shuffled_batches(lengths, size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_epochs_and_seeds_differ_and_batches_are_of_similar_length() -> None:
    lengths = np.random.default_rng(5).integers(5, 200, 3000)
    first = shuffled_batches(lengths, 32, 1, 0)
    for other in (shuffled_batches(lengths, 32, 1, 1), shuffled_batches(lengths, 32, 2, 0)):
        assert {frozenset(b.tolist()) for b in first} != {frozenset(b.tolist()) for b in other}
    in_batches = sum(int(lengths[batch].max()) * len(batch) for batch in first)
    assert in_batches < 1.1 * lengths.sum()
    plain = np.random.default_rng(0).permutation(3000).reshape(-1, 30)
    assert sum(int(lengths[b].max()) * 30 for b in plain) > 1.7 * lengths.sum()
    # In no order of length: that would be a curriculum nobody asked for.
    widths = [int(lengths[batch].max()) for batch in first]
    assert abs(np.corrcoef(widths, range(len(widths)))[0, 1]) < 0.35


@given(LENGTHS, st.integers(1, 2000), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_token_batches_hold_every_index_once_within_the_bound(
    lengths: np.ndarray, most: int, examples: int
) -> None:
    batches = token_batches(lengths, most, examples)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= examples
        assert len(batch) == 1 or int(lengths[batch].max()) * len(batch) <= most
        assert len(set(padded_widths(lengths[batch]).tolist())) == 1
    widths = [int(padded_widths(lengths[batch])[0]) for batch in batches]
    assert widths == sorted(widths, reverse=True), "the largest batch first: it fits or fails early"


def test_no_texts_make_no_batches() -> None:
    assert token_batches(np.asarray([], dtype=np.int64), 100) == []


@given(st.lists(st.lists(st.integers(5, 99), min_size=1, max_size=30), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_collating_pads_on_the_right_and_loses_nothing(rows: list[list[int]]) -> None:
    lengths = np.asarray([len(row) for row in rows])
    encoded = Encoded([np.asarray(row, dtype=np.int32) for row in rows], lengths, None, lengths)
    arrays = collate(encoded, np.arange(len(rows)), pad_id=3)
    ids, mask = arrays["input_ids"], arrays["attention_mask"]
    assert ids.shape == mask.shape
    assert ids.shape[1] - max(lengths) < 8
    for row, found, real in zip(rows, ids, mask, strict=True):
        assert found[real == 1].tolist() == row
        assert (found[len(row) :] == 3).all()
        assert real.tolist() == [1] * len(row) + [0] * (len(real) - len(row))


def test_encoding_keeps_special_tokens_when_it_cuts(tiny_encoder: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    texts = ["one two three four five six seven eight", "one"]
    encoded = encode(texts, tokenizer, 6, [1, 0])
    assert encoded.lengths.tolist() == [6, 3]
    assert encoded.full_lengths.tolist() == [10, 3]
    for ids in encoded.ids:
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert tokenizer.decode(encoded.ids[0], skip_special_tokens=True) == "one two three four"


def test_an_empty_text_of_a_decoder_still_has_a_token(models: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models("stories260k"))
    tokenizer.pad_token = tokenizer.eos_token
    assert encode([""], tokenizer, 6).lengths.min() >= 1


# --- loss, schedule, optimizers --------------------------------------------------------------


def test_the_loss_is_a_sum_in_fp32() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]], dtype=torch.bfloat16)
    expected = np.log(1 + np.exp(-2)) + np.log(2)
    loss = cross_entropy_sum(logits, torch.tensor([0, 1]))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("total", [7, 10, 100])
def test_the_schedule_is_transformers_own_but_starts_above_zero(schedule: str, total: int) -> None:
    from transformers import get_scheduler

    asked = replace(ASKED, schedule=schedule, warmup=0.2)
    warm = round(0.2 * total)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_scheduler(schedule, optimizer, num_warmup_steps=warm, num_training_steps=total)
    factors = []
    for _ in range(total):
        factors.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    ours = [rate_factor(step, total, asked) for step in range(total)]
    assert ours[warm:] == pytest.approx(factors[warm:])
    # transformers' first step has rate 0 and changes nothing; ours rises one step ahead.
    assert ours[: warm - 1] == pytest.approx(factors[1:warm])
    assert min(ours) > 0


def test_a_constant_schedule_and_no_warm_up() -> None:
    asked = replace(ASKED, schedule="constant", warmup=0)
    assert [rate_factor(step, 5, asked) for step in range(5)] == [1.0] * 5
    asked = replace(ASKED, schedule="constant", warmup=0.4)
    assert [rate_factor(step, 5, asked) for step in range(5)] == [0.5, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
        ("adagrad", torch.optim.Adagrad),
    ],
)
def test_the_optimizer_decays_matrices_only(name: str, kind: type) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 2).requires_grad_(False))
    optimizer = make_optimizer(model, replace(ASKED, optimizer=name))
    assert type(optimizer) is kind
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decay[id(model[0].weight)] == 0.2
    assert decay[id(model[0].bias)] == decay[id(model[1].weight)] == 0.0
    assert len(decay) == 4, "frozen parameters are left out"
    if name == "sgd":
        assert optimizer.param_groups[0]["momentum"] == 0.9


def test_lower_layers_learn_more_slowly(models: Any) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(models("bert"), num_labels=3)
    optimizer = make_optimizer(model, replace(ASKED, layer_decay=0.5))
    set_rate(optimizer, 0.8)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in model.named_parameters()}
    # Two layers: the head 1, the upper 1/2, the lower 1/4, the embeddings 1/8.
    expected = {"classifier": 0.8, "pooler": 0.8, "layer.1.": 0.4, "layer.0.": 0.2, "embed": 0.1}
    for name, rate in found.items():
        (wanted,) = (value for part, value in expected.items() if part in name)
        assert rate == pytest.approx(wanted), name


def test_lora_plus_is_pefts_own_ratio() -> None:
    from peft.optimizers import create_loraplus_optimizer

    model, _ = _lora("fp32", True, 4, False)
    asked = replace(ASKED, learning_rate=0.01, b_rate_factor=16.0)
    ours = make_optimizer(model, asked)
    set_rate(ours, 0.01)
    theirs = create_loraplus_optimizer(model, torch.optim.AdamW, lr=0.01, loraplus_lr_ratio=16)
    rates = [
        {id(p): group["lr"] for group in o.param_groups for p in group["params"]}
        for o in (ours, theirs)
    ]
    names = {n: id(p) for n, p in model.named_parameters() if p.requires_grad}
    assert len(names) == 2
    for name, key in names.items():
        assert rates[0][key] == pytest.approx(rates[1][key]), name
    assert sorted(rates[0].values()) == pytest.approx([0.01, 0.16])


def test_moments_in_8_bits_step_like_those_in_32() -> None:
    torch.manual_seed(0)
    start, target = torch.randn(128, 128), torch.randn(128, 128)
    ends = []
    for name in ("adamw", "adamw8bit"):
        model = nn.Linear(128, 128, bias=False)
        with torch.no_grad():
            model.weight.copy_(start)
        asked = replace(ASKED, optimizer=name, learning_rate=0.01)
        optimizer = make_optimizer(model, asked)
        for _ in range(30):
            optimizer.zero_grad()
            ((model.weight - target) ** 2).sum().backward()
            optimizer.step()
        ends.append(model.weight.detach())
    assert optimizer.state[model.weight]["state1"].dtype == torch.uint8
    moved = float((ends[0] - start).abs().mean())
    assert float((ends[1] - ends[0]).abs().mean()) < 0.05 * moved


def test_what_a_method_cannot_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from tailorbird.config import Config
    from tailorbird.methods.registry import get_method
    from tailorbird.train.settings import resolve

    asked = Config.model_validate({"train": {"layer_decay": 0.9}})
    assert resolve(asked, get_method("full"), 100).layer_decay == 0.9
    assert resolve(asked, get_method("lora"), 100).layer_decay is None
    assert "train.layer_decay is ignored by lora" in capsys.readouterr().err


def test_defaults_follow_the_method_and_the_size_of_the_data() -> None:
    from tailorbird.config import Config
    from tailorbird.methods.registry import get_method
    from tailorbird.train.settings import resolve

    small, large = (resolve(Config(), get_method("lora"), count) for count in (100, 100_000))
    assert (small.batch_size, large.batch_size) == (16, 32)
    assert small.epochs > large.epochs == get_method("lora").defaults.epochs
    assert small.learning_rate == get_method("lora").defaults.learning_rate
    assert (small.dropout, resolve(Config(), get_method("full"), 100).dropout) == (0.0, None)
    asked = Config.model_validate(
        {"train": {"epochs": 1.5, "batch_size": 5, "micro_batch_size": 9, "weight_decay": 0}}
    )
    found = resolve(asked, get_method("full"), 100)
    assert (found.epochs, found.batch_size, found.micro_batch_size) == (1.5, 5, 5)
    assert found.weight_decay == 0.0


def test_a_bi_encoder_has_defaults_of_its_own() -> None:
    from tailorbird.config import Config
    from tailorbird.methods.registry import get_method
    from tailorbird.train.settings import resolve

    found = resolve(Config(), get_method("full"), 100, bi_encoder=True)
    assert (found.learning_rate, found.dropout, found.head_start) == (5e-5, 0.0, True)
    lora = resolve(Config(), get_method("lora"), 100, bi_encoder=True)
    assert lora.learning_rate == resolve(Config(), get_method("lora"), 100).learning_rate
    own = {"train": {"learning_rate": 1e-3, "dropout": 0.2, "head_start": False}}
    asked = resolve(Config.model_validate(own), get_method("full"), 100, bi_encoder=True)
    assert (asked.learning_rate, asked.dropout, asked.head_start) == (1e-3, 0.2, False)


# --- dropout ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.25, 0.5])
def test_dropout_drops_at_its_rate_and_keeps_the_expectation(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(2_000_003)
    y = _ByteDropout.apply(x, rate)
    dropped = float((y == 0).double().mean())
    # Rounded to a multiple of 1/256; five standard errors.
    expected = round(rate * 256) / 256
    assert dropped == pytest.approx(expected, abs=5 * (expected * (1 - expected) / len(x)) ** 0.5)
    assert y[y > 0].unique().tolist() == pytest.approx([1 / (1 - expected)])
    assert float(y.double().mean()) == pytest.approx(1, abs=0.003)
    # Every place in a word of eight bytes is as likely.
    by_place = (y[: len(y) // 8 * 8].view(-1, 8) == 0).double().mean(dim=0)
    assert (by_place - expected).abs().max() < 5 * (expected / len(x) * 8) ** 0.5


def test_dropout_passes_gradients_where_it_let_values_pass() -> None:
    x = torch.randn(40, 30, requires_grad=True)
    y = _ByteDropout.apply(x, 0.3)
    y.backward(torch.full_like(y, 2.0))
    kept = (y != 0).float()
    torch.testing.assert_close(x.grad, 2 * kept * 256 / (256 - round(0.3 * 256)))


def test_dropout_repeats_under_a_seed_and_differs_without() -> None:
    x = torch.ones(1000)
    torch.manual_seed(4)
    first, second = _ByteDropout.apply(x, 0.5), _ByteDropout.apply(x, 0.5)
    torch.manual_seed(4)
    assert torch.equal(_ByteDropout.apply(x, 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shape", ["bert", "distilbert", "roberta", "gpt2", "llama"])
def test_set_dropout_reaches_every_layer_but_attention_weights(models: Any, shape: str) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(models(shape))
    inputs = {"input_ids": torch.arange(1000, 1020)[None]}
    set_dropout(model.train(), 0.0)
    assert torch.equal(model(**inputs)[0], model(**inputs)[0])
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            assert module.p == 0, name
    if shape == "llama":
        return  # has none inside
    set_dropout(model, 0.4)
    assert not torch.equal(model(**inputs)[0], model(**inputs)[0])
    rates = {m.p for _, m in model.named_modules() if isinstance(m, nn.Dropout)}
    assert rates == {0.0, 0.4} or rates == {0.4}
    assert torch.equal(model.eval()(**inputs)[0], model(**inputs)[0])


def test_set_dropout_leaves_the_models_own_rates_and_a_methods() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.3)
            self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.2)})

    block = Block()
    set_dropout(block, None)
    assert (block.dropout.p, block.lora_dropout["default"].p) == (0.3, 0.2)
    set_dropout(block, 0.1)
    assert (block.dropout.p, block.lora_dropout["default"].p) == (0.1, 0.2)


# --- LoRA's joint operation ------------------------------------------------------------------


def _lora(kind: str, bias: bool, rank: int, rslora: bool) -> Any:
    from bitsandbytes.nn import Linear4bit
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    linear = nn.Linear(64, 40, bias=bias)
    if kind == "4bit":
        quantised = Linear4bit(64, 40, bias, torch.bfloat16, quant_type="nf4")
        quantised.load_state_dict(linear.state_dict())
        linear = quantised.to("cpu")
        linear.support_avx512bf16_for_cpu = False
    elif kind == "bf16":
        linear.bfloat16()
    inner = nn.Sequential(linear)
    model = get_peft_model(inner, LoraConfig(target_modules=["0"], r=rank, use_rslora=rslora))
    layer = model.base_model.model[0]
    nn.init.normal_(layer.lora_B["default"].weight)
    return model, layer


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["fp32", "bf16", "4bit"])
@pytest.mark.parametrize("shape", [(5, 64), (2, 3, 64), (1, 1, 64)])
def test_the_joint_operation_is_pefts_forward_and_backward(
    kind: str, bias: bool, rslora: bool, shape: tuple[int, ...]
) -> None:
    from tailorbird.methods.low_rank import speed_up

    device = choose("cpu", "fp32" if kind == "fp32" else "bf16")
    results = []
    for fast in (False, True):
        model, layer = _lora(kind, bias, 4, rslora)
        if fast:
            assert speed_up(model, device) == 1
            assert layer.forward.__func__.__module__ == "tailorbird.methods.low_rank"
        model.train()
        torch.manual_seed(1)
        x = torch.randn(shape, requires_grad=True)
        with device.autocast():
            y = model(x)
        (y.float() * torch.linspace(-1, 1, y.shape[-1])).sum().backward()
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        assert layer.base_layer.weight.grad is None
        results.append([y.detach().float(), x.grad, a.grad, b.grad])
        assert a.grad.dtype == a.dtype
    for plain, fast in zip(*results, strict=True):
        assert plain.shape == fast.shape
        scale = float(plain.abs().max())
        assert scale > 0.1
        tolerance = 1e-5 if kind == "fp32" else 0.03
        torch.testing.assert_close(fast, plain, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_layers_that_share_an_input_each_get_their_gradient(kind: str) -> None:
    """Query, key and value read one tensor; its cast is shared, its gradient is the sum."""
    from peft import LoraConfig, get_peft_model

    from tailorbird.methods.low_rank import speed_up

    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.q(x) * self.k(x) + self.v(x) + self.q(2 * x)

    device = choose("cpu", kind)
    found = []
    for fast in (False, True):
        torch.manual_seed(0)
        model = get_peft_model(Three(), LoraConfig(target_modules=["q", "k", "v"], r=2))
        for module in model.modules():
            if hasattr(module, "lora_B"):
                nn.init.normal_(module.lora_B["default"].weight)
                module.base_layer.to(device.dtype)
        if fast:
            assert speed_up(model, device) == 3
        model.train()
        torch.manual_seed(1)
        for _ in range(2):  # the second time another tensor: nothing of the first may stay
            x = torch.randn(3, 16, requires_grad=True)
            with device.autocast():
                y = model(x)
            y.float().square().sum().backward()
        grads = [p.grad for p in model.parameters() if p.requires_grad]
        found.append([y.detach().float(), x.grad, *grads])
    for plain, fast in zip(*found, strict=True):
        tolerance = 1e-5 if kind == "fp32" else 0.05
        torch.testing.assert_close(fast, plain, rtol=0, atol=tolerance * float(plain.abs().max()))


def test_the_joint_operation_passes_a_numerical_gradient_check() -> None:
    from tailorbird.methods.low_rank import _LowRankLinear

    torch.manual_seed(0)
    make = lambda *shape: torch.randn(*shape, dtype=torch.float64, requires_grad=True)  # noqa: E731
    x, a, b = make(2, 3, 5), make(2, 5), make(4, 2)
    frozen, bias = torch.randn(4, 5).double(), torch.randn(4).double()
    torch.autograd.gradcheck(
        lambda x, a, b: _LowRankLinear.apply(x, frozen, bias, a, b, 0.7), (x, a, b)
    )


@pytest.mark.parametrize("option", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}])
def test_variants_keep_pefts_forward(option: dict[str, Any]) -> None:
    from peft import LoraConfig, get_peft_model

    from tailorbird.methods.low_rank import speed_up

    model = get_peft_model(
        nn.Sequential(nn.Linear(8, 8)), LoraConfig(target_modules=["0"], **option)
    )
    assert speed_up(model, choose("cpu", "fp32")) == 0


def test_evaluation_runs_pefts_own_forward() -> None:
    from tailorbird.methods.low_rank import speed_up

    model, layer = _lora("fp32", True, 4, False)
    x = torch.randn(3, 64)
    expected = model.eval()(x)
    speed_up(model, choose("cpu", "fp32"))
    assert torch.equal(model(x), expected)
    with torch.no_grad():
        assert torch.equal(model.train()(x), expected)
    with model.disable_adapter():
        assert torch.equal(model(x), layer.base_layer(x))


# --- attention for short texts ---------------------------------------------------------------


def _masks(causal: bool) -> torch.Tensor:
    """Return an additive mask ``[2, 1, 6, 6]``: the second text has two tokens of padding."""
    allowed = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    allowed[1, :, :, 4:] = False
    if causal:
        allowed &= torch.ones(6, 6, dtype=torch.bool).tril()
    return torch.where(allowed, 0.0, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("longest_short", [128, 4])  # 4: the six tokens count as long
@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("causal", [None, False, True])
def test_short_attention_is_torchs_attention(
    causal: bool | None, key_heads: int, longest_short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tailorbird.train import short_attention as attention
    from tailorbird.train.short_attention import short_attention

    monkeypatch.setattr(attention, "_LONGEST_SHORT", longest_short)
    torch.manual_seed(0)
    mask = None if causal is None else _masks(causal).double()
    shapes = [(2, heads, 6, 8) for heads in (4, key_heads, key_heads)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    found, weights = short_attention(nn.Module(), *inputs, mask)
    assert weights is None
    grads = torch.autograd.grad(found.sin().sum(), inputs)
    expected = nn.functional.scaled_dot_product_attention(
        *inputs, attn_mask=mask, enable_gqa=key_heads != 4
    ).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    theirs = torch.autograd.grad(expected.sin().sum(), inputs)
    for ours, other in zip(grads, theirs, strict=True):
        torch.testing.assert_close(ours, other)


@pytest.mark.parametrize("shape", ["bert", "distilbert", "roberta", "electra", "llama", "gpt2"])
def test_a_model_trains_alike_on_short_attention(models: Any, shape: str) -> None:
    from transformers import AutoModel

    from tailorbird.train.short_attention import fastest_attention

    device = choose("cpu", "bf16")
    model = AutoModel.from_pretrained(models(shape), dtype="float32").train()
    set_dropout(model, 0.0)
    ids = torch.randint(1000, 2000, (3, 16))
    mask = torch.ones_like(ids)
    mask[0, 5:] = mask[1, 11:] = 0
    ids[mask == 0] = 0

    def once() -> list[torch.Tensor]:
        model.zero_grad()
        with device.autocast():
            out = model(input_ids=ids, attention_mask=mask)[0].float()
        (out * mask[..., None]).square().mean().backward()
        biggest = max(model.parameters(), key=lambda p: p.grad is not None and p.grad.norm())
        return [out.detach() * mask[..., None], biggest.grad.clone()]

    before = model.config._attn_implementation
    plain = once()
    with fastest_attention(model, device):
        assert model.config._attn_implementation != before
        short = once()
    assert model.config._attn_implementation == before
    for a, b in zip(short, plain, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, rtol=0, atol=0.05 * float(b.abs().max()))
    # A number format in which the fused kernel is fast keeps the model's own.
    with fastest_attention(model, choose("cpu", "fp32")):
        assert model.config._attn_implementation == before


def test_long_texts_take_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from tailorbird.train import short_attention as attention

    torch.manual_seed(0)
    inputs = [torch.randn(2, 4, 6, 8, dtype=torch.float64) for _ in range(3)]
    mask = _masks(causal=True).double()
    short, _ = attention.short_attention(nn.Module(), *inputs, mask)
    monkeypatch.setattr(attention, "_LONGEST_SHORT", 5)
    monkeypatch.setattr(attention._ShortAttention, "apply", None)
    fused, _ = attention.short_attention(nn.Module(), *inputs, mask)
    torch.testing.assert_close(fused, short)


# --- the head's start ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "method"),
    [
        ("bert", "full"),
        ("bert", "lora"),
        ("distilbert", "lora"),
        ("roberta", "adapter"),
        ("llama", "lora"),
        ("llama", "prompt"),
        ("bert", "prompt"),
        ("bert", "qlora"),
    ],
)
def test_the_head_starts_as_scikit_learns_regression(models: Any, shape: str, method: str) -> None:
    from sklearn.linear_model import LogisticRegression

    from tailorbird.config import Config
    from tailorbird.methods.registry import get_method
    from tailorbird.models.head_logits import predict
    from tailorbird.tasks.fit_head import make_model
    from tailorbird.train.head_init import start_head

    config = Config.model_validate(
        {
            "model": {"name": str(models(shape)), "device": "cpu", "precision": "fp32"},
            "method": {"name": method},
        }
    )
    device = choose("cpu", "fp32")
    model, base = make_model(config, tiny.TARGET, device, get_method(method))
    texts, labels = zip(*tiny.rows(), strict=True)
    targets = [tiny.LABELS.index(label) for label in labels]
    encoded = encode(texts, base.tokenizer, 64, targets)
    pad = base.tokenizer.pad_token_id
    before = {name: p.detach().clone() for name, p in trained_parameters(model)}
    start_head(model, encoded, pad, device, 3)
    changed = {n for n, p in trained_parameters(model) if not torch.equal(p, before[n])}
    assert changed
    assert all("classifier" in name or "score" in name for name in changed)

    # What the head is given for each text alone, without any padding, read by a hook of ours.
    name = "score" if base.is_decoder else "classifier"
    head: Any = [
        m for n, m in model.named_modules() if isinstance(m, nn.Linear) and m.out_features == 3
    ][-1]
    rows = []
    hook = head.register_forward_pre_hook(lambda _, given: rows.append(given[0][0]))
    with torch.inference_mode():
        for ids in encoded.ids:
            tensor = torch.from_numpy(ids[None].astype(np.int64))
            model(input_ids=tensor, attention_mask=torch.ones_like(tensor))
    hook.remove()
    features = torch.stack([row[-1] if row.ndim == 2 else row for row in rows]).numpy()
    fit = LogisticRegression(C=1.0, max_iter=2000, fit_intercept=head.bias is not None)
    expected = fit.fit(features, targets).predict_proba(features)
    found = softmax(predict(model, encoded, pad, device).logits)
    tolerance = 0.05 if method == "qlora" else 5e-3
    np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)


def test_two_classes_and_missing_classes(
    make_job: Callable[..., tuple[Any, Any]],
) -> None:
    from tailorbird.train.head_init import start_head

    model, job = make_job("lora")
    before = {name: p.detach().clone() for name, p in trained_parameters(model)}
    few = replace(job.work.train, targets=np.minimum(job.work.train.targets, 1))
    assert start_head(model, few, job.work.pad_id, job.device, 3) == 0.0, "a class has no example"
    assert all(torch.equal(p, before[n]) for n, p in trained_parameters(model))
