"""Tokens per second and peak memory of LoRA on a language model: tailorbird against TRL.

A Qwen2-shaped model with random weights and Qwen's 151,936-token vocabulary, rows of random ids
whose prompts are three times as long as their answers, the loss on the answers alone, LoRA of rank
16 on every linear layer without dropout, AdamW. The ways run interleaved (A B C A B C ...), each in
a fresh process that loads the same model from disk, trains one epoch over the same rows and times
the steps after the first:

  tailorbird            tasks/fit_generative.py's functions and train/loop.py, with their defaults
  trl                   SFTTrainer as it comes: padded, gradient checkpointing, bf16 where that is
                        the faster format here (see --precision)
  trl-kept              gradient_checkpointing=False
  trl-sorted            that, and train_sampling_strategy="group_by_length"
  trl-padding-free      that (instead of sorting), and padding_free=True
  trl-packed            packing=True (strategy bfd), no checkpointing
  trl-packed-recompute  packing=True with gradient checkpointing

and on request trl-packed-bf16, trl-packed-fp32: packed in one format, whatever is fast. TRL's loss
is chunked in all of them: since 1.16 loss_type="nll" never makes the whole of the logits.

Prints one JSON line: tokens per second (real tokens: padding is not counted), tokens per second of
processor time (nearly the same on an idle machine with OMP_NUM_THREADS=1; on one where something
else runs the fairer of the two), peak resident memory of the process, and tailorbird's ratio to
each way, round by round to the fastest and to the leanest. Without TRL
(pip install trl, into an environment of its own that also holds tailorbird) only tailorbird is
measured, and the line says so.
"""

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from harness import emit, fresh, middle, parser, say
from sft_setup import SHAPES, Setup, make_rows, save_model
from sft_sides import INSTALL_TRL, has_trl, tailorbird, trl

TRL_WAYS: dict[str, dict[str, Any]] = {
    "trl": {"gradient_checkpointing": True},
    "trl-kept": {},
    "trl-sorted": {"train_sampling_strategy": "group_by_length"},
    "trl-padding-free": {"padding_free": True},
    "trl-packed": {"packing": True},
    "trl-packed-recompute": {"packing": True, "gradient_checkpointing": True},
}
EXTRA = ("trl-packed-bf16", "trl-packed-fp32")
WAYS = ("tailorbird", *TRL_WAYS)


def main() -> None:
    """Run the rounds, or (with --one) a single measurement."""
    asked = _parser().parse_args()
    if asked.one == "rate":
        print(json.dumps(_product_rates()))
        return
    if asked.one:
        print(json.dumps(_measure(asked)))
        return
    ways = [way for way in asked.ways.split(",") if way.startswith("tailorbird") or has_trl()]
    if len(ways) < len(asked.ways.split(",")):
        say(f"TRL is not installed: it is left out ({INSTALL_TRL})")
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    products: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        save_model(SHAPES[asked.shape], Path(folder))
        for number in range(1, asked.rounds + 1):
            products.append(fresh(__file__, "--one", "rate"))
            precision = asked.precision
            if precision == "auto":
                precision = max(products[0], key=lambda name: products[0][name])
            for way, results in found.items():
                results.append(_fresh_one(way, folder, precision, asked))
                told = results[-1]
                say(
                    f"round {number}/{asked.rounds} {way}: {told['tokens_per_second']:.1f} "
                    f"tokens/s ({told['tokens_per_cpu_second']:.1f} of processor time), "
                    f"{told['peak_mb']:.0f} MB"
                )
    emit("sft_speed", _summary(found, products, precision, asked))


def _parser() -> Any:
    asked = parser(__doc__)
    asked.add_argument("--shape", default="qwen2-0.1b", help=f"one of {', '.join(SHAPES)}")
    asked.add_argument("--ways", default=",".join(WAYS), help=f"also: {', '.join(EXTRA)}")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--steps", type=int, default=3, help="timed steps per measurement")
    asked.add_argument("--warm-up", type=int, default=1, help="steps before them")
    asked.add_argument("--batch", type=int, default=16, help="rows of an optimizer step")
    asked.add_argument("--shortest", type=int, default=200, help="tokens of the shortest row")
    asked.add_argument("--longest", type=int, default=400, help="tokens of the longest row")
    asked.add_argument("--prompt-share", type=float, default=0.75)
    asked.add_argument("--rank", type=int, default=16)
    asked.add_argument(
        "--micro-tokens", type=int, help="tailorbird's tokens per pass; default: its own"
    )
    asked.add_argument("--micro-rows", type=int, default=4, help="TRL's rows per pass, padded")
    asked.add_argument("--packed-tokens", type=int, default=1024, help="TRL's max_length, packed")
    asked.add_argument(
        "--precision", default="auto", choices=["auto", "fp32", "bf16"],
        help="TRL's number format; auto: the one in which this machine multiplies faster",
    )  # fmt: skip
    asked.add_argument("--model", type=Path, help="used with --one")
    asked.add_argument("--one", default="", help="measure one way here and now")
    return asked


def _fresh_one(way: str, folder: str, precision: str, asked: Any) -> dict[str, Any]:
    if way in EXTRA:
        precision = way.rpartition("-")[2]
    given = [
        "--one", way, "--model", folder, "--precision", precision, "--shape", asked.shape,
        "--steps", asked.steps, "--warm-up", asked.warm_up, "--batch", asked.batch,
        "--shortest", asked.shortest, "--longest", asked.longest, "--rank", asked.rank,
        "--prompt-share", asked.prompt_share, "--micro-rows", asked.micro_rows,
        "--packed-tokens", asked.packed_tokens,
    ]  # fmt: skip
    if asked.micro_tokens:
        given += ["--micro-tokens", asked.micro_tokens]
    found: dict[str, Any] = fresh(__file__, *map(str, given))
    return found


def _measure(asked: Any) -> dict[str, Any]:
    setup = Setup(
        model=asked.model,
        rows=make_rows(
            (asked.warm_up + asked.steps) * asked.batch, asked.shortest, asked.longest,
            SHAPES[asked.shape].vocabulary, asked.prompt_share,
        ),
        batch=asked.batch,
        warm_up=asked.warm_up,
        rank=asked.rank,
        micro_tokens=asked.micro_tokens,
        micro_rows=asked.micro_rows,
        packed_tokens=asked.packed_tokens,
        precision=asked.precision,
    )  # fmt: skip
    if asked.one == "tailorbird":
        return tailorbird(setup)
    return trl(setup, {"packing": True} if asked.one in EXTRA else TRL_WAYS[asked.one])


def _product_rates() -> dict[str, float]:
    """Return the best rates of matrix products in GFLOP/s, by number format."""
    import torch

    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, best = torch.randn(1024, 1024).to(dtype), 0.0
        for _ in range(4):
            started = time.perf_counter()
            a @ a
            best = max(best, 2 * 1024**3 / (time.perf_counter() - started) / 1e9)
        rates[name] = round(best, 1)
    return rates


def _summary(
    found: dict[str, list[dict[str, Any]]],
    products: list[dict[str, float]],
    precision: str,
    asked: Any,
) -> dict[str, Any]:
    speeds = {way: [r["tokens_per_second"] for r in results] for way, results in found.items()}
    work = {way: [r["tokens_per_cpu_second"] for r in results] for way, results in found.items()}
    memory = {way: [r["peak_mb"] for r in results] for way, results in found.items()}
    result: dict[str, Any] = {
        "shape": asked.shape, "rounds": asked.rounds, "steps": asked.steps, "batch": asked.batch,
        "rank": asked.rank, "tokens_of_a_row": [asked.shortest, asked.longest],
        "prompt_share": asked.prompt_share, "micro_tokens": asked.micro_tokens,
        "trl_precision": precision, "trl_installed": has_trl(),
        "product_gflops": {k: middle([p[k] for p in products], 1) for k in products[0]},
        "tokens_per_second": {way: middle(values, 1) for way, values in speeds.items()},
        "tokens_per_second_range": {
            way: [round(min(v), 1), round(max(v), 1)] for way, v in speeds.items()
        },
        "tokens_per_cpu_second": {way: middle(values, 1) for way, values in work.items()},
        "peak_mb": {way: middle(values, 0) for way, values in memory.items()},
        "model_mb": {way: results[0]["model_mb"] for way, results in found.items()},
        "mean_loss": {way: round(results[0]["mean_loss"], 4) for way, results in found.items()},
    }  # fmt: skip
    others = [way for way in found if way != "tailorbird"]
    if "tailorbird" in found and others:
        result |= _ratios(speeds, work, memory, others)
    return result


def _ratios(
    speeds: dict[str, list[float]],
    work: dict[str, list[float]],
    memory: dict[str, list[float]],
    others: list[str],
) -> dict[str, Any]:
    """Return tailorbird's ratios, each round's by itself, so that slow minutes cancel."""

    def ratios(values: dict[str, list[float]], way: str) -> list[float]:
        pairs = zip(values["tailorbird"], values[way], strict=True)
        return [round(ours / other, 2) for ours, other in pairs]

    fastest = max(others, key=lambda way: median(work[way]))
    leanest = min(others, key=lambda way: median(memory[way]))
    return {
        "tailorbird_times_tokens_per_second": {w: middle(ratios(speeds, w)) for w in others},
        "tailorbird_times_tokens_per_cpu_second": {w: middle(ratios(work, w)) for w in others},
        "tailorbird_times_memory": {w: middle(ratios(memory, w)) for w in others},
        "by_round": {
            "fastest_other": fastest,
            "times_its_tokens_per_second": ratios(speeds, fastest),
            "times_its_tokens_per_cpu_second": ratios(work, fastest),
            "times_its_memory": ratios(memory, fastest),
            "leanest_other": leanest,
            "times_the_leanest_memory": ratios(memory, leanest),
        },
    }


if __name__ == "__main__":
    main()
