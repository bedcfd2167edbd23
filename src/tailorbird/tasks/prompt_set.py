"""The test of generative arms, and the scoring of their answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird.data.disk_rows import row_lengths
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.metrics.answer_scores import CHOICE, headline_of, label_set, which_metrics
from tailorbird.metrics.custom_metric import Custom, is_custom, load_custom
from tailorbird.records import Example
from tailorbird.tasks.arm_job import TaskFile
from tailorbird.tasks.label_likelihood import label_endings

TEXT_HEADLINE = "loss"
LONGEST_ANSWER = 512
_ROOM, _STEP = 1.25, 8


@dataclass(frozen=True)
class PromptSet:
    """Prompts with their reference answers, one of each per sequence.

    Attributes:
        tokens: Prompts and answers as token ids.
        prompts: The same as text without the template, for people and for a user's metric.
    """

    tokens: Tokens
    prompts: tuple[str, ...]
    references: tuple[str, ...]
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.references)

    def take(self, indices: np.ndarray) -> "PromptSet":
        """Return the prompts at `indices`, in that order."""
        places = [int(index) for index in indices]
        return PromptSet(
            self.tokens.take(indices),
            tuple(self.prompts[i] for i in places),
            tuple(self.references[i] for i in places),
            tuple(self.rows[i] for i in places),
        )


@dataclass(frozen=True)
class Scoring:
    """The scoring of answers.

    Attributes:
        metrics: Names of the meaningful text metrics.
        headline: The deciding score.
        labels: The choices, if the headline is ``choice_accuracy``.
        endings: Each label's tokens, including the end of the turn.
    """

    metrics: tuple[str, ...]
    headline: str
    labels: tuple[str, ...] = ()
    endings: tuple[np.ndarray, ...] = ()
    custom: Custom | None = None


@dataclass(frozen=True)
class AnswerTest:
    """The test of every arm of a comparison, and its scoring.

    Attributes:
        questions: The drawn test prompts and their references; empty for plain text.
        sequences: All test sequences, on which the loss is measured.
        scoring: The metrics and the headline; None for plain text.
    """

    questions: PromptSet
    sequences: Tokens
    scoring: Scoring | None
    max_new_tokens: int
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The metric of the verdict."""
        return TEXT_HEADLINE if self.scoring is None else self.scoring.headline


def prompt_set_of(tokens: Tokens, examples: Sequence[Example]) -> PromptSet:
    """Return tokens with the text of their examples."""
    own = [examples[int(row)] for row in tokens.rows]
    return PromptSet(
        tokens,
        tuple(example.text for example in own),
        tuple(example.label or "" for example in own),
        tuple(example.row for example in own),
    )


def with_room(prompts: PromptSet, reads: int) -> tuple[PromptSet, str]:
    """Return the prompts that leave room for an answer, and a note on those left out.

    Room for prompt tuning's virtual tokens is always reserved, so that every arm of a comparison
    has the same prompts.

    Raises:
        UserError: No prompt leaves room.
    """
    room = reads - min(64, reads // 4)
    fits = np.asarray([len(prompt) <= room for prompt in prompts.tokens.prompts], dtype=bool)
    if fits.all():
        return prompts, ""
    if not fits.any():
        raise UserError(
            f"every prompt to score has more than {room:,} tokens, and the model reads at most "
            f"{reads:,}: none leaves room for an answer",
            "shorten them, or use a model with a longer context",
        )
    left_out = int((~fits).sum())
    note = (
        f"{left_out:,} of {len(fits):,} prompts have more than {room:,} tokens and leave no room "
        f"for an answer in the model's {reads:,} tokens: they are left out"
    )
    return prompts.take(np.flatnonzero(fits)), note


def scoring_of(metric: str, train: PromptSet) -> Scoring:
    """Return the scoring of answers, by ``evaluate.metric`` and the training answers.

    Raises:
        UserError: There is no such metric, or the user's function cannot be loaded.
    """
    headline = headline_of(metric, train.references)
    custom = load_custom(metric) if is_custom(metric) else None
    metrics = which_metrics(train.references)
    if headline != CHOICE:
        own = () if custom is not None or headline in metrics else (headline,)
        return Scoring((*metrics, *own), headline, custom=custom)
    labels = label_set(train.references)
    endings = label_endings(train.tokens, train.references, labels)
    return Scoring(metrics, headline, labels, endings)


def scoring_json(scoring: Scoring | None) -> dict[str, Any]:
    """Return the data with which another process scores answers in the same way."""
    if scoring is None:
        return {}
    return {
        "metrics": list(scoring.metrics),
        "labels": list(scoring.labels),
        "endings": [ending.tolist() for ending in scoring.endings],
    }


def saved_scoring(task_file: TaskFile, metric: str) -> Scoring | None:
    """Return the scoring of `scoring_json` with its headline; None for older runs.

    Raises:
        UserError: The user's function can no longer be loaded.
    """
    if task_file.metrics is None:
        return None
    return Scoring(
        task_file.metrics,
        task_file.headline,
        task_file.labels,
        tuple(np.asarray(ending, dtype=np.int64) for ending in task_file.endings),
        load_custom(metric) if is_custom(metric) else None,
    )


def sample_rows(count: int, most: int, seed: int) -> np.ndarray:
    """Return which of `count` prompts are in the test, at most `most`, in order.

    The result depends on the arguments alone, so that every arm has the same prompts.
    """
    if count <= most:
        return np.arange(count)
    rows: np.ndarray = np.sort(np.random.default_rng(seed).permutation(count)[:most])
    return rows


def answer_length(train: Tokens) -> int:
    """Return the token limit of an answer, by the training answers.

    It is a quarter more than their 99th percentile, at most 512: longer answers are rambling, and a
    batch is as slow as its longest answer.
    """
    lengths = row_lengths(train.ids) - row_lengths(train.prompts)
    if not len(lengths):
        return LONGEST_ANSWER
    need = float(np.percentile(lengths, 99)) * _ROOM
    return int(min(LONGEST_ANSWER, max(_STEP, -(-need // _STEP) * _STEP)))
