"""The page of a plan: its picture counts every byte once, and it says which settings help most."""

import re

import pytest

from tailorbird.records.planning import DeviceFit, MemoryPlan, MemoryTerm, Plan
from tailorbird.report.plan_page import GIB, advice, memory_plot, render_plan

WORK = {
    "task": "classification", "examples": 100, "longest_tokens": 64, "batch_size": 16,
    "micro_batch_size": 16, "optimizer": "adamw", "gradient_checkpointing": False,
}  # fmt: skip
SMALLER = ("--set train.micro_batch_size=2",)


def plan(*fits: DeviceFit) -> Plan:
    terms = (
        MemoryTerm("frozen weights", 3 * GIB, ""),
        MemoryTerm("optimizer", GIB, ""),
        MemoryTerm("activations", 2 * GIB, ""),
        MemoryTerm("a term of tomorrow", 2 * GIB, ""),
    )
    memory = tuple(MemoryPlan(fit.method, "train", terms, {}, 1, 2) for fit in fits)
    return Plan("m", "classification", "4GB", 4 * GIB, WORK, memory, fits)


def fit(method: str, *change: str) -> DeviceFit:
    after = 3 * GIB if change else None
    return DeviceFit(method, "4GB", 4 * GIB, 8 * GIB, False, change, after)


@pytest.mark.parametrize("wide", [True, False])
def test_bars_add_up_to_what_is_needed_and_the_line_is_the_device(wide: bool) -> None:
    picture = memory_plot(plan(fit("lora")), wide=wide)
    widths = [float(w) for w in re.findall(r'width="([\d.]+)" height="18"', picture)]
    line = re.search(r'<line x1="([\d.]+)"', picture)
    starts = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="[\d.]+" height="18"', picture)
    assert line is not None and len(widths) == 4
    # 3, 1, 2 and 2 of 8 GiB; the device has half of what is needed.
    assert [width / sum(widths) for width in widths] == pytest.approx(
        [3 / 8, 1 / 8, 2 / 8, 2 / 8], abs=2e-3
    )
    assert float(line[1]) == pytest.approx(float(starts[0]) + sum(widths) / 2, abs=0.2)
    assert "lora, process and allocator: 2.00 GiB" in picture and "8.00 GiB</text>" in picture


def test_advice_is_the_change_that_helps_most_methods() -> None:
    assert advice(plan(fit("full"), fit("lora"))) == ""
    fits = (fit("full", "--method qlora"), fit("adapter", *SMALLER), fit("lora", *SMALLER))
    assert advice(plan(*fits)) == "adapter, lora fit with --set train.micro_batch_size=2"
    assert (
        advice(plan(fit("prompt", *SMALLER))) == "prompt fits with --set train.micro_batch_size=2"
    )


def test_page_has_both_pictures_and_the_advice() -> None:
    page = render_plan(plan(fit("lora", *SMALLER)))
    assert page.count('aria-label="Memory of each method, by what takes it"') == 2
    assert "lora fits with --set train.micro_batch_size=2." in page
