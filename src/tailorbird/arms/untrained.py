"""The arms without gradient steps: majority or mean, probe, rag, and rag with a tuned model."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.arms.vectors import CHECKED, Vectors, split_vectors
from tailorbird.config import dump_config
from tailorbird.data.encode import as_read
from tailorbird.errors import UserError
from tailorbird.models.builtin import without_place
from tailorbird.rag.neighbours import Memory
from tailorbird.records import ArmReport, Cost, Target
from tailorbird.runs.atomic import write_atomically
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import ARM, CONFIG, MODEL, RunFolder
from tailorbird.tasks import head_task
from tailorbird.tasks.job import ArmJob
from tailorbird.tasks.scoring import (
    load_probabilities,
    save_predictions,
    save_target,
    score_arm,
    settle,
)

_CS = (0.1, 1.0, 10.0, 100.0)
_SMOOTHING = 0.02
_WEIGHTS = tuple(round(0.05 * i, 2) for i in range(20))


def run_blind(job: ArmJob) -> ArmReport:
    """Answer the same whatever the text: what every arm must beat.

    The most frequent label (of multi-label data, each label as often as it is given, of labelled
    words each word's own), or the mean.
    """
    started = time.perf_counter()
    split, task = job.split, head_task(job.split.task)
    target = task.target(split)
    constant = task.constant(split, target)
    seconds = time.perf_counter() - started
    with job.folder.new_folder(MODEL) as folder:
        plain = json.dumps(constant, ensure_ascii=False)
        (folder / "majority.json").write_text(plain, encoding="utf-8")
    cost = Cost(
        train_seconds=seconds,
        peak_memory_bytes=peak_memory_bytes(),
        trainable_parameters=0,
        total_parameters=0,
        predict_ms_per_example=0.0,
    )
    parts = {"validation": split.validation, "test": split.test, "check": split.test[:CHECKED]}
    arrays = {
        name: task.constant_outputs(constant, [as_read(e) for e in part], target)
        for name, part in parts.items()
    }
    return _finish(job, cost, {}, arrays, target)


def run_probe(job: ArmJob) -> ArmReport:
    """Fit a linear model on frozen embeddings, its C chosen on validation.

    A logistic regression, of multi-label data one per label, of numbers a ridge regression.
    """
    split, task = job.split, head_task(job.split.task)
    target = task.target(split)
    vectors = split_vectors(job.config, split, _run_of(job.folder))
    learn, judges = task.learnt(split.train, target), task.truths(split.validation, target)
    started = time.perf_counter()
    fits, seed = [], job.config.train.seed
    for c in _CS:
        weights, bias = task.fit_linear(vectors.train, learn, c, max_iter=2000, random_state=seed)
        on_validation = task.outputs(vectors.validation @ weights.T + bias, target)
        fits.append((task.quality(on_validation, judges, target), c, weights, bias))
    _, c, weights, bias = max(fits, key=lambda item: item[0])
    seconds = time.perf_counter() - started
    with job.folder.new_folder(MODEL) as folder:
        np.savez(folder / "probe.npz", weights=weights, bias=bias)
        settings = {"embedder": without_place(vectors.embedder), "C": c}
        (folder / "probe.json").write_text(json.dumps(settings))
    cost = _cost(vectors, vectors.fit_seconds + seconds, weights.size + bias.size, job)
    told = {"embedder": vectors.embedder, "C": c}
    arrays = _each(vectors, lambda rows: task.outputs(rows @ weights.T + bias, target))
    return _finish(job, cost, told, arrays, target)


def _each(vectors: Vectors, answer: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Return what `answer` says about the vectors of each part."""
    parts = {"validation": vectors.validation, "test": vectors.test, "check": vectors.check}
    return {name: answer(rows) for name, rows in parts.items()}


def run_rag(job: ArmJob) -> ArmReport:
    """Let the nearest labelled training examples vote; nothing is trained."""
    split, asked, task = job.split, job.config.rag, head_task(job.split.task)
    target = task.target(split)
    vectors = split_vectors(job.config, split, _run_of(job.folder))
    started = time.perf_counter()
    memory = Memory(vectors.train, split.train, split.labels, task.votes(split.train, target))
    judges = task.truths(split.validation, target)
    judge = None
    if memory.values is not None:

        def judge(outputs: np.ndarray) -> tuple[float, float]:
            return task.quality(outputs, judges, target)

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


def run_mix(job: ArmJob, tuned: ArmReport, memory: ArmReport) -> ArmReport:
    """Mix a tuned model's probabilities with the neighbours', weighted as validation says."""
    split, task = job.split, head_task(job.split.task)
    target = task.target(split)
    started = time.perf_counter()
    run = _run_of(job.folder)
    a, b = (load_probabilities(run.arm(report.name)) for report in (tuned, memory))
    judges = task.truths(split.validation, target)
    weights = [job.config.rag.weight] if job.config.rag.weight is not None else list(_WEIGHTS)

    def quality(weight: float) -> tuple[float, float]:
        mixed = (1 - weight) * a["validation"] + weight * b["validation"]
        return task.quality(mixed, judges, target)

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
