"""Scores of the answers to a set of questions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tailorbird.metrics.answer_match import (
    LONG,
    Candidates,
    Outcome,
    answer_match,
    gold_recall,
    k_precision,
    match_words,
    outcome,
)
from tailorbird.metrics.answer_scores import mean_score
from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.text import exact_match, token_f1
from tailorbird.records import ChangeScores, Question, Score

HEADLINE, LONG_HEADLINE = "answer_match", "gold_recall"
NOT_FOUND, MISREAD, REFUSED, INVENTED = "not found", "misread", "refused", "invented"
_NET: dict[Outcome, float] = {"correct": 1.0, "abstained": 0.0, "wrong": -1.0}


@dataclass(frozen=True)
class Judge:
    """Scores the answers to some questions.

    Attributes:
        clusters: The document of each, ``[n]``.
        candidates: Answers that reveal hedging beside the correct one.
    """

    questions: Sequence[Question]
    clusters: np.ndarray
    candidates: Candidates = field(default_factory=Candidates)

    @property
    def headline(self) -> str:
        """The headline metric; for long answers, the share of the correct answer's words."""
        lengths = [len(match_words(a)) for q in self.questions for a in q.answers[:1]]
        return LONG_HEADLINE if lengths and np.median(lengths) > LONG else HEADLINE

    def outcomes(self, texts: Sequence[str]) -> list[Outcome]:
        """Return the outcome of each answer."""
        return [
            outcome(
                text, q.answers, answerable=q.answerable, question=q.text,
                candidates=self.candidates,
            )
            for text, q in zip(texts, self.questions, strict=True)
        ]  # fmt: skip

    def values(self, texts: Sequence[str], outcomes: Sequence[Outcome]) -> Floats:
        """Return the headline of each answer, ``[n]``."""
        if self.headline == LONG_HEADLINE:
            return self._recall(texts)
        return np.asarray([mark == "correct" for mark in outcomes], dtype=np.float64)

    def scores(
        self,
        texts: Sequence[str],
        outcomes: Sequence[Outcome],
        sufficient: np.ndarray | None = None,
        read: Sequence[Sequence[str]] | None = None,
    ) -> dict[str, Score]:
        """Return every score with its interval over the sampling of documents.

        Args:
            sufficient: Whether each question's context contained its answer, ``[n]``; None:
                no context.
            read: The context.
        """
        names: dict[str, Outcome] = {
            HEADLINE: "correct",
            "wrong": "wrong",
            "abstained": "abstained",
        }
        marks = {
            name: np.asarray([mark == kind for mark in outcomes], dtype=np.float64)
            for name, kind in names.items()
        }
        right = marks[HEADLINE]
        each = marks | {
            "net": np.asarray([_NET[mark] for mark in outcomes]),
            "token_f1": self._best(token_f1, texts),
            "exact_match": self._best(exact_match, texts),
            LONG_HEADLINE: self._recall(texts),
        }
        scores = {name: cluster_mean(value, self.clusters) for name, value in each.items()}
        if sufficient is not None:
            answerable_ones = np.asarray([q.answerable for q in self.questions])
            parts = {
                "sufficient": sufficient & answerable_ones,
                "lacking": ~sufficient & answerable_ones,
            }
            for name, where in parts.items():
                if where.any():
                    scores[name] = cluster_mean(right[where], renumbered(self.clusters[where]))
        if read is not None:
            precisions = [
                k_precision(text, passages) for text, passages in zip(texts, read, strict=True)
            ]
            scores["k_precision"] = cluster_mean(np.asarray(precisions), self.clusters)
        return scores

    def failures(self, outcomes: Sequence[Outcome], sufficient: np.ndarray | None) -> list[str]:
        """Return the failed step of each answer; empty if it is correct."""
        return [
            failure(mark, q.answerable, None if sufficient is None else bool(sufficient[i]))
            for i, (mark, q) in enumerate(zip(outcomes, self.questions, strict=True))
        ]

    def _recall(self, texts: Sequence[str]) -> Floats:
        return np.asarray(
            [gold_recall(t, q.answers) for t, q in zip(texts, self.questions, strict=True)]
        )

    def _best(self, metric: Callable[[str, str], float], texts: Sequence[str]) -> Floats:
        """Return each answer's score against the most similar correct answer."""
        return np.asarray(
            [
                max((metric(t, a) for a in q.answers), default=0.0)
                for t, q in zip(texts, self.questions, strict=True)
            ]
        )


def failure(mark: Outcome, answerable: bool, sufficient: bool | None) -> str:
    """Return why an answer is wrong: the first step that failed.

    Args:
        mark: Its outcome.
        answerable: Whether the documents contain an answer.
        sufficient: Whether the context contains it; None: no context.
    """
    if mark == "correct":
        return ""
    if not answerable or (mark == "wrong" and sufficient is None):
        return INVENTED
    if mark == "abstained" and sufficient is not False:
        return REFUSED
    return MISREAD if sufficient else NOT_FOUND


def change_scores(
    before: Sequence[Outcome],
    texts: Sequence[str],
    judge: Judge,
    stale: Sequence[Sequence[str]],
    control: tuple[Floats, np.ndarray],
) -> ChangeScores:
    """Return the shares of answers from the changed documents and from the old ones.

    Args:
        before: Outcomes of the same questions before the change.
        judge: For the questions with their new answers.
        stale: The old answers of each.
        control: The score change of each unaffected question, and their documents.
    """
    current, old = [], []
    for text, question, was in zip(texts, judge.questions, stale, strict=True):
        now = answer_match(text, question.answers, question.text, was, judge.candidates)
        current.append(now)
        old.append(not now and answer_match(text, was, question.text))
    new, outdated = np.asarray(current, dtype=np.float64), np.asarray(old, dtype=np.float64)
    right = np.asarray([mark == "correct" for mark in before], dtype=np.float64)
    parts = {"before": right, "current": new, "stale": outdated, "other": 1 - new - outdated}
    shares = {name: cluster_mean(part, judge.clusters) for name, part in parts.items()}
    return ChangeScores(**shares, control=cluster_mean(*control) if len(control[0]) else None)


def cluster_ids(groups: Sequence[str]) -> np.ndarray:
    """Return an integer per question ``[n]``, equal for those of one document."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    return np.asarray([numbers[name] for name in groups], dtype=np.int64)


def cluster_mean(values: Floats, clusters: np.ndarray) -> Score:
    """Return the mean of ``values [n]`` with its 95 % interval over the sampling of documents."""
    if not len(values):
        return Score(float("nan"), float("nan"), float("nan"))
    return mean_score("difference", values[None], clusters)


def renumbered(clusters: np.ndarray) -> np.ndarray:
    """Return the same clusters numbered from 0 without gaps."""
    return np.asarray(np.unique(clusters, return_inverse=True)[1])


def hit_scores(hits: Sequence[Sequence[bool]], clusters: np.ndarray, k: int) -> dict[str, Score]:
    """Return the hit rates in the top 1 and the top `k`."""
    return {
        f"hit@{n}": cluster_mean(
            np.asarray([any(row[:n]) for row in hits], dtype=np.float64), clusters
        )
        for n in dict.fromkeys((1, k))
    }
