"""Readers of judged questions: BEIR's layout, tables, and SQuAD's JSON."""

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tailorbird import log
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
