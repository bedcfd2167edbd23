"""A model's answers to the test prompts, and their scores."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from tailorbird.metrics.answer_scores import CHOICE, score_texts
from tailorbird.models.device import Device
from tailorbird.models.generate import Sampling, generate
from tailorbird.models.packed import SequenceLosses, sequence_losses
from tailorbird.records import WrittenAnswer
from tailorbird.tasks.base_model import Answering
from tailorbird.tasks.label_likelihood import choose_labels
from tailorbird.tasks.prompt_set import AnswerTest, PromptSet, Scoring

SAMPLES, WORST = 24, 50


@dataclass(frozen=True)
class AnswerScores:
    """An arm's answers, by example.

    Attributes:
        outputs: The generated texts; for a choice among labels, the chosen labels.
        values: ``[n]`` for each score.
        loss_sums: ``[n]`` nats, summed over the reference's tokens; None without a model.
        token_counts: ``[n]`` tokens of the reference; None without a model.
        seconds: Time of generation and of choosing labels.
    """

    outputs: tuple[str, ...]
    values: dict[str, np.ndarray]
    headline: str
    loss_sums: np.ndarray | None = None
    token_counts: np.ndarray | None = None
    seconds: float = 0.0

    @property
    def headline_values(self) -> np.ndarray:
        """The headline score ``[n]``."""
        return self.values[self.headline]

    @property
    def losses(self) -> np.ndarray:
        """Nats per token of each reference ``[n]``; 0 without a model or tokens."""
        if self.loss_sums is None or self.token_counts is None:
            return np.zeros(len(self.outputs))
        mean: np.ndarray = self.loss_sums / np.maximum(self.token_counts, 1)
        return mean

    @property
    def ms_per_example(self) -> float:
        """Milliseconds per answer."""
        return 1000 * self.seconds / max(1, len(self.outputs))


def answer_test(
    answering: Answering,
    test: AnswerTest,
    title: str = "",
    losses: SequenceLosses | None = None,
) -> AnswerScores:
    """Answer all questions of the test."""
    assert test.scoring is not None
    own = None
    if losses is not None:
        places = {int(row): i for i, row in enumerate(test.sequences.rows)}
        own = losses.take(np.asarray([places[int(r)] for r in test.questions.tokens.rows]))
    sampling = answering.sampling(test.max_new_tokens)
    return answer_all(
        answering.model, answering.tokenizer, test.questions, test.scoring, sampling,
        answering.device, title, own,
    )  # fmt: skip


def answer_all(
    model: nn.Module,
    tokenizer: Any,
    questions: PromptSet,
    scoring: Scoring,
    sampling: Sampling,
    device: Device,
    title: str = "",
    losses: SequenceLosses | None = None,
) -> AnswerScores:
    """Return the model's answers and their scores.

    Raises:
        UserError: A prompt leaves no room for an answer, or the user's metric failed.
    """
    prompts = questions.tokens.prompts
    started = time.perf_counter()
    answers = generate(model, tokenizer, prompts, sampling, device, title)
    choices: list[str] | None = None
    if scoring.headline == CHOICE:
        chances = choose_labels(model, tokenizer, prompts, scoring.endings, device, title)
        choices = [scoring.labels[index] for index in chances.argmax(axis=1)]
    seconds = time.perf_counter() - started
    if losses is None:
        losses = sequence_losses(model, questions.tokens, device, title)
    texts = [one.text.strip() for one in answers]
    return AnswerScores(
        outputs=tuple(texts if choices is None else choices),
        values=_values(texts, choices, questions, scoring),
        headline=scoring.headline,
        loss_sums=losses.loss_sums,
        token_counts=losses.counts,
        seconds=seconds,
    )


def score_outputs(outputs: Sequence[str], questions: PromptSet, scoring: Scoring) -> AnswerScores:
    """Return the scores of answers without a model, such as a neighbour's.

    Raises:
        UserError: The user's metric failed.
    """
    texts = [output.strip() for output in outputs]
    choices = texts if scoring.headline == CHOICE else None
    return AnswerScores(tuple(texts), _values(texts, choices, questions, scoring), scoring.headline)


def samples(
    questions: PromptSet, scores: AnswerScores, seed: int, most: int = SAMPLES
) -> tuple[WrittenAnswer, ...]:
    """Return sample answers for comparison between arms: the same rows for each."""
    order = np.random.default_rng(seed).permutation(len(questions))[:most]
    return _records(questions, scores, np.sort(order))


def worst(
    questions: PromptSet, scores: AnswerScores, most: int = WORST
) -> tuple[WrittenAnswer, ...]:
    """Return the answers with the lowest scores, ties by the highest loss."""
    order = np.lexsort((-scores.losses, scores.headline_values))
    return _records(questions, scores, order[:most])


def _values(
    texts: Sequence[str], choices: Sequence[str] | None, questions: PromptSet, scoring: Scoring
) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = dict(score_texts(texts, questions.references, scoring.metrics))
    if choices is not None:
        right = [c == r.strip() for c, r in zip(choices, questions.references, strict=True)]
        values[CHOICE] = np.asarray(right, dtype=np.float64)
    if scoring.custom is not None:
        values[scoring.custom.name] = scoring.custom.score(
            texts, questions.references, questions.prompts, questions.rows
        )
    return values


def _records(
    questions: PromptSet, scores: AnswerScores, indices: np.ndarray
) -> tuple[WrittenAnswer, ...]:
    return tuple(
        WrittenAnswer(
            row=questions.rows[index],
            prompt=questions.prompts[index],
            reference=questions.references[index],
            output=scores.outputs[index],
            score=float(scores.headline_values[index]),
            loss=float(scores.losses[index]),
        )
        for index in indices.tolist()
    )
