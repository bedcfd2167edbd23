"""Options and facts of LoRA."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tailorbird.config.method import SETTINGS, WEIGHTS, Defaults, MethodSpec, Options

if TYPE_CHECKING:
    import numpy as np


class LowRankOptions(Options):
    """The options that LoRA and QLoRA share."""

    rank: int = Field(16, ge=1)
    """rank of the weight update."""
    alpha: float | None = Field(None, gt=0)
    """the update is scaled by alpha / rank (alpha / sqrt(rank) with rsLoRA); default: twice the
    rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """dropout rate on the input of the update."""
    targets: str | list[str] = "all-linear"
    """names of the layers to adapt; `all-linear` is every linear layer except the head."""
    rslora: bool = False
    """divide alpha by sqrt(rank) instead of rank (rank-stabilised LoRA, arXiv 2312.03732)."""
    dora: bool = False
    """train the weights' magnitude and direction separately (DoRA, arXiv 2402.09353)."""
    loraplus: float | None = Field(None, ge=1)
    """learning rate of matrix B as a multiple of A's (LoRA+, arXiv 2402.12354, which uses 16)."""

    def filled(self) -> dict[str, Any]:
        """See `Options.filled`."""
        return self.model_dump() | {"alpha": self.alpha or 2 * self.rank}


class LoraOptions(LowRankOptions):
    """The options of LoRA."""

    pissa: bool = False
    """start from the weights' principal singular vectors (PiSSA, arXiv 2404.02948)."""


def parameters(options: Mapping[str, Any], hidden: int, inner: int, layers: int) -> float:
    """Return the number of weights in a low-rank update of every linear layer."""
    return layers * int(options["rank"]) * (11.0 * hidden + 3 * inner)


def arrays(folder: Path, base: Mapping[str, "np.ndarray"]) -> Mapping[str, "np.ndarray"]:
    """Return the base's weights with the update and the head; see `MethodSpec.arrays`."""
    from tailorbird.models.numpy_bert import read_weights

    scale, own = _plain_scale(folder), read_weights(folder / WEIGHTS, "base_model.model.")
    scaled = {name: scale * up for name, up in own.items() if name.endswith(".lora_B.weight")}
    return {**base, **own, **scaled}


# PEFT's non-empty settings of plain LoRA; others would change its computation.
_PLAIN = {
    "peft_type": "LORA", "bias": "none", "init_lora_weights": True,
    "megatron_core": "megatron.core", "qalora_group_size": 16, "inference_mode": True,
}  # fmt: skip
_READ = {
    "r", "lora_alpha", "use_rslora", "lora_dropout", "target_modules", "exclude_modules",
    "modules_to_save", "task_type", "base_model_name_or_path", "revision", "auto_mapping",
    "peft_version",
}  # fmt: skip


def _plain_scale(folder: Path) -> float:
    """Return plain LoRA's factor on the product of the two matrices."""
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    others = {name: value for name, value in settings.items() if value and name not in _READ}
    if others.items() - _PLAIN.items() or settings["init_lora_weights"] is not True:
        raise ValueError("it is not a plain LoRA")
    rank = int(settings["r"])
    return float(settings["lora_alpha"]) / (rank**0.5 if settings["use_rslora"] else rank)


SPACE: Any = {"method.rank": (4, 8, 16, 32, 64), "method.dropout": (0.0, 0.05, 0.1)}

SPEC = MethodSpec(
    words="LoRA",
    options=LoraOptions,
    defaults=Defaults(learning_rate=5e-4, epochs=3, generative_factor=10),
    space=SPACE,
    library="peft",
    smaller="qlora",
    reads_weights=("pissa",),
    parameters=parameters,
    arrays=arrays,
)
