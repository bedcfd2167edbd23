"""Arms that answer in words without training: nearest, base, rag, a tuned model with rag."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.arms.trained import count_parameters, max_length, reading_limit
from tailorbird.arms.trained_writing import WritingParts, encode_parts, make_base
from tailorbird.arms.vectors import Vectors, split_vectors
from tailorbird.config import dump_config
from tailorbird.data.encode_chat import encode_conversations
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.methods import get_method
from tailorbird.models.builtin import without_place
from tailorbird.models.device import choose
from tailorbird.models.load import Base
from tailorbird.rag.neighbours import Memory
from tailorbird.rag.shots import fit_shots, with_shots
from tailorbird.records import ArmReport, Cost, Example
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import ARM, CONFIG, MODEL, RunFolder
from tailorbird.tasks.answering import Answering
from tailorbird.tasks.answers import score_outputs
from tailorbird.tasks.job import ArmJob
from tailorbird.tasks.paper import Paper, paper_of
from tailorbird.tasks.test_set import Asked, asked_of
from tailorbird.tasks.written import ANSWERED_AGAIN, Marked, finish_arm, score_and_save

_KS, _NEARLY, _WORTH = (1, 2, 4, 8), 1.01, 0.995
_JUDGES = 60


def run_nearest(job: ArmJob) -> ArmReport:
    """Answer with the answer of the most similar training prompt: what writing must beat."""
    run, split, config = job.folder.run, job.split, job.config
    vectors = split_vectors(config, split, run)
    device = choose(config.model.device, config.model.precision)
    base = make_base(config, device, None)
    parts = encode_parts(split, base, max_length(config, base, get_method("full")), config)
    paper = paper_of(split, parts.test, parts.train, config, reading_limit(base))
    assert paper.scoring is not None
    memory = Memory(vectors.train, split.train, ())
    indices, _ = memory.nearest(vectors.test, 1)
    place = {example.row: i for i, example in enumerate(split.test)}
    outputs = [str(split.train[int(indices[place[row], 0])].label) for row in paper.asked.rows]
    _save_memory(job, vectors, {"kind": "nearest"})
    report = _report(job, vectors, {"embedder": vectors.embedder})
    answers = replace(
        score_outputs(outputs, paper.asked, paper.scoring),
        seconds=vectors.ms_per_example / 1000 * len(outputs),
    )
    marked = Marked(answers, None, None, tuple(outputs[:ANSWERED_AGAIN]))
    return finish_arm(report, job, paper, marked)


def run_base(job: ArmJob) -> ArmReport:
    """Ask the untouched model."""
    base, parts, paper, answering = _opened(job)
    _, total = count_parameters(base.model)
    with job.folder.new_folder(MODEL) as folder:
        (folder / "prompted.json").write_text(json.dumps({"kind": "base"}))
        base.tokenizer.save_pretrained(folder)
    job.folder.write(CONFIG, dump_config(job.config))
    report = ArmReport(
        job.name,
        "ok",
        cost=Cost(train_seconds=0.0, trainable_parameters=0, total_parameters=total),
        notes=tuple(base.notes),
        settings={"model": job.config.model.name},
    )
    return score_and_save(report, job, answering, paper, parts.validation)


def run_shots(job: ArmJob, tuned: RunFolder | None = None) -> ArmReport:
    """Ask the untouched model, or a tuned one, after showing it similar training pairs.

    How many is chosen on validation by the loss of the answers.
    """
    started = time.perf_counter()
    base, parts, paper, answering = _opened(job, tuned)
    split, vectors = job.split, split_vectors(job.config, job.split, job.folder.run)
    memory = Memory(vectors.train, split.train, ())
    room = answering.limit
    shower = _Shower(memory, base, room, paper.max_new_tokens)
    k = job.config.rag.k or _choose_k(shower, answering, split.validation, vectors.validation)
    validation, _ = shower.tokens(split.validation, vectors.validation, k)
    test, shown = shower.tokens(split.test, vectors.test, k)
    paper = replace(paper, test=test, asked=_asked_again(paper, test, split.test))
    chosen = time.perf_counter() - started
    told = {"embedder": vectors.embedder, "k": k}
    kind = {"kind": "rag", "k": k, "max_new_tokens": paper.max_new_tokens}
    _save_memory(job, vectors, kind | ({"tuned": tuned.path.name} if tuned else {}))
    _, total = count_parameters(answering.model)
    report = _report(job, vectors, told, chosen)
    notes = [f"{k} similar training pairs stand before each prompt"]
    if shown < k:
        notes.append(f"on average {shown:.1f} of them fit beside the prompt and the answer")
    cost = replace(report.cost, total_parameters=total)
    if tuned is not None:
        cost = _with_training(cost, tuned)
    report = replace(report, cost=cost, notes=(*base.notes, *notes))
    return score_and_save(report, job, answering, paper, validation)


@dataclass(frozen=True)
class _Shower:
    """Puts similar training pairs before conversations, as many as fit."""

    memory: Memory
    base: Base
    limit: int
    answer: int

    def tokens(
        self, examples: Sequence[Example], vectors: np.ndarray, k: int
    ) -> tuple[Tokens, float]:
        """Return the conversations with `k` pairs before them, and how many fit on average."""
        indices, _ = self.memory.nearest(vectors, k)
        chosen = [[self.memory.examples[i] for i in row] for row in indices]
        fitted = fit_shots(examples, chosen, self.base.tokenizer, self.limit - self.answer)
        longer = [with_shots(e, s) for e, s in zip(examples, fitted, strict=True)]
        tokens = encode_conversations(longer, self.base.tokenizer, self.limit, "cut")
        return tokens, float(np.mean([len(shots) for shots in fitted]))


def _choose_k(
    shower: _Shower, answering: Answering, judges: Sequence[Example], vectors: np.ndarray
) -> int:
    step = max(1, len(judges) // _JUDGES)
    judges, vectors = judges[::step], vectors[::step]
    losses = {}
    for k in (k for k in _KS if k <= len(shower.memory.examples)):
        tokens, shown = shower.tokens(judges, vectors, k)
        losses[k] = answering.losses(tokens).per_token
        if shown <= k / 2:  # no more fit
            break
        if len(losses) > 1 and losses[k] > _WORTH * losses[k // 2]:
            break  # twice as many again cost twice as much and would help less still
    # As few as do nearly as well: each pair makes every prompt longer.
    k = next(k for k in losses if losses[k] <= _NEARLY * min(losses.values()))
    told = ", ".join(f"{k}: {loss:.3f}" for k, loss in losses.items())
    log.say(f"pairs shown before a prompt: {k} (validation loss by number: {told})")
    return k


def _opened(
    job: ArmJob, tuned: RunFolder | None = None
) -> tuple[Base, WritingParts, Paper, Answering]:
    """Return the base (or tuned) model, the plain split's tokens, the paper, and who answers it."""
    config = job.config
    device = choose(config.model.device, config.model.precision)
    if tuned is not None:
        from tailorbird.arms.load_writing import open_tuned

        base, model, config = open_tuned(tuned, trust=config.model.trust_remote_code)
        limit = max_length(config, base, get_method(config.method.name))
    else:
        base = make_base(config, device, None)
        model, limit = base.model, max_length(config, base, get_method("full"))
    parts = encode_parts(job.split, base, limit, config)
    paper = paper_of(job.split, parts.test, parts.train, config, reading_limit(base))
    log.say(f"{job.name}: {config.model.name} on {device.words}")
    return base, parts, paper, Answering(model, base.tokenizer, device, limit, config)


def _with_training(cost: Cost, tuned: RunFolder) -> Cost:
    """Return the cost with that of the trained arm it stands on."""
    made = tuned.read_json(ARM)["cost"]
    return replace(
        cost,
        train_seconds=(cost.train_seconds or 0.0) + (made["train_seconds"] or 0.0),
        trainable_parameters=made["trainable_parameters"],
        artifact_bytes=(cost.artifact_bytes or 0) + (made["artifact_bytes"] or 0),
        peak_memory_bytes=max(cost.peak_memory_bytes or 0, made["peak_memory_bytes"] or 0),
    )


def _asked_again(paper: Paper, tokens: Tokens, examples: Sequence[Example]) -> Asked:
    """Return the same questions with their longer prompts."""
    again = asked_of(tokens, examples)
    places = {row: i for i, row in enumerate(again.rows)}
    missing = [row for row in paper.asked.rows if row not in places]
    if missing:
        raise UserError(
            f"test row {missing[0]} does not fit beside the pairs shown before it",
            "set a longer data.max_length, or fewer pairs with rag.k",
        )
    longer = again.take(np.asarray([places[row] for row in paper.asked.rows]))
    # For people the question stays what was asked, without the pairs before it.
    return replace(longer, prompts=paper.asked.prompts)


def _save_memory(job: ArmJob, vectors: Vectors, kind: dict[str, Any]) -> None:
    job.folder.write(CONFIG, dump_config(job.config))
    told = kind | {"embedder": without_place(vectors.embedder)}
    with job.folder.new_folder(MODEL) as folder:
        np.save(folder / "vectors.npy", vectors.train)
        rows = "".join(json.dumps(asdict(e), ensure_ascii=False) + "\n" for e in job.split.train)
        (folder / "examples.jsonl").write_text(rows, encoding="utf-8")
        (folder / "prompted.json").write_text(json.dumps(told, indent=2))


def _report(job: ArmJob, vectors: Vectors, told: dict[str, Any], seconds: float = 0.0) -> ArmReport:
    cost = Cost(
        train_seconds=vectors.fit_seconds + seconds,
        peak_memory_bytes=max(peak_memory_bytes(), vectors.peak_bytes),
        trainable_parameters=0,
        artifact_bytes=job.folder.size_bytes(MODEL),
    )
    return ArmReport(job.name, "ok", cost=cost, settings=told)
