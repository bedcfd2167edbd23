"""`tailor evaluate --store`: evaluates a knowledge base on judged questions."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.config import Config
from tailorbird.data.questions import read_questions
from tailorbird.errors import UserError
from tailorbird.flows.ask import make_writer
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.metrics.answer_scores import score_answers
from tailorbird.metrics.intervals import Floats, Groups
from tailorbird.metrics.ranking import HEADLINE, mean_scores, rank_scores
from tailorbird.metrics.significance import compare
from tailorbird.metrics.text import exact_match, normalise, token_f1
from tailorbird.rag.answerer import Answerer
from tailorbird.rag.retrieval_analysis import Names, Weighed, calibrate, failures, weigh
from tailorbird.rag.retrieve import Retriever, Sides
from tailorbird.records import (
    Answer,
    Hit,
    JudgeReport,
    Question,
    RankingSections,
    Score,
    SideReport,
)
from tailorbird.report.retrieval_page import render_judged
from tailorbird.runs.finished_run import circumstances, write_report
from tailorbird.runs.folder import PREDICTIONS, RunFolder

_DEPTH = 100
_FAILURES = 200
COLUMNS = (
    "holds_answer",
    "exact_match",
    "token_f1",
    "citation_precision",
    "citation_recall",
    "refused",
)

AnswerFunction = Callable[[str], Answer]
"""Answers a question from the evaluated knowledge base."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of questions and judgements."""

    queries: Path
    qrels: Path | None = None
    qrels_train: Path | None = None


@dataclass(frozen=True)
class RankingResult:
    """The results of every question.

    Attributes:
        rankings: By side and question, the documents, best first.
        each: By side, the questions' scores by name.
        absent: Documents with judgements that the knowledge base lacks.
    """

    questions: Sequence[Question]
    rankings: dict[str, list[list[str]]]
    each: dict[str, dict[str, Floats]]
    hits: list[list[Hit]]
    weighed: Weighed
    names: Names
    absent: frozenset[str]


def judge(
    store: Path | str,
    files: Files,
    config: Config,
    answerer: AnswerFunction | None = None,
    command: str = "",
) -> JudgeReport:
    """Score a knowledge base, and save the tuned weight and threshold in it.

    Args:
        config: The retrieval settings; ``output``: the folder for the report.
        answerer: Answers the questions; None: if answers are known, those of `ask` are scored.

    Raises:
        UserError: There is no such knowledge base, or a file cannot be read.
    """
    test = read_questions(files.queries, files.qrels)
    train = read_questions(files.queries, files.qrels_train) if files.qrels_train else None
    _check_apart(test, train)
    kb = KnowledgeFolder(store)
    if answerer is None and any(question.answers for question in test):
        answerer = answer_function(kb, config)
    return judge_open(kb, str(store), (test, train), config, answerer, command)


def answer_function(kb: KnowledgeFolder, config: Config) -> AnswerFunction:
    """Return a function that answers each question as `tailor ask` would."""
    answerers: list[Answerer] = []

    def ask(question: str) -> Answer:
        if not answerers:  # only after weight and threshold are tuned
            answerers.append(Answerer(kb, config, make_writer(config)))
        return answerers[0].answer(question)

    return ask


def judge_open(
    kb: KnowledgeFolder,
    store: str,
    questions: tuple[Sequence[Question], Sequence[Question] | None],
    config: Config,
    answerer: AnswerFunction | None = None,
    command: str = "",
) -> JudgeReport:
    """As `judge`, for an open knowledge base; `questions` are the scored and the tuning ones."""
    started = time.time()
    test, train = questions
    retrieval = config.retrieve.replace(candidates=max(_DEPTH, config.retrieve.candidates))
    retriever = Retriever(kb, retrieval)
    result = judge_questions(retriever, test, train)
    best = list(result.each)[-1]
    threshold = calibrate(test, result.hits, result.names, retrieval.k)
    if kb.read_only:
        log.warn(f"{store} is read-only: the tuned weight and threshold are not saved")
    else:
        if result.weighed.choice.scores:
            kb.set_setting("weight", result.weighed.choice.weight)
        if threshold is not None:
            kb.set_setting("threshold", threshold.value)
    missed = failures(test, result.rankings, best, result.absent)
    answers, answer_rows = (
        score_all(answerer, test, result.names) if answerer is not None else ({}, [])
    )
    values = {name: each[HEADLINE] for name, each in result.each.items()}
    pairs = [(best, name) for name in values if name != best]
    groups = by_document(test)
    comparisons = compare(values, pairs=pairs, groups=groups)
    sections = RankingSections(
        store=store,
        questions=len(test),
        judged_documents=len({name for q in test for name in q.judged}),
        weight=result.weighed.choice.weight,
        how=result.weighed.how,
        by_weight=result.weighed.choice.scores,
        threshold=threshold,
        failures=missed[:_FAILURES],
        answers=answers,
        answered_by=next((row["generator"] for row in answer_rows), ""),
        notes=_notes(result, best),
    )
    report = JudgeReport(
        kind="rag",
        arms=tuple(SideReport(n, mean_scores(each, groups)) for n, each in result.each.items()),
        sections=sections,
        comparisons=comparisons,
        headline=HEADLINE,
        **circumstances(config, command, started),
    )
    for note in sections.notes:
        log.warn(note)
    if config.output is not None:
        folder = RunFolder(config.output)
        folder.check_free(resume=False)
        log.say(f"run folder: {folder.path}")
        folder.write_rows(PREDICTIONS, _rows(result, answer_rows))
        write_report(report, render_judged(report), folder)
    return report


def judge_questions(
    retriever: Retriever, test: Sequence[Question], train: Sequence[Question] | None = None
) -> RankingResult:
    """Rank the documents for every question by every side, the best side last."""
    names = Names(name for q in (*test, *(train or ())) for name in q.judged)
    sides = retriever.sides([question.text for question in test])
    chosen_on = None
    if train is not None and retriever.config.mode == "hybrid" and retriever.config.weight is None:
        log.say(f"choosing the weight on {len(train):,} training questions")
        chosen_on = (train, retriever.sides([question.text for question in train]))
    weighed = weigh(retriever, names, (test, sides), chosen_on)
    hits = _by_side(retriever, sides, weighed)
    if retriever.reranker is not None:
        hits["reranked"] = _reranked(retriever, sides, hits)
    rankings = {
        side: [names.documents(each)[:_DEPTH] for each in by_question]
        for side, by_question in hits.items()
    }
    grades = [question.judged for question in test]
    each = {side: rank_scores(ranked, grades) for side, ranked in rankings.items()}
    with retriever.kb.reading() as view:
        sources = {names(source) for source in view.sources()}
    absent = frozenset(name for q in test for name in q.judged) - sources
    return RankingResult(test, rankings, each, list(hits.values())[-1], weighed, names, absent)


def _by_side(
    retriever: Retriever, results: Sequence[Sides], weighed: Weighed
) -> dict[str, list[list[Hit]]]:
    mode = retriever.config.mode
    hits: dict[str, list[list[Hit]]] = {}
    if mode != "dense":
        hits["words"] = [list(sides.words) for sides in results]
    if mode != "words":
        hits["dense"] = [list(sides.dense[: sides.dense_count]) for sides in results]
    if mode == "hybrid":
        pairs = zip(results, weighed.weights, strict=True)
        hits["hybrid"] = [retriever.fuse(sides, weight) for sides, weight in pairs]
    return hits


def _reranked(
    retriever: Retriever, results: Sequence[Sides], hits: dict[str, list[list[Hit]]]
) -> list[list[Hit]]:
    before = list(hits.values())[-1]
    with log.progress("reranking", len(results), "questions") as bar:
        ranked = []
        for sides, candidates in zip(results, before, strict=True):
            ranked.append(retriever.rerank(sides.question, candidates))
            bar.advance()
    return ranked


def by_document(questions: Sequence[Question]) -> Groups | None:
    """Return the groups of questions that share their first relevant document ``[n]``, or None.

    Questions of one document are not independent: a badly parsed document fails them all.
    """
    right = [sorted(n for n, grade in q.judged.items() if grade > 0) for q in questions]
    names = [documents[0] if documents else f"question {i}" for i, documents in enumerate(right)]
    if len(set(names)) == len(names):
        return None
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)


def _check_apart(test: Sequence[Question], train: Sequence[Question] | None) -> None:
    same = {question.id for question in test} & {question.id for question in train or ()}
    if same:
        raise UserError(
            f"{len(same):,} questions are in --qrels and in --qrels-train, e.g. {min(same)!r}",
            "give --qrels-train other questions than --qrels, which the weight is scored on",
        )


def _notes(result: RankingResult, best: str) -> tuple[str, ...]:
    notes = []
    ranked_names = {name for each in result.rankings.values() for ranked in each for name in ranked}
    right = {n for q in result.questions for n, grade in q.judged.items() if grade > 0}
    if right and not right & ranked_names:
        notes.append(
            f"no judged document was retrieved: the judgements name {min(right)!r}, the "
            f"knowledge base {min(ranked_names, default='nothing')!r}; do the names match?"
        )
    elif unknown := sorted(right & result.absent):
        notes.append(
            f"{len(unknown):,} of {len(right):,} relevant documents are not in the knowledge "
            f"base under their names, e.g. {unknown[0]!r}"
        )
    weight = result.weighed.choice.weight
    if best == "hybrid" and result.weighed.choice.scores and weight in (0.0, 1.0):
        dropped = "the vectors" if weight == 0.0 else "words"
        notes.append(f"{dropped} made the ranking worse on the tuning questions: left out")
    return tuple(notes)


def _rows(result: RankingResult, answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for i, question in enumerate(result.questions):
        row: dict[str, Any] = {
            "id": question.id,
            "question": question.text,
            "judged": question.judged,
            "weight": result.weighed.weights[i],
        }
        for side, ranked in result.rankings.items():
            scores = {
                name: round(float(values[i]), 6)
                for name, values in result.each[side].items()
                if name in (HEADLINE, "recall@5", "recall@100", "mrr", "map")
            }
            row[side] = {"documents": ranked[i][:20], **scores}
        if answers:
            row["answer"] = answers[i]
        rows.append(row)
    return rows


def score_all(
    answerer: AnswerFunction, questions: Sequence[Question], names: Names
) -> tuple[dict[str, Score], list[dict[str, Any]]]:
    """Return the scores of the answers with their intervals, and a row per question.

    A question without known answers counts only for citations and refusals.
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
    """Return the scores of one answer; None: undefined.

    - ``exact_match``, ``token_f1``: whole text, best over the known answers; 0 for a refusal.
    - ``holds_answer``: whether the text contains a known answer, word for word.
    - ``citation_precision``: share of the cited documents that are relevant; None: none cited.
    - ``citation_recall``: share of the answer's sentences with a confirmed citation; None for a
      refusal.
    """
    text = "" if answer.refused else " ".join(claim.text for claim in answer.claims) or answer.text
    cited = {names(citation.source) for claim in answer.claims for citation in claim.citations}
    right = {name for name, grade in question.judged.items() if grade > 0}
    return {
        "text": answer.text,
        "generator": answer.generator,
        "refused": float(answer.refused),
        **_likeness(text, question.answers),
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


def _column(rows: Sequence[dict[str, Any]], name: str) -> Floats:
    return np.asarray([row[name] for row in rows if row[name] is not None], dtype=np.float64)
