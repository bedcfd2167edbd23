"""Everything that a claim about a GPU needs, in one run that ends within --minutes.

The parts, most wanted first; each is a process of its own with a limit of time, and its result is
written to --results as soon as it is there, so that a run that is cut off leaves what it has:

  memory    peak memory against `tailor plan`, and tokens per second: full, LoRA and QLoRA of random
            models of 0.1B, 1B and 8B; what the plan says does not fit is not tried
  sft       packed fine-tuning against Trainer + PEFT and TRL (`gpu_sft.py`, one round): 1B, then 8B
  generate  tokens per second of writing, 1 and 16 at once, against transformers' `generate`
  embed     embedding against sentence-transformers (`embed_speed.py`), where SciFact is there

`--smoke` runs every part on tiny models, on any machine. Prints one JSON line.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import DATA, emit, fresh, middle, parser, say, stop
from sft_setup import SHAPES, save_model

HERE = Path(__file__).parent
METHODS = ("full", "lora", "qlora")
SIZES = ("qwen2-0.1b", "llama-1b", "llama-8b")
WRITTEN, PROMPT = 128, 256


def main() -> None:
    """Run part by part, or (with --one) a single measurement."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=12.0)
    options.add_argument("--results", type=Path, default=Path("gpu_all.jsonl"))
    options.add_argument("--smoke", action="store_true", help="tiny models, any machine")
    options.add_argument("--one", help="measure this here and now")
    options.add_argument("--model", help="used with --one")
    options.add_argument("--method", default="lora", help="used with --one")
    arguments = options.parse_args()
    if arguments.one:
        measure = {"memory": _memory, "generate": _generate, "generate-once": _generate_once}
        print(json.dumps(measure[arguments.one](arguments)))
        return
    _check(arguments.smoke)
    ends = time.monotonic() + 60 * arguments.minutes
    results: dict[str, Any] = {}
    for name, command in _parts(arguments.smoke):
        left = ends - time.monotonic()
        results[name] = _run(command, left) if left > 20 else {"left_out": "no time was left"}
        say(f"{name}: {json.dumps(results[name])[:200]}")
        with arguments.results.open("a") as file:
            file.write(json.dumps({name: results[name]}) + "\n")
    emit("gpu_all", {"gpu": _gpu(), "smoke": arguments.smoke, **results})


def _parts(smoke: bool) -> list[tuple[str, list[str]]]:
    own = [str(HERE / "gpu_all.py"), *["--smoke"] * smoke]
    sizes = ("tiny",) if smoke else SIZES
    parts = [
        (f"memory {size} {method}", [*own, "--one", "memory", "--model", size, "--method", method])
        for size in sizes[:2]
        for method in METHODS
    ]
    sft = [str(HERE / "gpu_sft.py"), "--rounds", "1", "--steps", "6", "--warm-up", "2"]
    ways = ["--ways", "tailorbird,trainer,trl-packed"]
    for size in sizes[1:] or sizes:
        shapes = ["--smoke"] if smoke else ["--shapes", size]
        parts.append((f"sft {size}", [*sft, *ways, *shapes]))
        parts.append((f"generate {size}", [*own, "--one", "generate", "--model", size]))
    parts += [
        (f"memory {size} {method}", [*own, "--one", "memory", "--model", size, "--method", method])
        for size in sizes[2:]
        for method in METHODS
    ]
    if (DATA / "scifact").is_dir():
        few = ["--documents", "32", "--rounds", "1"] if smoke else ["--documents", "0"]
        parts.append(("embed", [str(HERE / "embed_speed.py"), *few]))
    return parts


def _run(command: list[str], seconds: float) -> Any:
    try:
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False,
            timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"left_out": f"not done after {seconds:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr[-400:]}
    return json.loads(done.stdout.splitlines()[-1])


def _memory(arguments: Any) -> dict[str, Any]:
    """Plan a model, then train it for a few steps, and compare the peak of memory."""
    import torch

    from tailorbird.config import Config
    from tailorbird.models.device import peak_memory
    from tailorbird.planning.data_size import Work
    from tailorbird.planning.devices import HEADROOM, place_of
    from tailorbird.planning.model_shape import read_shape
    from tailorbird.planning.training_memory import plan_memory
    from tailorbird.planning.training_time import synthetic_job
    from tailorbird.train.loop import train

    length, batch = (48, 2) if arguments.smoke else (2048, 4)
    with tempfile.TemporaryDirectory() as place:
        save_model(SHAPES[arguments.model], Path(place) / "model", dtype="bfloat16")
        config = Config.model_validate(
            {
                "model": {"name": str(Path(place) / "model")}, "method": {"name": arguments.method},
                "train": {"batch_size": batch, "epochs": 1, "tensorboard": False},
            }
        )  # fmt: skip
        work, at = Work(None, length, rows=6 * batch, answers=0), place_of(None)
        plan = plan_memory(read_shape(config.model), config, work, at.device)
        result = {"planned_gb": round(plan.bytes / 1e9, 2)}
        if plan.bytes * HEADROOM > at.capacity_bytes:
            return {**result, "left_out": "does not fit by the plan"}
        model, job = synthetic_job(config, work, at.device, Path(place) / "run")
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        trained = train(model, job)
        peak = peak_memory(at.device)
    return {
        **result,
        "measured_gb": round(peak / 1e9, 2),
        "error_percent": round(100 * (plan.bytes / peak - 1), 1),
        "tokens_per_second": round(trained.tokens_per_second),
    }


def _generate(arguments: Any) -> dict[str, Any]:
    """Write with ours and with `generate`, in turns, one at a time and sixteen at once."""
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        save_model(SHAPES[arguments.model], Path(place), dtype="bfloat16")
        smoke = ["--smoke"] if arguments.smoke else []
        for _ in range(2):
            once = fresh(__file__, "--one", "generate-once", "--model", place, *smoke)
            for name, rate in once.items():
                rates.setdefault(name, []).append(rate)
    return {name: middle(values, 1) for name, values in rates.items()}


def _generate_once(arguments: Any) -> dict[str, Any]:
    """Return tokens per second of both ways in this process."""
    import torch

    from tailorbird.arms.generative_predictor import open_untouched
    from tailorbird.config import Config
    from tailorbird.models.generate import Sampling, generate

    config = Config.model_validate({"model": {"name": arguments.model}})
    answering = open_untouched(config)
    random = np.random.default_rng(0)
    longest = 8 if arguments.smoke else WRITTEN
    rates = {}
    for count in (1, 16):
        prompts = [random.integers(200, 900, PROMPT).astype(np.int32) for _ in range(count)]
        inputs = torch.tensor(np.stack(prompts), dtype=torch.long).to(answering.device.name)

        def ours(prompts: list[np.ndarray] = prompts) -> None:
            sampling = Sampling(longest, end_ids=())
            generate(answering.model, answering.tokenizer, prompts, sampling, answering.device)

        def theirs(inputs: torch.Tensor = inputs) -> None:
            with torch.inference_mode(), answering.device.autocast():
                answering.model.generate(  # type: ignore[operator]
                    inputs, attention_mask=torch.ones_like(inputs), do_sample=False,
                    min_new_tokens=longest, max_new_tokens=longest, use_cache=True,
                )  # fmt: skip

        for name, write in (("tailorbird", ours), ("transformers", theirs)):
            write()
            began = time.perf_counter()
            write()
            rates[f"{name} {count}"] = count * longest / (time.perf_counter() - began)
    return rates


def _check(smoke: bool) -> None:
    import torch

    if not torch.cuda.is_available() and not smoke:
        stop("there is no CUDA device", "run it on a machine with one, or with --smoke")


def _gpu() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "none"


if __name__ == "__main__":
    main()
