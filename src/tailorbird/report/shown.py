"""One batch as the model reads it, for the terminal: what is trained stands out."""

from collections.abc import Iterator, Sequence

from rich.text import Text

from tailorbird import log
from tailorbird.records import Piece

Letters = list[tuple[str, bool]]

WIDTH, LINES = 80, 30
_TITLE = "What the model is trained to write"
_TRAINED, _IGNORED = "bold green", "dim"
_CUT = (" … ", False)


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
    """Return the sequences in at most 29 lines of 80 columns, each cut in its middle if long."""
    each = max(2, (LINES - 1) // len(shown)) * (WIDTH - 4)
    return [line for pieces in shown for line in _wrapped(_cut(_letters(pieces), each), colour)]


def _letters(pieces: Sequence[Piece]) -> Letters:
    """Return the characters one by one; line breaks as a sign, to keep the lines few."""
    text = [(piece.text.replace("\r", "").replace("\n", "⏎"), piece.trained) for piece in pieces]
    return [(letter, trained) for part, trained in text for letter in part.replace("\t", " ")]


def _cut(letters: Letters, most: int) -> Letters:
    """Return the beginning and the end, where the last answer stops."""
    if len(letters) <= most:
        return letters
    half = most // 2
    return [*letters[:half], _CUT, *letters[-half + len(_CUT[0]) :]]


def _wrapped(letters: Letters, colour: bool) -> Iterator[Text]:
    """Yield lines, the first with a dash; brackets are closed and opened again at line ends."""
    room = WIDTH - 4 if colour else WIDTH - 8
    for start in range(0, len(letters), room):
        line = Text("- " if start == 0 else "  ")
        for text, trained in _runs(letters[start : start + room]):
            if colour:
                line.append(text, _TRAINED if trained else _IGNORED)
            else:
                line.append(f"[[{text}]]" if trained else text)
        yield line


def _runs(letters: Letters) -> Iterator[tuple[str, bool]]:
    run = ""
    for i, (letter, trained) in enumerate(letters):
        run += letter
        if i + 1 == len(letters) or letters[i + 1][1] != trained:
            yield run, trained
            run = ""
