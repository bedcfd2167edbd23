"""The state of an answer during generation: its end, and the text that is final."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

# A character may span several tokens; its incomplete bytes decode to this.
_BROKEN = "\ufffd"
_BYTES_PER_CHARACTER = 4
# Some decoders treat the first token differently from the others.
_MARGIN_TOKENS = 4
# Fewer answers than this stay in their batch: a smaller one would be no faster.
_FEW = 4


@dataclass(frozen=True)
class Ending:
    """The conditions that end an answer.

    Attributes:
        ids: Tokens that end it; they are not part of its text.
    """

    tokenizer: Any
    ids: frozenset[int]
    stop: tuple[str, ...]

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of an answer's tokens, up to a stop string, without special tokens."""
        text = self._whole(tokens)
        starts = [start for start in (text.find(stop) for stop in self.stop) if start >= 0]
        return text[: min(starts)] if starts else text

    def final_text(self, tokens: Sequence[int]) -> str:
        """Return the text that is final: whole characters that begin no stop string."""
        text = self.text(tokens)
        return text[: len(text) - max((_overlap(text, stop) for stop in self.stop), default=0)]

    def stops(self, tokens: Sequence[int]) -> bool:
        """Return whether the last token completed a stop string."""
        if not self.stop:
            return False
        longest = max(len(stop.encode()) for stop in self.stop)
        tail = self._decode(tokens[-(longest + _MARGIN_TOKENS) :])
        if not any(stop in tail for stop in self.stop):
            return False
        text = self._decode(tokens)
        return any(stop in text for stop in self.stop)

    def _whole(self, tokens: Sequence[int]) -> str:
        """Return the text without an incomplete character at its end."""
        # Token by token, since a decoder may drop a whole run of bytes if the last are incomplete.
        for missing in range(_BYTES_PER_CHARACTER):
            text = self._decode(tokens[: len(tokens) - missing])
            if not text.endswith(_BROKEN):
                return text
        return text.rstrip(_BROKEN)

    def _decode(self, tokens: Sequence[int]) -> str:
        plain = [token for token in tokens if token not in self.ids]
        # Clean-up would remove spaces in code and quotations.
        text: str = self.tokenizer.decode(
            plain, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` may begin `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)


@dataclass(frozen=True)
class TokenOdds:
    """A token's log-probability by the model's own distribution, before any processing.

    Attributes:
        log: Natural logarithm of its probability.
        best: The most likely tokens with theirs, in descending order.
    """

    token: int
    log: float
    best: tuple[tuple[int, float], ...] = ()


@dataclass
class AnswerRow:
    """One prompt and the tokens generated so far.

    Attributes:
        limit: The most tokens to generate.
        chances: A number in [0, 1) for each of them, which decides the draw; empty for greedy.
        on_token: Called after every token.
        top: How many of the most likely tokens to record; None: record nothing.
    """

    index: int
    prompt: np.ndarray
    limit: int
    ending: Ending
    chances: np.ndarray
    on_token: Callable[[], None] | None = None
    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    abandoned: bool = False
    top: int | None = None
    odds: list[TokenOdds] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self.ended or self.abandoned or len(self.tokens) >= self.limit

    @property
    def ids(self) -> np.ndarray:
        """The prompt and the generated tokens."""
        return np.concatenate([self.prompt, np.asarray(self.tokens, dtype=self.prompt.dtype)])

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.ending.text(self.tokens)

    def take(self, token: int) -> None:
        """Add a token, unless the answer is complete."""
        if self.done:
            return
        self.tokens.append(token)
        self.ended = token in self.ending.ids or self.ending.stops(self.tokens)
        if self.on_token is not None:
            self.on_token()


class MostRowsDone:
    """Records each row's tokens, and ends a batch once at most a quarter of it is incomplete.

    Incomplete rows continue in a fuller batch, instead of computing complete ones for nothing. But
    their prompts are then read again: when batches ended at half, answers of at most 56 tokens took
    a CPU a quarter longer. So long prompts with fewer tokens left than would be read again stay in
    their batch. Called as a stopping criterion by transformers.
    """

    def __init__(self, rows: Sequence[AnswerRow]) -> None:
        self.rows = rows
        self.enough = len(rows) // 4 if len(rows) > _FEW else 0

    def __call__(self, ids: "torch.Tensor", scores: Any, **_: Any) -> "torch.Tensor":
        """Record the last token of ``ids [batch, seq]``; return which rows are done ``[batch]``."""
        import torch

        for row, token in zip(self.rows, ids[:, -1].tolist(), strict=True):
            row.take(token)
        done = torch.tensor([row.done for row in self.rows], device=ids.device)
        left = [row for row in self.rows if not row.done]
        return done | (len(left) <= self.enough and self._pays(left))

    def _pays(self, left: Sequence[AnswerRow]) -> bool:
        """Return whether continuing wastes more on complete rows than reading prompts again."""
        steps = max((row.limit - len(row.tokens) for row in left), default=0)
        again = sum(len(row.prompt) + len(row.tokens) for row in left)
        return again <= steps * (len(self.rows) - len(left))


class SeededDraw:
    """Draws tokens by numbers of the row, independent of the batch and other random generators.

    A logits processor: it leaves only the drawn token possible, which is then the most likely. The
    draw is the inverse of the cumulative distribution at the row's number.
    """

    def __init__(self, rows: Sequence[AnswerRow], warpers: Sequence[Any]) -> None:
        self.warpers = warpers
        self.rows = rows
        self.step = 0
        self.starts = [len(row.tokens) for row in rows]

    def __call__(self, ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Return ``scores [batch, vocabulary]`` with only the drawn token left."""
        import torch

        places = [start + self.step for start in self.starts]
        tokens = draw_tokens(self.rows, self.warpers, ids, scores, places)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


def draw_tokens(
    rows: Sequence[AnswerRow], warpers: Sequence[Any], ids: "torch.Tensor | None",
    scores: "torch.Tensor", places: Sequence[int],
) -> "torch.Tensor":  # fmt: skip
    """Return the token ``[batch]`` that each row's number draws.

    Args:
        ids: The tokens before, ``[batch, seq]``; no present warper uses them.
        scores: ``[batch, vocabulary]``.
        places: The index of each row's number.
    """
    import torch

    for warper in warpers:
        scores = warper(ids, scores)
    wide = scores if scores.device.type == "mps" else scores.double()  # mps has no float64
    sums = torch.softmax(wide, dim=-1).cumsum(dim=-1)
    numbers = torch.tensor(
        [
            # A complete row has no numbers left, and its draws are ignored.
            row.chances[min(place, len(row.chances) - 1)]
            for row, place in zip(rows, places, strict=True)
        ],
        dtype=sums.dtype,
        device=sums.device,
    )
    places_in_vocabulary = torch.searchsorted(sums, numbers[:, None] * sums[:, -1:], right=True)
    return places_in_vocabulary.clamp_(max=scores.shape[-1] - 1)[:, 0]
