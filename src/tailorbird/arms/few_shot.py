"""Few-shot arms: a model, untuned or tuned, with similar training pairs before each prompt."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tailorbird import log
from tailorbird.arms.base import Arm, cost_of, with_cost_of
from tailorbird.arms.generative_predictor import (
    PromptedFile,
    fit_shots,
    open_prompted,
    open_tuned,
    open_untouched,
    save_pairs,
    with_shots,
)
from tailorbird.arms.predictor import Predictor
from tailorbird.arms.registry import MIX, RETRIEVAL
from tailorbird.arms.split_embeddings import split_vectors
from tailorbird.errors import UserError
from tailorbird.rag.labelled_vectors import LabelledVectors
from tailorbird.records import ArmReport, Example
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.arm_job import ArmJob, read_arm
from tailorbird.tasks.base_model import count_parameters
from tailorbird.tasks.registry import generative_task

if TYPE_CHECKING:
    from tailorbird.data.tokens import Tokens
    from tailorbird.tasks.base_model import Answering
    from tailorbird.tasks.generative_base import GenerativeTask
    from tailorbird.tasks.prompt_set import AnswerTest, PromptSet

_KS, _NEARLY, _WORTH = (1, 2, 4, 8), 1.01, 0.995
_MOST_TRIED = 60


class FewShotArm(Arm):
    """Shows similar training pairs; their number is chosen by the answers' validation loss."""

    key = "few_shot"

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        from tailorbird.tasks.generative_scoring import score_and_save

        started = time.perf_counter()
        split, task = job.split, generative_task(job.split.task)
        tuned = job.folder.run.arm(job.name.removeprefix(MIX)) if job.name != RETRIEVAL else None
        answering = (
            open_tuned(tuned, trust=job.config.model.trust_remote_code)
            if tuned
            else open_untouched(job.config)
        )
        config = answering.config
        parts = task.encode_parts(split, answering, answering.limit, config)
        test = task.test(split, parts, config, answering.reads)
        log.say(f"{job.name}: {config.model.name} on {answering.device.words}")
        vectors = split_vectors(job.config, split, job.folder.run)
        memory = LabelledVectors(vectors.train, split.train, ())
        shots = _Shots(memory, task, answering, test.max_new_tokens)
        k = job.config.rag.k or _choose_k(shots, split.validation, vectors.validation)
        validation, _ = shots.tokens(split.validation, vectors.validation, k)
        sequences, average = shots.tokens(split.test, vectors.test, k)
        questions = _with_shots(test, sequences, split.test)
        test = replace(test, sequences=sequences, questions=questions)
        seconds = time.perf_counter() - started
        prompted = PromptedFile("rag", k, tuned.path.name if tuned else None)
        save_pairs(job, vectors, prompted, max_new_tokens=test.max_new_tokens)
        _, total = count_parameters(answering.model)
        cost = replace(
            cost_of(job, vectors, seconds), total_parameters=total, predict_ms_per_example=None
        )
        notes = [f"{k} similar training pairs precede each prompt"]
        if average < k:
            notes.append(f"on average {average:.1f} of them fit beside the prompt and the answer")
        report = ArmReport(
            job.name,
            "ok",
            cost=with_cost_of(cost, read_arm(tuned).cost) if tuned else cost,
            settings={"embedder": vectors.embedder, "k": k},
            notes=(*answering.notes, *notes),
        )
        return score_and_save(report, job, answering, test, validation)

    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> Predictor:
        """See `Arm.open`."""
        return open_prompted(folder, trust=trust)


@dataclass(frozen=True)
class _Shots:
    """Puts similar training pairs before conversations, as many as fit."""

    memory: LabelledVectors
    task: "GenerativeTask"
    answering: "Answering"
    answer: int

    def tokens(
        self, examples: Sequence[Example], vectors: np.ndarray, k: int
    ) -> "tuple[Tokens, float]":
        """Return the conversations after `k` pairs each, and how many pairs fit on average."""
        a = self.answering
        indices, _ = self.memory.nearest(vectors, k)
        nearest = [[self.memory.examples[i] for i in row] for row in indices]
        fitted = fit_shots(examples, nearest, a.tokenizer, a.limit - self.answer)
        longer = [with_shots(e, s) for e, s in zip(examples, fitted, strict=True)]
        tokens = self.task.encode(longer, a.tokenizer, a.limit, "cut")
        return tokens, float(np.mean([len(shots) for shots in fitted]))


def _choose_k(shots: _Shots, examples: Sequence[Example], vectors: np.ndarray) -> int:
    from tailorbird.tasks.generative_scoring import token_losses

    step = max(1, len(examples) // _MOST_TRIED)
    examples, vectors = examples[::step], vectors[::step]
    losses = {}
    for k in (k for k in _KS if k <= len(shots.memory.examples)):
        tokens, average = shots.tokens(examples, vectors, k)
        losses[k] = token_losses(shots.answering, tokens).per_token
        if average <= k / 2:  # no more fit
            break
        if len(losses) > 1 and losses[k] > _WORTH * losses[k // 2]:
            break  # doubling k again would cost more and help less
    # The smallest k with nearly the best loss: each pair makes every prompt longer.
    k = next(k for k in losses if losses[k] <= _NEARLY * min(losses.values()))
    listed = ", ".join(f"{k}: {loss:.3f}" for k, loss in losses.items())
    log.say(f"pairs shown before a prompt: {k} (validation loss by number: {listed})")
    return k


def _with_shots(test: "AnswerTest", tokens: "Tokens", examples: Sequence[Example]) -> "PromptSet":
    """Return the same questions with their longer prompts."""
    from tailorbird.tasks.prompt_set import prompt_set_of

    again = prompt_set_of(tokens, examples)
    places = {row: i for i, row in enumerate(again.rows)}
    missing = [row for row in test.questions.rows if row not in places]
    if missing:
        raise UserError(
            f"test row {missing[0]} does not fit beside the pairs shown before it",
            "set a longer data.max_length, or fewer pairs with rag.k",
        )
    longer = again.take(np.asarray([places[row] for row in test.questions.rows]))
    # Reports show the question alone, without the pairs before it.
    return replace(longer, prompts=test.questions.prompts)
