"""Time and serving: the pace of a real loop, and memory counted by hand."""

from pathlib import Path

import pytest

from tailorbird.config import Config
from tailorbird.config.schema import MethodConfig, ModelConfig, TrainConfig
from tailorbird.planning import training_time
from tailorbird.planning.data_size import Work
from tailorbird.planning.device_fit import Planner
from tailorbird.planning.devices import GIB, place_of
from tailorbird.planning.model_shape import read_shape
from tailorbird.planning.serving import kept_bytes, plan_serving
from tailorbird.planning.training_time import SHARE, plan_time, probe
from tailorbird.records import Target

SHAPES = Path(__file__).parent / "shapes"
LABELS = Target("classification", ("no", "yes"))


def config_of(name: Path, method: str = "lora") -> Config:
    return Config(
        model=ModelConfig(name=str(name)),
        method=MethodConfig(name=method),  # type: ignore[arg-type]
        train=TrainConfig(batch_size=8, epochs=2),
    )


@pytest.mark.parametrize("task", ["labels", "words"])
def test_pace_is_that_of_a_real_loop(
    task: str, tiny_encoder: Path, tiny_decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_time, "_SECONDS", 0.05)
    config = config_of(tiny_encoder if task == "labels" else tiny_decoder)
    shape, place = read_shape(config.model), place_of(None)
    work = Work(
        LABELS if task == "labels" else None, 24, rows=64, halves=(8.0, 24.0), validation=16
    )
    planner = Planner(shape, config, work)
    plan = plan_time(planner, planner.memory("lora", place), place, 3.0)
    assert plan is not None and plan.epochs == 2 and plan.read_seconds
    assert plan.seconds == pytest.approx(plan.start_seconds + 2 * plan.epoch_seconds)
    assert plan.price == pytest.approx(plan.seconds / 1200)
    assert 0 < plan.seconds < 60


def test_deep_models_are_measured_at_two_depths(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tiny_encoder)
    shape = read_shape(config.model)
    depths: list[int] = []

    def measured(shape: object, config: object, work: Work, *rest: int) -> training_time.Pace:
        depths.append(rest[1])
        return training_time.Pace(0.1 + 0.01 * rest[1], 0.05 + 0.002 * rest[1])

    monkeypatch.setattr(training_time, "_measured", measured)
    monkeypatch.setattr(training_time, "depths", lambda _: (2, 3))
    monkeypatch.setattr(type(shape), "layers", property(lambda _: 40))
    work = Work(LABELS, 16, rows=8)
    pace = probe(shape, config, work, place_of(None).device, flops=1e12)
    assert depths == [40]
    pace = probe(shape, config, work, place_of(None).device, flops=3e12)
    assert depths == [40, 2, 3]
    assert pace.train_seconds == pytest.approx(0.1 + 0.4)
    assert pace.read_seconds == pytest.approx(0.05 + 0.08)


def test_a_card_takes_its_share_of_the_data_sheet() -> None:
    config = config_of(SHAPES / "llama-3.1-8b.json")
    shape, place = read_shape(config.model), place_of("h100")
    planner = Planner(shape, config, Work(None, 512, rows=100))
    memory = planner.memory("lora", place)
    plan = plan_time(planner, memory, place, None)
    assert plan is not None and plan.price is None and "not measured" in plan.how
    batches = 100 / 8
    assert plan.epoch_seconds == pytest.approx(batches * memory.flops / (SHARE * 989e12), rel=1e-6)
    # A batch of 9 in micro-batches of 8 takes nine eighths of the operations, not twice as many.
    train = config.train.model_copy(update={"batch_size": 9, "micro_batch_size": 8})
    config = config.model_copy(update={"train": train})
    nine = Planner(shape, config, Work(None, 512, rows=100)).memory("lora", place)
    assert nine.flops == pytest.approx(memory.flops * 9 / 8)
    # A card whose rate is not known, only its memory.
    assert plan_time(planner, memory, place_of("80GB"), None) is None


def test_keys_and_values_by_hand() -> None:
    llama = read_shape(ModelConfig(name=str(SHAPES / "llama-3.1-8b.json")))
    # 32 layers, 8 heads of 128, keys and values, two bytes each.
    assert kept_bytes(llama, 1000, 2) == 1000 * 32 * 8 * 128 * 2 * 2
    gemma = read_shape(ModelConfig(name=str(SHAPES / "gemma-2-9b.json")))
    # 42 layers of 8 heads of 256; every other one sees 4,096 tokens.
    assert kept_bytes(gemma, 8192, 2) == (21 * 8192 + 21 * 4096) * 8 * 256 * 2 * 2


def test_serving_is_weights_and_conversations() -> None:
    llama = read_shape(ModelConfig(name=str(SHAPES / "llama-3.1-8b.json")))
    plans = plan_serving(llama, 8_030_261_248, place_of("h100"))
    by_key = {(p.context, p.users): p for p in plans}
    one, many = by_key[8192, 1], by_key[8192, 32]
    assert one.bytes == 8_030_261_248 * 2 + 8192 * 131_072
    assert many.bytes == 8_030_261_248 * 2 + 32 * 8192 * 131_072 and many.fits
    assert not by_key[131_072, 32].fits and by_key[131_072, 32].bytes > 500 * GIB
    # One reader: 0.6 of 3,350 GB/s over 16 GB of weights and half of a conversation.
    assert one.tokens_per_second == pytest.approx(0.6 * 3350e9 / (16.06e9 + 0.537e9), rel=0.01)
    assert many.tokens_per_second is not None and many.tokens_per_second > one.tokens_per_second  # type: ignore[operator]


def test_a_mixture_reads_the_experts_that_are_chosen() -> None:
    mixtral = read_shape(ModelConfig(name=str(SHAPES / "mixtral-8x7b.json")))
    one, *_, many = plan_serving(mixtral, 46_700_000_000, place_of("h100"))[:3]
    assert one.tokens_per_second is not None and many.tokens_per_second is not None
    # Two of eight experts: about 13 of 47 billion weights for one person.
    assert one.tokens_per_second == pytest.approx(0.6 * 3350e9 / (2 * 13e9), rel=0.05)
    assert many.tokens_per_second < 32 * one.tokens_per_second / 2
