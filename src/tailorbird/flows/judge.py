"""`tailor evaluate --store`: a knowledge base against questions with known right documents."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tailorbird import log
from tailorbird.config import Config
from tailorbird.data.question_files import read_questions
from tailorbird.errors import UserError
from tailorbird.flows.ask import make_writer
from tailorbird.flows.judge_answers import Answers, score_all
from tailorbird.flows.output import run_folder
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.protocols import Knowledge
from tailorbird.metrics.intervals import Floats, Groups
from tailorbird.metrics.ranking import HEADLINE, mean_scores, rank_scores
from tailorbird.metrics.significance import compare
from tailorbird.rag.answerer import Answerer
from tailorbird.rag.judge import Names, Weighed, calibrate, failures, weigh
from tailorbird.rag.retrieve import Retriever, Sides
from tailorbird.records import Answer, Hit, JudgeReport, Question, SideReport
from tailorbird.report.retrieval_page import render_judged
from tailorbird.runs.environment import describe
from tailorbird.runs.folder import PAGE, PREDICTIONS, REPORT

_DEPTH = 100
_FAILURES = 200


class Keeps(Knowledge, Protocol):
    """A knowledge base in which calibrated values are kept."""

    @property
    def read_only(self) -> bool:
        """Whether nothing can be kept in it."""
        ...

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a value."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """The questions and judgements, as `tailor evaluate --store` is given them."""

    queries: Path
    qrels: Path | None = None
    qrels_train: Path | None = None


@dataclass(frozen=True)
class Judged:
    """What was found, question by question.

    Attributes:
        rankings: By side and question the documents, best first.
        each: By side the questions' scores by name.
        hits: Per question the hits of the best way of ranking, with their cosines.
        absent: Documents that are judged and not in the knowledge base.
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
    answerer: Answers | None = None,
    command: str = "",
) -> JudgeReport:
    """Score a knowledge base, and keep the weight and the threshold that were chosen.

    Args:
        store: The knowledge base.
        files: Questions and judgements.
        config: How to retrieve; ``output``: where to leave the report.
        answerer: Answers the questions; None: where answers are known, what `ask` says is scored.
        command: The command line, for the report.

    Raises:
        UserError: No such knowledge base, or files that cannot be read.
    """
    test = read_questions(files.queries, files.qrels)
    train = read_questions(files.queries, files.qrels_train) if files.qrels_train else None
    _check_apart(test, train)
    kb: Keeps = KnowledgeFolder.open(store)
    if answerer is None and any(question.answers for question in test):
        answerer = as_asked(kb, config)
    return judge_open(kb, str(store), (test, train), config, answerer, command)


def as_asked(kb: Keeps, config: Config) -> Answers:
    """Return what `tailor ask` would say to each question, asked by itself."""
    answerers: list[Answerer] = []

    def ask(question: str) -> Answer:
        if not answerers:  # not before the weight and the threshold are chosen
            answerers.append(Answerer(kb, config, make_writer(config)))
        return answerers[0].answer(question)

    return ask


def judge_open(
    kb: Keeps,
    store: str,
    questions: tuple[Sequence[Question], Sequence[Question] | None],
    config: Config,
    answerer: Answers | None = None,
    command: str = "",
) -> JudgeReport:
    """As `judge`, of an open knowledge base; `questions` are those scored and those that choose."""
    started = time.time()
    test, train = questions
    asked = config.retrieve.model_copy(
        update={"candidates": max(_DEPTH, config.retrieve.candidates)}
    )
    retriever = Retriever(kb, asked)
    found = judge_questions(retriever, test, train)
    best = list(found.each)[-1]
    threshold = calibrate(test, found.hits, found.names, asked.k)
    if kb.read_only:
        log.warn(f"{store} may only be read: the weight and the threshold chosen are not kept")
    else:
        if found.weighed.choice.scores:
            kb.set_setting("weight", found.weighed.choice.weight)
        if threshold is not None:
            kb.set_setting("threshold", threshold.value)
    lost = failures(test, found.rankings, best, found.absent)
    answers, answer_rows = (
        score_all(answerer, test, found.names) if answerer is not None else ({}, [])
    )
    values = {name: each[HEADLINE] for name, each in found.each.items()}
    pairs = [(best, name) for name in values if name != best]
    groups = by_document(test)
    comparisons = compare(values, pairs=pairs, groups=groups)
    report = JudgeReport(
        store=store,
        questions=len(test),
        judged_documents=len({name for q in test for name in q.judged}),
        weight=found.weighed.choice.weight,
        how=found.weighed.how,
        by_weight=found.weighed.choice.scores,
        threshold=threshold,
        sides=tuple(SideReport(n, mean_scores(each, groups)) for n, each in found.each.items()),
        comparisons=comparisons,
        failures=lost[:_FAILURES],
        answers=answers,
        answered_by=next((row["generator"] for row in answer_rows), ""),
        notes=_notes(found, best),
        command=command,
        created=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        seconds=round(time.time() - started, 1),
        environment=describe(),
        settings=config.model_dump(mode="json", exclude_defaults=True),
    )
    for note in report.notes:
        log.warn(note)
    if config.output is not None:
        folder = run_folder(config, "evaluate", resume=False)
        folder.write_rows(PREDICTIONS, _rows(found, answer_rows))
        folder.write(PAGE, render_judged(report))
        folder.write_json(REPORT, report.to_json())
    return report


def judge_questions(
    retriever: Retriever, test: Sequence[Question], train: Sequence[Question] | None = None
) -> Judged:
    """Rank the documents for every question in every way, the best way last."""
    names = Names(name for q in (*test, *(train or ())) for name in q.judged)
    found = retriever.sides([question.text for question in test])
    chosen_on = None
    if train is not None and retriever.config.mode == "hybrid" and retriever.config.weight is None:
        log.say(f"choosing the weight on {len(train):,} training questions")
        chosen_on = (train, retriever.sides([question.text for question in train]))
    weighed = weigh(retriever, names, (test, found), chosen_on)
    hits = _by_side(retriever, found, weighed)
    if retriever.reranker is not None:
        hits["reranked"] = _reranked(retriever, found, hits)
    rankings = {
        side: [names.documents(each)[:_DEPTH] for each in by_question]
        for side, by_question in hits.items()
    }
    judged = [question.judged for question in test]
    each = {side: rank_scores(ranked, judged) for side, ranked in rankings.items()}
    with retriever.kb.reading() as view:
        held = {names(source) for source in view.sources()}
    absent = frozenset(name for q in test for name in q.judged) - held
    return Judged(test, rankings, each, list(hits.values())[-1], weighed, names, absent)


def _by_side(
    retriever: Retriever, found: Sequence[Sides], weighed: Weighed
) -> dict[str, list[list[Hit]]]:
    mode = retriever.config.mode
    hits: dict[str, list[list[Hit]]] = {}
    if mode != "dense":
        hits["words"] = [list(sides.words) for sides in found]
    if mode != "words":
        hits["dense"] = [list(sides.dense[: sides.dense_count]) for sides in found]
    if mode == "hybrid":
        pairs = zip(found, weighed.weights, strict=True)
        hits["hybrid"] = [retriever.fuse(sides, weight) for sides, weight in pairs]
    return hits


def _reranked(
    retriever: Retriever, found: Sequence[Sides], hits: dict[str, list[list[Hit]]]
) -> list[list[Hit]]:
    before = list(hits.values())[-1]
    with log.progress("reranking", len(found), "questions") as bar:
        ranked = []
        for sides, candidates in zip(found, before, strict=True):
            ranked.append(retriever.rerank(sides.question, candidates))
            bar.advance()
    return ranked


def by_document(questions: Sequence[Question]) -> Groups | None:
    """Return which questions share their first right document ``[n]``; None where none do.

    Questions of one document are not independent: a document that is read badly fails them all.
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
            "a weight is chosen on other questions than those it is scored on",
        )


def _notes(found: Judged, best: str) -> tuple[str, ...]:
    notes = []
    seen = {name for each in found.rankings.values() for ranked in each for name in ranked}
    judged = {n for q in found.questions for n, grade in q.judged.items() if grade > 0}
    if judged and not judged & seen:
        notes.append(
            f"no judged document was ever found: judgements say {min(judged)!r}, the knowledge "
            f"base {min(seen, default='nothing')!r}; are they named alike?"
        )
    elif lost := sorted(judged & found.absent):
        notes.append(
            f"{len(lost):,} of {len(judged):,} right documents are not in the knowledge base "
            f"under their names, e.g. {lost[0]!r}"
        )
    weight = found.weighed.choice.weight
    if best == "hybrid" and found.weighed.choice.scores and weight in (0.0, 1.0):
        dropped = "the vectors" if weight == 0.0 else "words"
        notes.append(f"{dropped} made the ranking worse on the questions that chose: left out")
    return tuple(notes)


def _rows(found: Judged, answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for i, question in enumerate(found.questions):
        row: dict[str, Any] = {
            "id": question.id,
            "question": question.text,
            "judged": question.judged,
            "weight": found.weighed.weights[i],
        }
        for side, ranked in found.rankings.items():
            scores = {
                name: round(float(values[i]), 6)
                for name, values in found.each[side].items()
                if name in (HEADLINE, "recall@5", "recall@100", "mrr", "map")
            }
            row[side] = {"documents": ranked[i][:20], **scores}
        if answers:
            row["answer"] = answers[i]
        rows.append(row)
    return rows
