"""Written answers to questions with known ones: how right, how well cited, how often refused."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.metrics.answer_scores import score_answers
from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.text import exact_match, normalise, token_f1
from tailorbird.rag.answer import EXTRACTIVE
from tailorbird.rag.retrieval_analysis import Names
from tailorbird.records import Answer, Question, Score

COLUMNS = (
    "short_exact_match",
    "short_token_f1",
    "holds_answer",
    "exact_match",
    "token_f1",
    "citation_precision",
    "citation_recall",
    "refused",
)


AnswerFunction = Callable[[str], Answer]
"""What answers a question from the knowledge base that is judged."""


def score_all(
    answerer: AnswerFunction, questions: Sequence[Question], names: Names
) -> tuple[dict[str, Score], list[dict[str, Any]]]:
    """Return the scores of the answers with their intervals, and a row per question.

    A question without known answers gets no row's worth of scores, but is counted for citations
    and refusals.
    """
    rows = []
    with log.progress("answering", len(questions), "questions") as bar:
        for question in questions:
            rows.append(score_one(answerer(question.text), question, names))
            bar.advance()
    each = {name: _column(rows, name) for name in COLUMNS}
    scores: dict[str, Score] = {}
    for name, values in each.items():
        if len(values):
            scores |= score_answers({name: values})
    return scores, rows


def score_one(answer: Answer, question: Question, names: Names) -> dict[str, Any]:
    """Return the scores of one answer; None: it cannot be said.

    - ``exact_match``, ``token_f1``: of the whole text, the best over the known answers; 0 when
      refused.
    - ``short_exact_match``, ``short_token_f1``: the same of the few words that are given beside
      quoted sentences; None where a model wrote.
    - ``holds_answer``: whether a known answer stands in the text, word for word.
    - ``citation_precision``: share of the cited documents that are relevant; None: none cited.
    - ``citation_recall``: share of the answer's sentences that have a citation which stood the
      check; None when refused.
    """
    text = "" if answer.refused else " ".join(claim.text for claim in answer.claims) or answer.text
    cited = {names(citation.source) for claim in answer.claims for citation in claim.citations}
    right = {name for name, grade in question.judged.items() if grade > 0}
    return {
        "text": answer.text,
        "short": answer.short,
        "generator": answer.generator,
        "refused": float(answer.refused),
        **_likeness(text, question.answers),
        **_short_likeness(answer, question.answers),
        "citation_precision": len(cited & right) / len(cited) if cited and right else None,
        "citation_recall": (
            sum(claim.supported for claim in answer.claims) / len(answer.claims)
            if answer.claims and not answer.refused
            else None
        ),
        "cited": sorted(cited),
    }


def _likeness(text: str, answers: Sequence[str]) -> dict[str, float | None]:
    if not answers:
        return {"exact_match": None, "token_f1": None, "holds_answer": None}
    padded = f" {normalise(text)} "
    return {
        "exact_match": max(exact_match(text, one) for one in answers),
        "token_f1": max(token_f1(text, one) for one in answers),
        "holds_answer": float(any(f" {normalise(one)} " in padded for one in answers)),
    }


def _short_likeness(answer: Answer, answers: Sequence[str]) -> dict[str, float | None]:
    if not answers or answer.generator != EXTRACTIVE:
        return {"short_exact_match": None, "short_token_f1": None}
    return {
        "short_exact_match": max(exact_match(answer.short, one) for one in answers),
        "short_token_f1": max(token_f1(answer.short, one) for one in answers),
    }


def _column(rows: Sequence[dict[str, Any]], name: str) -> Floats:
    return np.asarray([row[name] for row in rows if row[name] is not None], dtype=np.float64)
