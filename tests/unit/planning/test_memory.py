"""Memory from a configuration alone, against real tensors, counts and published sizes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tailorbird.config import Config
from tailorbird.config.schema import MethodConfig, ModelConfig, TrainConfig
from tailorbird.errors import UserError
from tailorbird.methods.registry import get_method
from tailorbird.models.device import Device
from tailorbird.planning import fake_step, memory_by_tracing, training_memory
from tailorbird.planning.data_size import NF4, STATES, Work, settings_for, work_without_data
from tailorbird.planning.device_fit import Planner
from tailorbird.planning.devices import place_of
from tailorbird.planning.model_shape import read_shape
from tailorbird.planning.training_memory import plan_memory
from tailorbird.records import Target

SHAPES = Path(__file__).parent / "shapes"
CARD = place_of("80GB")
FP32 = Device("cpu", "fp32", "cpu in fp32")
LABELS = Target("classification", ("no", "yes"))


def asked(name: str, method: str = "lora", **train: Any) -> Config:
    return Config(
        model=ModelConfig(name=name),
        method=MethodConfig(name=method),  # type: ignore[arg-type]
        train=TrainConfig(**train),
    )


def planner(name: str, **train: Any) -> Planner:
    config = asked(str(SHAPES / f"{name}.json"), **train)
    shape = read_shape(config.model)
    return Planner(shape, config, work_without_data(shape, config)[0])


# From the models' cards and reports; the encoders' without the parts that a classifier drops.
PUBLISHED = {
    "bert-base": 109.5e6,
    "modernbert-base": 149.6e6,
    "qwen2.5-7b": 7.616e9,
    "llama-3.1-8b": 8.030e9,
    "gemma-2-9b": 9.242e9,
    "mixtral-8x7b": 46.70e9,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    config = asked(str(SHAPES / f"{name}.json"), "prompt")
    shape = read_shape(config.model)
    work, _ = work_without_data(shape, config)
    settings = settings_for(shape, config, get_method("prompt"), work)
    values = memory_by_tracing.trace(shape, config, work, settings, CARD.device, step=False)
    assert values["count"] - values["trained_count"] == pytest.approx(PUBLISHED[name], rel=2e-3)


@pytest.mark.parametrize("name", ["modernbert-base", "gemma-2-9b", "mixtral-8x7b"])
def test_families_are_traced(name: str) -> None:
    plan = planner(name, batch_size=1).memory("lora", CARD)
    assert plan.how == "traced" and sum(term.bytes for term in plan.terms) == plan.bytes
    assert plan.bytes == max(plan.phases.values())


def test_a_checkpoint_in_another_format_counts_beside_the_weights(tmp_path: Path) -> None:
    """A classifier is loaded in fp32; a file in bf16 lies mapped beside it: half as much again."""
    plain = json.loads((SHAPES / "bert-base.json").read_text())
    loading: dict[str, int] = {}
    for name in ("float32", "bfloat16"):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(plain | {"dtype": name}))
        config = asked(str(file), batch_size=2)
        work = Work(LABELS, 16, rows=4)
        loading[name] = plan_memory(read_shape(config.model), config, work, FP32).phases["load"]
    context = training_memory.MACHINES["cpu"].context
    ratio = (loading["bfloat16"] - context) / (loading["float32"] - context)
    assert ratio == pytest.approx(1.5, rel=1e-3)


def test_experts_are_not_packed_and_that_is_told() -> None:
    """Of Mixtral's 46.7 B parameters 45.1 B are its experts' and 0.26 B the embeddings'."""
    plan = planner("mixtral-8x7b", batch_size=1).memory("qlora", CARD)
    assert any("97 % of the weights are not packed" in note for note in plan.notes)
    assert not any("packed" in note for note in planner("qwen2.5-7b").memory("qlora", CARD).notes)


def test_eight_billion_by_lora_need_what_others_measured() -> None:
    """torchtune publishes 16.2 GB for LoRA on Llama-3.1-8B at batch 2 with checkpointing."""
    config = asked(str(SHAPES / "llama-3.1-8b.json"), batch_size=2, gradient_checkpointing=True)
    shape = read_shape(config.model)
    plan = plan_memory(shape, config, Work(None, 512, answers=1), CARD.device)
    assert plan.phases["train"] == pytest.approx(16.2e9, rel=0.15)


def test_two_depths_stand_for_all(tiny_decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiny_decoder / "config.json"
    plain = json.loads(file.read_text()) | {"num_hidden_layers": 9}
    plain.pop("layer_types", None)
    deep = tiny_decoder.parent / "deep.json"
    deep.write_text(json.dumps(plain))
    config = asked(str(deep), method="lora", batch_size=4)
    shape = read_shape(config.model)
    work = Work(None, 40)
    settings = settings_for(shape, config, get_method("lora"), work)
    line = memory_by_tracing.trace(shape, config, work, settings, FP32)
    monkeypatch.setattr(memory_by_tracing, "depths", lambda config: (9,))
    whole = memory_by_tracing.trace(shape, config, work, settings, FP32)
    assert {k: round(v) for k, v in line.items()} == {k: round(v) for k, v in whole.items()}


@pytest.mark.parametrize("method", ["full", "lora", "adapter", "prompt"])
def test_fake_tensors_hold_what_real_ones_hold(method: str, tiny_encoder: Path) -> None:
    """The same account of the same step, once on sizes and once on numbers."""
    from tailorbird.models.classifier import load_classifier
    from tailorbird.train.dropout import set_dropout

    config = asked(str(tiny_encoder), method, batch_size=6, gradient_checkpointing=False)
    shape, work = read_shape(config.model), Work(LABELS, 24, rows=600)
    way = get_method(method)
    settings = settings_for(shape, config, way, work)
    planned = memory_by_tracing.trace(shape, config, work, settings, FP32)

    base = load_classifier(config.model, LABELS, FP32, {})
    model = way.attach(base, config).train()
    set_dropout(model, settings.dropout)
    with memory_by_tracing._label_step(model, base, config, work, settings, FP32, FP32) as (
        loss,
        _,
        _,
    ):
        account = fake_step.training_step(
            model, FP32, loss, shape.size("vocab_size"), accumulated=False
        )
    # Of texts of one length the real step drops the mask, as large as a few of these rows.
    assert account.peak <= planned["train.peak"] <= 1.15 * account.peak
    assert planned["train.gradients"] <= planned["trained"]
    assert planned["trained_count"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert planned["trained"] + planned["frozen"] == pytest.approx(
        sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())), rel=0.01
    )


def test_account_of_a_step_by_hand() -> None:
    """Two layers: inputs of both products are kept, and what relu puts out is the second one's."""
    model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 8))
    x = torch.zeros(1000, 64)

    def loss() -> torch.Tensor:
        return model(x).sum()

    account = fake_step.training_step(model, FP32, loss, vocabulary=10_000, accumulated=False)
    hidden, out = 1000 * 512 * 4, 1000 * 8 * 4
    kept = hidden  # relu's output; its input is let go
    backward = 2 * hidden + out  # the gradient of relu's output and of its input
    assert account.peak == pytest.approx(kept + backward, rel=0.1)
    forward = 2 * 1000 * (64 * 512 + 512 * 8)
    assert account.flops == 3 * forward - 2 * 1000 * 64 * 512  # the data needs no gradient


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adagrad"])
def test_optimizers_keep_what_is_said(name: str) -> None:
    from dataclasses import replace

    from tailorbird.train.optim import make_optimizer

    model = nn.Linear(256, 256)
    config = asked("x", "full", optimizer=name)
    settings = replace(settings_for(_Anything(), config, get_method("full"), Work(LABELS, 8)))  # type: ignore[arg-type]
    optimizer = make_optimizer(model, settings)
    model(torch.ones(2, 256)).sum().backward()
    optimizer.step()
    kept = sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    assert kept == pytest.approx(
        STATES[name] * sum(p.numel() for p in model.parameters()), rel=0.01
    )


class _Anything:
    def size(self, key: str, otherwise: int = 0) -> int:
        return otherwise


def test_packed_weights_take_what_bitsandbytes_takes() -> None:
    from bitsandbytes.functional import quantize_4bit

    weights = torch.randn(1024, 1024)
    packed, state = quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
    scales = state.absmax.numel() * state.absmax.element_size()
    outer = state.state2.absmax.numel() * state.state2.absmax.element_size()
    taken = packed.numel() * packed.element_size() + scales + outer
    assert taken / weights.numel() == pytest.approx(NF4, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "less"),
    [
        ({"gradient_checkpointing": True}, "activations"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"shard": True, "processes": 4}, "optimizer"),
    ],
)
def test_settings_that_save_memory_save_it(settings: dict[str, Any], less: str) -> None:
    sizes = []
    for train in ({"batch_size": 32}, {"batch_size": 32} | settings):
        config = asked(str(SHAPES / "bert-base.json"), "full", **train)
        plan = plan_memory(read_shape(config.model), config, Work(LABELS, 256), CARD.device)
        sizes.append(({t.name: t.bytes for t in plan.terms}.get(less, 0), plan.bytes))
    assert sizes[1][0] < 0.6 * sizes[0][0] and sizes[1][1] < sizes[0][1]


def config_file(folder: Path, **changes: Any) -> Path:
    plain = json.loads((SHAPES / "llama-3.1-8b.json").read_text()) | changes
    file = folder / "config.json"
    file.write_text(json.dumps(plain))
    return file


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers=1,000,000,000"),
        ({"hidden_size": "wide"}, 'hidden_size="wide"'),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0"),
        ({"model_type": "odd", "auto_map": {"AutoConfig": "x.Y"}}, "its own Python code"),
    ],
)
def test_configurations_that_no_model_has(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    file = config_file(tmp_path, **changes)
    with pytest.raises(UserError, match=words):
        read_shape(ModelConfig(name=str(file)))


def test_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        read_shape(ModelConfig(name=str(tmp_path)))
    with pytest.raises(UserError, match="does not exist"):
        read_shape(ModelConfig(name=str(tmp_path / "missing.json")))


def test_unknown_architecture_goes_by_a_formula(tmp_path: Path) -> None:
    config = asked(str(config_file(tmp_path, model_type="unheard")), batch_size=1)
    shape = read_shape(config.model)
    plan = plan_memory(shape, config, Work(None, 2048, answers=1), CARD.device)
    known = asked(str(SHAPES / "llama-3.1-8b.json"), batch_size=1)
    traced = plan_memory(read_shape(known.model), known, Work(None, 2048, answers=1), CARD.device)
    assert plan.how == "formula" and "does not know the architecture 'unheard'" in plan.notes[0]
    assert plan.bytes == pytest.approx(traced.bytes, rel=0.35)


def test_quantised_checkpoint_is_counted_as_it_is(tmp_path: Path) -> None:
    settings = {"quant_method": "gptq", "bits": 4}
    config = asked(str(config_file(tmp_path, quantization_config=settings)), batch_size=1)
    shape = read_shape(config.model)
    assert "quantised already (gptq, 4 bits)" in shape.notes[0]
    plan = plan_memory(shape, config, Work(None, 256, answers=1), CARD.device)
    packed = next(term.bytes for term in plan.terms if term.name == "packed weights")
    # 6.98 B weights in linear layers below the head, half a byte and a scale each.
    assert packed == pytest.approx(6.98e9 * (0.5 + 2 / 128), rel=0.01)


def test_smallest_change_that_fits() -> None:
    plans = planner("bert-base", batch_size=16)
    assert plans.fit("full", CARD).fits and plans.fit("full", CARD).change == ()
    small = place_of("4GB")
    fit = plans.fit("full", small)
    assert not fit.fits and len(fit.change) == 1 and fit.changed_bytes is not None
    name, _, size = fit.change[0].rpartition("=")
    assert name == "--set train.micro_batch_size"
    traced = plans.memory("full", small, (("micro_batch_size", int(size)),)).bytes
    assert traced <= fit.changed_bytes * 1.001 <= small.capacity_bytes / 1.1
    assert fit.bytes * 1.1 > small.capacity_bytes
    assert plans.fit("full", place_of("1GB"), harmless=True).changed_bytes is None


def test_line_between_two_sizes_bounds_the_trace() -> None:
    plans = planner("bert-base", batch_size=32)
    changes = (("micro_batch_size", 8),)
    traced = plans.memory("lora", CARD, changes).bytes
    between = plans.needed("lora", CARD, changes)
    assert traced <= between == pytest.approx(traced, rel=0.03)


def test_a_gpu_without_room_for_more_writes_answers_one_by_one() -> None:
    work = Work(None, 48, rows=8, answer=2000, answers=300)
    assert training_memory._written_at_once(work, CARD.device) == (1, 2048)
    # A CPU writes as many as 16,384 tokens hold.
    assert training_memory._written_at_once(work, FP32) == (8, 2048)


def test_all_gradients_exist_when_the_heap_still_keeps_the_step() -> None:
    """With few short texts, what a CPU's process holds is highest after the backward pass."""
    config = asked(str(SHAPES / "bert-base.json"), "full", batch_size=1)
    here = Device("cpu", "bf16", "cpu in bf16")
    plan = plan_memory(read_shape(config.model), config, Work(LABELS, 8), here)
    size = {term.name: term.bytes for term in plan.terms}
    assert plan.phase == "train" and size["gradients"] == 4 * plan.trained
    # The matrices of the layers are cast to bf16, and most of that stays with the heap.
    layers = 12 * 12 * 768**2
    assert 0.7 * 2 * layers < size["allocator"] < 1.2 * 2 * layers
