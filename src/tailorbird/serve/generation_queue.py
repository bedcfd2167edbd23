"""Answers that one model writes for many clients at once: admission, and a worker that is watched.

Every answer that waits joins those at work between two tokens (`models.continuous`); who leaves
takes nothing with them: their row is let go before the next token.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.models.continuous_batching import Together, make_row
from tailorbird.models.generate import Sampling
from tailorbird.models.text_stream import AnswerRow, TokenOdds
from tailorbird.serve.batch_queue import explain_failure
from tailorbird.serve.error_responses import RequestFault
from tailorbird.serve.metrics import Metrics

_MOST_RESTARTS = 3
_FIRST_SECONDS = 2.0
_SMOOTHING = 0.2
# Tokens of a prompt that any machine reads in a second.
_SLOWEST_PROMPT = 50.0


@dataclass(eq=False)
class AnswerState:
    """An answer, or what of it is there.

    Attributes:
        text: So far.
        tokens: How many were written.
        ended: Whether the model ended it, or a stop string did; False: it reached a limit.
        done: Whether nothing more comes.
        odds: How likely each token was, where that was asked for; without those that end it.
    """

    text: str
    tokens: int
    ended: bool = False
    done: bool = False
    odds: Sequence[TokenOdds] = ()


@dataclass(eq=False)
class Chat:
    """One answer that waits or is written."""

    row: AnswerRow
    sampling: Sampling
    tell: Callable[[AnswerState | BaseException], None]
    arrival: float = field(default_factory=time.monotonic)
    begun: bool = False


def _snapshot(row: AnswerRow, done: bool = False) -> AnswerState:
    """Return what of an answer can be shown."""
    text = row.text if done else row.ending.sure_text(row.tokens)
    odds = [one for one in row.odds if one.token not in row.ending.ids]
    return AnswerState(text, len(row.tokens), row.ended, done, odds)


class ChatLane:
    """What waits for one writing model, and the thread that writes.

    Args:
        name: The model's, for metrics.
        model: In evaluation mode.
        tokenizer: Its tokenizer.
        device: Where, and in which number format.
        limits: `serve` of the settings: answers at once, and what may wait.
        metrics: Where tokens are counted.
    """

    def __init__(
        self, name: str, model: Any, tokenizer: Any, device: Any, limits: Any, metrics: Metrics
    ) -> None:
        self.name, self._limits, self._metrics = name, limits, metrics
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self._changed = threading.Condition()
        self._queue: deque[Chat] = deque()
        self._rows: list[Chat] = []
        self._beat = time.monotonic()
        self._busy = False
        self._generation = self._restarts = 0
        self._closing = False
        self._seconds, self._step = _FIRST_SECONDS, 0.0
        self.healthy = True
        self._start()

    async def write(
        self, prompt: np.ndarray, sampling: Sampling, seconds: float, top: int | None = None
    ) -> AsyncGenerator[AnswerState, None]:
        """Yield the answer as it grows; the last one is done.

        Args:
            prompt: Token ids.
            sampling: How it is written.
            seconds: Time until what is there is all there will be.
            top: Of how many of the likeliest tokens the odds are noted; None: of none.

        Raises:
            RequestFault: No room (429), no worker (503), nothing in time (504), or the model
                failed.
            UserError: The prompt leaves no room for an answer.
        """
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[AnswerState | BaseException] = asyncio.Queue()

        def tell(piece: AnswerState | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the server ended meanwhile
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        row = make_row(self._model, self._tokenizer, prompt, sampling)
        row.top = top
        row.on_token = lambda: tell(_snapshot(row))
        chat = Chat(row, sampling, tell)
        self._admit(chat)
        end = loop.time() + seconds
        try:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        piece = await pieces.get()
                except TimeoutError:
                    if not row.tokens:
                        why = f"no answer within {seconds:g} s"
                        raise RequestFault(504, why, code="deadline") from None
                    piece = _snapshot(row, done=True)
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
                if piece.done:
                    return
        finally:
            self._withdraw(chat)

    async def whole(
        self, prompt: np.ndarray, sampling: Sampling, seconds: float, top: int | None = None
    ) -> AnswerState:
        """Return the answer when it is done; see `write`."""
        async with contextlib.aclosing(self.write(prompt, sampling, seconds, top)) as pieces:
            async for piece in pieces:
                last = piece
        return last

    def stream(
        self, prompt: np.ndarray, sampling: Sampling, seconds: float
    ) -> Iterator[AnswerState]:
        """Yield the answer as it grows, for a thread that waits; see `write`."""

        async def following() -> AnswerState | None:
            return await anext(pieces, None)

        with asyncio.Runner() as loop:  # its end ends the answer
            pieces = self.write(prompt, sampling, seconds)
            while (piece := loop.run(following())) is not None:
                yield piece

    def _admit(self, chat: Chat) -> None:
        limits = self._limits
        with self._changed:
            if self._closing or self._restarts > _MOST_RESTARTS:
                self._metrics.reject(self.name, "closing" if self._closing else "dead")
                raise RequestFault(
                    503, "the server is ending" if self._closing else "the model's worker failed",
                    code="unavailable", retry_seconds=self._seconds,
                )  # fmt: skip
            tokens = sum(len(c.row.prompt) + c.row.limit for c in self._queue)
            own = len(chat.row.prompt) + chat.row.limit
            full = len(self._queue) >= limits.queue_inputs
            if full or (self._queue and tokens + own > limits.queue_tokens):
                self._metrics.reject(self.name, "full")
                wait = self._seconds * (1 + len(self._queue) / limits.chats)
                why = "too much waits for this model"
                raise RequestFault(429, why, code="overloaded", retry_seconds=wait)
            self._queue.append(chat)
            self._metrics.waiting(self.name, len(self._queue))
            self._changed.notify()

    def _withdraw(self, chat: Chat) -> None:
        chat.row.abandoned = True
        with self._changed:
            if chat in self._queue:
                self._queue.remove(chat)
                self._metrics.waiting(self.name, len(self._queue))

    # --- the worker ---------------------------------------------------------------------------

    def _start(self) -> None:
        self._generation += 1
        self._beat = time.monotonic()
        self._thread = threading.Thread(
            target=self._work, args=(self._generation,), name=f"chat-{self.name}", daemon=True
        )
        self._thread.start()

    def _work(self, generation: int) -> None:
        together = Together(self._model, self._device)
        while True:
            joining = self._next(generation)
            if generation != self._generation or (joining is None and not self._rows):
                return
            if joining is not None:
                self._try([joining], partial(together.join, joining.row, joining.sampling))
            elif self._try(self._rows, together.step):
                self._step += _SMOOTHING * (time.monotonic() - self._beat - self._step)
            else:
                together = Together(self._model, self._device)
            with self._changed:  # a new worker has rows of its own
                if generation != self._generation:
                    return
                self._settle()

    def _next(self, generation: int) -> Chat | None:
        """Return an answer that begins now; None: those at work go on."""
        with self._changed:
            self._beat, self._busy = time.monotonic(), bool(self._rows)
            while not (self._queue or self._rows or self._closing):
                if generation != self._generation:
                    return None
                self._changed.wait()
            self._beat, self._busy = time.monotonic(), True
            if not self._queue or len(self._rows) >= self._limits.chats:
                return None
            if generation != self._generation:
                return None
            chat = self._queue.popleft()
            self._metrics.waiting(self.name, len(self._queue))
            self._rows.append(chat)
            # A long prompt is one step: it shows no sign of life meanwhile.
            self._beat += len(chat.row.prompt) / _SLOWEST_PROMPT
            return chat

    def _try(self, chats: list[Chat], compute: Callable[[], None]) -> bool:
        try:
            compute()
        except BaseException as error:
            fault = explain_failure(error, self.name)
            for chat in list(chats):
                chat.row.abandoned = True
                chat.tell(fault)
            return False
        return True

    def _settle(self) -> None:
        """Tell those whose answers are done, and let go of all that are."""
        for chat in self._rows:
            row = chat.row
            if row.tokens and not chat.begun:
                chat.begun = True
                self._metrics.first_token(self.name, time.monotonic() - chat.arrival)
            if row.done and not row.abandoned:
                self.healthy, self._restarts = True, 0
                took = time.monotonic() - chat.arrival
                self._seconds += _SMOOTHING * (took - self._seconds)
                self._metrics.tokens(self.name, len(row.tokens))
                chat.tell(_snapshot(row, done=True))
        self._rows = [chat for chat in self._rows if not chat.row.done]

    # --- what watches it ----------------------------------------------------------------------

    def watch(self) -> None:
        """Replace a worker that ended or stalled; what it wrote fails, what waits does not."""
        with self._changed:
            allowed = max(self._limits.stall_seconds, 10 * self._step)
            stalled = self._busy and time.monotonic() - self._beat > allowed
            dead = not self._thread.is_alive() and not self._closing
            if not (stalled or dead) or self._restarts > _MOST_RESTARTS:
                return
            lost, self._rows = self._rows, []
            self._restarts += 1
            self.healthy, self._busy = False, False
            self._start()
        log.warn(f"the worker of {self.name} {'stalled' if stalled else 'ended'}: a new one began")
        for chat in lost:
            chat.row.abandoned = True
            why = "the model's worker stalled"
            chat.tell(RequestFault(503, why, code="worker", retry_seconds=1))

    @property
    def waiting(self) -> int:
        """How many answers wait or are written."""
        return len(self._queue) + len(self._rows)

    def close(self) -> None:
        """Take nothing more; what was begun is written to its end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
