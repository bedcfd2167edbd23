"""Written answers to questions with known ones: how right, how well cited, how often refused."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tailorbird import log
from tailorbird.metrics.answers import score_answers
from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.text import exact_match, token_f1
from tailorbird.rag.judge import Names
from tailorbird.records import Answer, Question, Score


class Answers(Protocol):
    """What answers a question from the knowledge base that is judged."""

    def __call__(self, question: str) -> Answer:
        """Return the answer, its citations checked."""
        ...


def score_all(
    answerer: Answers, questions: Sequence[Question], names: Names
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
    columns = ("exact_match", "token_f1", "citation_precision", "citation_recall", "refused")
    each = {name: _column(rows, name) for name in columns}
    scores: dict[str, Score] = {}
    for name, values in each.items():
        if len(values):
            scores |= score_answers({name: values})
    return scores, rows


def score_one(answer: Answer, question: Question, names: Names) -> dict[str, Any]:
    """Return the scores of one answer; None: it cannot be said.

    - ``exact_match``, ``token_f1``: the best over the known answers; 0 when refused.
    - ``citation_precision``: share of the cited documents that are relevant; None: none cited.
    - ``citation_recall``: share of the answer's sentences that have a citation which stood the
      check; None when refused.
    """
    text = "" if answer.refused else " ".join(claim.text for claim in answer.claims) or answer.text
    cited = {names(citation.source) for claim in answer.claims for citation in claim.citations}
    right = {name for name, grade in question.judged.items() if grade > 0}
    known = question.answers
    return {
        "text": answer.text,
        "refused": float(answer.refused),
        "exact_match": max(exact_match(text, one) for one in known) if known else None,
        "token_f1": max(token_f1(text, one) for one in known) if known else None,
        "citation_precision": len(cited & right) / len(cited) if cited and right else None,
        "citation_recall": (
            sum(claim.supported for claim in answer.claims) / len(answer.claims)
            if answer.claims and not answer.refused
            else None
        ),
        "cited": sorted(cited),
    }


def _column(rows: Sequence[dict[str, Any]], name: str) -> Floats:
    return np.asarray([row[name] for row in rows if row[name] is not None], dtype=np.float64)
