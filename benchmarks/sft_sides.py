"""Both sides of the benchmarks of supervised fine-tuning: the same model, rows and settings.

`sft_speed.py` (CPU) and `gpu_sft.py` (GPU) import it; it prints nothing of its own.
"""

import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LEARNING_RATE = 1e-4
INSTALL_TRL = "pip install trl, into an environment of its own that also holds tailorbird"


@dataclass(frozen=True)
class Shape:
    """What a model is like but for its weights, which are drawn at random."""

    family: str
    hidden: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool
    head_size: int | None = None


SHAPES = {
    "tiny": Shape("Qwen2", 64, 128, 2, 4, 2, 2048, True),
    "qwen2-0.1b": Shape("Qwen2", 512, 2048, 8, 8, 2, 151_936, True),
    "qwen2-0.5b": Shape("Qwen2", 896, 4864, 24, 14, 2, 151_936, True),
    "llama-1b": Shape("Llama", 2048, 8192, 16, 32, 8, 128_256, True),
    "llama-8b": Shape("Llama", 4096, 14_336, 32, 32, 8, 128_256, False),
}


@dataclass(frozen=True)
class Setup:
    """What both sides are given.

    Attributes:
        rows: Token ids and how many of them are the prompt, which is not trained.
        batch: Rows of an optimizer step.
        warm_up: Steps that are not timed.
        micro_tokens: tailorbird's tokens per forward pass; None: its own default.
        micro_rows: The others' rows per forward pass, unless they pack.
        packed_tokens: Length to which the others pack.
        precision: The others' number format.
    """

    model: Path
    rows: list[tuple[list[int], int]]
    batch: int
    warm_up: int
    method: str = "lora"
    rank: int = 16
    micro_tokens: int | None = None
    micro_rows: int = 4
    packed_tokens: int = 1024
    precision: str = "fp32"
    recompute: bool = False
    attention: str = "sdpa"

    @property
    def tokens(self) -> int:
        """All tokens of an epoch."""
        return sum(len(ids) for ids, _ in self.rows)


@dataclass
class Clock:
    """Times the steps after the warm-up and counts their tokens, padding not among them."""

    warm_up: int
    steps: int = 0
    tokens: int = 0
    began: float = 0.0
    ended: float = 0.0
    loading: dict[str, float] = field(default_factory=dict)

    def begin_step(self) -> None:
        """Note that an optimizer step begins."""
        if self.steps == self.warm_up:
            _finish()
            self.loading = _restart_gpu_peak()
            self.tokens, self.began = 0, time.perf_counter()
        self.steps += 1

    def end(self) -> None:
        """Note that the last step has ended."""
        _finish()
        self.ended = time.perf_counter()

    def result(self, loss: float, model: Any) -> dict[str, Any]:
        """Return the figures, memory up to now among them."""
        seconds = self.ended - self.began
        return {
            "tokens_per_second": self.tokens / seconds,
            "seconds": seconds,
            "steps": self.steps - self.warm_up,
            "tokens": self.tokens,
            "mean_loss": loss,
            "model_mb": round(weights_bytes(model) / 1e6, 1),
            "linear_weights": linear_weights(model),
            "way": "",
            **peaks(),
            **self.loading,
        }


def _finish() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _restart_gpu_peak() -> dict[str, float]:
    """Return the GPU's peak memory up to now, loading included, and begin a new one."""
    import torch

    if not torch.cuda.is_available():
        return {}
    peak = torch.cuda.max_memory_allocated() / 1e6
    torch.cuda.reset_peak_memory_stats()
    return {"gpu_loading_peak_mb": round(peak, 1)}


def peaks() -> dict[str, float]:
    """Return the process's peak memory in MB, and the GPU's since the warm-up."""
    import torch

    unit = 1 if sys.platform == "darwin" else 1024
    found = {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if torch.cuda.is_available():
        found["gpu_peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return found


def weights_bytes(model: Any) -> int:
    """Return the bytes of all weights, shared ones once."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def linear_weights(model: Any) -> int:
    """Count the frozen weights of the linear layers that see every token, 4-bit ones unpacked."""
    from torch import nn

    return sum(
        module.in_features * module.out_features
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "lora_" not in name and not name.endswith("lm_head")
    )


def save_model(shape: Shape, folder: Path, dtype: str = "float32") -> None:
    """Write a model with random weights and a byte-level tokenizer padded to its vocabulary."""
    import torch
    import transformers

    torch.manual_seed(1)
    more = {"head_dim": shape.head_size} if shape.head_size else {}
    config = getattr(transformers, f"{shape.family}Config")(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=shape.tied,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        dtype=dtype,
        **more,
    )
    transformers.logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model = getattr(transformers, f"{shape.family}ForCausalLM")(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    _tokenizer(shape.vocabulary).save_pretrained(folder)


def _tokenizer(size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "</s>", "<pad>"]
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words += [f"<unused{i}>" for i in range(size - len(words))]
    inner = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def make_rows(
    count: int, shortest: int, longest: int, vocabulary: int, prompt_share: float
) -> list[tuple[list[int], int]]:
    """Return rows of random ids whose lengths are spread evenly, with their prompts' lengths."""
    import numpy as np

    rng = np.random.default_rng(3)
    lengths = rng.integers(shortest, longest + 1, count)
    return [
        (rng.integers(3, vocabulary, n).tolist(), int(n * prompt_share)) for n in lengths.tolist()
    ]


def tailorbird(setup: Setup) -> dict[str, Any]:
    """Train one epoch as `flows/writing_arm.py` does, and return the clock's figures."""
    from dataclasses import replace

    from tailorbird import log
    from tailorbird.config import load_config
    from tailorbird.flows.writing_arm import make_base
    from tailorbird.methods import get_method
    from tailorbird.models.device import choose
    from tailorbird.runs.folder import RunFolder
    from tailorbird.train.loop import Job, train
    from tailorbird.train.settings import resolve_writing
    from tailorbird.train.writing import WritingWork

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
    settings = resolve_writing(config, how, len(tokens), base.model.config.hidden_size)

    class Watched(WritingWork):
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
        job = Job(work, settings, device, RunFolder(folder), validate, keep="loss")
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
