"""`tailor predict`: texts -> answers."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.arms.predictor import HeadPredictor
from tailorbird.arms.saved import arm_folder, load
from tailorbird.data.encode import Text, as_read
from tailorbird.data.examples import TaskChoice
from tailorbird.data.layout import PROSE, TABLES
from tailorbird.data.read import named_columns, read_examples
from tailorbird.data.sources import files_of
from tailorbird.data.tables import read_table
from tailorbird.data.textfile import kind_of
from tailorbird.documents.kinds import READERS, UNREAD
from tailorbird.errors import UserError
from tailorbird.records import TASKS, Target
from tailorbird.runs.folder import CONFIG, RunFolder
from tailorbird.runs.split import SPLIT, SplitFile
from tailorbird.tasks.job import is_written
from tailorbird.tasks.scoring import load_target

if TYPE_CHECKING:
    from tailorbird.arms.writer import Writer

_MEANT = "; a text that is called so: echo TEXT | tailor predict RUN"


def predict_lines(run: Path, texts: Sequence[Text], *, trust: bool = False) -> list[dict[str, Any]]:
    """Return one answer per text, or per pair of texts, and what it was given.

    Of labels: label, confidence, probabilities, neighbours; of several, labels instead; of numbers
    values.

    Raises:
        UserError: No such run, or an empty text.
    """
    _check_texts([part for text in texts for part in ([text] if isinstance(text, str) else text)])
    predictor = load(run, trust=trust)
    assert isinstance(predictor, HeadPredictor)
    found = predictor.predict(list(texts))
    return [
        _told(text, predictor.target) | asdict(prediction)
        for text, prediction in zip(texts, found, strict=True)
    ]


def _told(text: Text, target: Target) -> dict[str, Any]:
    if isinstance(text, str):
        return {"text": text}
    return {"text": text[0], "pair": text[1]} if target.pairs else {"text": " ".join(text)}


def pairs_in(run: Path, lines: Sequence[str]) -> list[Text]:
    """Return lines as the run reads them: of a run of pairs, two texts with a tab between.

    Raises:
        UserError: No such run, or a line without a tab.
    """
    folder = arm_folder(run)
    if is_written(folder) or not load_target(folder).pairs:
        return list(lines)
    cut = [tuple(line.split("\t", 1)) for line in lines]
    bad = [number for number, pair in enumerate(cut, 1) if len(pair) < 2]
    if bad:
        raise UserError(
            f"line {bad[0]} holds one text, and {run} reads pairs", "put a tab between two texts"
        )
    return list(cut)


def named_file(text: str) -> Path | None:
    """Return the file or folder that a text names; None of a text that is meant itself.

    Raises:
        UserError: It names a file that is not there, or one that holds no rows.
    """
    path = Path(text)
    folder, split, _ = text.rpartition("#")
    if not os.path.lexists(text) and not (split and os.path.lexists(folder)):
        if _looks_like_a_file(text):
            raise UserError(f"file {text} does not exist", f"check the path{_MEANT}")
        return None
    if path.is_file() and kind_of(path) in PROSE:
        raise UserError(
            f"{text}: plain text is not rows to predict",
            f"a text per line: tailor predict RUN < {text}; as a table: CSV, TSV, JSONL or Parquet",
        )
    try:
        files_of(text)
    except UserError as error:
        raise UserError(error.problem, f"{error.fix}{_MEANT}") from None
    return path


def _looks_like_a_file(text: str) -> bool:
    if any(map(str.isspace, text)) or "://" in text:
        return False
    path = Path(text)
    if text.startswith(("./", "../", "~/")) or (path.is_absolute() and len(path.parts) > 2):
        return True
    documents = (suffix for suffix, reader in READERS.items() if reader[0] != "code")
    return kind_of(path) in {*documents, *UNREAD, *TABLES, *PROSE} and len(kind_of(path)) > 3


def writes(run: Path) -> bool:
    """Say whether a run answers in words.

    Raises:
        UserError: No such run.
    """
    return is_written(arm_folder(run))


def written_lines(
    run: Path, texts: Sequence[str], *, trust: bool = False, **settings: Any
) -> list[dict[str, Any]]:
    """Return one answer per prompt: prompt, text, tokens, ended, neighbours.

    Raises:
        UserError: No such run, or an empty prompt.
    """
    _check_texts(texts)
    writer = _writer(run, trust, settings)
    found = writer.predict(list(texts), "answers" if len(texts) > 1 else "")
    return [{"prompt": text} | asdict(answer) for text, answer in zip(texts, found, strict=True)]


def written_file(
    run: Path, path: Path, column: str | None, *, trust: bool = False, **settings: Any
) -> list[dict[str, Any]]:
    """Return one answer per row of a file, with the row's own columns under ``row``.

    Raises:
        UserError: No such run, or a file that cannot be read.
    """
    loaded = read_examples(path, text=column, need_label=False, task="generation")
    table = read_table(path)
    writer = _writer(run, trust, settings)
    found = writer.predict(loaded.examples, "answers")
    return [
        {"prompt": example.text}
        | asdict(answer)
        | {"row": dict(zip(table.columns, table.rows[example.row - 1], strict=True))}
        for example, answer in zip(loaded.examples, found, strict=True)
    ]


def stream_answer(run: Path, text: str, *, trust: bool = False, **settings: Any) -> Iterator[str]:
    """Yield the answer to one prompt piece by piece as it is written.

    Raises:
        UserError: No such run, or an empty prompt.
    """
    _check_texts([text])
    yield from _writer(run, trust, settings).stream(text)


def _writer(run: Path, trust: bool, settings: dict[str, Any]) -> "Writer":
    from tailorbird.arms.writer import Writer

    predictor = load(run, trust=trust)
    assert isinstance(predictor, Writer)
    return predictor.sampled(**settings)


def _check_texts(texts: Sequence[str]) -> None:
    empty = [number for number, text in enumerate(texts, start=1) if not text.strip()]
    if empty or not texts:
        where = f"text {empty[0]}" if empty else "there"
        raise UserError(f"{where} is nothing to predict: it is empty", "give at least one word")


def predict_file(
    run: Path, path: Path, column: str | None, *, trust: bool = False
) -> list[dict[str, Any]]:
    """Return one answer per row of a file, with the row's own columns under ``row``.

    Raises:
        UserError: No such run, or a file that cannot be read.
    """
    like = None if column else trained_columns(run)
    if like is not None:
        like = {role: name for role, name in like.items() if role != "label"}
    task = load_target(arm_folder(run)).task
    # Only words are read otherwise than texts.
    words: TaskChoice = task if TASKS[task].per_word else "classification"
    loaded = read_examples(path, text=column, need_label=False, like=like, task=words)
    table = read_table(path, named_columns(column, None, like))
    rows = {
        e.row: dict(zip(table.columns, table.rows[e.row - 1], strict=True)) for e in loaded.examples
    }
    answers = predict_lines(run, [as_read(e) for e in loaded.examples], trust=trust)
    return [
        answer | {"row": rows[example.row]}
        for answer, example in zip(answers, loaded.examples, strict=True)
    ]


def trained_columns(run: Path) -> dict[str, str] | None:
    """Return the columns the run was trained on, which its user's other files likely share."""
    return trained_as(run).get("columns")


def trained_as(run: Path) -> dict[str, Any]:
    """Return how the rows were read that the run was trained on; nothing where it is not known."""
    for folder in (run, run.parent.parent):
        place = RunFolder(folder)
        if place.file(SPLIT).is_file() and place.file(CONFIG).is_file():
            return asdict(place.read_as(SPLIT, SplitFile))
    return {}
