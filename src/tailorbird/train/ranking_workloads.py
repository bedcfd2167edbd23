"""The training loop's workloads of embedders and rerankers: queries with positives and negatives.

Losses and saved format are sentence-transformers'. Its trainer can neither stop by ranking quality
nor resume after Ctrl-C; the loop does both.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tailorbird import log
from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.config.method import method_spec
from tailorbird.errors import OutOfMemory, TrainingDiverged
from tailorbird.methods.base import trained_parameters
from tailorbird.models.device import Device
from tailorbird.records import RankingPair, RetrieverPoint
from tailorbird.runs.folder import MODEL, RunFolder
from tailorbird.train.loop import TrainJob, train
from tailorbird.train.settings import Settings
from tailorbird.train.step import Workload

_WEIGHT_DECAY, _WARMUP, _MAX_NORM = 0.01, 0.1, 1.0


class RankingWork:
    """The shared part of both workloads: batches without false negatives.

    Args:
        model: A sentence-transformers model, whose tokenizer is used; its weights are those of the
            model that the loop passes.
    """

    divisible = True

    def __init__(self, model: Any, pairs: Sequence[RankingPair], settings: RetrieverConfig) -> None:
        self.pairs, self.settings = pairs, settings
        self._device, self._preprocess, self._prompts = (
            model.device,
            model.preprocess,
            model.prompts,
        )

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` of 1: batches count pairs, not tokens."""
        return np.ones(len(self.pairs), dtype=np.int64)

    def batches(self, size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Return one epoch's batches, see `distinct_batches`."""
        return [np.asarray(rows) for rows in distinct_batches(self.pairs, size, seed, epoch)]

    def weight(self, indices: np.ndarray) -> float:
        """Return the number of pairs."""
        return float(len(indices))

    def reading(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def features(self, texts: Sequence[Any], prompt: str | None = None) -> dict[str, Any]:
        """Return the model inputs of texts, or of pairs of texts, on its device."""
        features: dict[str, Any] = self._preprocess(list(texts), prompt=prompt)
        return {
            name: value.to(self._device) if hasattr(value, "to") else value
            for name, value in features.items()
        }


class EmbedderWork(RankingWork):
    """InfoNCE (arXiv 1807.03748) with in-batch negatives.

    The gradients of all vectors are cached, so that forward passes can be small (GradCache,
    arXiv 2101.06983); the batch itself cannot be divided.
    """

    divisible = False

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return the whole batch."""
        return [indices]

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss in nats."""
        from sentence_transformers.sentence_transformer.losses import (
            CachedMultipleNegativesRankingLoss,
        )

        batch = [self.pairs[index] for index in indices]
        # A column of negatives must be full, so the pair with the fewest limits all.
        negatives = min(len(pair.negatives) for pair in batch)
        columns = [[pair.positive for pair in batch]]
        columns += [[pair.negatives[n] for pair in batch] for n in range(negatives)]
        queries = self.features([pair.query for pair in batch], self._prompt("query"))
        document = self._prompt("document", "passage", "corpus")
        loss: Any = CachedMultipleNegativesRankingLoss(
            model,  # type: ignore[arg-type]
            scale=1 / self.settings.temperature,
            mini_batch_size=self.settings.micro_batch_size,
        )
        mean: torch.Tensor = loss([queries, *(self.features(c, document) for c in columns)], None)
        return mean * len(batch)

    def _prompt(self, *names: str) -> str | None:
        return next((self._prompts[name] for name in names if self._prompts.get(name)), None)


class RerankerWork(RankingWork):
    """Binary cross-entropy over each pair's positive and negatives."""

    def weight(self, indices: np.ndarray) -> float:
        """Return the number of scored texts."""
        return float(sum(1 + len(self.pairs[index].negatives) for index in indices))

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """Split a batch by the number of texts per pass."""
        texts = self.weight(indices) / len(indices)
        size = max(1, round(self.settings.micro_batch_size / texts))
        return [indices[i : i + size] for i in range(0, len(indices), size)]

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss in nats."""
        batch = [self.pairs[index] for index in indices]
        rows = [(p.query, text) for p in batch for text in (p.positive, *p.negatives)]
        right = [float(n == 0) for p in batch for n in range(1 + len(p.negatives))]
        logits = model(self.features(rows))["scores"].view(-1)
        targets = torch.tensor(right, device=logits.device)
        return nn.functional.binary_cross_entropy_with_logits(
            logits.float(), targets, reduction="sum"
        )


def distinct_batches(
    pairs: Sequence[RankingPair], size: int, seed: int, epoch: int
) -> list[list[int]]:
    """Return batches in which no text is a negative of a query that it is relevant to.

    A pair waits for a later batch if its document or a negative is relevant to a query in this one,
    or the other way round. Pairs that fit nowhere become short batches at the end.
    """
    waiting = [int(i) for i in np.random.default_rng((seed, epoch)).permutation(len(pairs))]
    batches = []
    while waiting:
        batch: list[int] = []
        left: list[int] = []
        inside: set[str] = set()  # documents in the batch, positives and negatives
        right: set[str] = set()  # documents relevant to a query of the batch
        queries: set[str] = set()
        for place, index in enumerate(waiting):
            if len(batch) == size:
                left.extend(waiting[place:])
                break
            pair = pairs[index]
            relevant = {pair.source, *pair.others}
            documents = {pair.source, *pair.negative_sources}
            if relevant & inside or documents & right or pair.query in queries:
                left.append(index)
                continue
            batch.append(index)
            inside |= documents
            right |= relevant
            queries.add(pair.query)
        batches.append(batch)
        waiting = left
    # A single pair without negatives has no contrast.
    return [b for b in batches if len(b) > 1 or pairs[b[0]].negatives] or batches


@dataclass(frozen=True, slots=True)
class RankingFit:
    """The result of tuning; the model has the chosen weights.

    Attributes:
        share: Weight of the tuned model in the average with the old one; 0: no gain.
        averages: nDCG@10 on validation by share.
    """

    steps: int
    best_step: int
    seconds: float
    share: float
    curve: tuple[RetrieverPoint, ...]
    averages: dict[float, float]


def fit_ranking(
    model: nn.Module,
    work: Workload,
    validate: Callable[[nn.Module], float],
    settings: RetrieverConfig,
    device: Device,
    folder: RunFolder,
    *,
    resume: bool = False,
    title: str = "tuning",
) -> RankingFit:
    """Train `model` in place and leave the weights of the best validation in it.

    Args:
        validate: Returns nDCG@10 of the model on the validation queries.
        settings: With the learning rate filled in, and the averages with the old weights to try.
        folder: Where checkpoints are kept until the end.

    Raises:
        TrainingDiverged: The loss became NaN or infinite.
        OutOfMemory: A batch does not fit.
        Interrupted: Ctrl-C; a checkpoint was written.
    """
    old = {name: p.detach().cpu().clone() for name, p in trained_parameters(model)}
    torch.manual_seed(settings.seed)
    # The base model's score is only shown: the gate compares with it, on other queries.
    model.eval()
    untouched = RetrieverPoint(0, 0.0, 0.0, validate(model))

    def missed(model: nn.Module) -> tuple[float, float]:
        score = validate(model)
        return 1 - score, score

    loop_settings = _loop_settings(settings, work)
    try:
        result = train(
            model,
            TrainJob(
                work, loop_settings, device, folder, missed,
                figure="ndcg@10", title=title, resume=resume,
            ),
        )  # fmt: skip
    except TrainingDiverged as fault:
        raise TrainingDiverged(fault.problem, "lower retriever.learning_rate") from fault
    except OutOfMemory as fault:
        fix = "lower retriever.micro_batch_size or retriever.max_tokens"
        raise OutOfMemory(fault.problem, fix) from fault
    best = {name: p.detach().cpu().clone() for name, p in trained_parameters(model)}
    averages = {}
    for share in sorted({*settings.averages, 1.0}):
        _mix(model, old, best, share)
        averages[share] = validate(model)
    log.say("shares of tuned weights: " + ", ".join(f"{k:g}: {v:.4f}" for k, v in averages.items()))
    share = max(averages, key=lambda key: (averages[key], -key))
    _mix(model, old, best, share)
    curve = (
        RetrieverPoint(point.step, point.epoch, point.train_loss, point.validation_accuracy)
        for point in result.curve
    )
    return RankingFit(
        result.steps, result.best_step, result.seconds, share, (untouched, *curve), averages
    )


def _loop_settings(settings: RetrieverConfig, work: Workload) -> Settings:
    assert settings.learning_rate is not None
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch_size=settings.micro_batch_size,
        learning_rate=settings.learning_rate,
        optimizer="adamw",
        weight_decay=_WEIGHT_DECAY,
        schedule="linear",
        warmup=_WARMUP,
        max_grad_norm=_MAX_NORM,
        head_start=False,
        dropout=None,
        evaluate_every=settings.evaluate_every
        or len(work.batches(settings.batch_size, settings.seed, 0)),
        patience=settings.patience,
        seed=settings.seed,
        gradient_checkpointing=False,
        tensorboard=False,
    )


def _mix(
    model: nn.Module, old: dict[str, torch.Tensor], new: dict[str, torch.Tensor], share: float
) -> None:
    """Set the model to the average of old and new weights (WiSE-FT, arXiv 2109.01903)."""
    with torch.no_grad():
        for name, parameter in trained_parameters(model):
            parameter.copy_(torch.lerp(old[name], new[name], share))


def fit_and_save(
    model: Any,
    work: Workload,
    validate: Callable[[Any], float],
    settings: RetrieverConfig,
    device: Device,
    folder: RunFolder,
    *,
    reads: int | None = None,
    **loop: Any,
) -> RankingFit:
    """Tune a model and save it in the run folder, in sentence-transformers' format.

    Args:
        settings: The settings; with LoRA, the update is merged afterwards.
        reads: The saved model's input length in tokens; None: unchanged.
    """
    from tailorbird.methods.lora.method import attach_to_encoder, merge_encoder

    lora = not method_spec(settings.method).trains_all
    if lora:
        inner = model[0].model
        heads = tuple(name for name in ("classifier", "score") if hasattr(inner, name))
        model[0].model = attach_to_encoder(inner, heads)
    fit = fit_ranking(model, work, validate, settings, device, folder, **loop)
    if lora:
        model[0].model = merge_encoder(model[0].model)
    if reads is not None:
        model.max_seq_length = reads
    with folder.new_folder(MODEL) as part:
        model.save_pretrained(str(part), create_model_card=False)
    return fit
