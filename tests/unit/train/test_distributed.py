"""Two processes that train together learn what one learns, and agree on when to stop."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from tailorbird.config import Config, load_config
from tailorbird.errors import Interrupted, ProcessLost, UserError
from tailorbird.methods.base import trained_parameters
from tailorbird.records import Example, Message, Split
from tailorbird.runs.folder import CHECKPOINTS, JOURNAL, MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.fit import check_sharding
from tailorbird.tasks.registry import get_task
from tailorbird.train import launch, loop
from tailorbird.train.distributed import ALONE, RankGroup
from tailorbird.train.step import Stepper

# Two processes wait for each other at every step, and on busy cores for all others as well.
pytestmark = pytest.mark.timeout(900)
OPTIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "adapter": {"bottleneck": 4},
    "lora": {"rank": 2, "dropout": 0},
    "qlora": {"rank": 2, "dropout": 0},
    "prompt": {"virtual_tokens": 5},
}
MakeFit = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def ended_crew() -> Iterator[None]:
    yield
    launch._training.close()


def labels() -> Split:
    rows = tuple(Example(text, label, row=i) for i, (text, label) in enumerate(tiny.rows()))
    return Split(rows[:44], rows[44:52], rows[52:], tiny.LABELS)


def words() -> Split:
    """Answers of 1 to 12 words to prompts of several lengths."""
    rows = []
    for i, (text, label) in enumerate(tiny.rows()):
        answer = " ".join([label] * (1 + i % 12))
        turns = (Message("user", text), Message("assistant", answer))
        rows.append(Example(text, answer, row=i, messages=turns))
    parts = (tuple(rows[:44]), tuple(rows[44:52]), tuple(rows[52:]))
    return Split(*parts, labels=(), task="generation")


@pytest.fixture
def make_fit(models: Any, tmp_path: Path) -> MakeFit:
    """Return a function that makes a model and its data, ready to be trained."""

    def make(
        method: str, writes: bool = False, processes: int = 1, resume: bool = False, **train: Any
    ) -> Any:
        config = Config.model_validate(
            {
                "model": {
                    "name": str(models("llama" if writes else "bert")),
                    "device": "cpu",
                    "precision": "fp32",
                },
                "method": {"name": method} | OPTIONS[method],
                "data": {"max_length": 48},
                # 44 examples in batches of 9: the last of an epoch holds 8, and ranks differ.
                "train": {
                    "epochs": 4, "batch_size": 9, "micro_batch_size": 2, "dropout": 0,
                    "tensorboard": False, "optimizer": "sgd", "learning_rate": 0.01,
                    "processes": processes, "check_memory": False,
                } | train,
            }
        )  # fmt: skip
        split = words() if writes else labels()
        folder = RunFolder(tmp_path / f"{processes}")
        folder.path.mkdir(exist_ok=True)
        job = ArmJob(method, config, split, folder, resume=resume)
        return get_task(split.task).fit(job, scored=False)

    return make


def weights(fit: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trained_parameters(fit.model)}


def check_same(make_fit: MakeFit, method: str, writes: bool, **train: Any) -> None:
    alone, both = make_fit(method, writes), make_fit(method, writes, processes=2, **train)
    start = weights(alone)
    first, second = alone.train(), both.train()
    assert first.steps == second.steps == 20
    assert any("trained by 2 processes together" in note for note in second.notes)
    expected = weights(alone)
    assert any(not torch.equal(start[name], expected[name]) for name in start)
    for name, value in weights(both).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
    losses = [
        [row["loss"] for row in fit.job.folder.read_rows(JOURNAL) if row["event"] == "step"]
        for fit in (alone, both)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert [p.validation_loss for p in second.curve] == pytest.approx(
        [p.validation_loss for p in first.curve], abs=1e-5
    )


def test_two_ranks_learn_what_one_learns(make_fit: MakeFit) -> None:
    """Of written answers; a run that goes on, below, is of labels."""
    check_same(make_fit, "lora", writes=True)


@pytest.mark.slow
@pytest.mark.parametrize("writes", [False, True], ids=["labels", "written"])
@pytest.mark.parametrize("method", OPTIONS)
def test_all_methods_learn_the_same_on_two_ranks(
    make_fit: MakeFit, method: str, writes: bool
) -> None:
    check_same(make_fit, method, writes)


def test_sharded_weights_learn_what_whole_ones_learn(make_fit: MakeFit) -> None:
    """Of labels, with every weight trained."""
    check_same(make_fit, "full", writes=False, shard=True)


@pytest.mark.slow
@pytest.mark.parametrize("writes", [False, True], ids=["labels", "written"])
@pytest.mark.parametrize("method", sorted(set(OPTIONS) - {"qlora"}))
def test_all_methods_learn_the_same_with_sharded_weights(
    make_fit: MakeFit, method: str, writes: bool
) -> None:
    check_same(make_fit, method, writes, shard=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "train"),
    [
        # Not of all weights: Adam makes steps of the rounding in gradients that are zero, as those
        # of attention's key biases.
        *(("lora", {"optimizer": name}) for name in ("adamw", "adam", "adagrad")),
        ("full", {"gradient_checkpointing": True}),
        ("full", {"layer_decay": 0.8}),
    ],
)
def test_other_settings_learn_the_same_with_sharded_weights(
    make_fit: MakeFit, method: str, train: dict[str, Any]
) -> None:
    train |= {"learning_rate": 1e-3}
    alone = make_fit(method, **train)
    both = make_fit(method, processes=2, shard=True, **train)
    alone.train(), both.train()
    expected = weights(alone)
    for name, value in weights(both).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)


def test_a_rank_holds_its_part_of_sharded_weights(
    make_fit: MakeFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it steps; the trained model is a plain one again, and is saved as ever."""
    both = make_fit("full", processes=2, shard=True, epochs=0.5, optimizer="adamw")
    classes = [type(module) for module in both.model.modules()]
    whole = sum(p.numel() for p in both.model.parameters())
    parts: list[tuple[int, int]] = []
    step = Stepper.step

    def counting(self: Stepper, *arguments: Any, **options: Any) -> Any:
        done = step(self, *arguments, **options)
        tensors = [
            [p.to_local().numel() for p in self.layout.model.parameters()],
            [s["exp_avg"].to_local().numel() for s in self.optimizer.state.values()],
        ]
        parts.append((sum(tensors[0]), sum(tensors[1])))
        return done

    monkeypatch.setattr(Stepper, "step", counting)
    both.train()
    assert len(parts) == 2
    for sizes in parts:
        assert all(0.49 * whole < size < 0.52 * whole for size in sizes)
    assert [type(module) for module in both.model.modules()] == classes
    assert all(type(p) is nn.Parameter for p in both.model.parameters())
    both.save()
    loaded = both.method.load(make_fit("full").base, both.job.folder.file(MODEL))
    for name, value in loaded.named_parameters():
        assert torch.equal(value, weights(both)[name])


@pytest.mark.parametrize(
    ("changes", "precision", "words"),
    [
        ({"method.name": "qlora"}, "bf16", "sharding packed weights"),
        ({"train.optimizer": "adamw8bit"}, "bf16", "adamw8bit"),
        ({}, "fp16", "fp16"),
    ],
)
def test_what_cannot_be_sharded_is_refused(
    changes: dict[str, str], precision: str, words: str
) -> None:
    config = load_config(flags={"train.shard": True} | changes)
    with pytest.raises(UserError, match=words) as refused:
        check_sharding(config, precision)
    assert refused.value.fix


def _pressing(fit: Any, number: int) -> None:
    """Press Ctrl-C, for this process alone, in a validation."""
    own, count = fit.validate, 0

    def validate(model: nn.Module) -> tuple[float, float]:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGINT)
        result: tuple[float, float] = own(model)
        return result

    fit.validate = validate


@pytest.mark.parametrize(
    ("after", "shard"),
    [
        (1, True),
        *(
            pytest.param(*way, marks=pytest.mark.slow)
            for way in ((1, False), (2, False), (2, True))
        ),
    ],
)
def test_a_run_of_two_ranks_goes_on_with_another_number(
    make_fit: MakeFit, after: int, shard: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"optimizer": "adamw", "learning_rate": 1e-3}
    alone = make_fit("lora", **settings)
    alone.train()
    both = make_fit("lora", processes=2, shard=shard, **settings)
    _pressing(both, 2)
    with pytest.raises(Interrupted, match="after step 6 of 20"):
        both.train()
    fresh = make_fit("lora", processes=2, shard=shard, resume=True, **settings)
    train = fresh.job.config.train.model_copy(update={"processes": after})
    fresh.job = replace(fresh.job, config=fresh.job.config.model_copy(update={"train": train}))
    with pytest.MonkeyPatch.context() as patch:
        if after == 1:  # the ranks of this module stay for its other tests
            patch.setattr(launch, "_training", launch.TrainingRanks())
        assert fresh.train().steps == 20
    told = capsys.readouterr().err
    assert "continuing after step 6" in told
    assert ("started with 2 processes, continuing with 1" in told) == (after == 1)
    expected = weights(alone)
    for name, value in weights(fresh).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_run_with_its_name_and_a_checkpoint(
    make_fit: MakeFit,
) -> None:
    both = make_fit("lora", processes=2, checkpoint_every=1)
    own = both.validate

    def validate(model: nn.Module) -> tuple[float, float]:
        launch._training._started[0].kill()
        result: tuple[float, float] = own(model)
        return result

    both.validate = validate
    with pytest.raises(ProcessLost, match="process 1 of 2 ended with signal 9") as caught:
        both.train()
    assert "--resume" in caught.value.fix
    assert [p.name for p in both.job.folder.file(CHECKPOINTS).glob("step-*")]
    again = make_fit("lora", processes=2, checkpoint_every=1, resume=True)
    assert again.train().steps == 20, "with a new process in its place"


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_memory_that_runs_out_on_one_rank_halves_on_all(make_fit: MakeFit, shard: bool) -> None:
    alone, both = make_fit("full"), make_fit("full", processes=2, shard=shard)
    alone.train()
    work = both.work()
    kind = type(work)
    own, sizes = kind.loss_sum, []

    def tight(self: Any, model: Any, indices: np.ndarray) -> torch.Tensor:
        if len(indices) > 1:
            raise MemoryError
        sizes.append(len(indices))
        return own(self, model, indices)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "loss_sum", tight)
        trained = both.train()
    assert set(sizes) == {1}
    assert any("1/2" in note for note in trained.notes)
    for name, value in weights(both).items():
        torch.testing.assert_close(value, weights(alone)[name], rtol=0, atol=2e-6)


@pytest.mark.slow
def test_memory_that_runs_out_on_the_way_back_halves_on_all(make_fit: MakeFit) -> None:
    """Where a rank with sharded weights waits for the others in the middle of the model."""
    alone, both = make_fit("full"), make_fit("full", processes=2, shard=True)
    alone.train()

    def short(module: Any, inputs: Any, outputs: tuple[torch.Tensor, ...]) -> None:
        if len(outputs[0]) > 1:
            raise MemoryError

    both.model.bert.encoder.layer[0].attention.register_full_backward_hook(short)
    trained = both.train()
    assert any("1/2" in note for note in trained.notes)
    for name, value in weights(both).items():
        torch.testing.assert_close(value, weights(alone)[name], rtol=0, atol=2e-6)


@pytest.mark.slow
def test_fault_of_one_rank_ends_all_with_its_words(make_fit: MakeFit) -> None:
    both = make_fit("full", processes=2, shard=True)

    def odd(module: Any, inputs: Any, output: Any) -> None:
        raise ValueError("an odd number")

    both.model.bert.encoder.layer[1].register_forward_hook(odd)
    with pytest.raises(ValueError, match="an odd number"):
        both.train()
    launch._training.abandon()  # the other process has ended


@pytest.mark.slow
def test_ranks_with_other_data_are_told(make_fit: MakeFit) -> None:
    """What a launcher's ranks could differ in: here the leader changes its data on the way."""
    both = make_fit("lora", processes=2)
    split = both.job.split
    both.job = replace(both.job, split=replace(split, train=split.train[1:]))
    with pytest.raises(UserError, match="process 1 differs from process 0 in the data"):
        both.train()


def test_one_rank_is_all_there_is() -> None:
    assert ALONE.leads and ALONE.share(3) == 3 and ALONE.gather("a") == ["a"]
    batch = np.arange(7)
    parts = [RankGroup(3, i).share_of(batch).tolist() for i in range(3)]
    assert sorted(sum(parts, [])) == batch.tolist()
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), 3.0)
    ALONE.sum_gradients([parameter])
    assert parameter.grad.tolist() == [3, 3]
    with pytest.raises(ZeroDivisionError):
        ALONE.gather_numbers([1.0], ZeroDivisionError())


@pytest.mark.slow
def test_deadlines_are_the_leaders(make_fit: MakeFit) -> None:
    from tailorbird.errors import OverBudget

    both = make_fit("lora", processes=2, epochs=400)
    both.job = replace(both.job, deadline=time.monotonic() + 1)
    with pytest.raises(OverBudget):
        both.train()
    assert loop.plan_steps(both._loop_job(both.work(), ALONE))[0] == 2000


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            ({"version of torch": "2.0"}, ""),
            "process 1 differs from process 0 in the version of torch",
        ),
        ((None, "no model is there"), "process 1 of 2 cannot start: no model is there"),
        (({"version of torch": "2.1"}, ""), ""),
    ],
)
def test_what_ranks_must_share_is_compared(
    other: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RankGroup, "gather", lambda _, own: [own, other])
    if not words:
        RankGroup(2, 0).agree({"version of torch": "2.1"})
        return
    with pytest.raises(UserError, match=words):
        RankGroup(2, 0).agree({"version of torch": "2.1"})


def test_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        for name, value in {
            "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=f"cannot join the others at 127.0.0.1:{port}") as told:
            launch.TrainingRanks().join()
    assert "--master-port" in told.value.fix
