"""LoRA and QLoRA of 1B- and 8B-shaped Llamas on a GPU: tailorbird, Trainer + PEFT and TRL.

Random weights in bf16, rows of 2,048 random ids of which three quarters are the prompt, the loss on
the answers alone, LoRA of rank 16 on every linear layer without dropout, AdamW. The ways run
interleaved (A B C A B C ...), each in a fresh process that loads the same model from disk and times
the steps after the warm-up:

  tailorbird          tasks/fit_generative.py's own functions and train/loop.py; --micro-rows rows
                      go through the model at once, as with the others
  trainer             transformers.Trainer + PEFT, bf16, padded batches
  trainer-recompute   that with gradient checkpointing
  trl                 TRL's SFTTrainer as it comes: with gradient checkpointing
  trl-kept            gradient_checkpointing=False
  trl-packed          packing=True (bfd), no checkpointing
  tailorbird-recompute  with train.gradient_checkpointing

Prints one JSON line: tokens per second, peak GPU memory while training and while loading, and the
share of this GPU's bf16 product rate (the best of ten 8192 x 8192 products in the same run) that
the products amount to: 4 operations per token and weight of a linear layer, 4 per trained token and
weight of the head; attention and recomputed work count as nothing. What does not fit into the
memory is said to be out of memory. `--smoke` runs every line on tiny models, on a CPU as well.

An 8B model in bf16 takes 16 GB of disk while it runs (TMPDIR).
"""

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from harness import emit, fresh, middle, parser, say, stop
from sft_setup import SHAPES, Setup, make_rows, save_model
from sft_sides import INSTALL_TRL, has_trl, tailorbird, trainer, trl

TRL_WAYS: dict[str, dict[str, Any]] = {
    "trl": {"gradient_checkpointing": True},
    "trl-kept": {},
    "trl-packed": {"packing": True},
}
WAYS = ("tailorbird", "tailorbird-recompute", "trainer", "trainer-recompute", *TRL_WAYS)


def main() -> None:
    """Run the rounds, or (with --one) a single measurement."""
    asked = _parser().parse_args()
    if asked.one == "rate":
        print(json.dumps({"gflops": _product_rate(512 if asked.smoke else 8192)}))
        return
    if asked.one:
        print(json.dumps(_measure(asked)))
        return
    _check(asked)
    if asked.smoke:
        asked.shapes, asked.sequence, asked.batch, asked.steps = "tiny", 48, 4, 1
        asked.warm_up, asked.micro_rows, asked.rounds = 1, 2, 1
    ways = [way for way in asked.ways.split(",") if not way.startswith("trl") or has_trl()]
    if len(ways) < len(asked.ways.split(",")):
        say(f"TRL is not installed: it is left out ({INSTALL_TRL})")
    told: dict[str, Any] = {}
    for shape in asked.shapes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            save_model(SHAPES[shape], Path(folder), dtype="bfloat16")
            for method in asked.methods.split(","):
                told[f"{shape} {method}"] = _compare(shape, method, ways, folder, asked)
    emit(
        "gpu_sft",
        {
            "gpu": _gpu(), "rounds": asked.rounds, "steps": asked.steps, "batch": asked.batch,
            "sequence": asked.sequence, "rank": asked.rank, "micro_rows": asked.micro_rows,
            "trl_installed": has_trl(), "smoke": asked.smoke, **told,
        },
    )  # fmt: skip


def _parser() -> Any:
    asked = parser(__doc__)
    asked.add_argument("--shapes", default="llama-1b,llama-8b", help=f"of {', '.join(SHAPES)}")
    asked.add_argument("--methods", default="lora,qlora")
    asked.add_argument("--ways", default=",".join(WAYS))
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--steps", type=int, default=10, help="timed steps per measurement")
    asked.add_argument("--warm-up", type=int, default=3, help="steps before them")
    asked.add_argument("--batch", type=int, default=8, help="rows of an optimizer step")
    asked.add_argument("--micro-rows", type=int, default=4, help="rows per forward pass")
    asked.add_argument("--sequence", type=int, default=2048, help="tokens of a row")
    asked.add_argument("--shortest", type=int, help="tokens of the shortest row; default: all same")
    asked.add_argument("--prompt-share", type=float, default=0.75)
    asked.add_argument("--rank", type=int, default=16)
    asked.add_argument("--attention", default="sdpa", help="attn_implementation of the others")
    asked.add_argument("--smoke", action="store_true", help="tiny models, any machine")
    asked.add_argument("--model", type=Path, help="used with --one")
    asked.add_argument("--one", default="", help="measure one way here and now")
    return asked


def _check(asked: Any) -> None:
    import torch

    if not torch.cuda.is_available() and not asked.smoke:
        stop("there is no CUDA device", "run it on a machine with one, or with --smoke")


def _gpu() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "none"


def _compare(shape: str, method: str, ways: list[str], folder: str, asked: Any) -> dict[str, Any]:
    """Measure every way with one model and method, round by round."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    rates: list[float] = []
    smoke = ["--smoke"] if asked.smoke else []
    for number in range(1, asked.rounds + 1):
        rates.append(fresh(__file__, "--one", "rate", *smoke)["gflops"])
        for way, results in found.items():
            given = [
                "--one", way, "--model", folder, "--shapes", shape, "--methods", method,
                "--steps", asked.steps, "--warm-up", asked.warm_up, "--batch", asked.batch,
                "--micro-rows", asked.micro_rows, "--sequence", asked.sequence,
                "--prompt-share", asked.prompt_share, "--rank", asked.rank,
                "--attention", asked.attention,
            ]  # fmt: skip
            if asked.shortest:
                given += ["--shortest", asked.shortest]
            results.append(fresh(__file__, *map(str, given), *smoke))
            last = results[-1]
            words = "out of memory"
            if "tokens_per_second" in last:
                words = f"{last['tokens_per_second']:.0f} tokens/s, {_memory(last):.0f} MB"
            say(f"{shape} {method} round {number}/{asked.rounds} {way}: {words}")
    return _summary(shape, found, rates, asked)


def _memory(result: dict[str, Any]) -> float:
    return float(result.get("gpu_peak_mb", result["peak_mb"]))


def _summary(
    shape: str, found: dict[str, list[dict[str, Any]]], rates: list[float], asked: Any
) -> dict[str, Any]:
    fitted = {w: r for w, r in found.items() if all("tokens_per_second" in x for x in r)}
    speeds = {w: [x["tokens_per_second"] for x in r] for w, r in fitted.items()}
    weights = next((x["linear_weights"] for r in fitted.values() for x in r if x["way"]), 0)
    of = SHAPES[shape]
    # Forward 2 per weight and token, backward 2 for the gradient of the input.
    work = 4 * weights + 4 * of.hidden * of.vocabulary * (1 - asked.prompt_share)
    result: dict[str, Any] = {
        "bf16_product_tflops": round(median(rates) / 1e3, 1),
        "tokens_per_second": {w: middle(v, 0) for w, v in speeds.items()},
        "tokens_per_second_range": {w: [round(min(v)), round(max(v))] for w, v in speeds.items()},
        "share_of_product_rate": {
            w: round(median(v) * work / 1e9 / median(rates), 3) for w, v in speeds.items()
        },
        "peak_mb": {w: middle([_memory(x) for x in r], 0) for w, r in fitted.items()},
        "peak_loading_mb": {w: r[0].get("gpu_loading_peak_mb") for w, r in fitted.items()},
        "model_mb": {w: r[0]["model_mb"] for w, r in fitted.items()},
        "mean_loss": {w: round(r[0]["mean_loss"], 4) for w, r in fitted.items()},
        "out_of_memory": sorted(set(found) - set(fitted)),
    }
    if "tailorbird" in fitted:
        ours, memory = median(speeds["tailorbird"]), result["peak_mb"]
        others = [w for w in fitted if not w.startswith("tailorbird")]
        result["tailorbird_times_tokens_per_second"] = {
            w: round(ours / median(speeds[w]), 2) for w in others
        }
        result["tailorbird_times_memory"] = {
            w: round(memory["tailorbird"] / memory[w], 2) for w in others
        }
    return result


def _product_rate(size: int) -> float:
    """Return the best rate of large bf16 products, in GFLOP/s."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    a = torch.randn(size, size, device=device).to(torch.bfloat16)
    best = 0.0
    for number in range(13):
        wait()
        started = time.perf_counter()
        a @ a
        wait()
        rate = 2 * size**3 / (time.perf_counter() - started) / 1e9
        best = max(best, rate) if number > 2 else best  # the first choose their kernels
    return best


def _measure(asked: Any) -> dict[str, Any]:
    import torch

    way = asked.one
    setup = Setup(
        model=asked.model,
        rows=make_rows(
            (asked.warm_up + asked.steps) * asked.batch, asked.shortest or asked.sequence,
            asked.sequence, SHAPES[asked.shapes].vocabulary, asked.prompt_share,
        ),
        batch=asked.batch,
        warm_up=asked.warm_up,
        method=asked.methods,
        rank=asked.rank,
        micro_tokens=asked.micro_rows * asked.sequence,
        micro_rows=asked.micro_rows,
        packed_tokens=asked.micro_rows * asked.sequence,
        precision="bf16",
        recompute=way.endswith("recompute"),
        attention=asked.attention,
    )  # fmt: skip
    try:
        if way.startswith("tailorbird"):
            return tailorbird(setup)
        if way.startswith("trainer"):
            return trainer(setup)
        return trl(setup, TRL_WAYS[way])
    except torch.OutOfMemoryError as error:
        say(f"{way}: {str(error).splitlines()[0]}")
        return {"out_of_memory": True}


if __name__ == "__main__":
    main()
