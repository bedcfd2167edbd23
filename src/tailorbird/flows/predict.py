"""`tailor predict`: predictions for texts or files."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailorbird.arms.predictor import Predictor, PredictorSpec
from tailorbird.arms.saved_arm import load, saved_kind
from tailorbird.data.encode import Text, as_read
from tailorbird.data.examples import Loaded, TaskChoice
from tailorbird.data.raw_rows import Table
from tailorbird.data.read import read_example_blocks
from tailorbird.data.sources import files_of
from tailorbird.data.split_files import PROSE, TABLES
from tailorbird.data.textfile import kind_of
from tailorbird.documents.file_kinds import READERS, UNREAD
from tailorbird.errors import UserError
from tailorbird.models.numpy_bert import FEW
from tailorbird.records import TASKS
from tailorbird.runs.finished_run import arm_folder
from tailorbird.runs.saved_split import trained_as
from tailorbird.tasks.arm_job import is_generative
from tailorbird.tasks.head_scoring import load_target

BLOCK = 10_000
"""The number of rows of a file that are predicted, and in memory, at a time."""
_INPUT_HINT = "; for a text that looks like a file name: echo TEXT | tailor predict RUN"


def predict_texts(
    run: Path, texts: Sequence[Text], *, trust: bool = False, **sampling: Any
) -> list[dict[str, Any]]:
    """Return one prediction per text, pair of texts or prompt, with its input.

    For one label: label, confidence, probabilities, neighbours; multilabel has labels; regression
    has values; generation has text, tokens, ended, neighbours.

    Raises:
        UserError: There is no such run, or a text is empty.
    """
    _check_texts([part for text in texts for part in ([text] if isinstance(text, str) else text)])
    predictor = _opened(run, trust, sampling, len(texts) <= FEW)
    title = "answers" if predictor.spec.streams and len(texts) > 1 else ""
    answers = predictor.predict(list(texts), title)
    return [
        _input(text, predictor.spec) | asdict(answer)
        for text, answer in zip(texts, answers, strict=True)
    ]


def _opened(run: Path, trust: bool, sampling: dict[str, Any], few: bool = False) -> Predictor:
    """Load the run; a generative one uses the `sampling` settings."""
    return load(run, trust=trust, few=few).sampled(**sampling)


def _input(text: Text, spec: PredictorSpec) -> dict[str, Any]:
    if isinstance(text, str):
        return {"prompt" if spec.streams else "text": text}
    return {"text": text[0], "pair": text[1]} if spec.pairs else {"text": " ".join(text)}


def pairs_in(run: Path, lines: Sequence[str]) -> list[Text]:
    """Return lines as inputs of the run: for a run on pairs, two texts separated by a tab.

    Raises:
        UserError: There is no such run, or a line has no tab.
    """
    folder = arm_folder(run)
    if is_generative(folder) or not load_target(folder).pairs:
        return list(lines)
    cut = [tuple(line.split("\t", 1)) for line in lines]
    bad = [number for number, pair in enumerate(cut, 1) if len(pair) < 2]
    if bad:
        raise UserError(
            f"line {bad[0]} holds one text, and {run} reads pairs", "put a tab between two texts"
        )
    return list(cut)


def named_file(text: str) -> Path | None:
    """Return the file or folder that a text names; None if the text is itself the input.

    Raises:
        UserError: The named file does not exist or is no file of rows.
    """
    path = Path(text)
    folder, split, _ = text.rpartition("#")
    if not os.path.lexists(text) and not (split and os.path.lexists(folder)):
        if _looks_like_a_file(text):
            raise UserError(f"file {text} does not exist", f"check the path{_INPUT_HINT}")
        return None
    if path.is_file() and kind_of(path) in PROSE:
        raise UserError(
            f"{text}: plain text has no rows to predict",
            f"give a text per line: tailor predict RUN < {text}; as a table: CSV, TSV, JSONL or "
            "Parquet",
        )
    try:
        files_of(text)
    except UserError as error:
        raise UserError(error.problem, f"{error.fix}{_INPUT_HINT}") from None
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
    """Return whether a run generates text.

    Raises:
        UserError: There is no such run.
    """
    return is_generative(arm_folder(run))


def stream_answer(run: Path, text: str, *, trust: bool = False, **sampling: Any) -> Iterator[str]:
    """Yield the answer to one prompt piece by piece as it is generated.

    Raises:
        UserError: There is no such run, or the prompt is empty.
    """
    _check_texts([text])
    yield from _opened(run, trust, sampling).stream(text)


def _check_texts(texts: Sequence[str]) -> None:
    empty = [number for number, text in enumerate(texts, start=1) if not text.strip()]
    if empty or not texts:
        where = f"text {empty[0]}" if empty else "there"
        raise UserError(f"{where} is empty: there is nothing to predict", "give at least one word")


@dataclass(frozen=True)
class FileAnswers:
    """The predictions for a file's rows, computed on demand.

    Attributes:
        blocks: Blocks of one prediction per row, with the row's own columns under ``row``.
    """

    columns: tuple[str, ...]
    count: int
    blocks: Iterator[list[dict[str, Any]]]


def predict_file(
    run: Path, path: Path, column: str | None, *, trust: bool = False, **sampling: Any
) -> FileAnswers:
    """Read a file once to check all of it, and again in blocks to predict its rows.

    Neither the rows nor the predictions are ever all in memory.

    Raises:
        UserError: There is no such run, or the file cannot be read.
    """
    task = saved_kind(arm_folder(run)).task
    spec = TASKS[task]
    # Other files of the user probably have the columns of the training file.
    like = trained_as(run).get("columns") if spec.head and not column else None
    like = {role: name for role, name in (like or {}).items() if role != "label"}
    # Only word-labelled rows and conversations have formats of their own.
    form: TaskChoice = task if spec.per_word else "classification" if spec.head else "generation"

    def read() -> Iterator[tuple[Table, Loaded]]:
        return read_example_blocks(path, BLOCK, text=column, need_label=False, like=like, task=form)

    columns: dict[str, None] = {}
    count = 0
    for table, loaded in read():
        columns |= dict.fromkeys(table.columns)
        count += len(loaded.examples)
        if spec.head:
            _check_texts([example.text for example in loaded.examples])
    predictor = _opened(run, trust, sampling)
    blocks = (_answered(predictor, spec.head, *block) for block in read())
    return FileAnswers(tuple(columns), count, blocks)


def _answered(
    predictor: Predictor, head: bool, table: Table, loaded: Loaded
) -> list[dict[str, Any]]:
    examples = loaded.examples
    if head:
        inputs: list[Any] = [as_read(example) for example in examples]
        answers = predictor.predict(inputs)
    else:
        inputs = [example.text for example in examples]
        answers = predictor.predict(list(examples), "answers")
    return [
        _input(text, predictor.spec)
        | asdict(answer)
        | {"row": dict(zip(table.columns, table.rows[example.row - 1], strict=True))}
        for text, example, answer in zip(inputs, examples, answers, strict=True)
    ]
