"""The arms without gradient steps: majority or mean, probe, rag, and rag with a tuned model."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.arms.vectors import CHECKED, Vectors, split_vectors
from tailorbird.config import Config, dump_config
from tailorbird.errors import UserError
from tailorbird.models.builtin import without_place
from tailorbird.models.linear import fit_labels, fit_values
from tailorbird.rag.neighbours import Memory
from tailorbird.records import ArmReport, Cost, Example, Target
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import ARM, CONFIG, MODEL, RunFolder, write_atomically
from tailorbird.tasks.job import ArmJob
from tailorbird.tasks.scoring import (
    load_probabilities,
    save_predictions,
    save_target,
    score_arm,
    settle,
)
from tailorbird.tasks.table import TOOLS
from tailorbird.tasks.truths import learnt, target_of, truths

_CS = (0.1, 1.0, 10.0, 100.0)
_SMOOTHING = 0.02
_WEIGHTS = tuple(round(0.05 * i, 2) for i in range(20))


def run_blind(job: ArmJob) -> ArmReport:
    """Answer the same whatever the text: what every arm must beat.

    The most frequent label (of multi-label data, each label as often as it is given), or the mean.
    """
    started = time.perf_counter()
    split, target = job.split, target_of(job.split)
    if split.task == "tokens":
        return _run_lookup(job, target)
    if split.task == "classification":
        counts = Counter(example.label for example in split.train)
        shares = np.asarray([counts[label] / len(split.train) for label in split.labels])
    else:
        shares = truths(split.train, target).mean(axis=0)
    seconds = time.perf_counter() - started
    with job.folder.new_folder(MODEL) as folder:
        plain = dict(zip(split.labels, shares.tolist(), strict=True))
        (folder / "majority.json").write_text(json.dumps(plain, indent=2))

    def everyone(count: int) -> np.ndarray:
        return np.tile(shares.astype(np.float32), (count, 1))

    cost = Cost(
        train_seconds=seconds,
        peak_memory_bytes=peak_memory_bytes(),
        trainable_parameters=0,
        total_parameters=0,
        predict_ms_per_example=0.0,
    )
    arrays = {
        "validation": everyone(len(split.validation)),
        "test": everyone(len(split.test)),
        "check": everyone(min(CHECKED, len(split.test))),
    }
    return _finish(job, cost, {}, arrays, target)


def _run_lookup(job: ArmJob, target: Target) -> ArmReport:
    """Give each word the label that it has most often in training, whatever stands around it."""
    started = time.perf_counter()
    split = job.split
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in split.train:
        for word, label in zip(example.words, example.labels, strict=True):
            counts[word][label] += 1
    every = sum(counts.values(), Counter())
    known = {
        "other": every.most_common(1)[0][0],
        "words": {word: found.most_common(1)[0][0] for word, found in counts.items()},
    }
    seconds = time.perf_counter() - started
    with job.folder.new_folder(MODEL) as folder:
        text = json.dumps(known, ensure_ascii=False)
        (folder / "majority.json").write_text(text, encoding="utf-8")
    cost = Cost(seconds, None, None, None, peak_memory_bytes(), 0, 0, None, 0.0)
    parts = {"validation": split.validation, "test": split.test, "check": split.test[:CHECKED]}
    arrays = {
        name: looked_up([e.words for e in part], known, target) for name, part in parts.items()
    }
    return _finish(job, cost, {}, arrays, target)


def looked_up(texts: Sequence[Sequence[str]], known: dict[str, Any], target: Target) -> np.ndarray:
    """Return ``[words, labels]``: nearly all on the label that is known for the word."""
    index = {label: i for i, label in enumerate(target.labels)}
    words: dict[str, str] = known["words"]
    ids = [index[words.get(word, known["other"])] for text in texts for word in text]
    found = np.full((len(ids), len(index)), _SMOOTHING / len(index), dtype=np.float32)
    found[np.arange(len(ids)), ids] += 1 - _SMOOTHING
    return found


def run_probe(job: ArmJob) -> ArmReport:
    """Fit a linear model on frozen embeddings, its C chosen on validation.

    A logistic regression, of multi-label data one per label, of numbers a ridge regression.
    """
    split, target = job.split, target_of(job.split)
    tools = TOOLS[target.task]
    vectors = split_vectors(job.config, split, _run_of(job.folder))
    learn, judges = learnt(split.train, target), truths(split.validation, target)
    fit = _fitter(job.config, target)
    started = time.perf_counter()
    fits = []
    for c in _CS:
        weights, bias, on_validation = fit(vectors.train, learn, c, vectors.validation)
        fits.append((tools.quality(on_validation, judges, target), c, weights, bias))
    _, c, weights, bias = max(fits, key=lambda item: item[0])
    seconds = time.perf_counter() - started
    with job.folder.new_folder(MODEL) as folder:
        np.savez(folder / "probe.npz", weights=weights, bias=bias)
        settings = {"embedder": without_place(vectors.embedder), "C": c}
        (folder / "probe.json").write_text(json.dumps(settings))
    cost = _cost(vectors, vectors.fit_seconds + seconds, weights.size + bias.size, job)
    told = {"embedder": vectors.embedder, "C": c}
    arrays = _each(vectors, lambda rows: tools.outputs(rows @ weights.T + bias, target))
    return _finish(job, cost, told, arrays, target)


_Fit = Callable[[np.ndarray, np.ndarray, float, np.ndarray], tuple[np.ndarray, ...]]


def _fitter(config: Config, target: Target) -> _Fit:
    """Return what fits: weights, intercepts, and what they say of the validation vectors."""

    def classes(x: np.ndarray, y: np.ndarray, c: float, held: np.ndarray) -> tuple[np.ndarray, ...]:
        from sklearn.linear_model import LogisticRegression

        fit = LogisticRegression(C=c, max_iter=2000, random_state=config.train.seed).fit(x, y)
        return *_as_softmax(fit.coef_, fit.intercept_), fit.predict_proba(held)

    def others(x: np.ndarray, y: np.ndarray, c: float, held: np.ndarray) -> tuple[np.ndarray, ...]:
        weights, bias = (fit_labels if target.task == "multilabel" else fit_values)(x, y, c)
        outputs = TOOLS[target.task].outputs(held @ weights.T + bias, target)
        return weights, bias, outputs

    return classes if target.task == "classification" else others


def _each(vectors: Vectors, answer: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Return what `answer` says about the vectors of each part."""
    parts = {"validation": vectors.validation, "test": vectors.test, "check": vectors.check}
    return {name: answer(rows) for name, rows in parts.items()}


def _as_softmax(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one row per class; scikit-learn keeps a single one for two classes."""
    if len(weights) > 1:
        return weights, bias
    return np.concatenate([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])


def run_rag(job: ArmJob) -> ArmReport:
    """Let the nearest labelled training examples vote; nothing is trained."""
    split, asked, target = job.split, job.config.rag, target_of(job.split)
    vectors = split_vectors(job.config, split, _run_of(job.folder))
    started = time.perf_counter()
    memory = Memory(vectors.train, split.train, split.labels, spoken_for(split.train, target))
    judges = truths(split.validation, target)
    judge = None
    if memory.values is not None:

        def judge(outputs: np.ndarray) -> tuple[float, float]:
            return TOOLS[target.task].quality(outputs, judges, target)

    settings = memory.choose(vectors.validation, judges, (asked.k, asked.temperature), judge)
    chosen = time.perf_counter() - started
    started = time.perf_counter()
    arrays = _each(vectors, lambda rows: memory.probabilities(rows, settings))
    search_ms = 1000 * (time.perf_counter() - started) / max(1, sum(map(len, arrays.values())))
    told = {"embedder": vectors.embedder} | asdict(settings)
    with job.folder.new_folder(MODEL) as folder:
        np.save(folder / "vectors.npy", memory.vectors)
        rows = "".join(json.dumps(asdict(e), ensure_ascii=False) + "\n" for e in split.train)
        (folder / "examples.jsonl").write_text(rows, encoding="utf-8")
        shared = told | {"embedder": without_place(vectors.embedder)}
        (folder / "rag.json").write_text(json.dumps(shared, indent=2))
    cost = _cost(vectors, vectors.fit_seconds + chosen, 0, job, search_ms)
    return _finish(job, cost, told, arrays, target)


def spoken_for(examples: Sequence[Example], target: Target) -> np.ndarray | None:
    """Return what each example speaks for as a neighbour: None for its class.

    A label that no neighbour has is unlikely, not impossible: log-loss stays finite.
    """
    if target.task == "classification":
        return None
    found = truths(examples, target)
    if target.task == "regression":
        return found
    smoothed: np.ndarray = (1 - _SMOOTHING) * found + _SMOOTHING * found.mean(axis=0)
    return smoothed


def run_mix(job: ArmJob, tuned: ArmReport, memory: ArmReport) -> ArmReport:
    """Mix a tuned model's probabilities with the neighbours', weighted as validation says."""
    split, target = job.split, target_of(job.split)
    started = time.perf_counter()
    run = _run_of(job.folder)
    a, b = (load_probabilities(run.arm(report.name)) for report in (tuned, memory))
    judges = truths(split.validation, target)
    weights = [job.config.rag.weight] if job.config.rag.weight is not None else list(_WEIGHTS)

    def quality(weight: float) -> tuple[float, float]:
        mixed = (1 - weight) * a["validation"] + weight * b["validation"]
        return TOOLS[target.task].quality(mixed, judges, target)

    weight = max(weights, key=quality)
    told = {"tuned": tuned.name, "memory": memory.name, "weight": weight}
    with job.folder.new_folder(MODEL) as folder:
        (folder / "mix.json").write_text(json.dumps(told, indent=2))
    ours, theirs = tuned.cost, memory.cost
    cost = Cost(
        train_seconds=_sum(ours.train_seconds, theirs.train_seconds)
        + (time.perf_counter() - started),
        peak_memory_bytes=max(ours.peak_memory_bytes or 0, theirs.peak_memory_bytes or 0),
        trainable_parameters=ours.trainable_parameters,
        total_parameters=ours.total_parameters,
        artifact_bytes=int(_sum(ours.artifact_bytes, theirs.artifact_bytes)),
        predict_ms_per_example=_sum(ours.predict_ms_per_example, theirs.predict_ms_per_example),
    )
    mixed = {part: (1 - weight) * a[part] + weight * b[part] for part in a}
    return _finish(job, cost, told, mixed, target)


def _sum(a: float | None, b: float | None) -> float:
    return (a or 0.0) + (b or 0.0)


def _run_of(arm: RunFolder) -> RunFolder:
    """Return the comparison's folder: arms lie in ``RUN/arms/NAME``."""
    return RunFolder(arm.path.parent.parent)


def _cost(
    vectors: Vectors, seconds: float, trained: int, job: ArmJob, more_ms: float = 0.0
) -> Cost:
    return Cost(
        train_seconds=seconds,
        peak_memory_bytes=max(peak_memory_bytes(), vectors.peak_bytes),
        trainable_parameters=trained,
        artifact_bytes=job.folder.size_bytes(MODEL),
        predict_ms_per_example=vectors.ms_per_example + more_ms,
    )


def _finish(
    job: ArmJob, cost: Cost, told: dict[str, Any], arrays: dict[str, np.ndarray], target: Target
) -> ArmReport:
    """Save what every arm saves, and score it."""
    split = job.split
    job.folder.write(CONFIG, dump_config(job.config))
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    target = settle(arrays["validation"], split, target)
    save_target(job.folder, target)
    save_predictions(job.folder, split, arrays, target)
    report = ArmReport(job.name, "ok", cost=cost, settings=told)
    seed = job.config.train.seed
    report = score_arm(report, arrays["validation"], arrays["test"], split, seed, target)
    job.folder.write_json(ARM, asdict(report))
    return report


def save_memory(folder: Path, memory: Memory) -> None:
    """Write a memory's vectors and examples back after some were added.

    Raises:
        UserError: The folder holds no memory, or cannot be written.
    """
    if not (folder / "rag.json").is_file():
        raise UserError(f"{folder} holds no retrieval arm", "give RUN/arms/rag")
    import io

    buffer = io.BytesIO()
    np.save(buffer, memory.vectors)
    rows = "".join(json.dumps(asdict(e), ensure_ascii=False) + "\n" for e in memory.examples)
    write_atomically(folder / "examples.jsonl", rows.encode())
    write_atomically(folder / "vectors.npy", buffer.getvalue())
