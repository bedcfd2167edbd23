"""Fine-tunes a model on questions: on answers alone, or on passages with their answers (RAFT).

RAFT is Zhang et al. 2024 (arXiv 2403.10131). Unlike in the authors' script, the passages come from
the retriever, and rows without the relevant one teach the model to abstain, not to guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird.arms.question_arms.prompts import ABSTAINED, conversation, raft_passages, target
from tailorbird.arms.question_arms.question_arm_process import QuestionJob
from tailorbird.arms.question_arms.records import Item, PromptPassage
from tailorbird.arms.saved_arm import save_kind
from tailorbird.arms.trained import TrainedArm
from tailorbird.config import dump_config, for_arm
from tailorbird.records import Example, Split, TaskName
from tailorbird.runs.folder import CONFIG, TASK, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.fit import drop_checkpoints, fit_model

TASK_NAME: TaskName = "generation"


@dataclass(frozen=True)
class Tuning:
    """Cost and settings of a training; the model is in the arm's folder."""

    seconds: float
    artifact_bytes: int
    settings: dict[str, str | float | int]
    notes: tuple[str, ...]


def tune_arm(job: QuestionJob) -> Tuning:
    """Train the arm's model (for RAFT with the share that is best on validation) and save it.

    Raises:
        UserError: The model, or a setting, does not fit.
        OverBudget: It would not finish before the deadline.
    """
    raft = job.config.raft
    shares = (raft.shares or (1 - raft.missing,)) if job.arm.tuned == "raft" else (1.0,)
    losses: dict[float, float] = {}
    seconds, size, best = 0.0, 0, shares[0]
    notes: tuple[str, ...] = ()
    for share in shares:
        place = job.folder if len(shares) == 1 else RunFolder(job.folder.file(f"share-{share:g}"))
        inner = _arm_job(job, place, share)
        fit, trained = fit_model(inner, scored=False)
        seconds += trained.seconds
        loss = -trained.best[0]
        if loss < min(losses.values(), default=np.inf):
            job.folder.write(CONFIG, dump_config(fit.job.config))
            size = fit.save(job.folder)
            best, notes = share, trained.notes
        losses[share] = loss
        drop_checkpoints(inner)
    # Also makes the arm usable alone: tailor predict RUN/arms/NAME.
    longest = job.config.questions.answer_tokens
    job.folder.write_json(TASK, {"task": TASK_NAME, "max_new_tokens": longest})
    save_kind(job.folder, TrainedArm.key, TASK_NAME)
    settings: dict[str, str | float | int] = {"rows": len(job.question_set.train)}
    if job.arm.tuned == "raft":
        settings["share with the right passage"] = best
    if len(losses) > 1:
        words = ", ".join(f"{share:g}: {loss:.3f}" for share, loss in losses.items())
        notes = (*notes, f"the share was chosen by the loss on validation ({words})")
    return Tuning(seconds, size, settings, notes)


def _arm_job(job: QuestionJob, place: RunFolder, share: float) -> ArmJob:
    assert job.arm.method is not None
    method: Any = job.arm.method
    config = for_arm(job.config, method)
    validation = _validation(job)
    split = Split(
        train=_examples(job, job.question_set.train, share),
        validation=validation,
        test=validation,
        labels=(),
        task=TASK_NAME,
    )
    return ArmJob(job.arm.name, config, split, place, resume=True, deadline=job.deadline)


def _examples(job: QuestionJob, items: Sequence[Item], share: float) -> tuple[Example, ...]:
    """Return the training conversations, with passages if the arm uses them."""
    if job.arm.tuned != "raft":
        return tuple(conversation(item, (), _answer(item)) for item in items)
    rng = np.random.default_rng(job.config.questions.seed)
    rows = raft_passages(items, job.question_set.passages, share, rng)
    return _with_passages(job, list(zip(items, rows, strict=True)))


def _with_passages(
    job: QuestionJob, pairs: Sequence[tuple[Item, tuple[PromptPassage, ...]]]
) -> tuple[Example, ...]:
    longest = job.config.questions.answer_tokens
    return tuple(conversation(i, p, target(i, p, job.config.raft, longest)) for i, p in pairs)


def _validation(job: QuestionJob) -> tuple[Example, ...]:
    """Return the validation prompts as at answer time: with retrieved passages, for any share."""
    if job.arm.tuned != "raft":
        return _examples(job, job.question_set.validation, 1.0)
    pairs = [
        (item, item.found[: job.question_set.passages]) for item in job.question_set.validation
    ]
    return _with_passages(job, pairs)


def _answer(item: Item) -> str:
    return item.answers[0] if item.answerable and item.answers else ABSTAINED
