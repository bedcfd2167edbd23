"""Readers of text files without columns: CoNLL's labelled words, and prose in blocks."""

from collections.abc import Iterator
from pathlib import Path

from tailorbird.data.message_words import place_list
from tailorbird.data.raw_rows import Row, Stream
from tailorbird.data.textfile import lines_of, open_text
from tailorbird.errors import UserError

ENDINGS = (".conll", ".iob", ".iob2", ".bio")
_MOST_FAULTS = 5

BLOCK_CHARACTERS = 2000
"""About 500 tokens of English: enough context, and short enough to hold many out."""


def read_conll(path: Path) -> Stream:
    """Read a CoNLL file's sentences as lists of words and of labels.

    Columns between the first and the last are ignored, as are ``-DOCSTART-`` lines and comments.

    Raises:
        UserError: During iteration: a line has a word and no label.
    """
    warnings: list[str] = []
    return Stream(path, _sentences(path, warnings), ["tokens", "labels"], warnings=warnings)


def _sentences(path: Path, warnings: list[str]) -> Iterator[tuple[int, Row]]:
    words: list[str] = []
    labels: list[str] = []
    bad: list[int] = []
    blank: list[int] = []
    start, any_word = 1, False
    with open_text(path, None, warnings) as file:
        for number, line in enumerate(lines_of(path, file), 1):
            cells = line.rstrip("\n").split("\t") if "\t" in line else line.split()
            if not line.strip():
                if words:
                    yield start, (words, labels)
                    words, labels = [], []
                continue
            if cells[0] == "-DOCSTART-" or (not words and line.startswith("# ")):
                continue
            if len(cells) < 2 or not cells[0].strip() or not cells[-1].strip():
                (bad if cells[0].strip() else blank).append(number)
                if len(bad) + len(blank) == _MOST_FAULTS:
                    break
                continue
            start, any_word = (start if words else number), True
            words.append(cells[0].strip())
            labels.append(cells[-1].strip())
    if blank:
        raise UserError(
            f"{path}: a word that is only white space in {place_list('line', blank)}",
            "remove these lines",
        )
    if bad or not any_word:
        where = place_list("line", [*bad]) if bad else "the whole file"
        raise UserError(
            f"{path}: a word without a label in {where}",
            "write WORD LABEL on each line, and an empty line between sentences",
        )
    if words:
        yield start, (words, labels)


def read_prose(path: Path) -> Stream:
    """Read a text file as blocks of whole paragraphs.

    Paragraphs, separated by blank lines, are joined up to 2,000 characters per block. A longer
    paragraph is a block of its own.

    Raises:
        UserError: During iteration: the file is empty or cannot be read.
    """
    note = (
        f"{path}: plain text, split into blocks of up to {BLOCK_CHARACTERS:,} characters between "
    )
    note += "paragraphs; whole blocks are held out"
    warnings: list[str] = []
    return Stream(path, _blocks(path, warnings), ["text"], notes=[note], warnings=warnings)


def _blocks(path: Path, warnings: list[str]) -> Iterator[tuple[int, Row]]:
    block: list[str] = []
    start, size = 1, 0
    for line, paragraph in _paragraphs(path, warnings):
        if block and size + 2 + len(paragraph) > BLOCK_CHARACTERS:
            yield start, ("\n\n".join(block),)
            block, size = [], 0
        if not block:
            start = line
        block.append(paragraph)
        size += len(paragraph) + 2
    if not block:
        raise UserError(f"{path}: the file is empty", "give a file that has text")
    yield start, ("\n\n".join(block),)


def _paragraphs(path: Path, warnings: list[str]) -> Iterator[tuple[int, str]]:
    """Yield each paragraph and the line it starts in."""
    lines: list[str] = []
    start = 1
    with open_text(path, None, warnings) as file:  # any line break, as "\n"
        for number, line in enumerate(lines_of(path, file), 1):
            if line.strip():
                start = start if lines else number
                lines.append(line.rstrip())
            elif lines:
                yield start, "\n".join(lines)
                lines = []
    if lines:
        yield start, "\n".join(lines)
