"""Generates answers of one model for many clients at once: admission, supervised worker.

Every waiting answer joins the running ones between two tokens (`models.continuous_batching`); a
disconnected client's row is dropped before the next token.
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
from tailorbird.config.schema import ServeConfig
from tailorbird.models.continuous_batching import RunningBatch, make_row
from tailorbird.models.generate import Sampling
from tailorbird.models.stopping_and_sampling import AnswerRow, TokenOdds
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
# Prompt tokens per second that any machine reaches.
_SLOWEST_PROMPT = 50.0
_PROMPT_TOKENS = 1024
"""Most prompt tokens read together, with padding, while running answers wait."""


@dataclass(eq=False)
class AnswerState:
    """The state of an answer.

    Attributes:
        text: The text so far.
        tokens: The number of generated tokens.
        ended: Whether the model or a stop string ended it; False: it reached a limit.
        done: Whether it is complete.
        odds: The tokens' log-probabilities, if requested, without those that end it.
    """

    text: str
    tokens: int
    ended: bool = False
    done: bool = False
    odds: Sequence[TokenOdds] = ()


@dataclass(eq=False)
class QueuedAnswer:
    """One answer that waits or is being generated.

    Attributes:
        loop: The event loop of the waiting client.
        pieces: Its state, each time that it has grown.
        count: The number of tokens in the pieces.
    """

    row: AnswerRow
    sampling: Sampling
    loop: asyncio.AbstractEventLoop
    pieces: "asyncio.Queue[AnswerState | BaseException]" = field(default_factory=asyncio.Queue)
    arrival: float = field(default_factory=time.monotonic)
    count: int = 0


def _snapshot(row: AnswerRow, done: bool = False) -> AnswerState:
    """Return the state of an answer."""
    text = row.text if done else row.ending.final_text(row.tokens)
    odds = [one for one in row.odds if one.token not in row.ending.ids]
    return AnswerState(text, len(row.tokens), row.ended, done, odds)


class GenerationQueue(SupervisedQueue):
    """The waiting answers of one generative model, and the thread that generates.

    Args:
        name: The model's, a label of the counters.
        answering: The model in evaluation mode, with its `tokenizer` and `device`.
        limits: The `serve` settings: concurrent answers, and the queue.
        counters: Counts tokens.
    """

    def __init__(
        self, name: str, answering: Any, limits: ServeConfig, counters: PrometheusCounters
    ) -> None:
        super().__init__(name, counters)
        self._limits, self._tokenizer = limits, answering.tokenizer
        self._model, self._device = answering.model, answering.device
        self._queue: deque[QueuedAnswer] = deque()
        self._seconds, self._step = _FIRST_SECONDS, 0.0
        self._start()

    async def write(
        self, prompt: np.ndarray, sampling: Sampling, seconds: float, top: int | None = None
    ) -> AsyncGenerator[AnswerState, None]:
        """Yield the answer as it grows; the last state is complete.

        Args:
            prompt: Token ids.
            sampling: The settings of generation.
            seconds: Time limit, after which the answer ends.
            top: How many of the most likely tokens to record; None: record nothing.

        Raises:
            RequestFault: No capacity (429), no worker (503), nothing in time (504), or the model
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
        """Return the complete answer; see `write`."""
        async with contextlib.aclosing(self.write(prompt, sampling, seconds, top)) as pieces:
            async for piece in pieces:
                last = piece
        return last

    def stream(
        self, prompt: np.ndarray, sampling: Sampling, seconds: float
    ) -> Iterator[AnswerState]:
        """Yield the answer as it grows, from a thread; see `write`."""

        async def following() -> AnswerState | None:
            return await anext(pieces, None)

        with asyncio.Runner() as loop:  # closing it ends the answer
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
            self._counters.waiting.labels(self.name).set(len(self._queue))
            self._changed.notify()

    def _withdraw(self, chat: QueuedAnswer) -> None:
        chat.row.abandoned = True
        with self._changed:
            if chat in self._queue:
                self._queue.remove(chat)
                self._counters.waiting.labels(self.name).set(len(self._queue))

    # --- the worker ---------------------------------------------------------------------------

    def _work(self, worker: QueueWorker) -> None:
        together = RunningBatch(self._model, self._device)
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
                    together = RunningBatch(self._model, self._device)
            with self._changed:
                if worker.replaced:
                    return
                self._settle(worker)

    def _next(self, worker: QueueWorker) -> list[QueuedAnswer]:
        """Return the answers to start now; empty: the running ones continue."""
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
            self._counters.waiting.labels(self.name).set(len(self._queue))
            worker.batch += joining
            # Reading prompts is one step, without progress in between.
            worker.beat += sum(len(chat.row.prompt) for chat in joining) / _SLOWEST_PROMPT
            return joining

    def _join(self, together: RunningBatch, joining: list[QueuedAnswer]) -> None:
        """Start answers together; if that fails, one by one, so that only the faulty ones fail."""
        pairs = [(chat.row, chat.sampling) for chat in joining]
        if len(joining) > 1:
            try:
                together.join(*pairs)
            except Exception:
                log.warn(
                    f"{self.name}: starting answers in one batch failed; they are started "
                    "one by one"
                )
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
        """Publish the answers' states, and release complete ones."""
        pieces: list[tuple[QueuedAnswer, AnswerState | BaseException]] = []
        for chat in worker.batch:
            row = chat.row
            if row.abandoned or len(row.tokens) == chat.count:
                continue
            if not chat.count:
                waited = time.monotonic() - chat.arrival
                self._counters.first_token_seconds.labels(self.name).observe(waited)
            chat.count = len(row.tokens)
            pieces.append((chat, _snapshot(row, row.done)))
            if row.done:
                self.healthy, self._restarts = True, 0
                took = time.monotonic() - chat.arrival
                self._seconds += _SMOOTHING * (took - self._seconds)
                self._counters.written_tokens.labels(self.name).inc(chat.count)
        _tell(pieces)
        worker.batch = [chat for chat in worker.batch if not chat.row.done]

    # --- supervision ---------------------------------------------------------------------------

    def _longest_step(self, worker: QueueWorker) -> float:
        return max(float(self._limits.stall_seconds), 10 * self._step)

    def _failures(self, worker: QueueWorker) -> list[Fail]:
        for chat in worker.batch:
            chat.row.abandoned = True
        batch: list[QueuedAnswer] = worker.batch
        return [lambda fault: _tell([(chat, fault) for chat in batch])]

    @property
    def waiting(self) -> int:
        """The number of answers waiting or being generated."""
        return len(self._queue) + self._computed


def _tell(pieces: Sequence[tuple[QueuedAnswer, AnswerState | BaseException]]) -> None:
    """Deliver pieces to the waiting clients, once per event loop, which wakes once for all."""

    def put(own: Sequence[tuple[QueuedAnswer, AnswerState | BaseException]]) -> None:
        for chat, piece in own:
            chat.pieces.put_nowait(piece)

    for loop in {chat.loop for chat, _ in pieces}:
        with contextlib.suppress(RuntimeError):  # the loop ended meanwhile
            loop.call_soon_threadsafe(put, [pair for pair in pieces if pair[0].loop is loop])
