"""One batch as the model reads it, for the terminal: what is trained stands out."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.text import Text

from tailorbird import log
from tailorbird.records import Piece

Letters = list[tuple[str, bool]]

WIDTH, LINES = 80, 30
_TITLE = "What the model is trained to write"
_TRAINED, _IGNORED = "bold green", "dim"


def tell_shown(shown: Sequence[Sequence[Piece]]) -> None:
    """Print a few training sequences; trained parts green, or in [[brackets]] without colours."""
    if not shown:
        return
    screen = log.console()
    how = "green and bold" if screen.color_system else "in [[double brackets]]"
    screen.print(Text(f"{_TITLE} ({how}), after what it only reads:"))
    for line in lines_of(shown, colour=bool(screen.color_system)):
        screen.print(line)


def lines_of(shown: Sequence[Sequence[Piece]], *, colour: bool) -> list[Text]:
    """Return the sequences in at most 29 lines of 80 columns; long ones without their middle."""
    most = max(3, (LINES - 1) // len(shown))
    lines: list[Text] = []
    for pieces in shown[: LINES // 3]:
        own = list(_wrapped(_letters(pieces), colour))
        if len(own) > most:
            # The end stays: it shows whether the model is taught to stop.
            head = most // 2
            own = [*own[:head], Text("  ..."), *own[head + 1 - most :]]
        lines += own
    return lines


def _letters(pieces: Sequence[Piece]) -> Letters:
    """Return the characters one by one, line breaks and other control characters as signs."""
    return [
        ("⏎" if letter == "\n" else letter if letter.isprintable() else "·", piece.trained)
        for piece in pieces
        for letter in piece.text
    ]


def _wrapped(letters: Letters, colour: bool) -> Iterator[Text]:
    """Yield lines, the first with a dash; brackets are closed and opened again at line ends."""
    marks = 0 if colour else len("[[]]")
    start = used = 0
    for i, (letter, trained) in enumerate(letters):
        opens = trained and (i == start or not letters[i - 1][1])
        needs = cell_len(letter) + marks * opens
        if used + needs > WIDTH - 2:
            yield _line(letters[start:i], start == 0, colour)
            start, used = i, 0
            needs = cell_len(letter) + marks * trained
        used += needs
    if start < len(letters):
        yield _line(letters[start:], start == 0, colour)


def _line(letters: Letters, first: bool, colour: bool) -> Text:
    line = Text("- " if first else "  ")
    for trained, run in groupby(letters, key=lambda pair: pair[1]):
        text = "".join(letter for letter, _ in run)
        if colour:
            line.append(text, _TRAINED if trained else _IGNORED)
        else:
            line.append(f"[[{text}]]" if trained else text)
    return line
