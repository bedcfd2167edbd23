"""Batches of many requests: what is computed together, what is refused, what a failure costs."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tailorbird.config.schema import ServeConfig
from tailorbird.errors import UserError
from tailorbird.processes import choose_threads
from tailorbird.serve.batch_queue import BatchQueue, QueuedTexts, make_batches
from tailorbird.serve.error_responses import RequestFault
from tailorbird.serve.prometheus import PrometheusCounters
from tailorbird.serve.supervised_queue import StepThreads


def queue_of(compute: Callable[[list[Any]], Any], **limits: Any) -> BatchQueue:
    usual = {
        "queue_requests": 512,
        "queue_inputs": 64,
        "queue_tokens": 4096,
        "batch_tokens": 32,
        "stall_seconds": 5.0,
    }
    workers = limits.pop("workers", 1)
    settings = ServeConfig().model_copy(update=usual | limits)
    return BatchQueue("small", compute, settings, PrometheusCounters(), workers, workers > 1)


class Recorder:
    """Doubles numbers, remembers its batches, and waits where it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Event()

    def __call__(self, inputs: list[int]) -> list[int]:
        self.batches.append(list(inputs))
        self.begun.set()
        assert self.open.wait(10)
        return [2 * x for x in inputs]


def test_batches_fit_the_budget_and_hold_like_lengths() -> None:
    lengths = [3, 100, 5, 4, 30, 6, 29, 1]
    job = QueuedTexts(range(8), lengths, 0.0, lambda error: None)
    batches = [
        [lengths[i] for _, i in batch] for batch in make_batches([(job, i) for i in range(8)], 32)
    ]
    # 100 is over the budget: alone. 5 x 6 = 30 fits, 6 with them (36) would not.
    assert batches == [[1, 3, 4, 5, 6], [29], [30], [100]]
    assert all(len(batch) * max(batch) <= 32 or len(batch) == 1 for batch in batches)


def test_requests_that_wait_are_computed_together_and_answered_apart() -> None:
    work = Recorder()
    queue = queue_of(work)

    async def ask() -> list[list[int]]:
        work.open.clear()
        first = asyncio.create_task(queue.run([1], [1], 10))
        await asyncio.to_thread(work.begun.wait, 5)
        others = [asyncio.create_task(queue.run([n, n + 10], [2, 2], 10)) for n in (2, 3, 4)]
        await asyncio.sleep(0.05)
        work.open.set()
        return list(await asyncio.gather(first, *others))

    assert asyncio.run(ask()) == [[2], [4, 24], [6, 26], [8, 28]]
    assert work.batches[0] == [1]
    assert sorted(work.batches[1]) == [2, 3, 4, 12, 13, 14]
    assert queue.waiting == 0


def test_too_much_is_refused_with_the_time_to_wait_and_a_large_request_runs_alone() -> None:
    work = Recorder()
    queue = queue_of(work, queue_inputs=3, queue_tokens=10)

    async def ask() -> RequestFault:
        assert await queue.run([5], [1000], 10) == [10]  # nothing else waited
        work.open.clear()
        work.begun.clear()
        first = asyncio.create_task(queue.run([1], [1], 10))
        await asyncio.to_thread(work.begun.wait, 5)
        second = asyncio.create_task(queue.run([2, 3], [4, 4], 10))
        await asyncio.sleep(0.02)
        with pytest.raises(RequestFault) as by_tokens:
            await queue.run([6], [8], 10)
        with pytest.raises(RequestFault) as by_count:
            await queue.run([6, 7], [1, 1], 10)
        work.open.set()
        assert await first == [2] and await second == [4, 6]
        assert by_tokens.value.status == 429
        return by_count.value

    refusal = asyncio.run(ask())
    assert refusal.status == 429
    assert int(refusal.headers["retry-after"]) >= 1
    assert int(refusal.headers["retry-after-ms"]) > 0
    assert queue.waiting == 0


def test_no_more_requests_are_taken_than_there_is_room_for_and_none_is_forgotten() -> None:
    work = Recorder()
    queue = queue_of(work, queue_requests=3)

    async def ask() -> list[list[int]]:
        for number in range(5):  # one after the other: room for each
            await queue.run([number], [1], 10)
        work.open.clear()
        taken = [asyncio.create_task(queue.run([n], [1], 10)) for n in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(RequestFault) as refused:
            await queue.run([9], [1], 10)
        assert refused.value.status == 429
        taken.pop().cancel()  # who leaves makes room
        await asyncio.sleep(0.05)
        taken.append(asyncio.create_task(queue.run([4], [1], 10)))
        await asyncio.sleep(0.05)
        work.open.set()
        return list(await asyncio.gather(*taken))

    assert asyncio.run(ask()) == [[0], [2], [8]]


def test_what_could_not_be_answered_in_time_is_refused_at_once() -> None:
    work = Recorder()
    queue = queue_of(work)

    async def ask() -> RequestFault:
        work.open.clear()
        first = asyncio.create_task(queue.run([1], [1], 10))
        await asyncio.to_thread(work.begun.wait, 5)
        waiting = asyncio.create_task(queue.run([2], [20], 10))
        await asyncio.sleep(0.02)
        queue.rate = 4.0  # what waits takes five seconds
        with pytest.raises(RequestFault) as late:
            await queue.run([3], [1], 4)
        patient = asyncio.create_task(queue.run([4], [1], 9))
        await asyncio.sleep(0.02)
        work.open.set()
        assert await asyncio.gather(first, waiting, patient) == [[2], [4], [8]]
        return late.value

    refusal = asyncio.run(ask())
    assert refusal.status == 429 and refusal.headers["retry-after"] == "5"
    assert 3 not in [number for batch in work.batches for number in batch]


def test_who_leaves_takes_their_texts_out_of_the_queue() -> None:
    work = Recorder()
    queue = queue_of(work)

    async def ask() -> None:
        work.open.clear()
        first = asyncio.create_task(queue.run([1], [1], 10))
        await asyncio.to_thread(work.begun.wait, 5)
        leaving = [asyncio.create_task(queue.run([n], [1], 10)) for n in range(20, 30)]
        staying = asyncio.create_task(queue.run([3], [1], 10))
        await asyncio.sleep(0.02)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        assert queue.waiting == 2
        work.open.set()
        assert await staying == [6] and await first == [2]

    asyncio.run(ask())
    assert work.batches == [[1], [3]]


def test_a_request_that_takes_too_long_is_given_up() -> None:
    work = Recorder()
    work.open.clear()
    queue = queue_of(work)
    with pytest.raises(RequestFault) as late:
        asyncio.run(queue.run([1], [1], 0.05))
    work.open.set()
    assert late.value.status == 504
    assert late.value.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("canary words"), 500),
        (MemoryError(), 503),
        (RuntimeError("CUDA out of memory. canary words"), 503),
        (UserError("a pair is needed", "give both"), 400),
    ],
)
def test_a_batch_that_fails_costs_that_batch_alone(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(inputs: list[int]) -> list[int]:
        if 13 in inputs:
            raise error
        return inputs

    queue = queue_of(work)

    async def ask() -> RequestFault:
        with pytest.raises(RequestFault) as failed:
            await queue.run([13], [1], 10)
        assert await queue.run([1], [1], 10) == [1]
        return failed.value

    fault = asyncio.run(ask())
    assert fault.status == status
    assert "canary" not in str(fault.body()) + capsys.readouterr().err


def test_a_frozen_worker_is_replaced_and_says_so_until_the_next_success() -> None:
    frozen = threading.Event()

    def work(inputs: list[int]) -> list[int]:
        if inputs == [13]:
            frozen.wait(20)
        return inputs

    queue = queue_of(work, stall_seconds=0.05)
    queue.rate = 1e9

    async def ask() -> RequestFault:
        lost = asyncio.create_task(queue.run([13], [1], 10))
        await asyncio.sleep(0.15)
        behind = asyncio.create_task(queue.run([2], [1], 10))
        queue.watch()
        assert not queue.healthy
        with pytest.raises(RequestFault) as failed:
            await lost
        assert await behind == [2]
        return failed.value

    fault = asyncio.run(ask())
    frozen.set()
    assert fault.status == 503 and "retry-after" in fault.headers
    assert queue.healthy


def test_what_was_taken_is_computed_after_closing_and_nothing_more_is_taken() -> None:
    work = Recorder()
    queue = queue_of(work)

    async def ask() -> tuple[list[int], RequestFault]:
        work.open.clear()
        taken = [asyncio.create_task(queue.run([n], [1], 10)) for n in (1, 2)]
        await asyncio.to_thread(work.begun.wait, 5)
        queue.close()
        with pytest.raises(RequestFault) as refused:
            await queue.run([3], [1], 10)
        work.open.set()
        return [row[0] for row in await asyncio.gather(*taken)], refused.value

    answers, refusal = asyncio.run(ask())
    assert answers == [2, 4]
    assert refusal.status == 503
    (worker,) = queue._workers
    assert worker.thread is not None
    worker.thread.join(5)
    assert not worker.thread.is_alive()


def test_no_text_waits_longer_than_those_looked_at_with_it() -> None:
    """A long text is not passed by for ever by short ones that come later."""
    done: list[int] = []

    def work(inputs: list[int]) -> list[int]:
        time.sleep(0.001)
        done.extend(inputs)
        return inputs

    queue = queue_of(work, queue_requests=1000, queue_inputs=1000, queue_tokens=10**6)

    async def ask() -> None:
        tasks = [asyncio.create_task(queue.run([n], [30 if n == 5 else 1], 10)) for n in range(600)]
        await asyncio.gather(*tasks)

    asyncio.run(ask())
    assert done.index(5) < 5 + 2 * 256


def test_workers_share_the_texts_of_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr("tailorbird.serve.batch_queue.use_threads", threads.append)
    together = threading.Barrier(2, timeout=10)

    def double(inputs: list[int]) -> list[int]:
        if 0 not in inputs:
            together.wait()  # goes on only when the other worker computes too
        return [2 * x for x in inputs]

    queue = queue_of(double, workers=2)
    assert asyncio.run(queue.run([0], [5], 10)) == [0]
    assert threads == [choose_threads().count]  # it was all there was to do
    # Eight batches: the budget takes one text of 20 tokens.
    assert asyncio.run(queue.run(range(1, 9), [20] * 8, 10)) == list(range(2, 18, 2))
    assert threads[1:8] == [1] * 7
    assert queue.waiting == 0


def test_what_is_all_there_is_to_do_is_the_first_workers_and_the_next_anothers() -> None:
    work, threads = Recorder(), list[int]()

    def compute(inputs: list[int]) -> list[int]:
        threads.append(threading.get_ident())
        return work(inputs)

    queue = queue_of(compute, workers=2)

    async def ask() -> list[int]:
        for number in range(30):
            await queue.run([number], [1], 10)
        work.open.clear()
        work.begun.clear()
        held = asyncio.create_task(queue.run([1], [1], 10))
        await asyncio.to_thread(work.begun.wait, 5)
        meanwhile = asyncio.create_task(queue.run([2], [1], 10))
        while len(threads) < 32:
            await asyncio.sleep(0.002)
        work.open.set()
        return [*await held, *await meanwhile]

    assert asyncio.run(ask()) == [2, 4]
    assert len(set(threads[:31])) == 1 and threads[31] != threads[0]


def test_one_of_two_workers_that_hangs_costs_its_batch_alone() -> None:
    release, frozen = threading.Event(), threading.Event()

    def double(inputs: list[int]) -> list[int]:
        if 13 in inputs:
            frozen.set()
            release.wait(30)
        return [2 * x for x in inputs]

    queue = queue_of(double, workers=2)

    async def ask() -> None:
        lost = asyncio.create_task(queue.run([13], [20], 20))
        assert await asyncio.to_thread(frozen.wait, 5)
        assert await queue.run([1, 2, 3], [20] * 3, 10) == [2, 4, 6]
        (stuck,) = [worker for worker in queue._workers if worker.batch]
        assert stuck.beat is not None
        stuck.beat -= 60  # a minute passes
        queue.watch()
        with pytest.raises(RequestFault) as fault:
            await lost
        assert fault.value.status == 503 and not queue.healthy
        assert await queue.run([4, 5], [20] * 2, 10) == [8, 10]
        assert queue.healthy

    asyncio.run(ask())
    release.set()
    assert len(queue._workers) == 2 and queue.waiting == 0


def test_steps_get_the_number_of_threads_that_is_fastest_and_others_are_tried_again() -> None:
    threads = StepThreads(6)
    costs, chosen = {6: 0.9, 3: 0.2, 1: 0.5}, list[int]()
    for step in range(200):
        if step == 100:
            costs[1] = 0.1  # shorter texts, say
        count = threads.choose()
        chosen.append(count)
        threads.note(count, costs[count])
    assert set(chosen[:3]) == {6, 3, 1}
    assert chosen[4:100].count(3) > 80
    assert chosen[-40:].count(1) >= 35
    only = StepThreads(1)
    assert [only.choose() for _ in range(40)] == [1] * 40
