"""Training on written answers: the loss is a mean over trained tokens, however a batch is cut."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tailorbird.config import Config
from tailorbird.data.tokens import Tokens
from tailorbird.errors import Interrupted
from tailorbird.methods.base import trained_parameters
from tailorbird.methods.registry import get_method
from tailorbird.models.device import choose
from tailorbird.models.load import load_generative
from tailorbird.models.packed import sequence_losses, tokens_at_once
from tailorbird.runs.folder import JOURNAL, RunFolder
from tailorbird.tasks.base_model import HEADS
from tailorbird.train import loop
from tailorbird.train.loop import TrainJob, train
from tailorbird.train.settings import generative_rate, resolve_generative
from tailorbird.train.workloads import GenerativeWork

OWN = {
    "full": {},
    "adapter": {"bottleneck": 4},
    "lora": {"rank": 2},
    "qlora": {"rank": 2},
    "prompt": {"virtual_tokens": 5},
}
EXAMPLES = 32

MakeWork = Callable[..., tuple[nn.Module, GenerativeWork, TrainJob]]


def uneven() -> Tokens:
    """Return 32 sequences of 3 to 60 tokens; of each, some tail of its own length is trained."""
    rng = np.random.default_rng(8)
    ids = [rng.integers(200, 2000, n).astype(np.int32) for n in rng.integers(3, 60, EXAMPLES)]
    trained = [np.arange(len(row)) >= int(rng.integers(1, len(row))) for row in ids]
    return Tokens(ids, trained, [], np.arange(EXAMPLES))


TOKENS = uneven()
ALL = np.arange(EXAMPLES)


@pytest.fixture
def make_work(models: Any, tmp_path: Path) -> MakeWork:
    """Return a function that makes a writer with a method attached, its work, and a job."""

    def make(
        method: str = "lora",
        shape: str = "llama",
        precision: str = "fp32",
        name: str = "run",
        **train_options: Any,
    ) -> tuple[nn.Module, GenerativeWork, TrainJob]:
        torch.manual_seed(99)  # whatever ran before must not matter
        config = Config.model_validate(
            {
                "model": {"name": str(models(shape)), "device": "cpu", "precision": precision},
                "method": {"name": method} | OWN[method],
                "train": {"epochs": 2, "batch_size": 8, "tensorboard": False} | train_options,
            }
        )
        device, how = choose("cpu", precision), get_method(method)
        torch.manual_seed(config.train.seed)
        base = load_generative(config.model, device, how.load_options(config.method, HEADS, device))
        model = how.attach(base, config)
        settings = resolve_generative(config, how, EXAMPLES, 32)
        work = GenerativeWork(TOKENS, model, device, settings)
        folder = RunFolder(tmp_path / name)
        return model, work, TrainJob(work, settings, device, folder, _counting(), keep="loss")

    return make


def _counting(stop: int = 10**9) -> Callable[[nn.Module], tuple[float, float]]:
    """Return a validation that gets better every time, until a power cut at the `stop`-th."""
    seen = [0]

    def validate(_: nn.Module) -> tuple[float, float]:
        seen[0] += 1
        if seen[0] == stop:
            raise Stop
        return 1.0 / seen[0], 0.5

    return validate


class Stop(Exception):
    """A stand-in for a power cut: nothing is tidied up after it."""


def by_the_book(model: Any, indices: np.ndarray, virtual: int = 0) -> torch.Tensor:
    """Return the mean loss of a batch's trained tokens by plain forwards, one text at a time."""
    total, count = torch.zeros(()), 0
    for i in indices:
        ids = torch.from_numpy(TOKENS.ids[i].astype(np.int64))[None]
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, virtual:]
        losses = nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
        mask = torch.from_numpy(TOKENS.trained[i][1:])
        total, count = total + losses[mask].sum(), count + int(mask.sum())
    return total / count


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the trained parameters' gradients, and forget them."""
    found = {n: p.grad.clone() for n, p in trained_parameters(model) if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of what is trained."""
    return {name: p.detach().clone() for name, p in trained_parameters(model)}


# --- weights and micro-batches ---------------------------------------------------------------


def test_a_batch_weighs_its_trained_tokens(make_work: MakeWork) -> None:
    _, work, _ = make_work()
    for indices in (ALL, np.asarray([3]), np.asarray([30, 0, 7])):
        assert work.weight(indices) == sum(int(TOKENS.trained[i].sum()) for i in indices)
    assert work.lengths.tolist() == [len(ids) for ids in TOKENS.ids]


@pytest.mark.parametrize("most", [16, 60, 100, 400, 10**6])
@pytest.mark.parametrize("examples", [1, 3, 32])
def test_micro_batches_hold_a_batch_once_within_both_bounds(
    make_work: MakeWork, most: int, examples: int
) -> None:
    _, work, _ = make_work(
        "prompt", micro_batch_tokens=most, micro_batch_size=examples, batch_size=32
    )
    cut = work.micro_batches(ALL[::-1])
    assert sorted(np.concatenate(cut).tolist()) == ALL.tolist()
    for part in cut:
        assert 0 < len(part) <= examples
        # Virtual tokens go through the model like others.
        assert len(part) == 1 or sum(len(TOKENS.ids[i]) + 5 for i in part) <= most


def test_without_bounds_the_machines_own_counts(make_work: MakeWork) -> None:
    _, work, _ = make_work(batch_size=32)
    assert TOKENS.lengths.sum() < tokens_at_once(choose("cpu", "fp32"))
    assert len(work.micro_batches(ALL)) == 1


# Micro-batches as the loop makes them, of 8 examples or of some tokens; without packing as well.
_CUTS: list[dict[str, Any]] = [
    {"micro_batch_size": 8},
    {"micro_batch_tokens": 16},
    {"micro_batch_tokens": 150},
    {"micro_batch_size": 8, "packing": False},
]


@pytest.mark.parametrize("cut", _CUTS, ids=str)
@pytest.mark.parametrize(
    ("method", "shape"), [("full", "llama"), ("lora", "gpt2"), ("prompt", "qwen2")]
)
def test_a_batch_cut_up_gives_the_gradient_of_the_mean_over_all_its_tokens(
    make_work: MakeWork, method: str, shape: str, cut: dict[str, Any]
) -> None:
    """32 = 4 x 8 with uneven lengths: a mean of means would weigh short answers too much."""
    model, work, _ = make_work(method, shape, batch_size=32, **cut)
    model.eval()  # no dropout
    expected = by_the_book(model, ALL, 5 if method == "prompt" else 0)
    expected.backward()
    wanted = gradients(model)
    parts = work.micro_batches(ALL)
    assert len(parts) > 1
    total = 0.0
    with work.reading(model):
        for part in parts:
            loss = work.loss_sum(model, part) / work.weight(ALL)
            loss.backward()
            total += float(loss.detach())
    assert total == pytest.approx(float(expected.detach()), rel=1e-5)
    found = gradients(model)
    assert set(found) == set(wanted)
    largest = max(float(grad.abs().max()) for grad in wanted.values())
    for name, grad in wanted.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-3, atol=2e-5 * largest, msg=name)


@pytest.mark.parametrize("cut", [{"micro_batch_tokens": 90}, {"micro_batch_size": 3}], ids=str)
def test_cut_batches_train_to_the_same_weights(make_work: MakeWork, cut: dict[str, Any]) -> None:
    # SGD: Adam's normalisation would blow rounding up where a gradient is all but zero.
    asked = {"optimizer": "sgd", "learning_rate": 0.01, "dropout": 0, "batch_size": 16}
    found = []
    for name, more in (("whole", {}), ("cut", cut)):
        model, _, job = make_work("full", name=name, **asked, **more)
        start = weights(model)
        train(model, job)
        found.append(weights(model))
    whole, other = found
    assert max(float((whole[n] - start[n]).abs().max()) for n in start) > 1e-3
    for name, value in whole.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=2e-6)


def test_the_loss_in_the_journal_is_the_mean_over_trained_tokens(make_work: MakeWork) -> None:
    model, _, job = make_work("full", batch_size=32, micro_batch_tokens=100, epochs=1, dropout=0)
    model.eval()
    with torch.no_grad():
        expected = float(by_the_book(model, ALL))
    train(model, job)
    (row,) = [row for row in job.folder.read_rows(JOURNAL) if row["event"] == "step"]
    assert row["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_curves_training_loss_weighs_steps_by_their_tokens(make_work: MakeWork) -> None:
    model, work, job = make_work(epochs=1, evaluate_every=4)
    done = train(model, job)
    losses = [row["loss"] for row in job.folder.read_rows(JOURNAL) if row["event"] == "step"]
    sizes = [work.weight(batch) for batch in loop.batches_from(0, 4, job)]
    assert len(set(sizes)) == 4
    assert done.curve[0].train_loss == pytest.approx(np.average(losses, weights=sizes))


def test_the_lowest_validation_loss_is_kept(make_work: MakeWork) -> None:
    """And not the highest accuracy, by which classifiers are kept."""
    found = iter([(0.9, 0.1), (0.5, 0.2), (0.7, 0.9), (0.8, 0.8)])
    seen = []

    def validate(model: nn.Module) -> tuple[float, float]:
        seen.append(weights(model))
        return next(found)

    model, _, job = make_work(epochs=1, evaluate_every=1)
    done = train(model, replace(job, validate=validate))
    assert done.best_step == 2
    assert all(torch.equal(value, seen[1][name]) for name, value in weights(model).items())


# --- settings --------------------------------------------------------------------------------


def test_rates_follow_the_width_as_the_published_fit_does() -> None:
    """At 2000 wide the fit is 5e-5; LoRA and its kin ten times that ("LoRA Without Regret")."""
    assert generative_rate(get_method("full"), 2000) == pytest.approx(5e-5)
    assert generative_rate(get_method("full"), 1000) == pytest.approx(5e-5 * 2**0.78)
    for name in ("lora", "qlora", "adapter"):
        assert generative_rate(get_method(name), 4096) == pytest.approx(
            10 * generative_rate(get_method("full"), 4096)
        )
    assert generative_rate(get_method("prompt"), 64) == generative_rate(get_method("prompt"), 8192)


def test_what_was_asked_for_comes_before_the_defaults() -> None:
    lora = get_method("lora")
    plain = resolve_generative(Config(), lora, 5000, 512)
    assert plain.learning_rate == generative_rate(lora, 512)
    assert plain.epochs == lora.defaults.generative_epochs
    assert (plain.packing, plain.micro_batch_tokens, plain.head_start) == (True, None, False)
    asked = Config.model_validate(
        {
            "train": {
                "learning_rate": 0.125,
                "epochs": 7,
                "packing": False,
                "micro_batch_tokens": 300,
                "head_start": True,
            }
        }
    )
    found = resolve_generative(asked, lora, 5000, 512)
    assert (found.learning_rate, found.epochs) == (0.125, 7)
    assert (found.packing, found.micro_batch_tokens) == (False, 300)
    assert not found.head_start, "there is no new head to start"


def test_validation_is_read_twice_an_epoch_unless_it_costs_too_much() -> None:
    """A third of 10 is less than a tenth of 100 / 2; a third of 20 is more."""
    lora = get_method("lora")
    assert resolve_generative(Config(), lora, 100, 64, 10).evaluate_every is None
    assert resolve_generative(Config(), lora, 100, 64, 20).evaluate_every == 7  # 6.25 batches
    asked = Config.model_validate({"train": {"evaluate_every": 3}})
    assert resolve_generative(asked, lora, 100, 64, 20).evaluate_every == 3


# --- stopping and going on -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "shape", "precision"),
    [
        ("full", "gpt2", "fp32"),
        ("lora", "llama", "bf16"),
        ("adapter", "llama", "fp32"),
        ("prompt", "llama", "fp32"),
        ("qlora", "llama", "bf16"),
    ],
)
def test_a_killed_run_goes_on_to_the_same_weights(
    make_work: MakeWork,
    method: str,
    shape: str,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every step
    asked = {
        "dropout": 0.1,
        "evaluate_every": 1,
        "patience": 99,
        "micro_batch_tokens": 150,
    }
    make = lambda name: make_work(method, shape, precision, name, **asked)  # noqa: E731
    whole, _, job = make("whole")
    done = train(whole, job)
    assert done.steps == 8

    killed, _, cut = make("killed")
    with pytest.raises(Stop):
        train(killed, replace(cut, validate=_counting(4)))
    fresh, _, again = make("killed")
    counted = iter([1 / 4, 1 / 5, 1 / 6, 1 / 7, 1 / 8])
    resumed = train(fresh, replace(again, resume=True, validate=lambda _: (next(counted), 0.5)))

    assert resumed.steps == 8
    for name, value in weights(whole).items():
        assert torch.equal(weights(fresh)[name], value), name
    assert [p.train_loss for p in resumed.curve] == [p.train_loss for p in done.curve]
    # And what it says is the same to the last bit, whatever was read in between.
    found = [sequence_losses(m, TOKENS, job.device).loss_sums for m in (whole, fresh)]
    np.testing.assert_array_equal(*found)


def test_validation_within_training_changes_nothing(make_work: MakeWork) -> None:
    """Reading the validation texts with the very reader that trains leaves training alone."""
    found = []
    for name, reads in (("plain", False), ("reading", True)):
        model, work, job = make_work(
            "lora", name=name, evaluate_every=1, precision="bf16", epochs=1
        )

        def validate(
            _: nn.Module, work: GenerativeWork = work, job: TrainJob = job, reads: bool = reads
        ) -> tuple[float, float]:
            if reads:
                sequence_losses(work.reader, TOKENS, job.device)
            return 1.0, 0.5

        train(model, replace(job, validate=validate, settings=replace(job.settings, patience=99)))
        found.append([r["loss"] for r in job.folder.read_rows(JOURNAL) if r["event"] == "step"])
    assert found[0] == found[1]


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(make_work: MakeWork) -> None:
    import os
    import signal

    whole, _, job = make_work(name="whole")
    train(whole, job)

    def press(_: nn.Module) -> tuple[float, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return 1.0, 0.5

    stopped, _, cut = make_work(name="cut")
    with pytest.raises(Interrupted, match="after step 2 of 8"):
        train(stopped, replace(cut, validate=press))
    fresh, work, again = make_work(name="cut")
    train(fresh, replace(again, resume=True))
    for name, value in weights(whole).items():
        assert torch.equal(weights(fresh)[name], value), name
    assert work.reader.inner.config._attn_implementation == "sdpa"
