"""Texts of many requests for one model: admission, batches, and a worker that is watched.

A free worker takes what waits, without a window of time. It looks at so many texts at once, sorts
them by length, and cuts them into batches whose padded length fits a budget; a text over the budget
runs alone. The next texts are looked at when all of these are done: none waits for ever.
"""

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tailorbird import log
from tailorbird.errors import UserError, is_out_of_memory
from tailorbird.serve.error_responses import RequestFault, of_user_error
from tailorbird.serve.metrics import Metrics

LOOKAHEAD = 256
"""Texts that are sorted by length at once."""
_MOST_RESTARTS = 3
_FIRST_RATE = 2000.0
_SMOOTHING = 0.2


@dataclass(frozen=True)
class Room:
    """What may wait for one model, and how much of it is computed at once.

    Attributes:
        inputs: Texts that may wait.
        tokens: Tokens that may wait.
        batch_tokens: Tokens of a batch, padding included.
        stall_seconds: Time without a sign of life after which a worker is replaced.
    """

    inputs: int
    tokens: int
    batch_tokens: int
    stall_seconds: float


@dataclass(eq=False)
class LaneJob:
    """The texts of one request.

    Attributes:
        outputs: One per text, as they come.
        missing: How many have not come.
        deadline: On the monotonic clock.
    """

    inputs: Sequence[Any]
    tokens: Sequence[int]
    deadline: float
    finish: Callable[[BaseException | None], None]
    arrival: float = field(default_factory=time.monotonic)
    outputs: list[Any] = field(default_factory=list)
    missing: int = 0
    abandoned: bool = False

    def __post_init__(self) -> None:
        self.missing = len(self.inputs)
        self.outputs = [None] * self.missing


Item = tuple[LaneJob, int]


def cut(items: Sequence[Item], budget: int) -> list[list[Item]]:
    """Return batches of similar lengths, the shortest first, none over the budget but single ones.

    >>> job = LaneJob("abcd", [9, 1, 8, 2], 0.0, print)
    >>> [[i for _, i in batch] for batch in cut([(job, i) for i in range(4)], 16)]
    [[1, 3], [2], [0]]
    """
    batches: list[list[Item]] = []
    for item in sorted(items, key=lambda item: item[0].tokens[item[1]]):
        width = item[0].tokens[item[1]]
        if batches and (len(batches[-1]) + 1) * width <= budget:
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches


class Lane:
    """The queue of one model and the thread that works on it.

    Args:
        name: The model's, for metrics.
        compute: Texts -> one output per text, in a sequence or an array.
        room: Limits.
        metrics: Where batches are counted.
    """

    def __init__(
        self, name: str, compute: Callable[[list[Any]], Any], room: Room, metrics: Metrics
    ) -> None:
        self.name, self.room = name, room
        self._compute, self._metrics = compute, metrics
        self._changed = threading.Condition()
        self._queue: deque[Item] = deque()
        self._batches: deque[list[Item]] = deque()
        self._current: list[Item] = []
        self._began = 0.0
        self._cost = 0
        self._generation = self._restarts = 0
        self._closing = False
        self._inputs = self._tokens = 0
        self.rate = _FIRST_RATE
        self.healthy = True
        self._start()

    # --- requests -----------------------------------------------------------------------------

    async def run(self, inputs: Sequence[Any], tokens: Sequence[int], seconds: float) -> list[Any]:
        """Return one output per text.

        Args:
            inputs: The texts.
            tokens: Their lengths.
            seconds: Time until it is given up.

        Raises:
            RequestFault: No room (429), no worker (503), too late (504), or the batch failed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        def finish(error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the server ended meanwhile
                loop.call_soon_threadsafe(settle, error)

        job = LaneJob(inputs, tokens, time.monotonic() + seconds, finish)
        if not inputs:
            return []
        self._admit(job)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            raise RequestFault(504, f"no answer within {seconds:g} s", code="deadline") from None
        finally:
            self._leave(job)
        return job.outputs

    def need_room(self, inputs: int, tokens: int = 0, seconds: float = math.inf) -> None:
        """Refuse what there is no room for; to ask before texts are measured costs them nothing.

        Args:
            inputs: Texts.
            tokens: Their tokens.
            seconds: Time that is left; what waits already takes longer, by the speed measured last:
                then a refusal at once helps more than a fault at the end.

        Raises:
            RequestFault: Too much waits (429), or nothing is taken any more (503).
        """
        if self._closing or self._restarts > _MOST_RESTARTS:
            self._metrics.reject(self.name, "closing" if self._closing else "dead")
            why = "the server is ending" if self._closing else "the model's worker failed"
            raise RequestFault(503, why, code="unavailable", retry_seconds=self._wait())
        full = self._inputs + inputs > self.room.inputs
        # A request that alone is larger than the queue runs when nothing else waits.
        full |= bool(self._inputs) and self._tokens + tokens > self.room.tokens
        full |= self._wait() > seconds
        if full:
            self._metrics.reject(self.name, "full")
            raise RequestFault(
                429, "too much waits for this model", code="overloaded", retry_seconds=self._wait()
            )

    def _admit(self, job: LaneJob) -> None:
        size = sum(job.tokens)
        with self._changed:
            self.need_room(len(job.inputs), size, job.deadline - time.monotonic())
            self._queue.extend((job, i) for i in range(len(job.inputs)))
            self._count(len(job.inputs), size)
            self._changed.notify()

    def _wait(self) -> float:
        """Return the seconds until what waits is computed, by the speed measured last."""
        return self._tokens / self.rate

    def _count(self, inputs: int, tokens: int) -> None:
        self._inputs += inputs
        self._tokens += tokens
        self._metrics.waiting(self.name, self._inputs)

    def _leave(self, job: LaneJob) -> None:
        """Take what still waits of a job out of the queue."""
        job.abandoned = True
        if not job.missing:
            return
        with self._changed:
            gone = [item for item in self._queue if item[0] is job]
            if gone:
                self._queue = deque(item for item in self._queue if item[0] is not job)
                self._count(-len(gone), -sum(job.tokens[i] for _, i in gone))

    # --- the worker ---------------------------------------------------------------------------

    def _start(self) -> None:
        self._generation += 1
        name = f"serve-{self.name}"
        self._thread = threading.Thread(
            target=self._work, args=(self._generation,), name=name, daemon=True
        )
        self._thread.start()

    def _work(self, generation: int) -> None:
        while (batch := self._next(generation)) is not None:
            if not batch:
                continue
            error: BaseException | None = None
            outputs: Any = ()
            try:
                outputs = self._compute([job.inputs[i] for job, i in batch])
                assert len(outputs) == len(batch), "one output per text"
            except BaseException as problem:
                error = explain_failure(problem, self.name)
            if not self._finish(generation, batch, outputs, error):
                return

    def _next(self, generation: int) -> list[Item] | None:
        """Return the next batch, less what nobody waits for any more; None: there is no more."""
        with self._changed:
            while not (self._batches or self._queue):
                if self._closing or generation != self._generation:
                    return None
                self._changed.wait()
            if generation != self._generation:
                return None
            if not self._batches:
                window = [self._queue.popleft() for _ in range(min(LOOKAHEAD, len(self._queue)))]
                self._batches.extend(cut(window, self.room.batch_tokens))
            batch = self._batches.popleft()
            self._count(-len(batch), -sum(job.tokens[i] for job, i in batch))
            now = time.monotonic()
            batch = [item for item in batch if not item[0].abandoned and item[0].deadline > now]
            self._current, self._began = batch, now
            self._cost = len(batch) * max((job.tokens[i] for job, i in batch), default=0)
            return batch

    def _finish(
        self, generation: int, batch: list[Item], outputs: Any,
        error: BaseException | None,
    ) -> bool:  # fmt: skip
        """Hand outputs on; return False when this worker was replaced meanwhile."""
        with self._changed:
            if generation != self._generation:
                return False
            began, self._current = self._began, []
            seconds = time.monotonic() - began
            lengths = [job.tokens[i] for job, i in batch]
            if error is None:
                self.healthy, self._restarts = True, 0
                self.rate += _SMOOTHING * (sum(lengths) / max(seconds, 1e-6) - self.rate)
        self._metrics.batch(self.name, lengths, [began - job.arrival for job, _ in batch])
        if error is not None:
            _fail(batch, error)
            return True
        for (job, i), output in zip(batch, outputs, strict=True):
            job.outputs[i] = output
            job.missing -= 1
            if not job.missing:
                job.finish(None)
        return True

    # --- what watches it ----------------------------------------------------------------------

    def watch(self) -> None:
        """Replace a worker that ended or stalled; its batch fails and the next is computed."""
        with self._changed:
            busy = bool(self._current)
            allowed = max(self.room.stall_seconds, 10 * self._cost / self.rate)
            stalled = busy and time.monotonic() - self._began > allowed
            dead = not self._thread.is_alive() and not self._closing
            if not (stalled or dead) or self._restarts > _MOST_RESTARTS:
                return
            lost, self._current = self._current, []
            self._restarts += 1
            self.healthy = False
            self._start()
        log.warn(f"the worker of {self.name} {'stalled' if stalled else 'ended'}: a new one began")
        _fail(lost, RequestFault(503, "the model's worker stalled", code="worker", retry_seconds=1))

    @property
    def waiting(self) -> int:
        """How many texts wait or are computed."""
        return self._inputs + len(self._current)

    def close(self) -> None:
        """Take nothing more; what waits is still computed."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()


def _fail(batch: Sequence[Item], error: BaseException) -> None:
    for job in {id(job): job for job, _ in batch}.values():
        job.abandoned = True
        job.finish(error)


def explain_failure(error: BaseException, name: str) -> RequestFault:
    """Return what clients are told of a batch that failed: nothing of its texts."""
    if isinstance(error, RequestFault):
        return error
    if isinstance(error, UserError) and not is_out_of_memory(error):
        return of_user_error(error)
    if is_out_of_memory(error):
        from tailorbird.models.device import free_memory

        free_memory()
        log.warn(f"{name}: a batch did not fit the memory")
        return RequestFault(503, "the batch did not fit the memory", code="memory", retry_seconds=1)
    log.warn(f"{name}: a batch failed: {type(error).__name__}")
    return RequestFault(500, "the model failed on this batch", code="model_failed")
