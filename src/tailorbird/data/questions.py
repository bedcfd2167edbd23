"""Judged questions: read from BEIR's layout, tables or SQuAD's JSON, and split by document."""

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tailorbird import log
from tailorbird.data.near_duplicates import text_key
from tailorbird.data.table_files import read_table
from tailorbird.data.textfile import read_text
from tailorbird.errors import Faults, UserError
from tailorbird.records import Question

_IDS = ("_id", "id", "query_id", "query-id", "qid")
_TEXTS = ("question", "query", "text")
_ANSWERS = ("answers", "answer", "reference")
_CHANGED = ("changed_answers", "changed_answer")
_NO = ("false", "no", "0", "0.0")
_SOURCES = ("source", "sources", "document", "documents", "doc_id", "corpus-id")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A document of a SQuAD file."""

    id: str
    title: str
    text: str


def read_questions(queries: Path, qrels: Path | None = None) -> list[Question]:
    """Return the questions with judgements.

    Args:
        queries: A table with a question (and answer, source) per row, or SQuAD's JSON.
        qrels: TSV ``query-id corpus-id score`` with a heading, or trec_eval's four columns without
            one; None: the rows name their sources.

    Raises:
        UserError: A file is missing or has another format, or no question has a judgement.
    """
    questions = _all_questions(queries)
    if qrels is not None:
        grades = read_qrels(qrels)
        questions = [replace(q, judged=grades[q.id]) for q in questions if q.id in grades]
    graded = [question for question in questions if question.judged]
    if not graded:
        raise UserError(
            f"{qrels or queries}: no question of {queries} has a relevant document",
            "give --qrels with the ids of these queries, or rows with a column `source`",
        )
    return graded


def read_answers(path: Path) -> list[Question]:
    """Return questions with their correct answers, or marked as unanswerable.

    Args:
        path: A table with a question and its answer, or a list of answers, per row, optionally
            ``source`` and ``answerable``; or SQuAD's JSON.

    Raises:
        UserError: It has another format, or answerable rows have no answer.
    """
    questions = _all_questions(path)
    faults = Faults()
    lacking = [q for q in questions if q.answerable and not q.answers]
    if lacking:
        faults.add(
            f"{path}: {len(lacking):,} of {len(questions):,} questions have no answer, the first "
            f"of them {lacking[0].text[:60]!r}",
            f"give one in a column {' or '.join(_ANSWERS)}, or false in a column answerable",
        )
    if not questions:
        faults.add(f"{path} has no questions", "give a row per question, with its answer")
    faults.raise_if_any()
    return questions


def is_squad(path: Path) -> bool:
    """Return whether a file is SQuAD's JSON, which contains its own paragraphs."""
    return path.suffix == ".json" and path.is_file() and _squad(path) is not None


def _all_questions(path: Path) -> list[Question]:
    if path.suffix == ".json" and (squad := _squad(path)) is not None:
        return squad[1]
    return [_question(row, i) for i, row in enumerate(_rows(path), start=1)]


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Return the grades by query and document.

    Raises:
        UserError: The file is missing, or rows are not ``query document grade``.
    """
    grades: dict[str, dict[str, int]] = {}
    faults = Faults()
    for number, line in enumerate(_text(path).splitlines(), start=1):
        cells = line.split("\t") if "\t" in line else line.split()
        if not cells:
            continue
        if len(cells) == 4:  # trec_eval: query, iteration, document, grade
            cells = [cells[0], cells[2], cells[3]]
        try:
            query, document, grade = (cell.strip() for cell in cells)
            grades.setdefault(query, {})[document] = int(float(grade))
        except (ValueError, OverflowError):
            if number > 1:  # the first line is a heading
                faults.add(f"{path}:{number} is {line[:60]!r}", "write query-id, corpus-id, score")
                if number > 10:
                    break
    faults.raise_if_any()
    return grades


def read_paragraphs(path: Path) -> list[Paragraph]:
    """Return the paragraphs of a SQuAD file, which its questions name as sources.

    Raises:
        UserError: It has another format.
    """
    squad = _squad(path)
    if squad is None:
        raise UserError(f"{path} is not SQuAD's JSON", "it needs data, paragraphs and qas")
    return squad[0]


def _squad(path: Path) -> tuple[list[Paragraph], list[Question]] | None:
    try:
        plain = json.loads(_text(path))
        articles = plain["data"]
        paragraphs, questions = [], []
        for article, part in enumerate(articles):
            for place, paragraph in enumerate(part["paragraphs"]):
                name = f"{article}-{place}"
                title = str(part.get("title", ""))
                paragraphs.append(Paragraph(name, title, paragraph["context"]))
                for entry in paragraph["qas"]:
                    answers = tuple(dict.fromkeys(a["text"] for a in entry.get("answers", ())))
                    questions.append(
                        Question(
                            str(entry["id"]), entry["question"], {name: 1}, answers,
                            not entry.get("is_impossible", False), f"{article} {title}".strip(),
                        )
                    )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return paragraphs, questions


def _question(row: dict[str, Any], number: int) -> Question:
    text = _first(row, _TEXTS)
    if not text:
        raise UserError(
            f"row {number} has no question: it has {', '.join(map(str, row))}",
            f"name its column one of {', '.join(_TEXTS)}",
        )
    sources = _several(_first(row, _SOURCES))
    return Question(
        id=str(_first(row, _IDS) or number),
        text=str(text),
        judged=dict.fromkeys(sources, 1),
        answers=tuple(filter(None, map(str.strip, _several(_first(row, _ANSWERS))))),
        changed=tuple(filter(None, map(str.strip, _several(_first(row, _CHANGED))))),
        answerable=str(row.get("answerable", True)).strip().lower() not in _NO,
    )


def _first(row: dict[str, Any], names: Iterable[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _several(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) and value.lstrip().startswith("["):  # a list in a CSV cell
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    many: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) for one in many)


def _rows(path: Path) -> list[dict[str, Any]]:
    table = read_table(path)
    rows = (zip(table.columns, row, strict=True) for row in table.rows)
    return [{name: cell for name, cell in row if cell is not None} for row in rows]


def _text(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"there is no file {path}", "check the path")
    warnings: list[str] = []
    text = read_text(path, warnings)
    for warning in warnings:
        log.warn(warning)
    return text


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
        how += f"; {unused:,} questions are beyond questions.test and questions.train"
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
