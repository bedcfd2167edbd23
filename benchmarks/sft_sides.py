"""The sides of the benchmarks of supervised fine-tuning: tailorbird, Trainer + PEFT, TRL.

`sft_speed.py` (CPU) and `gpu_sft.py` (GPU) import it; it prints nothing of its own.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from sft_setup import Clock, Setup

LEARNING_RATE = 1e-4
INSTALL_TRL = "pip install trl, into an environment of its own that also holds tailorbird"


def tailorbird(setup: Setup) -> dict[str, Any]:
    """Train one epoch as `tasks/fit_generative.py` does, and return the clock's figures."""
    from dataclasses import replace

    from tailorbird import log
    from tailorbird.config import load_config
    from tailorbird.methods.registry import get_method
    from tailorbird.models.device import choose
    from tailorbird.runs.folder import RunFolder
    from tailorbird.tasks.base_model import make_base
    from tailorbird.train.loop import TrainJob, train
    from tailorbird.train.settings import resolve_generative
    from tailorbird.train.workloads import GenerativeWork

    log.quiet_libraries()
    flags: dict[str, Any] = {
        "model.name": str(setup.model), "method.name": setup.method, "method.rank": setup.rank,
        "train.batch_size": setup.batch, "train.epochs": 1, "train.learning_rate": LEARNING_RATE,
        "train.gradient_checkpointing": setup.recompute,
    }  # fmt: skip
    if setup.micro_tokens:
        flags["train.micro_batch_tokens"] = setup.micro_tokens
    config, clock = load_config(flags=flags), Clock(setup.warm_up)
    device, how = choose(), get_method(setup.method)
    base = make_base(config, device, how)
    tokens = _tokens(setup)
    model = how.attach(base, config)
    settings = resolve_generative(config, how, len(tokens), base.model.config.hidden_size)

    class Watched(GenerativeWork):
        def micro_batches(self, indices: Any) -> Any:
            clock.begin_step()
            clock.tokens += int(self.lengths[indices].sum())
            return super().micro_batches(indices)

    def validate(_: Any) -> tuple[float, float]:
        clock.end()  # the loop validates after its last step
        return 1.0, 0.0

    settings = replace(settings, evaluate_every=10**9)
    with tempfile.TemporaryDirectory() as folder, quiet():
        work = Watched(tokens, model, device, settings)
        job = TrainJob(work, settings, device, RunFolder(folder), validate, keep="loss")
        trained = train(model, job)
    result: dict[str, Any] = clock.result(trained.curve[0].train_loss, model)
    return result | {"way": work.reader.way}


def _tokens(setup: Setup) -> Any:
    import numpy as np

    from tailorbird.data.tokens import Tokens

    ids = [np.asarray(row, dtype=np.int32) for row, _ in setup.rows]
    trained = [np.arange(len(row)) >= prompt for row, prompt in setup.rows]
    return Tokens(ids, trained, [], np.arange(len(ids)))


def has_trl() -> bool:
    """Say whether TRL and what it needs are installed."""
    return find_spec("trl") is not None and find_spec("datasets") is not None


def trl(setup: Setup, options: dict[str, Any]) -> dict[str, Any]:
    """Train the same epoch with TRL's SFTTrainer; `options` are SFTConfig's."""
    import transformers
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    clock = Clock(setup.warm_up)
    rows, steps = setup.micro_rows, max(1, round(setup.batch / setup.micro_rows))
    if options.get("packing"):
        # As many rows of packed_tokens as hold the tokens of a batch.
        filled = setup.tokens / len(setup.rows) * setup.batch / setup.packed_tokens
        rows, steps = 1, max(1, round(filled))
        options = options | {"max_length": setup.packed_tokens}

    class Watched(SFTTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            clock.tokens += _real_tokens(inputs)
            return super().compute_loss(model, inputs, *args, **kwargs)

    with tempfile.TemporaryDirectory() as output, quiet():
        arguments = SFTConfig(
            **_trainer_options(setup, output, rows, steps)
            | {"max_length": None, "gradient_checkpointing": False, **_model_options(setup)}
            | options
        )
        trainer = Watched(
            model=str(setup.model),
            args=arguments,
            train_dataset=Dataset.from_dict(_labelled(setup)),
            processing_class=AutoTokenizer.from_pretrained(setup.model),
            peft_config=LoraConfig(**lora_options(setup)),
            callbacks=[_watcher(clock)],
        )
        done = trainer.train()
    clock.end()
    return clock.result(done.training_loss, trainer.model)


def trainer(setup: Setup) -> dict[str, Any]:
    """Train the same epoch with transformers' Trainer and PEFT, rows padded to the longest."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    clock = Clock(setup.warm_up)
    made = _model_options(setup)["model_init_kwargs"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(setup.model, **made)
    if "quantization_config" in made:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=setup.recompute)
    else:
        model = model.to(device)
    model = get_peft_model(model, LoraConfig(**lora_options(setup)))
    if setup.recompute:
        model.enable_input_require_grads()

    class Watched(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            clock.tokens += _real_tokens(inputs)
            return super().compute_loss(model, inputs, *args, **kwargs)

    columns = _labelled(setup)
    examples = [
        {"input_ids": i, "labels": t}
        for i, t in zip(columns["input_ids"], columns["labels"], strict=True)
    ]
    with tempfile.TemporaryDirectory() as output, quiet():
        steps = max(1, round(setup.batch / setup.micro_rows))
        options = _trainer_options(setup, output, setup.micro_rows, steps)
        watched = Watched(
            model=model,
            args=TrainingArguments(**options | {"gradient_checkpointing": setup.recompute}),
            train_dataset=examples,  # type: ignore[arg-type]
            data_collator=transformers.DataCollatorForSeq2Seq(
                AutoTokenizer.from_pretrained(setup.model)
            ),
            callbacks=[_watcher(clock)],
        )
        done = watched.train()
    clock.end()
    return clock.result(done.training_loss, model)


def _trainer_options(setup: Setup, output: str, rows: int, steps: int) -> dict[str, Any]:
    """Return what Trainer and SFTTrainer share: the loop's own settings, nothing that costs."""
    import torch

    return {
        "output_dir": output,
        "num_train_epochs": 1,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": steps,
        "learning_rate": LEARNING_RATE,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": setup.precision == "bf16",
        "logging_strategy": "no",
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }


def _model_options(setup: Setup) -> dict[str, Any]:
    """Return what the others load the model with: frozen weights in the format of the products."""
    import torch
    from transformers import BitsAndBytesConfig

    dtype = torch.bfloat16 if setup.precision == "bf16" else torch.float32
    made: dict[str, Any] = {"dtype": dtype, "attn_implementation": setup.attention}
    if setup.method == "qlora":
        made["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return {"model_init_kwargs": made}


def lora_options(setup: Setup) -> dict[str, Any]:
    """Return tailorbird's own LoRA settings in PEFT's words."""
    return {
        "task_type": "CAUSAL_LM",
        "r": setup.rank,
        "lora_alpha": 2 * setup.rank,
        "lora_dropout": 0.0,
        "target_modules": "all-linear",
    }


def _labelled(setup: Setup) -> dict[str, list[list[int]]]:
    return {
        "input_ids": [ids for ids, _ in setup.rows],
        "labels": [[-100] * prompt + ids[prompt:] for ids, prompt in setup.rows],
    }


def _real_tokens(inputs: Any) -> int:
    mask = inputs.get("attention_mask")
    return int(inputs["input_ids"].numel() if mask is None else mask.sum())


def _watcher(clock: Clock) -> Any:
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.begin_step()

    return Watcher()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries print out of stdout, which holds the result."""
    import warnings

    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
