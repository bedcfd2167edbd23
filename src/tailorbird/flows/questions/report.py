"""Scores all arms' answers and writes verdict, report and page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tailorbird.arms.question_arms.prompts import answer_of
from tailorbird.arms.question_arms.records import (
    ArmAnswers,
    Item,
    Output,
    PromptPassage,
    QuestionSet,
)
from tailorbird.arms.question_arms.registry import QuestionArm
from tailorbird.config import Config
from tailorbird.metrics.answer_match import Candidates, Outcome
from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.question_scores import (
    LONG_HEADLINE,
    Judge,
    change_scores,
    cluster_ids,
    cluster_mean,
    hit_scores,
    renumbered,
)
from tailorbird.metrics.question_verdict import best_arm, break_evens, compare_with_best, decide
from tailorbird.models.builtin import without_place
from tailorbird.rag.citations import check_answer
from tailorbird.records import (
    ChangeScores,
    Passage,
    Question,
    QuestionArmReport,
    QuestionCost,
    QuestionSections,
    QuestionsReport,
    SampleAnswer,
    SampleQuestion,
    Score,
)
from tailorbird.report.questions_page import render_questions
from tailorbird.runs.finished_run import circumstances, write_report
from tailorbird.runs.folder import PREDICTIONS, RunFolder

FACTS = "data/facts.json"
_SHOWN = 40
_FEWEST_DOCUMENTS = 10
FLOORS = ("nearest",)


@dataclass(frozen=True)
class Facts:
    """Facts about questions and documents for the report, saved for resumed runs.

    Attributes:
        questions: The questions of all parts.
        groups: By id, the group that must stay within one part.
        budget, notes: In words.
        retrieve_seconds: Time to retrieve the test questions' passages.
    """

    questions: tuple[Question, ...]
    groups: dict[str, str]
    how: str
    budget: tuple[str, ...]
    notes: tuple[str, ...]
    shared_answers: float
    retrieve_seconds: float
    document_hits: dict[str, tuple[bool, ...]]
    change_words: str = ""
    reindex_seconds: float | None = None


@dataclass(frozen=True)
class QuestionRun:
    """The unscored results of a comparison on questions."""

    config: Config
    question_set: QuestionSet
    answers: Mapping[str, ArmAnswers | tuple[str, str]]
    arms: Sequence[QuestionArm]
    facts: Facts
    command: str
    started: float

    @cached_property
    def questions(self) -> dict[str, Question]:
        """The questions by id."""
        return {question.id: question for question in self.facts.questions}

    @cached_property
    def _candidates(self) -> Candidates:
        return Candidates.of([a for q in self.questions.values() for a in q.answers])

    def judge(self, questions: Sequence[Question]) -> Judge:
        """Return the judge of answers to some of the questions."""
        groups = cluster_ids([self.facts.groups[question.id] for question in questions])
        return Judge(questions, groups, self._candidates)


@dataclass(frozen=True)
class _Marked:
    """One arm's answers with their scores."""

    texts: list[str]
    outcomes: list[Outcome]
    values: Floats
    failures: list[str]


def write_question_report(run: QuestionRun, folder: RunFolder) -> QuestionsReport:
    """Score the answers, and write report, page and predictions to the run folder."""
    report, marked = _report(run)
    folder.write_rows(PREDICTIONS, _rows(run, marked))
    write_report(report, render_questions(report), folder)
    return report


def _report(run: QuestionRun) -> tuple[QuestionsReport, dict[str, _Marked]]:
    test = [run.questions[item.id] for item in run.question_set.test]
    judge = run.judge(test)
    clusters = judge.clusters
    marked: dict[str, _Marked] = {}
    reports = []
    for arm in run.arms:
        answers = run.answers[arm.name]
        if isinstance(answers, tuple):
            reports.append(_without(arm, *answers))
            continue
        marked[arm.name] = _mark(
            judge, answers.test, _sufficient(run.question_set, arm, answers.test)
        )
        reports.append(_arm_report(run, arm, answers, judge, marked[arm.name]))
    best = best_arm(reports, judge.headline)
    values = {name: each.values for name, each in marked.items()}
    trained = [report.name for report in reports if report.method is not None]
    comparisons = compare_with_best(best.name, values, clusters, trained) if best else ()
    facts, base = run.facts, marked.get("base")
    sections = QuestionSections(
        source=run.config.data.train or "",
        store=run.question_set.store,
        counts={
            part: len(getattr(run.question_set, part)) for part in ("train", "validation", "test")
        },
        how=facts.how,
        passages=run.question_set.passages,
        hits=_hits(run, test, clusters),
        contamination={"shared_answers": facts.shared_answers}
        | ({"base": float(base.values.mean())} if base else {}),
        budget=facts.budget,
        change_words=facts.change_words,
        reindex_seconds=facts.reindex_seconds,
        break_even=break_evens(reports),
        disagreements=_disagreements(run, marked),
        price_per_hour=run.config.questions.price_per_hour,
        notes=(*_few_notes(clusters), *facts.notes, *_order_notes(reports, judge.headline)),
    )
    report = QuestionsReport(
        kind="questions",
        arms=tuple(reports),
        sections=sections,
        verdict=decide(
            reports, comparisons, judge.headline, float(np.mean([not q.answerable for q in test]))
        ),
        comparisons=comparisons,
        model=without_place(run.config.model.name),
        headline=judge.headline,
        **circumstances(run.config, run.command, run.started),
    )
    return report, marked


def _mark(judge: Judge, outputs: Sequence[Output], sufficient: np.ndarray | None) -> _Marked:
    texts = [answer_of(output.text) for output in outputs]
    outcomes = judge.outcomes(texts)
    return _Marked(
        texts, outcomes, judge.values(texts, outcomes), judge.failures(outcomes, sufficient)
    )


def _read(arm: QuestionArm, item: Item, output: Output) -> tuple[PromptPassage, ...]:
    """Return the passages that preceded a question."""
    if arm.uses_gold:
        return (item.gold,) if item.gold is not None and output.shown else ()
    return item.found[: output.shown] if arm.retrieves else ()


def _sufficient(
    question_set: QuestionSet, arm: QuestionArm, outputs: Sequence[Output]
) -> np.ndarray | None:
    if not arm.retrieves and not arm.uses_gold:
        return None
    return np.asarray(
        [
            any(piece.answers for piece in _read(arm, item, output))
            for item, output in zip(question_set.test, outputs, strict=True)
        ]
    )


def _without(arm: QuestionArm, status: str, why: str) -> QuestionArmReport:
    return QuestionArmReport(
        arm.name, arm.words, "skipped" if status == "skipped" else "failed", why,
        bound=arm.uses_gold, floor=arm.name in FLOORS, retrieves=arm.retrieves, method=arm.method,
    )  # fmt: skip


def _arm_report(
    run: QuestionRun, arm: QuestionArm, answers: ArmAnswers, judge: Judge, marked: _Marked
) -> QuestionArmReport:
    sufficient = _sufficient(run.question_set, arm, answers.test)
    read = None
    if sufficient is not None:
        read = [
            _read(arm, item, output)
            for item, output in zip(run.question_set.test, answers.test, strict=True)
        ]
    words = None if read is None else [[piece.text for piece in pieces] for pieces in read]
    scores = judge.scores(marked.texts, marked.outcomes, sufficient, words)
    if read is not None and judge.headline == LONG_HEADLINE:
        least = run.config.ask.support
        shares = [_supported(t, each, least) for t, each in zip(marked.texts, read, strict=True)]
        scores["supported"] = cluster_mean(np.asarray(shares), judge.clusters)
    wrong = [why for why in marked.failures if why]
    return replace(
        _without(arm, "failed", ""),
        status="ok",
        scores=scores,
        mean_words=float(np.mean([len(text.split()) for text in marked.texts])),
        failures={why: wrong.count(why) for why in sorted(set(wrong))},
        cost=_cost(run, arm, answers),
        change=_change(run, arm, answers, marked),
        settings=answers.settings,
        notes=answers.notes,
    )


def _supported(text: str, pieces: Sequence[PromptPassage], least: float) -> float:
    """Return the share of an answer's sentences supported by passages, as for citations."""
    passages = [
        Passage(n, piece.source, piece.heading, piece.text, 0, len(piece.text), -float(n))
        for n, piece in enumerate(pieces, 1)
    ]
    claims = check_answer(text, passages, least)[1]
    return float(np.mean([claim.supported for claim in claims])) if claims else 1.0


def _cost(run: QuestionRun, arm: QuestionArm, answers: ArmAnswers) -> QuestionCost:
    count = max(1, len(answers.test))
    seconds = answers.seconds + (run.facts.retrieve_seconds if arm.retrieves else 0.0)
    trained, size = answers.train_seconds, answers.artifact_bytes
    owner = run.answers.get(arm.weights) if arm.weights else None
    if isinstance(owner, ArmAnswers):
        trained, size = owner.train_seconds, owner.artifact_bytes
    return QuestionCost(
        answer_seconds=1000 * seconds / count,
        prompt_tokens=1000 * sum(output.prompt_tokens for output in answers.test) / count,
        answer_tokens=1000 * sum(output.tokens for output in answers.test) / count,
        train_seconds=trained,
        peak_memory_bytes=answers.peak_memory_bytes,
        artifact_bytes=size,
    )


def _change(
    run: QuestionRun, arm: QuestionArm, answers: ArmAnswers, marked: _Marked
) -> ChangeScores | None:
    """Return an arm's scores after the change; one without retrieval repeats its answers."""
    question_set = run.question_set
    if not question_set.changed or arm.name in FLOORS:
        return None
    places = {item.id: i for i, item in enumerate(question_set.test)}
    where = [places[item.id] for item in question_set.changed]
    moved = bool(answers.changed)
    texts = [
        answer_of(answers.changed[i].text) if moved else marked.texts[place]
        for i, place in enumerate(where)
    ]
    questions = [
        replace(run.questions[item.id], answers=item.answers, answerable=True)
        for item in question_set.changed
    ]
    return change_scores(
        [marked.outcomes[place] for place in where],
        texts,
        run.judge(questions),
        [run.questions[item.id].answers for item in question_set.changed],
        _control(run, answers, marked, places),
    )


def _control(
    run: QuestionRun, answers: ArmAnswers, marked: _Marked, places: Mapping[str, int]
) -> tuple[Floats, np.ndarray]:
    """Return the score change of each unaffected question, and its document."""
    items = run.question_set.unchanged
    judge = run.judge([run.questions[item.id] for item in items])
    if not answers.unchanged:
        return np.zeros(len(items)), judge.clusters
    now = judge.outcomes([answer_of(output.text) for output in answers.unchanged])
    before = [marked.outcomes[places[item.id]] for item in items]
    gaps = [(a == "correct") - (b == "correct") for a, b in zip(now, before, strict=True)]
    return np.asarray(gaps, dtype=np.float64), judge.clusters


def _hits(run: QuestionRun, test: Sequence[Question], clusters: np.ndarray) -> dict[str, Score]:
    k = run.question_set.passages
    mask = np.asarray([q.answerable for q in test])
    holding = [
        [piece.answers for piece in item.found[:k]]
        for item, answerable in zip(run.question_set.test, mask, strict=True)
        if answerable
    ]
    scores = {}
    if holding:
        scores = {
            f"answer {n}": s for n, s in hit_scores(holding, renumbered(clusters[mask]), k).items()
        }
    named = np.asarray([q.id in run.facts.document_hits for q in test])
    if named.any():
        right = [run.facts.document_hits[q.id] for q in test if q.id in run.facts.document_hits]
        each = hit_scores(right, renumbered(clusters[named]), k)
        scores |= {f"document {n}": score for n, score in each.items()}
    return scores


def _few_notes(clusters: np.ndarray) -> tuple[str, ...]:
    """Return a warning if there are too few documents for intervals over documents."""
    count = len(np.unique(clusters))
    if count >= _FEWEST_DOCUMENTS:
        return ()
    return (
        f"the test questions come from {count} documents; with fewer than {_FEWEST_DOCUMENTS}, "
        "intervals and tests over documents are overconfident: test more questions, or split by "
        "paragraph",
    )


def _order_notes(arms: Sequence[QuestionArmReport], headline: str) -> tuple[str, ...]:
    """Return a warning if another metric would rank another arm first."""
    scored = [arm for arm in arms if arm.status == "ok" and not arm.bound and not arm.floor]
    if len(scored) < 2:
        return ()
    first = max(scored, key=lambda arm: arm.scores[headline].value)
    others: dict[str, list[str]] = {}
    for name, words in (("token_f1", "token F1"), ("exact_match", "exact match")):
        other = max(scored, key=lambda arm: arm.scores[name].value)
        if other.scores[name].value > first.scores[name].value:
            others.setdefault(other.name, []).append(words)
    lengths = {arm.name: arm.mean_words for arm in scored}
    return tuple(
        f"by {' and '.join(metrics)} {name} would be first, not {first.name}: long answers score "
        f"lower there (here {first.mean_words:.1f} words on average for {first.name}, "
        f"{lengths[name]:.1f} for {name})"
        for name, metrics in others.items()
    )


def _disagreements(run: QuestionRun, marked: Mapping[str, _Marked]) -> tuple[SampleQuestion, ...]:
    """Return questions that only some arms answer correctly, the most divided first."""
    divided = []
    for i, item in enumerate(run.question_set.test):
        right = sum(each.outcomes[i] == "correct" for each in marked.values())
        if 0 < right < len(marked):
            divided.append((abs(2 * right - len(marked)), i, item))
    examples = []
    for _, i, item in sorted(divided, key=lambda each: each[:2])[:_SHOWN]:
        outputs = tuple(
            SampleAnswer(name, each.texts[i][:400], each.outcomes[i], each.failures[i])
            for name, each in marked.items()
        )
        pieces = tuple(
            (piece.heading, piece.text[:600], piece.answers)
            for piece in item.found[: run.question_set.passages]
        )
        answers = item.answers if item.answerable else ("(the documents hold no answer)",)
        examples.append(SampleQuestion(item.id, item.question, answers, pieces, outputs))
    return tuple(examples)


def _rows(run: QuestionRun, marked: Mapping[str, _Marked]) -> list[dict[str, object]]:
    return [
        {
            "id": item.id,
            "question": item.question,
            "answers": list(item.answers),
            "answerable": item.answerable,
            "found": [piece.answers for piece in item.found[: run.question_set.passages]],
            "arms": {
                name: {"answer": each.texts[i], "outcome": each.outcomes[i]}
                for name, each in marked.items()
            },
        }
        for i, item in enumerate(run.question_set.test)
    ]
