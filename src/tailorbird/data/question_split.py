"""Splits questions so that no test question's documents are trained on."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tailorbird.data.normalise import text_key
from tailorbird.errors import Faults
from tailorbird.records import Question

SplitBy = Literal["document", "paragraph", "question"]
FEWEST = 50
_VALIDATION_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class PartSizes:
    """The number of questions in each part; None: the rest."""

    test: int
    train: int | None = None
    validation: int | None = None


@dataclass(frozen=True, slots=True)
class QuestionSplit:
    """Three parts that share no group.

    Attributes:
        groups: The document, paragraph or question that defines the group, by question id.
        how: The kind of split, in words.
        shared_answers: Share of the answerable test questions with an answer that also answers a
            training question: these may be right without being understood.
    """

    train: tuple[Question, ...]
    validation: tuple[Question, ...]
    test: tuple[Question, ...]
    groups: dict[str, str]
    how: str
    notes: tuple[str, ...]
    shared_answers: float


def split_questions(
    questions: Sequence[Question],
    by: SplitBy,
    sizes: PartSizes,
    seed: int = 1,
    paragraph: Callable[[Question], str] = lambda question: "",
) -> QuestionSplit:
    """Split questions by document, by paragraph, or one by one.

    Whole groups are assigned in a seeded order: first to the test until it is full, then to
    validation, the rest to training. A training question that is also in the test is dropped.

    Raises:
        UserError: There are fewer than 50 questions, no source to split by, or too few groups.
    """
    groups = {q.id: _group(q, by, paragraph) for q in questions}
    _check(questions, by, groups)
    members: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        members[groups[question.id]].append(question)
    order = [sorted(members)[i] for i in np.random.default_rng(seed).permutation(len(members))]
    enough = min(sizes.test, max(1, round(len(questions) * 0.4)))
    some = sizes.validation or max(1, min(60, round(len(questions) * _VALIDATION_SHARE)))
    test = _deal(order, members, enough, leave=2)
    validation = _deal(order, members, some, leave=1)
    train = _deal(order, members, sizes.train or len(questions), leave=0)
    held_out = {text_key(question.text) for question in (*test, *validation)}
    fresh = [question for question in train if text_key(question.text) not in held_out]
    unused = len(questions) - len(train) - len(validation) - len(test)
    repeated = len(train) - len(fresh)
    notes: tuple[str, ...] = ()
    if repeated:
        notes = (
            f"{repeated:,} training questions also occur in validation or test with the same "
            "words: dropped",
        )
    how = f"by {by}: {len(members):,} of them, seed {seed}; no {by} is in two parts"
    if unused:
        how += f"; {unused:,} questions are left out: the budget allows no more"
    return QuestionSplit(
        tuple(fresh), tuple(validation), tuple(test), groups, how, notes,
        _shared_answers(test, fresh),
    )  # fmt: skip


def _group(question: Question, by: SplitBy, paragraph: Callable[[Question], str]) -> str:
    source = min(question.judged, default="")
    if by == "document":
        return question.document or source
    if by == "paragraph":
        return source if question.document else paragraph(question) or source
    return text_key(question.text)


def _check(questions: Sequence[Question], by: SplitBy, groups: dict[str, str]) -> None:
    faults = Faults()
    if len(questions) < FEWEST:
        faults.add(
            f"there are {len(questions):,} questions, but at least {FEWEST} are needed",
            "add questions, or ask them one by one: tailor ask",
        )
    if len(groups) < len(questions):
        faults.add("questions have the same id", "give each its own, or leave the column id out")
    bare = [question for question in questions if not groups[question.id]]
    if bare:
        faults.add(
            f"{len(bare):,} of {len(questions):,} questions name no source, so they cannot be "
            f"split by {by}",
            "give a column source (the document's file, row id or name), or set --split question",
        )
    elif len(set(groups.values())) < 3:
        faults.add(
            f"all questions come from {len(set(groups.values()))} {by}s; at least 3 are needed "
            "to split by",
            "take --split " + ("paragraph or question" if by == "document" else "question"),
        )
    faults.raise_if_any()


def _deal(
    order: list[str], members: dict[str, list[Question]], enough: int, leave: int
) -> list[Question]:
    """Take groups until there are enough questions; the last group may be cut."""
    dealt: list[Question] = []
    while len(dealt) < enough and len(order) > leave:
        dealt += members[order.pop(0)]
    return dealt[:enough]


def _shared_answers(test: Sequence[Question], train: Sequence[Question]) -> float:
    train_answers = {text_key(answer) for question in train for answer in question.answers}
    answerable = [question for question in test if question.answerable]
    shared = sum(
        any(text_key(a) in train_answers for a in question.answers) for question in answerable
    )
    return shared / len(answerable) if answerable else 0.0
