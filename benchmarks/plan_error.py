"""How wrong the planned memory is: `tailor plan` against the resident memory of real training.

Every cell is a model, a method, a batch, a length, and gradient checkpointing or not. It is
planned from the configuration, then trained for three steps with a validation in a process of its
own, whose peak of resident memory the system tells. That figure does not depend on what else the
machine does.

Three constants of a CPU (the process before a model, the allocator's share without and with
gradient checkpointing) were chosen by the cells of builtin:minilm and builtin:tutor; the other
cells test those, but for what the heap keeps of weights that QLoRA packs, which was chosen on all
cells of QLoRA, and for what it keeps after a backward pass, which was measured on eight layers of
the BERT. Peers are judged on the same cells: `accelerate estimate-memory` (four times the
weights in fp32, which is also the rule of 16 bytes a parameter), with the same process around it.

Cells that are done are kept in --results, so that a run that was stopped goes on. Prints one JSON
line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from harness import emit, parser, say

METHODS = ("full", "adapter", "lora", "qlora", "prompt")
# Model, batches, lengths; the random ones: Qwen2.5-0.5B, a 0.4B BERT and a 1B Llama.
MODELS = {
    "builtin:minilm": ((8, 32), (64, 256)),
    "builtin:tutor": ((8, 32), (64, 256)),
    "builtin:smollm2": ((8,), (128,)),
    "random:qwen2-0.5b": ((4,), (128,)),
    "random:bert-0.4b": ((4,), (128,)),
    "random:llama-1b": ((2,), (128,)),
}
RANDOM = {
    "random:qwen2-0.5b": {
        "model_type": "qwen2", "dtype": "bfloat16",
        "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151936,
        "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "intermediate_size": 4864, "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
    "random:bert-0.4b": {
        "model_type": "bert", "dtype": "bfloat16",
        "architectures": ["BertModel"], "vocab_size": 30522,
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "max_position_embeddings": 512, "pad_token_id": 0,
    },
    "random:llama-1b": {
        "model_type": "llama", "dtype": "bfloat16",
        "architectures": ["LlamaForCausalLM"], "vocab_size": 32000,
        "hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32,
        "num_key_value_heads": 4, "intermediate_size": 5632, "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    },
}  # fmt: skip
FITTED_ON = ("builtin:minilm", "builtin:tutor")
"""The constants of `planning/training_memory.MACHINES` were chosen by the cells of these."""
ENCODERS = ("builtin:minilm", "random:bert-0.4b")


def main() -> None:
    """Plan and measure every cell that is not done, and judge all of them."""
    asked = parser(__doc__)
    asked.add_argument("--results", type=Path, default=Path("plan_error.jsonl"))
    asked.add_argument("--models", default=",".join(MODELS))
    asked.add_argument("--largest-gb", type=float, default=8.0, help="skip cells that need more")
    asked.add_argument("--judge-only", action="store_true", help="measure nothing")
    asked.add_argument("--cell", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.cell:
        print(json.dumps(_measure(json.loads(given.cell))))
        return
    done = _read(given.results)
    for cell in () if given.judge_only else _cells(given.models.split(","), "cpu"):
        if _key(cell) in done:
            continue
        planned = _plan(cell)
        if planned["bytes"] > given.largest_gb * 1e9:
            say(f"{_key(cell)}: left out, {planned['bytes'] / 1e9:.1f} GB planned")
            continue
        measured = _in_own_process(cell)
        if measured is None:
            say(f"{_key(cell)}: failed")
            continue
        done[_key(cell)] = cell | planned | measured
        with given.results.open("a") as file:
            file.write(json.dumps(done[_key(cell)]) + "\n")
        off = 100 * (planned["bytes"] / measured["peak"] - 1)
        say(f"{_key(cell)}: {measured['peak'] / 1e6:.0f} MB measured, planned {off:+.1f} %")
    # Planned again: what was measured stays true when the planner changes.
    emit("plan_error", judge([cell | _plan(cell) for cell in done.values()]))


def judge(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the errors of the plans, of all cells and of parts of them."""
    peak = np.asarray([cell["peak"] for cell in cells], dtype=float)
    planned = np.asarray([cell["bytes"] for cell in cells], dtype=float)
    again = np.asarray([cell["again"] for cell in cells])
    result: dict[str, Any] = {"cells": len(cells), "as_planned": _errors(planned, peak)}
    others = np.asarray([cell["model"] not in FITTED_ON for cell in cells])
    result["not_fitted_on"] = _errors(planned[others], peak[others])
    by_model = {m: np.asarray([c["model"] == m for c in cells]) for m in MODELS}
    result["by_model"] = {
        m: _errors(planned[at], peak[at]) for m, at in by_model.items() if at.any()
    }
    for name, at in (("kept_activations", ~again), ("checkpointing", again)):
        result[name] = _errors(planned[at], peak[at])
    result["by_method"] = {
        m: _errors(planned[at], peak[at])
        for m in METHODS
        if (at := np.asarray([c["method"] == m for c in cells])).any()
    }
    base = np.asarray([cell["base"] for cell in cells], dtype=float)
    result["accelerate_estimate_memory"] = _errors(
        base + np.asarray([cell["peer"] for cell in cells], dtype=float), peak
    )
    result["fits_wrong_with_a_tenth_left"] = int((planned * 1.1 < peak).sum())
    return result


def _errors(planned: np.ndarray, peak: np.ndarray) -> dict[str, Any]:
    if not len(peak):
        return {"cells": 0}
    off = np.abs(planned / peak - 1)
    return {
        "cells": len(peak),
        "median_percent": round(100 * median(off.tolist()), 1),
        "within_10_percent": round(float((off <= 0.1).mean()), 3),
        "largest_percent": round(100 * float(off.max()), 1),
        "largest_too_low_percent": round(100 * float(np.max(1 - planned / peak)), 1),
    }


def _cells(models: list[str], device: str) -> list[dict[str, Any]]:
    return [
        {"model": m, "method": w, "batch": b, "length": n, "again": again, "device": device}
        for m in models
        for again, b, n, w in product((False, True), *MODELS[m], METHODS)
    ]


def _key(cell: dict[str, Any]) -> str:
    again = " again" if cell["again"] else ""
    return f"{cell['model']} {cell['method']} {cell['batch']}x{cell['length']}{again}"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    lines = path.read_text().splitlines() if path.is_file() else []
    return {_key(cell): cell for cell in map(json.loads, lines)}


def _config(cell: dict[str, Any], name: str) -> Any:
    from tailorbird.config import Config

    return Config.model_validate(
        {
            "model": {"name": name, "device": cell["device"]},
            "method": {"name": cell["method"]},
            "data": {} if cell["model"] in ENCODERS else {"max_length": cell["length"]},
            "train": {
                "batch_size": cell["batch"], "gradient_checkpointing": cell["again"],
                "epochs": 1, "tensorboard": False,
            },
        }
    )  # fmt: skip


def _target(cell: dict[str, Any]) -> Any:
    from tailorbird.records import Target

    return Target("classification", ("0", "1")) if cell["model"] in ENCODERS else None


def _plan(cell: dict[str, Any]) -> dict[str, Any]:
    from tailorbird.planning.data_size import Work
    from tailorbird.planning.device_fit import peers
    from tailorbird.planning.devices import place_of
    from tailorbird.planning.model_shape import read_shape
    from tailorbird.planning.training_memory import plan_memory

    with tempfile.TemporaryDirectory() as folder:
        name = cell["model"]
        if name in RANDOM:
            name = str(Path(folder) / "config.json")
            Path(name).write_text(json.dumps(RANDOM[cell["model"]]))
        config = _config(cell, name)
        work = Work(_target(cell), cell["length"], rows=3 * cell["batch"], answers=0)
        plan = plan_memory(read_shape(config.model), config, work, place_of(cell["device"]).device)
    sizes = {term.name: term.bytes for term in plan.terms}
    return {
        "bytes": plan.bytes,
        "phase": plan.phase,
        "terms": sizes,
        "peer": next(iter(peers(plan).values())),
    }


def _in_own_process(cell: dict[str, Any]) -> dict[str, Any] | None:
    done = subprocess.run(
        [sys.executable, __file__, "--cell", json.dumps(cell)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        say(done.stderr[-600:])
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train the cell as a run does, and return the peak of memory."""
    import peft  # noqa: F401 - as every run imports it
    import transformers.modeling_utils  # noqa: F401

    from tailorbird.models.device import choose, peak_memory
    from tailorbird.planning.data_size import Work
    from tailorbird.planning.training_time import synthetic_job
    from tailorbird.train.loop import train

    base = _resident()
    with tempfile.TemporaryDirectory() as folder:
        name = _saved(cell["model"], Path(folder)) if cell["model"] in RANDOM else cell["model"]
        config, device = _config(cell, name), choose(cell["device"])
        work = Work(_target(cell), cell["length"], rows=3 * cell["batch"])
        model, job = synthetic_job(config, work, device, Path(folder) / "run")
        train(model, job)
        return {"peak": peak_memory(device), "base": base, "precision": device.precision}


def _saved(name: str, folder: Path) -> str:
    """Save a random model in its own process, whose memory is not ours."""
    script = (
        "import sys, json, torch, transformers as t\n"
        "plain = json.loads(sys.argv[1])\n"
        "config = t.AutoConfig.for_model(**plain)\n"
        "kind = t.AutoModelForCausalLM if 'Causal' in plain['architectures'][0] else t.AutoModel\n"
        "kind.from_config(config, dtype=torch.bfloat16).save_pretrained(sys.argv[2])\n"
        "from tailorbird.models.builtin import resolve\n"
        "t.AutoTokenizer.from_pretrained(resolve(sys.argv[3])).save_pretrained(sys.argv[2])\n"
    )
    words = "builtin:minilm" if name in ENCODERS else "builtin:tutor"
    place = str(folder / "model")
    command = [sys.executable, "-c", script, json.dumps(RANDOM[name]), place, words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return place


if __name__ == "__main__":
    main()
