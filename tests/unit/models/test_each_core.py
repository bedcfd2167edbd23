"""Batches that the cores share: in order, faults told, the caller's threads as they were."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from tailorbird.models.device import Device, on_each_core

CPU = Device("cpu", "fp32", "cpu in fp32")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_rows_come_in_order_from_threads_of_one_each_but_for_the_last() -> None:
    together = threading.Barrier(3, timeout=10)
    widths = []

    def compute(batch: int) -> int:
        widths.append((batch, torch.get_num_threads()))
        if batch < 3:
            together.wait()  # three at once
        return batch * batch

    assert list(on_each_core(CPU, compute, range(8))) == [n * n for n in range(8)]
    assert widths[0] == (7, 3) and {threads for _, threads in widths[1:]} == {1}
    assert torch.get_num_threads() == 3


def test_each_thread_enters_its_context_once_and_leaves_it() -> None:
    events: list[str] = []

    @contextmanager
    def context() -> Iterator[None]:
        events.append("enter")
        with torch.inference_mode():
            yield
        events.append("leave")

    inside = list(on_each_core(CPU, lambda _: torch.is_inference_mode_enabled(), range(9), context))
    assert all(inside) and not torch.is_inference_mode_enabled()
    assert events.count("enter") == events.count("leave") == 4


def test_a_fault_is_the_callers_and_ends_what_has_not_begun() -> None:
    begun = []

    def compute(batch: int) -> int:
        begun.append(batch)
        if batch == 1:
            raise MemoryError("batch 1")
        time.sleep(0.001)
        return batch

    with pytest.raises(MemoryError, match="batch 1"):
        list(on_each_core(CPU, compute, range(3000)))
    assert len(begun) < 2000 and torch.get_num_threads() == 3


def test_a_gpu_is_not_shared_by_threads() -> None:
    gpu = Device("cuda:0", "bf16", "a GPU")
    names = set(on_each_core(gpu, lambda _: threading.current_thread().name, range(5)))
    assert names == {threading.current_thread().name}
