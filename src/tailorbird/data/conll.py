"""CoNLL files: a word per line, its label last, and an empty line after a sentence."""

from collections.abc import Iterator
from pathlib import Path

from tailorbird.data.table import Row, Stream, place_list
from tailorbird.data.textfile import lines_of, open_text
from tailorbird.errors import UserError

ENDINGS = (".conll", ".iob", ".iob2", ".bio")
_MOST_FAULTS = 5


def read_conll(path: Path) -> Stream:
    """Read a CoNLL file's sentences as lists of words and of labels.

    Columns between the first and the last are left out, as are ``-DOCSTART-`` lines and comments.

    Raises:
        UserError: While the rows pass: a line has a word and no label.
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
            f"{path}: a word of nothing but white space in {place_list('line', blank)}",
            "take these lines out",
        )
    if bad or not any_word:
        where = place_list("line", [*bad]) if bad else "the whole file"
        raise UserError(
            f"{path}: a word without a label in {where}",
            "write WORD LABEL on each line, and an empty line between sentences",
        )
    if words:
        yield start, (words, labels)
