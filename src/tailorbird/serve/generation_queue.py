"""Answers that one model writes for many clients at once: admission, and a worker that is watched.

Every answer that waits joins those at work between two tokens (`models.continuous`); who leaves
takes nothing with them: their row is let go before the next token.
"""

import asyncio
import contextlib
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
from tailorbird.processes import choose_threads
from tailorbird.serve.error_responses import RequestFault
from tailorbird.serve.prometheus import PrometheusCounters
from tailorbird.serve.supervised_queue import (
    Fail,
    QueueWorker,
    StepThreads,
    SupervisedQueue,
    use_threads,
)

_FIRST_SECONDS = 2.0
_SMOOTHING = 0.2
# Tokens of a prompt that any machine reads in a second.
_SLOWEST_PROMPT = 50.0
_PROMPT_TOKENS = 1024
"""Tokens of prompts that are read together, padding included, while answers at work wait."""


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
class QueuedAnswer:
    """One answer that waits or is written.

    Attributes:
        loop: Where somebody waits for it.
        pieces: How far it is, each time that it has grown.
        count: Tokens that are among them.
    """

    row: AnswerRow
    sampling: Sampling
    loop: asyncio.AbstractEventLoop
    pieces: "asyncio.Queue[AnswerState | BaseException]" = field(default_factory=asyncio.Queue)
    arrival: float = field(default_factory=time.monotonic)
    count: int = 0


def _snapshot(row: AnswerRow, done: bool = False) -> AnswerState:
    """Return what of an answer can be shown."""
    text = row.text if done else row.ending.sure_text(row.tokens)
    odds = [one for one in row.odds if one.token not in row.ending.ids]
    return AnswerState(text, len(row.tokens), row.ended, done, odds)


class GenerationQueue(SupervisedQueue):
    """What waits for one writing model, and the thread that writes.

    Args:
        name: The model's, a label of the counters.
        model: In evaluation mode.
        tokenizer: Its tokenizer.
        device: Where, and in which number format.
        limits: `serve` of the settings: answers at once, and what may wait.
        counters: Where tokens are counted.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        device: Any,
        limits: Any,
        counters: PrometheusCounters,
    ) -> None:
        super().__init__(name, counters)
        self._limits = limits
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self._queue: deque[QueuedAnswer] = deque()
        self._seconds, self._step = _FIRST_SECONDS, 0.0
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
        row = make_row(self._model, self._tokenizer, prompt, sampling)
        row.top = top
        chat = QueuedAnswer(row, sampling, loop)
        self._admit(chat)
        end = loop.time() + seconds
        try:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        piece = await chat.pieces.get()
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

    def _admit(self, chat: QueuedAnswer) -> None:
        limits = self._limits
        with self._changed:
            self._check_open(self._seconds)
            tokens = sum(len(c.row.prompt) + c.row.limit for c in self._queue)
            own = len(chat.row.prompt) + chat.row.limit
            full = len(self._queue) >= limits.queue_inputs
            if full or (self._queue and tokens + own > limits.queue_tokens):
                raise self._overloaded(self._seconds * (1 + len(self._queue) / limits.chats))
            self._queue.append(chat)
            self._counters.waiting(self.name, len(self._queue))
            self._changed.notify()

    def _withdraw(self, chat: QueuedAnswer) -> None:
        chat.row.abandoned = True
        with self._changed:
            if chat in self._queue:
                self._queue.remove(chat)
                self._counters.waiting(self.name, len(self._queue))

    # --- the worker ---------------------------------------------------------------------------

    def _work(self, worker: QueueWorker) -> None:
        together = Together(self._model, self._device)
        most = choose_threads().count
        threads = StepThreads(most if self._device.kind == "cpu" else 1)
        while True:
            joining, began = self._next(worker), time.monotonic()
            if worker.replaced or not worker.batch:
                return
            if joining:
                use_threads(most)
                self._join(together, joining)
            else:
                use_threads(count := threads.choose())
                if self._try(worker.batch, together.step):
                    seconds = time.monotonic() - began
                    threads.note(count, seconds)
                    self._step += _SMOOTHING * (seconds - self._step)
                else:
                    together = Together(self._model, self._device)
            with self._changed:
                if worker.replaced:
                    return
                self._settle(worker)

    def _next(self, worker: QueueWorker) -> list[QueuedAnswer]:
        """Return answers that begin now; none: those at work go on."""
        with self._changed:
            while not (self._queue or worker.batch or self._closing or worker.replaced):
                worker.beat = None
                self._changed.wait()
            worker.beat = time.monotonic()
            if not self._queue or worker.replaced:
                return []
            joining: list[QueuedAnswer] = []
            longest = 0
            while self._queue and len(worker.batch) + len(joining) < self._limits.chats:
                longest = max(longest, len(self._queue[0].row.prompt))
                if joining and (len(joining) + 1) * longest > _PROMPT_TOKENS:
                    break
                joining.append(self._queue.popleft())
            self._counters.waiting(self.name, len(self._queue))
            worker.batch += joining
            # Prompts are one step: they show no sign of life meanwhile.
            worker.beat += sum(len(chat.row.prompt) for chat in joining) / _SLOWEST_PROMPT
            return joining

    def _join(self, together: Together, joining: list[QueuedAnswer]) -> None:
        """Let answers begin together; where that fails one by one, so that only the faulty do."""
        pairs = [(chat.row, chat.sampling) for chat in joining]
        if len(joining) > 1:
            try:
                together.join(*pairs)
            except Exception:
                log.warn(f"{self.name}: answers did not begin together, and begin one by one")
            else:
                return
        for chat, pair in zip(joining, pairs, strict=True):
            self._try([chat], partial(together.join, pair))

    def _try(self, chats: list[QueuedAnswer], compute: Callable[[], None]) -> bool:
        try:
            compute()
        except BaseException as error:
            fault = self._explain(error)
            for chat in chats:
                chat.row.abandoned = True
            _tell([(chat, fault) for chat in chats])
            return False
        return True

    def _settle(self, worker: QueueWorker) -> None:
        """Tell how far the answers are, and let go of all that are done."""
        pieces: list[tuple[QueuedAnswer, AnswerState | BaseException]] = []
        for chat in worker.batch:
            row = chat.row
            if row.abandoned or len(row.tokens) == chat.count:
                continue
            if not chat.count:
                self._counters.first_token(self.name, time.monotonic() - chat.arrival)
            chat.count = len(row.tokens)
            pieces.append((chat, _snapshot(row, row.done)))
            if row.done:
                self.healthy, self._restarts = True, 0
                took = time.monotonic() - chat.arrival
                self._seconds += _SMOOTHING * (took - self._seconds)
                self._counters.tokens(self.name, chat.count)
        _tell(pieces)
        worker.batch = [chat for chat in worker.batch if not chat.row.done]

    # --- what watches it ----------------------------------------------------------------------

    def _longest_step(self, worker: QueueWorker) -> float:
        return max(float(self._limits.stall_seconds), 10 * self._step)

    def _failures(self, worker: QueueWorker) -> list[Fail]:
        for chat in worker.batch:
            chat.row.abandoned = True
        batch: list[QueuedAnswer] = worker.batch
        return [lambda fault: _tell([(chat, fault) for chat in batch])]

    @property
    def waiting(self) -> int:
        """How many answers wait or are written."""
        return len(self._queue) + self._computed


def _tell(pieces: Sequence[tuple[QueuedAnswer, AnswerState | BaseException]]) -> None:
    """Hand pieces to those who wait for them: once per event loop, which wakes for all of them."""

    def put(own: Sequence[tuple[QueuedAnswer, AnswerState | BaseException]]) -> None:
        for chat, piece in own:
            chat.pieces.put_nowait(piece)

    for loop in {chat.loop for chat, _ in pieces}:
        with contextlib.suppress(RuntimeError):  # it ended meanwhile
            loop.call_soon_threadsafe(put, [pair for pair in pieces if pair[0].loop is loop])
