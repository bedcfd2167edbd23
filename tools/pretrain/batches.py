"""Token streams: which row of which text comes when, as a function of the seed alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


def encode(texts: Sequence[str], tokenizer: Any, end: int | None = None) -> list[np.ndarray]:
    """Return each text's tokens; `end` closes each."""
    rows = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return [np.array([*row, end] if end is not None else row, dtype=np.int32) for row in rows]


@dataclass
class Stream:
    """Endless rows of equal length cut from shuffled documents.

    Each pass has an order of its own, and cuts elsewhere, so that no pass repeats the rows of
    another. Row `i` depends on the seed and `i` only, so a resumed run goes on where it was.

    Attributes:
        documents: Token arrays.
        length: Tokens in a row.
        seed: Of the orders.
        taken: How many rows were handed out: all the state there is.
    """

    documents: Sequence[np.ndarray]
    length: int
    seed: int
    taken: int = 0
    _rows: np.ndarray | None = field(default=None, repr=False)
    _pass: int = -1

    @property
    def rows_per_pass(self) -> int:
        """Return how many whole rows every pass has, wherever it cuts."""
        return max(1, sum(map(len, self.documents)) // self.length - 1)

    def take(self, count: int) -> torch.Tensor:
        """Return the next rows. `[count, length]`."""
        rows = [self._row(self.taken + i) for i in range(count)]
        self.taken += count
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    def _row(self, index: int) -> np.ndarray:
        number, within = divmod(index, self.rows_per_pass)
        if number != self._pass:
            self._rows, self._pass = self._shuffled(number), number
        assert self._rows is not None
        return self._rows[within]

    def _shuffled(self, number: int) -> np.ndarray:
        draw = np.random.default_rng([self.seed, number])
        order = draw.permutation(len(self.documents))
        line = np.concatenate([self.documents[i] for i in order])
        needed = self.rows_per_pass * self.length
        if len(line) < needed:
            line = np.resize(line, needed)
        start = draw.integers(0, max(1, len(line) - needed + 1))
        rows = line[start : start + needed].reshape(-1, self.length)
        # Long files would otherwise fill many batches in a row.
        return rows[draw.permutation(len(rows))]


@dataclass
class Mixture:
    """Rows of files, and in the last part of training longer rows, of conversations too.

    Short rows are cheaper and teach as much early on; the last part shows the model positions
    as far as it will be used.
    """

    files: Stream
    long_files: Stream
    chats: Stream
    chat_from: float
    chat_share: float

    def take(self, count: int, done: float) -> torch.Tensor:
        """Return the next `count` short rows' worth when the share `done` of training is over."""
        if done < self.chat_from:
            return self.files.take(count)
        count = max(2, count * self.files.length // self.long_files.length)
        chats = round(count * self.chat_share)
        parts = ((self.long_files, count - chats), (self.chats, chats))
        return torch.cat([stream.take(rows) for stream, rows in parts if rows])

    def state(self) -> dict[str, int]:
        """Return what `restore` needs."""
        return {name: getattr(self, name).taken for name in ("files", "long_files", "chats")}

    def restore(self, state: dict[str, int]) -> None:
        """Go on where another mixture of the same seed and texts was."""
        for name, taken in state.items():
            getattr(self, name).taken = taken
