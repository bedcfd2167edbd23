"""Batches texts of many requests for one model: admission, batching, supervised workers.

A free worker takes waiting texts without a time window. It sorts a limited number of them by length
and cuts them into batches whose padded size fits a budget; a text over the budget runs alone. Later
texts are considered once all of these are taken, so none waits forever.

On a CPU every core has a worker that computes its batches with one thread: two threads of one
product would wait for each other after every layer, for as long as a short product takes. A batch
that is alone gets the threads of all cores, always in the first worker: threads beyond the cores
may not spin (see `in_own_thread`).
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tailorbird.config.schema import ServeConfig
from tailorbird.processes import choose_threads
from tailorbird.serve.error_responses import RequestFault
from tailorbird.serve.prometheus import PrometheusCounters
from tailorbird.serve.supervised_queue import Fail, QueueWorker, SupervisedQueue, use_threads

LOOKAHEAD = 256
"""The most texts that are sorted by length together."""
_FIRST_RATE = 2000.0
_SMOOTHING = 0.2


@dataclass(eq=False)
class QueuedTexts:
    """The texts of one request.

    Attributes:
        outputs: One per text, as they are computed.
        missing: The number of missing outputs.
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


Item = tuple[QueuedTexts, int]


def make_batches(items: Sequence[Item], budget: int) -> list[list[Item]]:
    """Return batches of similar lengths, the shortest first, none over the budget but single ones.

    >>> job = QueuedTexts("abcd", [9, 1, 8, 2], 0.0, print)
    >>> [[i for _, i in batch] for batch in make_batches([(job, i) for i in range(4)], 16)]
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


class BatchQueue(SupervisedQueue):
    """The waiting texts of one model, and the threads that compute them in batches.

    Args:
        name: The model's, a label of the counters.
        compute: Maps texts to one output per text, in a sequence or an array.
        limits: Limits of the queue and the batches; `batch_tokens` must be set.
        counters: Counts batches.
        workers: Number of batches computed at the same time.
        own_threads: Whether each worker uses a single thread while others work.
    """

    def __init__(
        self, name: str, compute: Callable[[list[Any]], Any], limits: ServeConfig,
        counters: PrometheusCounters, workers: int = 1, own_threads: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(name, counters)
        assert limits.batch_tokens is not None
        self.limits, self._compute, self._batch_tokens = limits, compute, limits.batch_tokens
        self._queue: deque[Item] = deque()
        self._batches: deque[list[Item]] = deque()
        self._requests = self._inputs = self._tokens = 0
        self._own_threads = own_threads
        self.rate = _FIRST_RATE
        """Tokens that a worker computes in a second."""
        for _ in range(workers):
            self._start()

    # --- requests -----------------------------------------------------------------------------

    async def run(self, inputs: Sequence[Any], tokens: Sequence[int], seconds: float) -> list[Any]:
        """Return one output per text.

        Args:
            inputs: The texts.
            tokens: Their lengths.
            seconds: Time limit.

        Raises:
            RequestFault: Too much waits (429), no worker (503), too late (504), or a failure.
        """
        if not inputs:
            return []
        future = Future[None]()

        def finish(error: BaseException | None) -> None:
            with contextlib.suppress(InvalidStateError):  # cancelled, or another batch failed
                future.set_result(None) if error is None else future.set_exception(error)

        job = QueuedTexts(inputs, tokens, time.monotonic() + seconds, finish)
        self._admit(job)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wrap_future(future)
        except TimeoutError:
            raise RequestFault(504, f"no answer within {seconds:g} s", code="deadline") from None
        finally:
            self._withdraw(job)
        return job.outputs

    def check_capacity(self, inputs: int, tokens: int = 0, seconds: float = math.inf) -> None:
        """Refuse a request beyond the limits, before its texts are measured.

        Args:
            inputs: Texts.
            tokens: Their tokens.
            seconds: The remaining time; if the queue takes longer at the last measured speed, an
                immediate refusal is better than a late fault.

        Raises:
            RequestFault: Too much waits (429), or the queue is closed (503).
        """
        self._check_open(self._wait())
        full = self._requests >= self.limits.queue_requests
        full |= self._inputs + inputs > self.limits.queue_inputs
        # A request larger than the queue runs when nothing else waits.
        full |= bool(self._inputs) and self._tokens + tokens > self.limits.queue_tokens
        full |= self._wait() > seconds
        if full:
            raise self._overloaded(self._wait())

    def _admit(self, job: QueuedTexts) -> None:
        size = sum(job.tokens)
        with self._changed:
            self.check_capacity(len(job.inputs), size, job.deadline - time.monotonic())
            self._queue.extend((job, i) for i in range(len(job.inputs)))
            self._requests += 1
            self._count(len(job.inputs), size)
            self._changed.notify_all()

    def _wait(self) -> float:
        """Return the estimated waiting time in seconds, by the last measured speed."""
        return self._tokens / (self.rate * len(self._workers))

    def _count(self, inputs: int, tokens: int) -> None:
        self._inputs += inputs
        self._tokens += tokens
        self._counters.waiting.labels(self.name).set(self._inputs)

    def _withdraw(self, job: QueuedTexts) -> None:
        """Remove a job's waiting texts from the queue."""
        job.abandoned = True
        with self._changed:
            self._requests -= 1
            if not job.missing:
                return
            withdrawals = [item for item in self._queue if item[0] is job]
            if withdrawals:
                self._queue = deque(item for item in self._queue if item[0] is not job)
                self._count(-len(withdrawals), -sum(job.tokens[i] for _, i in withdrawals))

    # --- the worker ---------------------------------------------------------------------------

    def _work(self, worker: QueueWorker) -> None:
        while (batch := self._next(worker)) is not None:
            if not batch:
                continue
            error: BaseException | None = None
            outputs: Any = ()
            try:
                outputs = self._compute([job.inputs[i] for job, i in batch])
                assert len(outputs) == len(batch), "one output per text"
            except BaseException as problem:
                error = self._explain(problem)
            if not self._finish(worker, batch, outputs, error):
                return

    def _next(self, worker: QueueWorker) -> list[Item] | None:
        """Return the next batch without abandoned texts; None: the queue is closed."""
        with self._changed:
            while not self._has_work(worker):
                if worker.replaced or (self._closing and not (self._batches or self._queue)):
                    return None
                self._changed.wait()
            if worker.replaced:
                return None
            if not self._batches:
                window = [self._queue.popleft() for _ in range(min(LOOKAHEAD, len(self._queue)))]
                self._batches.extend(make_batches(window, self._batch_tokens))
            batch = self._batches.popleft()
            self._count(-len(batch), -sum(job.tokens[i] for job, i in batch))
            now = time.monotonic()
            batch = [item for item in batch if not item[0].abandoned and item[0].deadline > now]
            if self._own_threads:
                others = self._batches or self._queue or self._computed
                use_threads(1 if others else choose_threads().count)
            worker.batch, worker.beat = batch, now if batch else None
            self._changed.notify_all()
            return batch

    def _has_work(self, worker: QueueWorker) -> bool:
        """Return whether there is work for this worker; the first worker goes first."""
        first = self._workers[0]
        return bool(self._batches or self._queue) and (worker is first or first.beat is not None)

    def _finish(
        self, worker: QueueWorker, batch: list[Item], outputs: Any,
        error: BaseException | None,
    ) -> bool:  # fmt: skip
        """Deliver outputs; return False if this worker was replaced meanwhile."""
        with self._changed:
            if worker.replaced:
                return False
            assert worker.beat is not None
            began = worker.beat
            worker.batch, worker.beat = [], None
            seconds = time.monotonic() - began
            lengths = [job.tokens[i] for job, i in batch]
            if error is None:
                self.healthy, self._restarts = True, 0
                self.rate += _SMOOTHING * (sum(lengths) / max(seconds, 1e-6) - self.rate)
                for (job, i), output in zip(batch, outputs, strict=True):
                    job.outputs[i] = output
                    job.missing -= 1
                    if not job.missing:
                        job.finish(None)
        self._counters.batch(self.name, lengths, [began - job.arrival for job, _ in batch])
        if error is not None:
            _fail(batch, error)
        return True

    # --- supervision ---------------------------------------------------------------------------

    def _longest_step(self, worker: QueueWorker) -> float:
        longest = max((job.tokens[i] for job, i in worker.batch), default=0)
        return max(self.limits.stall_seconds, 10 * len(worker.batch) * longest / self.rate)

    def _failures(self, worker: QueueWorker) -> list[Fail]:
        return [partial(_fail, worker.batch)]

    @property
    def waiting(self) -> int:
        """The number of texts waiting or being computed."""
        return self._inputs + self._computed


def _fail(batch: Sequence[Item], error: BaseException) -> None:
    for job in {id(job): job for job, _ in batch}.values():
        job.abandoned = True
        job.finish(error)
