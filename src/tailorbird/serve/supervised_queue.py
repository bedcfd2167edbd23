"""What queues before a model share: admission, and worker threads that are watched."""

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
from tailorbird.serve.error_responses import RequestFault, of_user_error
from tailorbird.serve.prometheus import PrometheusCounters

_MOST_RESTARTS = 3
_TRY_EVERY = 8

Outcome = TypeVar("Outcome")
Fail = Callable[[RequestFault], None]
"""Ends one request with a fault."""


@dataclass(eq=False)
class QueueWorker:
    """A thread that works on a queue.

    Attributes:
        thread: The thread.
        beat: When the step began that it computes, on the monotonic clock; None: it waits.
        replaced: Whether another took its place: nobody waits for what it still computes.
        batch: What it computes.
    """

    thread: threading.Thread | None = None
    beat: float | None = None
    replaced: bool = False
    batch: list[Any] = field(default_factory=list)


class SupervisedQueue(ABC):
    """What waits for one model, and the threads that work on it.

    Args:
        name: The model's, a label of the counters.
        counters: Where requests and batches are counted.

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
        """Return the seconds after which the worker's step has stalled."""

    @abstractmethod
    def _failures(self, worker: QueueWorker) -> Sequence[Fail]:
        """Return what ends each request that the worker computes."""

    def _start(self) -> None:
        def work() -> None:
            use_threads(choose_threads().count)
            self._work(worker)

        worker = QueueWorker()
        worker.thread = threading.Thread(target=work, name=f"serve-{self.name}", daemon=True)
        self._workers.append(worker)
        worker.thread.start()

    def _check_open(self, retry_seconds: float) -> None:
        """Refuse everything where nothing is taken any more.

        Raises:
            RequestFault: 503.
        """
        if self._closing or self._restarts > _MOST_RESTARTS:
            self._counters.reject(self.name, "closing" if self._closing else "dead")
            why = "the server is ending" if self._closing else "the model's worker failed"
            raise RequestFault(503, why, code="unavailable", retry_seconds=retry_seconds)

    def _overloaded(self, retry_seconds: float) -> RequestFault:
        """Count a refusal and return it (429)."""
        self._counters.reject(self.name, "full")
        why = "too much waits for this model"
        return RequestFault(429, why, code="overloaded", retry_seconds=retry_seconds)

    def watch(self) -> None:
        """Replace workers that ended or stalled: their steps fail, what waits is still computed."""
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
            log.warn(f"the worker of {self.name} {what}: a new one began")
            for fail in failures:
                why = "the model's worker stalled"
                fail(RequestFault(503, why, code="worker", retry_seconds=1))

    @property
    def _computed(self) -> int:
        """How many texts or answers are computed now."""
        return sum(len(worker.batch) for worker in self._workers)

    def close(self) -> None:
        """Take nothing more; what waits is still computed."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _explain(self, error: BaseException) -> RequestFault:
        """Return what clients are told of a step that failed: nothing of its texts."""
        if isinstance(error, RequestFault):
            return error
        if isinstance(error, UserError) and not is_out_of_memory(error):
            return of_user_error(error)
        if is_out_of_memory(error):
            from tailorbird.models.device import free_memory

            free_memory()
            log.warn(f"{self.name}: a batch did not fit the memory")
            why = "the batch did not fit the memory"
            return RequestFault(503, why, code="memory", retry_seconds=1)
        log.warn(f"{self.name}: a batch failed: {type(error).__name__}")
        return RequestFault(500, "the model failed on this batch", code="model_failed")


def use_threads(count: int) -> None:
    """Let products of this thread be computed by so many, where torch computes them."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def in_own_thread(work: Callable[[], Outcome]) -> "Future[Outcome]":
    """Do something in a thread that ends with it, and so do the threads that compute for it.

    Where a person lets threads wait awake (``GOMP_SPINCOUNT``), libgomp does so while there are no
    more of them than cores: those that opened a model would count beside those that answer.
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
    """How many threads compute steps that are much alike: the number that lately was fastest.

    Small products are done before threads have found each other: the bundled tutor writes with one
    of two threads in six tenths of the time (`benchmarks/serve_peers.py --transformers`).

    Args:
        most: The most that there may be; halves of it are tried too, in turn now and then.
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
        """Note how long a step took with so many: the last one counts half."""
        self._seconds[count] = (self._seconds.get(count, seconds) + seconds) / 2
