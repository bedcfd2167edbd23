"""Arranges words with places into lines in reading order."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from statistics import median

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_RAISED = re.compile(r"[-+\u2212]?\d{1,4}")
# Fractions of the font size: the largest distance of a word from its line, and from the word
# before.
_SAME_LINE = 0.45
_RAISED_LINE = 0.7
_PIECE_GAP = 1.0
_GUTTER = 0.8
_FEW_ROWS = 3
_LONGEST_ROW = 200


@dataclass(slots=True)
class Word:
    """A word and its place, rotated so that lines run to the right and pages downwards.

    Attributes:
        left: Its left edge, in points.
        base: Height of its baseline, increasing upwards.
        first: Place of its first letter among the page's characters.
        turn: Rotation of its page in quarter turns; -1 for a slanted word.
        joined: Whether no whitespace precedes it.
    """

    text: str
    left: float
    right: float
    base: float
    size: float
    first: int = 0
    turn: int = 0
    joined: bool = False


@dataclass(slots=True)
class Line:
    """A line of a page, or of one of its columns.

    Attributes:
        cells: Its parts between wide gaps.
        places: Start and end of each part.
        first: Place of its first letter among the page's characters.
        last: Place of its last word's first letter.
    """

    cells: tuple[str, ...]
    places: tuple[tuple[float, float], ...]
    left: float
    right: float
    base: float
    size: float
    first: int = 0
    last: int = 0
    turn: int = 0
    bold: bool = False

    @property
    def text(self) -> str:
        """Its cells joined."""
        return " ".join(self.cells)


Row = list["_Piece"]


class _Piece:
    """Consecutive words on a line without a wide gap."""

    __slots__ = ("_text", "base", "left", "right", "size", "words")

    def __init__(self, word: Word) -> None:
        self.words, self._text = [word], ""
        self.left, self.right, self.base, self.size = word.left, word.right, word.base, word.size

    def takes(self, word: Word) -> bool:
        last = self.words[-1]
        gap = max(word.left - last.right, last.left - word.right)
        wide = max(self.size, word.size)
        return -0.5 * wide <= gap <= _PIECE_GAP * wide and on_line(word, self)

    def add(self, word: Word) -> None:
        self.words.append(word)
        self._text = ""
        self.left, self.right = min(self.left, word.left), max(self.right, word.right)
        if word.size > 1.15 * self.size:  # the words before are superscript
            self.base, self.size = word.base, word.size

    @property
    def text(self) -> str:
        self._text = self._text or _piece_text(self.words)
        return self._text

    @property
    def backward(self) -> bool:
        return bool(_RIGHT_TO_LEFT.search(self.text))


def on_line(word: Word | _Piece, line: Word | _Piece) -> bool:
    """Return whether a word is on a line, or raised or lowered beside it."""
    low, high = sorted((word.size, line.size))
    return abs(word.base - line.base) <= (_RAISED_LINE if low < 0.85 * high else _SAME_LINE) * high


def read_lines(words: Sequence[Word]) -> list[Line]:
    """Return a page's lines in reading order, those of the main direction first."""
    turns = Counter(word.turn for word in words)
    lines: list[Line] = []
    for turn, _ in turns.most_common():
        rows = _rows(_pieces([word for word in words if word.turn == turn]))
        lines += [_line(row, turn) for row in _columns(rows, 0)]
    return lines


def _pieces(words: Sequence[Word]) -> list[_Piece]:
    pieces: list[_Piece] = []
    for word in words:
        if pieces and pieces[-1].takes(word):
            pieces[-1].add(word)
        else:
            pieces.append(_Piece(word))
    return pieces


def _rows(pieces: list[_Piece]) -> list[Row]:
    """Return pieces side by side as one row.

    The file's order is kept, unless it jumps up and down the page.
    """
    ups = sum(
        after.base > before.base + max(after.size, before.size)
        for before, after in zip(pieces, pieces[1:], strict=False)
    )
    if ups > 3 + 0.15 * len(pieces):
        pieces = sorted(pieces, key=lambda piece: -piece.base)
    rows: list[Row] = []
    for piece in pieces:
        last = rows[-1] if rows else []
        if 0 < len(last) < _LONGEST_ROW and on_line(piece, last[0]) and _beside(piece, last):
            last.append(piece)
        else:
            rows.append([piece])
    return _with_values(rows)


def _with_values(rows: list[Row]) -> list[Row]:
    """Return rows with values beside their names, if the file writes all names first."""
    starts = [i for i in range(1, len(rows)) if rows[i][0].base > rows[i - 1][0].base]
    ordered: list[Row] = []
    places: dict[int, Row] = {}
    for start, end in zip([0, *starts], [*starts, len(rows)], strict=True):
        column = rows[start:end]
        pairs = [(places.get(round(row[0].base)), row) for row in column]
        if len(column) > 1 and all(host and _value_of(row, host) for host, row in pairs):
            for host, row in pairs:
                (host or []).extend(row)
        else:
            ordered += column
            places |= {round(row[0].base): row for row in column}
    return ordered


def _value_of(row: Row, names: Row) -> bool:
    """Return whether a row continues another: it is a number, or the other ends in a colon."""
    free = len(names) < _LONGEST_ROW and all(_beside(piece, names) for piece in row)
    number = all(not any(map(str.isalpha, piece.text)) for piece in row)
    return free and (number or names[-1].text.endswith((":", "：")))


def _beside(piece: _Piece, row: Row) -> bool:
    slack = 0.3 * piece.size
    return all(
        piece.left >= other.right - slack or piece.right <= other.left + slack for other in row
    )


def _columns(rows: list[Row], depth: int) -> list[Row]:
    """Return rows so that columns of prose follow each other; table rows stay."""
    ordered: list[Row] = []
    at = 0
    while at < len(rows):
        end, gutter = _gutter(rows, at)
        if end == at or depth > 4:
            ordered.append(rows[at])
            at += 1
            continue
        start = at
        # Text above that is in the right column alone belongs to that column.
        while start and ordered and ordered[-1] is (above := rows[start - 1]):
            right_of = all(piece.left >= gutter[1] - 1 for piece in above)
            if not (right_of and _below(rows[start], above)):
                break
            ordered.pop()
            start -= 1
        for block, prose in _blocks(rows[start:end], gutter):
            left, right = _halves(block, gutter)
            if not prose:
                ordered += block
                continue
            if sum(piece.backward for row in right for piece in row) > len(right) / 2:
                left, right = right, left
            ordered += _columns(left, depth + 1) + _columns(right, depth + 1)
        at = end
    return ordered


def _blocks(rows: list[Row], gutter: tuple[float, float]) -> Iterator[tuple[list[Row], bool]]:
    """Yield groups of rows that share a gap, and whether each group is columns of prose.

    A heading or a list between columns of prose belongs to them, one below them does not.
    """
    steps = [above[0].base - row[0].base for above, row in zip(rows, rows[1:], strict=False)]
    cuts = [i for i, step in enumerate(steps, 1) if step > 1.5 * median(steps)]
    columns: list[Row] = []
    between: list[Row] = []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        block = rows[start:end]
        left, right = _halves(block, gutter)
        if left and right and _prose(left) and _prose(right):
            columns += between + block if columns else block
            between = []
        elif columns and (len(block) < _FEW_ROWS or not (left and right)):
            between += block
        else:
            if columns:
                yield columns, True
            yield between + block, False
            columns, between = [], []
    if columns:
        yield columns, True
    if between:
        yield between, False


def _gutter(rows: list[Row], at: int) -> tuple[int, tuple[float, float]]:
    """Return the end of the rows that share a gap with the one at `at`, and the gap."""
    best = (at, (0.0, 0.0))
    # Lines of two columns may have different heights.
    pair = rows[at] + (rows[at + 1] if at + 1 < len(rows) else [])
    row = sorted(pair, key=lambda piece: piece.left)
    for before, after in zip(row[:6], row[1:7], strict=False):
        low, high, end = before.right, after.left, at
        halves = [0, 0]
        while end < len(rows) and (end == at or _below(rows[end], rows[end - 1])):
            shared = _narrow(rows[end], low, high)
            if shared is None:
                break
            low, high = shared
            halves[0] += any(piece.left < low for piece in rows[end])
            halves[1] += any(piece.left >= high for piece in rows[end])
            end += 1
        if min(halves) >= _FEW_ROWS and end > best[0]:
            best = (end, (low, high))
    return best


def _narrow(row: Row, low: float, high: float) -> tuple[float, float] | None:
    """Return the part of a gap that a row leaves free, or None."""
    middle = (low + high) / 2
    for piece in row:
        if (piece.left + piece.right) / 2 < middle:
            low = max(low, piece.right)
        else:
            high = min(high, piece.left)
    return (low, high) if high - low >= _GUTTER * row[0].size else None


def _below(row: Row, above: Row) -> bool:
    """Return whether a row is the next one down, or nearly."""
    distance = above[0].base - row[0].base
    return 0 < distance < 4 * max(row[0].size, above[0].size)


def _halves(rows: list[Row], gutter: tuple[float, float]) -> tuple[list[Row], list[Row]]:
    """Return the parts of rows left and right of a gap."""
    middle = sum(gutter) / 2
    left = [[piece for piece in row if piece.left < middle] for row in rows]
    right = [[piece for piece in row if piece.left >= middle] for row in rows]
    return [row for row in left if row], [row for row in right if row]


def _prose(rows: list[Row]) -> bool:
    """Return whether rows are lines of continuous sentences, not cells of a table."""
    texts = [" ".join(piece.text for piece in row) for row in rows]
    words = [word for text in texts for word in text.split()]
    if any("\u3040" <= char <= "\u9fff" for char in texts[0]):
        words = [char for text in texts for char in text]
    numbers = sum(not any(map(str.isalpha, word)) for word in words)
    if len(words) < 3 * len(rows) or 3 * numbers > len(words):
        return False
    widths = [max(p.right for p in row) - min(p.left for p in row) for row in rows]
    # A paragraph's last line says nothing about the width of lines.
    full = median(widths) / max(widths)
    following = [text[:1].islower() for text in texts[1:]]
    goes_on = sum(following) >= 0.3 * len(following)
    return full >= 0.8 or (goes_on and full >= 0.55)


def _line(row: Row, turn: int) -> Line:
    backward = sum(piece.backward for piece in row) > len(row) / 2
    row = sorted(row, key=lambda piece: -piece.right if backward else piece.left)
    letters: Counter[float] = Counter()
    for word in chain.from_iterable(piece.words for piece in row):
        letters[word.size] += len(word.text)
    biggest = max(row, key=lambda piece: piece.size)
    cells: list[str] = []
    places: list[tuple[float, float]] = []
    for piece, before in zip(row, [None, *row], strict=False):
        # A superscript belongs to the word before it, at any distance.
        if before and _is_raised(piece.words[0], before.words[-1]):
            cells[-1] += "^" + piece.text
            places[-1] = (places[-1][0], piece.right)
        else:
            cells.append(piece.text)
            places.append((piece.left, piece.right))
    return Line(
        cells=tuple(cells),
        places=tuple(places),
        left=min(piece.left for piece in row),
        right=max(piece.right for piece in row),
        base=biggest.base,
        size=round(letters.most_common(1)[0][0], 1),
        first=row[0].words[0].first,
        last=row[-1].words[-1].first,
        turn=turn,
    )


def _is_raised(word: Word, before: Word) -> bool:
    return (
        word.size < 0.85 * before.size
        and word.base > before.base + 0.15 * before.size
        and word.left - before.right < 0.35 * before.size
        and _RAISED.fullmatch(word.text) is not None
    )


def _piece_text(words: Sequence[Word]) -> str:
    parts: list[str] = []
    before: Word | None = None
    for word in _forward(words):
        if before is None:
            parts.append(word.text)
            before = word
        elif _is_raised(word, before):
            # The next words are on the line of the word before, so `before` stays.
            parts.append("^" + word.text)
            before = replace(before, right=word.right)
        else:
            lowered = word.size < 0.85 * before.size and word.text.isdigit()
            glued = (word.joined or lowered) and word.left - before.right < 0.12 * word.size
            parts.append(word.text if glued else " " + word.text)
            before = word
    return "".join(parts)


def _forward(words: Sequence[Word]) -> Sequence[Word]:
    """Return words in logical order: right-to-left words in visual order are reversed."""
    backward = [bool(_RIGHT_TO_LEFT.search(word.text)) for word in words]
    if not any(backward):
        return words
    ordered: list[Word] = []
    for right_to_left, group in groupby(zip(words, backward, strict=True), lambda pair: pair[1]):
        run = [word for word, _ in group]
        ordered += run[::-1] if right_to_left and run[0].left < run[-1].left else run
    return ordered
