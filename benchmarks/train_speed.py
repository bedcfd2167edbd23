"""Examples per second: tailorbird's training loop against transformers.Trainer (+ PEFT).

SST-2, batch 32, the same rows, the same model, LoRA (every linear layer, rank 16) or full. Four
ways, interleaved (A B C D A B C D ...), each in a fresh process that first trains a few steps on
other rows:

  tailorbird           arms/trained.py's own functions and train/loop.py, with their defaults
  trainer              transformers.Trainer as it comes
  trainer-bf16         with bf16=True
  trainer-bf16-sorted  with bf16=True and train_sampling_strategy="group_by_length"

and on request a fifth, trainer-bf16-sorted-nodropout: tailorbird switches the dropout of a frozen
base off, which Trainer leaves to its user. Prints one JSON line: rates (medians over the rounds),
tailorbird's ratio to each, and the share of this machine's bf16 matrix-product rate that the
linear layers' products amount to, padding not counted.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, fresh, middle, parser, read_rows, say

WAYS = ("tailorbird", "trainer", "trainer-bf16", "trainer-bf16-sorted")
EXTRA = "trainer-bf16-sorted-nodropout"
RANK = 16


def main() -> None:
    """Run the rounds, or (with --one) a single measurement."""
    asked = _parser().parse_args()
    path = data_file(asked.data, "train.csv")
    if asked.one == "rate":
        print(json.dumps({"gflops": _product_rate()}))
        return
    if asked.one:
        print(json.dumps(_measure(asked.one, asked.methods, path, asked)))
        return
    methods = asked.methods.split(",")
    rates: dict[str, dict[str, list[dict[str, float]]]] = {
        m: {w: [] for w in asked.ways.split(",")} for m in methods
    }
    products: list[float] = []
    for number in range(1, asked.rounds + 1):
        products.append(fresh(__file__, "--one", "rate", "--data", str(asked.data))["gflops"])
        for method, ways in rates.items():
            for way, found in ways.items():
                found.append(_fresh_one(way, method, asked))
                say(
                    f"round {number}/{asked.rounds} {method} {way}: "
                    f"{found[-1]['examples_per_second']:.1f} examples/s"
                )
    emit("train_speed", _summary(rates, products, asked))


def _parser() -> Any:
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "sst2", help="folder with train.csv")
    asked.add_argument(
        "--methods", default="lora,full", help="of tailorbird alone (--ways) also the other methods"
    )
    asked.add_argument("--ways", default=",".join(WAYS), help=f"also: {EXTRA}")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--steps", type=int, default=60, help="timed steps per measurement")
    asked.add_argument("--warm-up", type=int, default=10, help="steps before them")
    asked.add_argument("--batch", type=int, default=32)
    asked.add_argument("--one", default="", help="measure one way here and now")
    return asked


def _fresh_one(way: str, method: str, asked: Any) -> dict[str, float]:
    found: dict[str, float] = fresh(
        __file__, "--one", way, "--methods", method, "--data", str(asked.data),
        "--steps", str(asked.steps), "--warm-up", str(asked.warm_up), "--batch", str(asked.batch),
    )  # fmt: skip
    return found


def _summary(
    rates: dict[str, dict[str, list[dict[str, float]]]], products: list[float], asked: Any
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "rounds": asked.rounds, "steps": asked.steps, "batch": asked.batch, "rank": RANK,
        "bf16_product_gflops": middle(products, 0),
    }  # fmt: skip
    for method, ways in rates.items():
        speed = {w: middle([f["examples_per_second"] for f in found]) for w, found in ways.items()}
        flops = {w: middle([f["gflops"] for f in found], 1) for w, found in ways.items()}
        told: dict[str, Any] = {
            "examples_per_second": speed,
            "lowest_and_highest": {
                w: [round(min(v), 2), round(max(v), 2)]
                for w, found in ways.items()
                if (v := [f["examples_per_second"] for f in found])
            },
            "linear_layer_gflops": flops,
            "share_of_product_rate": {
                w: round(f / middle(products, 0), 3) for w, f in flops.items()
            },
        }
        if "tailorbird" in speed:
            ours = speed["tailorbird"]
            told["tailorbird_times"] = {
                w: round(ours / s, 2) for w, s in speed.items() if w != "tailorbird"
            }
        result[method] = told
    ours = {m: result[m]["examples_per_second"].get("tailorbird") for m in rates}
    if ours.get("lora"):
        result["step_times_lora"] = {m: round(ours["lora"] / r, 2) for m, r in ours.items() if r}
    return result


def _product_rate() -> float:
    """Return the best rate of large bf16 products, in GFLOP/s."""
    import torch

    size = 2048
    a = torch.randn(size, size).to(torch.bfloat16)
    for _ in range(3):
        a @ a
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        a @ a
        best = max(best, 2 * size**3 / (time.perf_counter() - started) / 1e9)
    return best


def _measure(way: str, method: str, path: Path, asked: Any) -> dict[str, float]:
    """Train on the warm-up rows, then with a fresh model time one epoch over the rest."""
    import random

    rows = read_rows(path)
    random.Random(13).shuffle(rows)
    cold = asked.warm_up * asked.batch
    timed = rows[cold : cold + asked.steps * asked.batch]
    run = _tailorbird if way == "tailorbird" else _trainer
    run(way, method, rows[:cold], asked.batch)
    seconds, tokens, parameters = run(way, method, timed, asked.batch)
    # Forward 2 per weight and token; backward as much for the inputs' gradients, and when the
    # weights are trained as much again for theirs.
    flops = (6 if method == "full" else 4) * parameters * tokens
    return {
        "examples_per_second": len(timed) / seconds,
        "tokens_per_second": tokens / seconds,
        "gflops": flops / seconds / 1e9,
    }


def _tailorbird(
    way: str, method: str, rows: list[tuple[str, str]], batch: int
) -> tuple[float, int, int]:
    """Return seconds, tokens and the weights of the linear layers; as `arms/trained.py` trains."""
    from tailorbird import log
    from tailorbird.config import load_config
    from tailorbird.data.encode import encode
    from tailorbird.methods.registry import get_method
    from tailorbird.models.device import choose
    from tailorbird.records import Target
    from tailorbird.runs.folder import RunFolder
    from tailorbird.tasks.base_model import max_length
    from tailorbird.tasks.fit_head import make_model
    from tailorbird.train.loop import TrainJob, train
    from tailorbird.train.settings import resolve
    from tailorbird.train.workloads import LabelWork

    log.quiet_libraries()
    flags = {"method.name": method, "train.batch_size": batch, "train.epochs": 1}
    if method == "lora":
        flags["method.rank"] = RANK
    config = load_config(flags=flags)
    labels = tuple(sorted({label for _, label in rows}))
    how = get_method(method)
    device = choose(config.model.device, config.model.precision)
    model, base = make_model(config, Target(labels=labels), device, how)
    texts = [text for text, _ in rows]
    limit = max_length(config, base, how)
    encoded = encode(texts, base.tokenizer, limit, [labels.index(label) for _, label in rows])
    ended: list[float] = []

    def validate(_: Any) -> tuple[float, float]:
        ended.append(time.perf_counter())  # the loop validates after its last step
        return 1.0, 0.0

    with tempfile.TemporaryDirectory() as folder:
        settings = replace(resolve(config, how, len(rows)), evaluate_every=10**9)
        job = TrainJob(
            work=LabelWork(encoded, base.tokenizer.pad_token_id, device, settings.micro_batch_size),
            settings=settings,
            device=device,
            folder=RunFolder(folder),
            validate=validate,
        )
        with _quiet():
            started = time.perf_counter()
            train(model, job)
    return ended[-1] - started, int(encoded.lengths.sum()), _linear_weights(model)


def _trainer(
    way: str, method: str, rows: list[tuple[str, str]], batch: int
) -> tuple[float, int, int]:
    """Return the same for `transformers.Trainer`, which is given the same model and rows."""
    import torch
    import transformers
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    from tailorbird.models.builtin import resolve

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = resolve("builtin:minilm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    labels = sorted({label for _, label in rows})
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))
    if way.endswith("nodropout"):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    if method == "lora":
        from peft import LoraConfig, TaskType, get_peft_model

        lora = LoraConfig(
            task_type=TaskType.SEQ_CLS, r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"
        )
        model = get_peft_model(model, lora)
    limit = min(tokenizer.model_max_length, 512)
    examples = [
        dict(tokenizer(text, truncation=True, max_length=limit)) | {"labels": labels.index(label)}
        for text, label in rows
    ]
    with tempfile.TemporaryDirectory() as output:
        options: dict[str, Any] = {"bf16": True} if "bf16" in way else {}
        if "sorted" in way:
            options["train_sampling_strategy"] = "group_by_length"
        arguments = TrainingArguments(
            output_dir=output,
            num_train_epochs=1,
            per_device_train_batch_size=batch,
            use_cpu=not torch.cuda.is_available(),
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **options,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=examples,  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        with _quiet():
            started = time.perf_counter()
            trainer.train()
            seconds = time.perf_counter() - started
    tokens = sum(len(example["input_ids"]) for example in examples)
    return seconds, tokens, _linear_weights(model)


def _linear_weights(model: Any) -> int:
    """Count the weights of the base's linear layers that see every token: not pooler, not head."""
    from torch import nn

    once = ("pooler", "classifier", "lora_")
    return sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not any(part in name for part in once)
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries print out of stdout, which holds the result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


if __name__ == "__main__":
    main()
