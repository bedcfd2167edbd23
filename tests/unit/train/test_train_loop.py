"""The loop: the same weights however a batch is cut, and however often a run is stopped."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.errors import Interrupted, OverBudget, TrainingDiverged, UserError
from tailorbird.methods.base import trained_parameters
from tailorbird.runs.folder import CHECKPOINTS, JOURNAL
from tailorbird.train import loop
from tailorbird.train.loop import train

MakeJob = Callable[..., tuple[Any, Any]]


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trained_parameters(model)}


def steps(job: Any, event: str = "step") -> list[dict[str, Any]]:
    return [row for row in job.folder.read_rows(JOURNAL) if row["event"] == event]


# --- batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("micro", [1, 4, 7])
def test_micro_batches_change_nothing(make_job: MakeJob, micro: int) -> None:
    found = []
    for name, size in (("whole", 16), ("cut", micro)):
        # SGD: Adam's normalisation would blow rounding up where a gradient is all but zero.
        model, job = make_job(
            "full", name=name, micro_batch_size=size, dropout=0, optimizer="sgd", learning_rate=0.01
        )
        assert len({int(n) for n in job.work.train.lengths}) > 3
        start = weights(model)
        train(model, job)
        found.append(weights(model))
    whole, cut = found
    assert any(not torch.equal(start[name], whole[name]) for name in whole)
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], rtol=0, atol=2e-6)


def test_the_loss_in_the_journal_is_the_mean_cross_entropy_of_the_batch(make_job: MakeJob) -> None:
    model, job = make_job("lora", batch_size=60, micro_batch_size=25, epochs=1)
    model.eval()
    with torch.inference_mode():
        total = 0.0
        for ids, target in zip(job.work.train.ids, job.work.train.targets, strict=True):
            logits = model(input_ids=torch.tensor(ids[None].astype(np.int64))).logits[0].double()
            total -= float(logits[target] - torch.logsumexp(logits, 0))
    train(model, job)
    (row,) = steps(job)
    assert row["loss"] == pytest.approx(total / 60, rel=1e-5)


def test_every_example_is_seen_once_an_epoch(make_job: MakeJob) -> None:
    _, job = make_job(epochs=2.5)
    total, _ = loop.plan_steps(job)
    assert total == 10  # 60 examples in batches of 16: 4 steps an epoch
    batches = [batch.tolist() for batch in loop.batches_from(0, total, job)]
    assert len(batches) == 10
    for epoch in (batches[:4], batches[4:8]):
        assert sorted(sum(epoch, [])) == list(range(60))
    assert batches[:4] != batches[4:8]
    assert [b.tolist() for b in loop.batches_from(6, total, job)] == batches[6:]


def test_gradients_are_clipped_to_the_norm(make_job: MakeJob) -> None:
    model, job = make_job(
        "full", epochs=0.25, optimizer="sgd", learning_rate=1.0, warmup=0, max_grad_norm=0.01
    )
    start = weights(model)
    train(model, job)
    end = weights(model)
    moved = sum(float((end[n] - start[n]).double().pow(2).sum()) for n in start) ** 0.5
    # Weight decay (0.01 of matrices at rate 1) comes on top of the step of length 0.01.
    decay = sum(float((0.01 * start[n]).double().pow(2).sum()) for n in start if start[n].ndim > 1)
    assert moved == pytest.approx((0.01**2 + decay) ** 0.5, rel=0.05)


def test_gradient_checkpointing_gives_the_same_weights(make_job: MakeJob) -> None:
    found = []
    for name, on in (("off", False), ("on", True)):
        model, job = make_job(
            "full", name=name, gradient_checkpointing=on, dropout=0, optimizer="sgd", epochs=1
        )
        train(model, job)
        found.append(weights(model))
    for name in found[0]:
        torch.testing.assert_close(found[1][name], found[0][name], rtol=0, atol=1e-6)


# --- validation ------------------------------------------------------------------------------


def test_the_best_weights_are_restored_and_training_stops_early(make_job: MakeJob) -> None:
    accuracies = iter([0.5, 0.7, 0.6, 0.6, 0.9])
    seen = []

    def validate(model: Any) -> tuple[float, float]:
        assert not model.training
        seen.append(weights(model))
        return 1.0, next(accuracies)

    model, job = make_job(epochs=5, evaluate_every=2, patience=2, validate=validate)
    done = train(model, job)
    assert len(seen) == 4, "two validations without a better one end it"
    assert (done.steps, done.best_step, done.stopped_early) == (8, 4, True)
    assert [point.step for point in done.curve] == [2, 4, 6, 8]
    for name, value in weights(model).items():
        assert torch.equal(value, seen[1][name])
        assert not torch.equal(value, seen[3][name])
    assert not model.training


def test_of_equal_accuracies_the_lower_loss_is_better(make_job: MakeJob) -> None:
    found = iter([(0.9, 0.5), (0.8, 0.5), (0.85, 0.5)])
    model, job = make_job(epochs=0.75, evaluate_every=1, validate=lambda _: next(found))
    assert train(model, job).best_step == 2


def test_the_last_step_is_validated(make_job: MakeJob) -> None:
    model, job = make_job(epochs=1.25, evaluate_every=3)
    done = train(model, job)
    assert [point.step for point in done.curve] == [3, 5]
    assert done.curve[-1].epoch == pytest.approx(1.25, abs=0.07)


def test_the_journal_has_a_line_for_every_step_and_validation(make_job: MakeJob) -> None:
    model, job = make_job(epochs=2, evaluate_every=4, warmup=0.25, learning_rate=1e-3)
    done = train(model, job)
    assert [row["step"] for row in steps(job)] == list(range(1, 9))
    assert [row["step"] for row in steps(job, "validation")] == [4, 8]
    # A quarter of 8 steps to rise, then linearly towards zero.
    expected = [0.5, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert [row["learning_rate"] for row in steps(job)] == pytest.approx(
        [1e-3 * factor for factor in expected]
    )
    # The curve's training loss is the mean since the last validation (16 + 16 + 16 + 12 rows).
    losses, sizes = (
        [row["loss"] for row in steps(job)][:4],
        [len(batch) for batch in loop.batches_from(0, 4, job)],
    )
    assert done.curve[0].train_loss == pytest.approx(np.average(losses, weights=sizes))


def test_tensorboard_gets_the_same_numbers(make_job: MakeJob) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model, job = make_job(epochs=1, tensorboard=True)
    train(model, job)
    events = EventAccumulator(str(job.folder.file("tensorboard")))
    events.Reload()
    written = [(e.step, e.value) for e in events.Scalars("step/loss")]
    assert [step for step, _ in written] == [1, 2, 3, 4]
    assert [value for _, value in written] == pytest.approx(
        [row["loss"] for row in steps(job)], rel=1e-6
    )


# --- faults ----------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_ends_the_run(make_job: MakeJob) -> None:
    model, job = make_job("full", learning_rate=1e30, optimizer="sgd", warmup=0)
    with pytest.raises(TrainingDiverged) as caught:
        train(model, job)
    assert "train.learning_rate" in caught.value.fix


def test_a_deadline_that_cannot_be_met_is_told_early(make_job: MakeJob) -> None:
    import time

    model, job = make_job(epochs=500)
    with pytest.raises(OverBudget, match="2000 steps"):
        train(model, replace(job, deadline=time.monotonic() + 1))
    assert len(steps(job)) < 100


# --- stopping and going on -------------------------------------------------------------------


class Stop(Exception):
    """A stand-in for a power cut: nothing is tidied up after it."""


def _until(limit: int) -> Any:
    count = 0

    def validate(_: Any) -> tuple[float, float]:
        nonlocal count
        count += 1
        if count == limit:
            raise Stop
        return 1.0 / count, 0.5

    return validate


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora", "adapter", "prompt", "qlora"])
def test_a_killed_run_goes_on_to_the_same_weights(
    make_job: MakeJob, method: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method == "qlora" and precision == "fp32":
        pytest.skip("computes in bf16")
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every step
    asked = {"epochs": 2, "dropout": 0.1, "evaluate_every": 1, "patience": 99}
    make = lambda name, limit: make_job(  # noqa: E731
        method, precision, name=name, validate=_until(limit), **asked
    )
    whole, job = make("whole", 99)
    done = train(whole, job)

    killed, cut = make("killed", 4)
    with pytest.raises(Stop):
        train(killed, cut)
    assert len(steps(cut)) == 4, "the step after the checkpoint was done, and is done again"
    fresh, again = make("killed", 99)
    counted = iter([1 / 4, 1 / 5, 1 / 6, 1 / 7, 1 / 8])
    again = replace(again, resume=True, validate=lambda _: (next(counted), 0.5))
    resumed = train(fresh, again)

    assert resumed.steps == done.steps == 8
    for name, value in weights(whole).items():
        assert torch.equal(weights(fresh)[name], value), name
    assert [(r["step"], r["loss"]) for r in steps(again)] == [
        (r["step"], r["loss"]) for r in steps(job)
    ]
    assert [p.train_loss for p in resumed.curve] == [p.train_loss for p in done.curve]


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(make_job: MakeJob) -> None:
    whole, job = make_job("lora", name="whole", dropout=0.1)
    train(whole, job)

    def press(_: Any) -> tuple[float, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return 1.0, 0.5

    handler = signal.getsignal(signal.SIGINT)
    stopped, cut = make_job("lora", name="cut", dropout=0.1, validate=press)
    with pytest.raises(Interrupted, match="after step 2 of 8"):
        train(stopped, cut)
    assert signal.getsignal(signal.SIGINT) is handler
    fresh, again = make_job("lora", name="cut", dropout=0.1)
    train(fresh, replace(again, resume=True))
    for name, value in weights(whole).items():
        assert torch.equal(weights(fresh)[name], value), name


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "sha256.json", "best"])
@pytest.mark.parametrize("damage", ["cut", "gone", "one bit"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    make_job: MakeJob, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"epochs": 2, "dropout": 0.1, "evaluate_every": 1, "checkpoint_every": 1}
    whole, job = make_job(name="whole", validate=_until(99), **asked)
    train(whole, job)
    model, cut = make_job(validate=_until(6), **asked)
    with pytest.raises(Stop):
        train(model, cut)
    place = cut.folder.file(CHECKPOINTS)
    newest = sorted(place.glob("step-*"))[-1]
    assert newest.name == "step-00000005"
    # Only the newest checkpoint refers to the newest best: every validation here is better.
    path = sorted(place.glob("best-*"))[-1] if name == "best" else newest / name
    if damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "gone":
        path.unlink()
    else:
        found = bytearray(path.read_bytes())
        found[len(found) // 2] ^= 0 if name == "sha256.json" else 1
        path.write_bytes(found[:-2] if name == "sha256.json" else found)
    fresh, again = make_job(validate=_until_from(4), **asked)
    train(fresh, replace(again, resume=True))
    words = capsys.readouterr().err
    assert "the checkpoint of step 5 is damaged" in words
    assert "continuing after step 4" in words
    for key, value in weights(whole).items():
        assert torch.equal(weights(fresh)[key], value), key


def _until_from(done: int) -> Any:
    """Return validations as `_until` would go on with them: each better than the one before."""
    count = done

    def validate(_: Any) -> tuple[float, float]:
        nonlocal count
        count += 1
        return 1.0 / count, 0.5

    return validate


def test_without_a_whole_checkpoint_it_starts_anew(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, job = make_job(name="whole", epochs=1)
    train(whole, job)
    model, cut = make_job(epochs=1, checkpoint_every=2)
    train(model, cut)
    for path in cut.folder.file(CHECKPOINTS).glob("*/state.pt"):
        path.write_bytes(b"")
    fresh, again = make_job(epochs=1)
    train(fresh, replace(again, resume=True))
    assert "starting from the beginning" in capsys.readouterr().err
    for key, value in weights(whole).items():
        assert torch.equal(weights(fresh)[key], value), key


def test_a_full_disk_keeps_the_last_good_checkpoint_and_goes_on(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system's own fault: no file may grow past a limit, as on a disk that is full."""
    import resource

    whole, job = make_job("full", name="whole", validate=_until(99), epochs=2)
    train(whole, job)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    count = 0

    def validate(_: Any) -> tuple[float, float]:
        nonlocal count
        count += 1
        if count == 2:  # at step 4; a checkpoint was written after step 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        return 1.0 / count, 0.5

    model, cut = make_job("full", validate=validate, checkpoint_every=2, epochs=2)
    try:
        train(model, cut)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    words = capsys.readouterr().err
    assert "the best weights are kept in memory" in words
    assert "no checkpoint of step 4: no space left" in words
    assert "the one of step 2 is kept, and training continues" in words
    for key, value in weights(whole).items():
        assert torch.equal(weights(model)[key], value), "the best ones, from memory"
    assert [p.name for p in cut.folder.file(CHECKPOINTS).glob("*")].count("step-00000002") == 1
    fresh, again = make_job("full", validate=_until_from(1), epochs=2)
    train(fresh, replace(again, resume=True))
    assert "continuing after step 2" in capsys.readouterr().err
    for key, value in weights(whole).items():
        assert torch.equal(weights(fresh)[key], value), key


# --- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        MemoryError(),
    ],
    ids=lambda e: type(e).__name__ + str(e)[-12:],
)
def test_out_of_memory_halves_micro_batches_and_keeps_the_batch(
    make_job: MakeJob, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    # Four batches of 15, cut in two ways into 4, 4, 4 and 3: with dropout, the draws must agree.
    asked = {"epochs": 1, "dropout": 0.3, "optimizer": "sgd", "learning_rate": 0.01}
    asked |= {"batch_size": 15}
    expected, job = make_job("full", name="four", micro_batch_size=4, **asked)
    train(expected, job)
    model, short = make_job("full", **asked)
    sizes: list[int] = []

    class Tight(type(short.work)):  # type: ignore[misc]
        def loss_sum(self, model: Any, indices: np.ndarray) -> torch.Tensor:
            loss = super().loss_sum(model, indices)  # random numbers are drawn before it fails
            if len(indices) > 4:
                raise error
            sizes.append(len(indices))
            return loss

    work = Tight(short.work.train, short.work.pad_id, short.work.device, 15)
    done = train(model, replace(short, work=work))
    assert max(sizes) == 4 and sum(sizes) == 60
    for key, value in weights(expected).items():
        torch.testing.assert_close(weights(model)[key], value, rtol=0, atol=2e-6)
    words = capsys.readouterr().err
    assert "at most 8 instead of 15 examples at once" in words
    assert "at most 4 instead of 8 examples at once" in words
    assert "the batch size stays 15" in words
    assert "1/4" in done.notes[0]


def test_when_not_even_one_example_fits_it_says_so(make_job: MakeJob) -> None:
    model, job = make_job()

    class Never(type(job.work)):  # type: ignore[misc]
        def loss_sum(self, model: Any, indices: np.ndarray) -> torch.Tensor:
            raise MemoryError

    work = Never(job.work.train, job.work.pad_id, job.work.device, 16)
    with pytest.raises(UserError, match="one example at a time") as caught:
        train(model, replace(job, work=work))
    assert "data.max_length" in caught.value.fix


def test_other_faults_are_not_taken_for_a_lack_of_memory(make_job: MakeJob) -> None:
    model, job = make_job(validate=_until(1))
    with pytest.raises(Stop):
        train(model, job)


def test_a_checkpoint_of_another_model_is_refused(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    model, job = make_job(epochs=1, options={"rank": 4})
    train(model, job)
    for other in ({"rank": 2}, {"rank": 4, "targets": ["query"]}):
        fresh, again = make_job(epochs=1, options=other)
        with pytest.raises(UserError, match="is of another model"):
            train(fresh, replace(again, resume=True))


def test_a_journal_cut_by_a_kill_is_read_up_to_the_cut(make_job: MakeJob) -> None:
    from tailorbird.train.journal import Journal

    _, job = make_job()
    path = job.folder.file(JOURNAL)
    with Journal(job.folder, tensorboard=False) as journal:
        for step in (1, 2, 3):
            journal.write("step", step, loss=0.5)
    path.write_text(path.read_text() + '{"event": "step", "st')
    with Journal(job.folder, tensorboard=False, after_step=2) as journal:
        journal.write("step", 3, loss=0.25)
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_a_full_disk_ends_tensorboard_in_one_line(
    make_job: MakeJob, capfd: pytest.CaptureFixture[str]
) -> None:
    import resource

    from tailorbird.train.journal import Journal

    _, job = make_job()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with Journal(job.folder, tensorboard=True) as journal:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
            for step in range(400):
                journal.write("step", step, loss=0.5)
            time.sleep(0.5)  # its thread writes when it finds the time
            journal.write("step", 400, loss=0.5)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = capfd.readouterr().err
    assert told.count("no more TensorBoard events") == 1 and "Traceback" not in told
    rows = [json.loads(line) for line in job.folder.file(JOURNAL).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(401)), "the journal waited for room"


def test_training_leaves_no_autocast_in_the_model(make_job: MakeJob) -> None:
    model, job = make_job("full", precision="bf16", epochs=0.25)
    train(model, job)
    ids = torch.tensor(job.work.train.ids[0][None].astype(np.int64))
    with torch.inference_mode():
        exact = model(input_ids=ids).logits
        reference = type(model).forward(model, input_ids=ids).logits
    assert torch.equal(exact, reference)
