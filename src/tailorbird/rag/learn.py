"""The loop that embedders and rerankers are tuned by: small, resumable, the best weights kept.

It is not `train/`'s: rooms of retrieval do not know of fine-tuning, and what is stopped on here is
how documents are ranked, not a loss.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tailorbird import log
from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.errors import Interrupted, TrainingDiverged, UserError
from tailorbird.rag.pairs import Pair
from tailorbird.records.retriever import RetrieverPoint
from tailorbird.runs.atomic import write_atomically
from tailorbird.runs.files import reading
from tailorbird.runs.folder import CHECKPOINTS, RunFolder
from tailorbird.runs.interrupt import patient_interrupt

if TYPE_CHECKING:
    import torch
    from torch import nn

_LAST, _BEST = f"{CHECKPOINTS}/last.pt", f"{CHECKPOINTS}/best.pt"
_CHECKPOINT_SECONDS = 120.0
_WARMUP = 0.1
_MAX_NORM = 1.0


class Learner(Protocol):
    """A model with its loss and its validation."""

    model: "nn.Module"

    def loss(self, batch: Sequence[Pair]) -> "torch.Tensor":
        """Return the mean loss of a batch, ready for ``backward``."""
        ...

    def validate(self) -> float:
        """Return nDCG@10 on the validation queries."""
        ...


@dataclass(frozen=True, slots=True)
class Learnt:
    """How a model was tuned; its weights are the chosen ones.

    Attributes:
        share: Share of the tuned weights in the mean with the old ones; 0: nothing was better.
        averages: nDCG@10 on validation by share.
    """

    steps: int
    best_step: int
    seconds: float
    share: float
    curve: tuple[RetrieverPoint, ...]
    averages: dict[float, float]


@dataclass
class _State:
    step: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    best_step: int = 0
    bad: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    curve: list[RetrieverPoint] = field(default_factory=list)


def distinct_batches(pairs: Sequence[Pair], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return batches in which no text is a negative of a query that it is right for.

    A pair waits for a later batch where its document, or one of its negatives, is right for a query
    in this one, or the other way round. Pairs that fit nowhere become short batches at the end.
    """
    waiting = [int(i) for i in np.random.default_rng((seed, epoch)).permutation(len(pairs))]
    batches = []
    while waiting:
        batch: list[int] = []
        left: list[int] = []
        held: set[str] = set()  # documents in the batch, positives and negatives
        right: set[str] = set()  # documents that are right for a query in the batch
        queries: set[str] = set()
        for place, index in enumerate(waiting):
            if len(batch) == size:
                left.extend(waiting[place:])
                break
            pair = pairs[index]
            mine = {pair.source, *pair.others}
            brings = {pair.source, *pair.negative_sources}
            if mine & held or brings & right or pair.query in queries:
                left.append(index)
                continue
            batch.append(index)
            held |= brings
            right |= mine
            queries.add(pair.query)
        batches.append(batch)
        waiting = left
    # A pair alone has nothing to be told apart from.
    return [b for b in batches if len(b) > 1 or pairs[b[0]].negatives] or batches


def learn(
    learner: Learner,
    pairs: Sequence[Pair],
    settings: RetrieverConfig,
    rate: float,
    folder: RunFolder,
    *,
    resume: bool = False,
    title: str = "tuning",
) -> Learnt:
    """Train `learner.model` in place; the weights that validate best are left in it.

    Args:
        learner: The model, its loss and its validation.
        pairs: What is learnt from.
        settings: Epochs, batch size, patience, seed.
        rate: Peak learning rate.
        folder: Where checkpoints are kept until the end.
        resume: Go on from the last checkpoint where there is one.
        title: Of the progress bar.

    Raises:
        TrainingDiverged: The loss became NaN or infinite.
        Interrupted: Ctrl-C; a checkpoint was written.
    """
    import torch

    model = learner.model
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    old = {name: p.detach().cpu().clone() for name, p in trained.items()}
    optimizer = torch.optim.AdamW(trained.values(), lr=rate, weight_decay=0.01)
    batches = _plan(pairs, settings)
    total, per_epoch = len(batches), max(1, math.ceil(len(batches) / settings.epochs))
    every = settings.evaluate_every or per_epoch
    state = _State()
    torch.manual_seed(settings.seed)
    if resume and folder.file(_LAST).is_file():
        state = _load(trained, optimizer, folder)
        log.say(f"{title}: going on after step {state.step} of {total}")
    if not state.curve:
        _validate(learner, state, folder, trained, per_epoch)
    done = sum(map(len, batches[: state.step]))
    with (
        patient_interrupt() as pressed,
        log.progress(title, sum(map(len, batches)), "pairs", done) as bar,
    ):
        began, saved = time.monotonic() - state.seconds, time.monotonic()
        while state.step < total and state.bad < settings.patience:
            batch = [pairs[i] for i in batches[state.step]]
            value = _step(learner, optimizer, batch, rate * _factor(state.step, total))
            state.step += 1
            state.loss_sum, state.loss_count = state.loss_sum + value, state.loss_count + 1
            bar.advance(len(batch), f"loss {state.loss_sum / state.loss_count:.3f}")
            if state.step % every == 0 or state.step == total:
                _validate(learner, state, folder, trained, per_epoch)
            state.seconds = time.monotonic() - began
            if pressed() or time.monotonic() - saved > _CHECKPOINT_SECONDS:
                _save(trained, optimizer, state, folder)
                saved = time.monotonic()
            if pressed():
                raise Interrupted(f"stopped after step {state.step} of {total}")
    with reading(folder.file(_BEST)):
        best = torch.load(folder.file(_BEST), weights_only=True)["weights"]
    found = _average(learner, trained, old, best, settings.averages)
    share = max(found, key=lambda key: (found[key], -key))
    _mix(trained, old, best, share)
    model.eval()
    return Learnt(state.step, state.best_step, state.seconds, share, tuple(state.curve), found)


def _plan(pairs: Sequence[Pair], settings: RetrieverConfig) -> list[list[int]]:
    batches: list[list[int]] = []
    epoch, whole = 0, int(settings.epochs)
    while epoch < whole:
        batches += distinct_batches(pairs, settings.batch_size, settings.seed, epoch)
        epoch += 1
    rest = distinct_batches(pairs, settings.batch_size, settings.seed, epoch)
    return batches + rest[: round((settings.epochs - whole) * len(rest))] or rest[:1]


def _factor(step: int, total: int) -> float:
    """Return the share of the peak rate: up over a tenth of the steps, then down to 0."""
    warm = max(1, round(_WARMUP * total))
    return (step + 1) / warm if step < warm else (total - step) / max(1, total - warm)


def _step(learner: Learner, optimizer: Any, batch: list[Pair], rate: float) -> float:
    import torch

    for group in optimizer.param_groups:
        group["lr"] = rate
    learner.model.train()
    loss = learner.loss(batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingDiverged(
            f"the loss became {value} (learning rate {rate:.2g})",
            "lower retriever.learning_rate",
        )
    loss.backward()  # type: ignore[no-untyped-call]
    kept = [p for group in optimizer.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(kept, _MAX_NORM)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value


def _validate(
    learner: Learner, state: _State, folder: RunFolder, trained: dict[str, Any], per_epoch: int
) -> None:
    learner.model.eval()
    score = learner.validate()
    loss = state.loss_sum / max(1, state.loss_count)
    state.curve.append(RetrieverPoint(state.step, round(state.step / per_epoch, 3), loss, score))
    state.loss_sum, state.loss_count = 0.0, 0
    # The untouched model is shown and never kept: the gate compares with it, on other queries.
    if state.step and score > state.best:
        state.best, state.best_step, state.bad = score, state.step, 0
        _write(folder, _BEST, {"weights": _plain(trained)})
    elif state.step:
        state.bad += 1
    log.say(f"step {state.step}: loss {loss:.3f}, nDCG@10 {score:.4f} on validation")


def _average(
    learner: Learner,
    trained: dict[str, Any],
    old: dict[str, Any],
    best: dict[str, Any],
    shares: Sequence[float],
) -> dict[float, float]:
    """Return nDCG@10 on validation by the share of the tuned weights."""
    found = {}
    for share in sorted({*shares, 1.0}):
        _mix(trained, old, best, share)
        learner.model.eval()
        found[share] = learner.validate()
    log.say("shares of tuned weights: " + ", ".join(f"{k:g}: {v:.4f}" for k, v in found.items()))
    return found


def _mix(trained: dict[str, Any], old: dict[str, Any], new: dict[str, Any], share: float) -> None:
    import torch

    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(torch.lerp(old[name], new[name], share))


def _plain(trained: dict[str, Any]) -> dict[str, Any]:
    return {name: p.detach().cpu().clone() for name, p in trained.items()}


def _save(trained: dict[str, Any], optimizer: Any, state: _State, folder: RunFolder) -> None:
    import torch

    plain = asdict(state)
    rest = {
        "weights": _plain(trained),
        "optimizer": optimizer.state_dict(),
        "state": plain,
        "random": torch.get_rng_state(),
    }
    _write(folder, _LAST, rest)


def _write(folder: RunFolder, name: str, value: dict[str, Any]) -> None:
    import io

    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    write_atomically(folder.file(name), buffer.getvalue())


def _load(trained: dict[str, Any], optimizer: Any, folder: RunFolder) -> _State:
    import torch

    try:
        rest = torch.load(folder.file(_LAST), weights_only=True)
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(rest["weights"][name])
        optimizer.load_state_dict(rest["optimizer"])
        torch.set_rng_state(rest["random"])
        points = [RetrieverPoint(**point) for point in rest["state"].pop("curve")]
        return _State(**rest["state"], curve=points)
    except Exception as error:
        raise UserError(
            f"checkpoint {folder.file(_LAST)} is damaged or of another model",
            "delete the checkpoints folder and start again without --resume",
        ) from error
