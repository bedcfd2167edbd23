"""What both sides of the benchmarks of supervised fine-tuning are given, and the clock."""

import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
    "smollm2": Shape("Llama", 576, 1536, 30, 9, 3, 49_152, True),
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
    began: tuple[float, float] = (0.0, 0.0)
    ended: tuple[float, float] = (0.0, 0.0)
    loading: dict[str, float] = field(default_factory=dict)

    def begin_step(self) -> None:
        """Note that an optimizer step begins."""
        if self.steps == self.warm_up:
            _finish()
            self.loading = _restart_gpu_peak()
            self.tokens, self.began = 0, _now()
        self.steps += 1

    def end(self) -> None:
        """Note that the last step has ended."""
        _finish()
        self.ended = _now()

    def result(self, loss: float, model: Any) -> dict[str, Any]:
        """Return the figures, memory up to now among them."""
        seconds, cpu_seconds = (b - a for a, b in zip(self.began, self.ended, strict=True))
        return {
            "tokens_per_second": self.tokens / seconds,
            "tokens_per_cpu_second": self.tokens / cpu_seconds,
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


def _now() -> tuple[float, float]:
    """Return the time of the clock and of the processor: others' work counts in the first only."""
    return time.perf_counter(), time.process_time()


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
