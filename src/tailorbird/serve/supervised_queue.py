"""The base of a model's queues: admission, and supervised worker threads."""

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tailorbird import log
from tailorbird.errors import UserError, is_out_of_memory
from tailorbird.processes import choose_threads
from tailorbird.serve.error_responses import RequestFault, as_fault
from tailorbird.serve.prometheus import PrometheusCounters

_MOST_RESTARTS = 3
_TRY_EVERY = 8

Outcome = TypeVar("Outcome")
Fail = Callable[[RequestFault], None]
"""Ends one request with a fault."""


@dataclass(eq=False)
class QueueWorker:
    """A worker thread of a queue.

    Attributes:
        thread: The thread.
        beat: Start of the current step on the monotonic clock; None: it is idle.
        replaced: Whether another worker replaced it, so that its results are discarded.
        batch: The current batch.
    """

    thread: threading.Thread | None = None
    beat: float | None = None
    replaced: bool = False
    batch: list[Any] = field(default_factory=list)


class SupervisedQueue(ABC):
    """The queue of one model, and its worker threads.

    Args:
        name: The model's, a label of the counters.
        counters: Counts requests and batches.

    Attributes:
        healthy: False from the failure of a worker until the next one's first success.
    """

    def __init__(self, name: str, counters: PrometheusCounters) -> None:
        self.name, self._counters = name, counters
        self._changed = threading.Condition()
        self._workers: list[QueueWorker] = []
        self._restarts = 0
        self._closing = False
        self.healthy = True

    @abstractmethod
    def _work(self, worker: QueueWorker) -> None:
        """Work until the queue is closed or the worker is replaced."""

    @abstractmethod
    def _longest_step(self, worker: QueueWorker) -> float:
        """Return the seconds after which the worker's step counts as stalled."""

    @abstractmethod
    def _failures(self, worker: QueueWorker) -> Sequence[Fail]:
        """Return functions that fail each request of the worker's batch."""

    def _start(self) -> None:
        def work() -> None:
            use_threads(choose_threads().count)
            self._work(worker)

        worker = QueueWorker()
        worker.thread = threading.Thread(target=work, name=f"serve-{self.name}", daemon=True)
        self._workers.append(worker)
        worker.thread.start()

    def _check_open(self, retry_seconds: float) -> None:
        """Refuse requests if the queue is closed.

        Raises:
            RequestFault: 503.
        """
        if self._closing or self._restarts > _MOST_RESTARTS:
            reason = "closing" if self._closing else "dead"
            self._counters.rejected.labels(self.name, reason).inc()
            why = "the server is stopping" if self._closing else "the model's worker failed"
            raise RequestFault(503, why, code="unavailable", retry_seconds=retry_seconds)

    def _overloaded(self, retry_seconds: float) -> RequestFault:
        """Count a refusal and return it (429)."""
        self._counters.rejected.labels(self.name, "full").inc()
        why = "too many requests wait for this model"
        return RequestFault(429, why, code="overloaded", retry_seconds=retry_seconds)

    def watch(self) -> None:
        """Replace ended or stalled workers: their batches fail, waiting requests continue."""
        for worker in list(self._workers):
            with self._changed:
                took = 0.0 if worker.beat is None else time.monotonic() - worker.beat
                stalled = took > self._longest_step(worker)
                dead = not (self._closing or (worker.thread and worker.thread.is_alive()))
                if not (stalled or dead) or self._restarts > _MOST_RESTARTS:
                    continue
                worker.replaced = True
                self._workers.remove(worker)
                self._restarts += 1
                self.healthy = False
                failures = self._failures(worker)
                self._start()
            what = "stalled" if stalled else "ended"
            log.warn(f"the worker of {self.name} {what}: a new one was started")
            for fail in failures:
                why = "the model's worker stalled"
                fail(RequestFault(503, why, code="worker", retry_seconds=1))

    @property
    def _computed(self) -> int:
        """The number of texts or answers being computed."""
        return sum(len(worker.batch) for worker in self._workers)

    def close(self) -> None:
        """Refuse new requests; waiting ones are still computed."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _explain(self, error: BaseException) -> RequestFault:
        """Return the client's message for a failed step, without its texts."""
        if is_out_of_memory(error):
            from tailorbird.models.device import free_memory

            free_memory()
            log.warn(f"{self.name}: a batch did not fit into memory")
            why = "the batch did not fit into memory"
            return RequestFault(503, why, code="memory", retry_seconds=1)
        if isinstance(error, RequestFault | UserError):
            return as_fault(error)
        log.warn(f"{self.name}: a batch failed: {type(error).__name__}")
        return RequestFault(500, "the model failed on this batch", code="model_failed")


def use_threads(count: int) -> None:
    """Set the number of torch threads for products of this thread."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def in_own_thread(work: Callable[[], Outcome]) -> "Future[Outcome]":
    """Run `work` in a thread that ends with it, together with its compute threads.

    If the user lets threads spin (``GOMP_SPINCOUNT``), libgomp does so only while they are no more
    than the cores: threads that opened a model would count beside those that serve.
    """
    future = Future[Outcome]()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class StepThreads:
    """The number of threads for similar steps: the one that was recently fastest.

    Small products are done before threads have synchronised: with one of two threads the bundled
    tutor generates in six tenths of the time (`benchmarks/serve_peers.py --transformers`).

    Args:
        most: The maximum; halves of it are tried now and then.
    """

    def __init__(self, most: int) -> None:
        self._counts = [most >> i for i in range(most.bit_length())]
        self._seconds: dict[int, float] = {}
        self._steps = 0

    def choose(self) -> int:
        """Return the number for the next step."""
        self._steps += 1
        new = [count for count in self._counts if count not in self._seconds]
        turn, rest = divmod(self._steps, _TRY_EVERY)
        if new or not rest:
            return (new or self._counts)[turn % len(new or self._counts)]
        return min(self._seconds, key=self._seconds.__getitem__)

    def note(self, count: int, seconds: float) -> None:
        """Record the duration of a step with `count` threads; the last one has weight one half."""
        self._seconds[count] = (self._seconds.get(count, seconds) + seconds) / 2
