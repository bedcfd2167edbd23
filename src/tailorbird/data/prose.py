"""Plain text to blocks: what a model reads on in, without rows or columns."""

from collections.abc import Iterator
from pathlib import Path

from tailorbird.data.table import Row, Stream
from tailorbird.data.textfile import lines_of, open_text
from tailorbird.errors import UserError

BLOCK_CHARACTERS = 2000
"""Some 500 tokens of English: enough to learn from, short enough that many can be held out."""


def read_prose(path: Path) -> Stream:
    """Read a text file as blocks of whole paragraphs.

    Paragraphs, which blank lines part, are joined as long as a block stays within 2,000
    characters. A longer paragraph is a block of its own.

    Raises:
        UserError: While the blocks pass: the file is empty or cannot be read.
    """
    note = f"{path}: plain text, cut into blocks of up to {BLOCK_CHARACTERS:,} characters between "
    note += "paragraphs; blocks are what is held out"
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
