"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751; Pfeiffer et al., arXiv 2005.00247).

This is our own implementation, since no maintained library supports today's transformers. An
adapter is a forward hook on the output of a projection, so the base's modules, names and weights
stay untouched; every family whose projections are listed in `_PLACES` is supported.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from tailorbird.config.method import SETTINGS, WEIGHTS
from tailorbird.config.schema import Config
from tailorbird.errors import UserError
from tailorbird.methods.base import Method, freeze_all_but, no_merge
from tailorbird.methods.peft_folder import weight_shapes
from tailorbird.models.bf16_linear import shrink_frozen
from tailorbird.models.load import Base, hub_name
from tailorbird.runs.checked_files import damaged, read_as, reading
from tailorbird.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

# The last projections of attention and of the feed-forward block, by family.
_PLACES = (
    ("attention.output.dense", "output.dense"),  # BERT, RoBERTa, ELECTRA, DeBERTa
    ("attention.out_lin", "ffn.lin2"),  # DistilBERT
    ("attention.dense", "ffn_output"),  # ALBERT
    ("attn.Wo", "mlp.Wo"),  # ModernBERT
    ("self_attn.o_proj", "mlp.down_proj"),  # Llama, Qwen, Mistral, Gemma, Phi-3
    ("attn.c_proj", "mlp.c_proj"),  # GPT-2
    ("attn.attention.out_proj", "mlp.c_proj"),  # GPT-Neo
    ("attention.dense", "mlp.dense_4h_to_h"),  # GPT-NeoX, Pythia
    ("attention.attn.o", "output.dense"),  # MPNet
    ("self_attn.out_proj", "fc2"),  # OPT, BART
)


@dataclass(frozen=True)
class _Settings:
    """The contents of `adapter_config.json`."""

    placement: Literal["houlsby", "pfeiffer"]
    bottleneck: Annotated[int, Field(ge=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    tailorbird_version: str = __version__
    base_model_name_or_path: str = ""


class Bottleneck(nn.Module):
    """Down-projection, GELU and up-projection, added to the input; initially the identity."""

    def __init__(self, hidden: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.down = nn.Linear(hidden, width)
        self.up = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.down.weight, std=hidden**-0.5)
        # Houlsby §2.1 asks for a near-identity start; a zero up-projection is an exact one.
        for tensor in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(tensor)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return ``hidden [batch, seq, hidden]`` plus the adapter's output."""
        inner = self.dropout(nn.functional.gelu(self.down(hidden)))
        changed: torch.Tensor = hidden + self.up(inner)
        return changed


class Adapter(Method):
    """Trains small bottlenecks inside every layer, and the head."""

    def attach(self, base: Base, config: Config) -> nn.Module:
        """Attach an adapter at each place; see `Method.attach`."""
        settings = self.options(config.method)
        _attach_bottlenecks(base, **settings)
        freeze_all_but(base.model, ("adapter", *base.head))
        shrink_frozen(base.model, base.device)
        base.model.adapter_settings = settings | {  # type: ignore[assignment]
            "tailorbird_version": __version__,
            "base_model_name_or_path": hub_name(base.name),
        }
        return base.model

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the weights of adapters and head, and the settings to attach them again."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        trained = {
            n: p.detach().contiguous() for n, p in model.named_parameters() if p.requires_grad
        }
        save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / SETTINGS).write_text(json.dumps(model.adapter_settings, indent=2) + "\n")

    def load(self, base: Base, folder: Path) -> nn.Module:
        """Attach the adapters and load their weights."""
        from safetensors.torch import load_file

        with reading(folder / SETTINGS):
            settings = read_as(folder / SETTINGS, _Settings)
        shapes = weight_shapes(folder / WEIGHTS)
        widths = {shape[0] for key, shape in shapes.items() if key.endswith("adapter.down.weight")}
        if widths != {settings.bottleneck}:
            raise damaged(folder / SETTINGS, f"its bottleneck is not among {WEIGHTS}'s {widths}")
        with reading(folder / WEIGHTS):
            weights = load_file(folder / WEIGHTS, device=base.device.name)
        _attach_bottlenecks(base, settings.placement, settings.bottleneck, settings.dropout)
        freeze_all_but(base.model, ("adapter", *base.head))
        unfilled = {n for n, p in base.model.named_parameters() if p.requires_grad} ^ set(weights)
        if unfilled:
            raise UserError(
                f"{folder} does not fit {base.name}: {len(unfilled)} weights differ, "
                f"for example {sorted(unfilled)[0]}",
                "use the base model it was trained on",
            )
        with reading(folder / WEIGHTS):
            base.model.load_state_dict(weights, strict=False)
        shrink_frozen(base.model, base.device)
        base.model.adapter_settings = asdict(settings)  # type: ignore[assignment]
        return base.model.eval()

    def merge(self, model: nn.Module) -> nn.Module:
        """Raise: a bottleneck is not linear, so it has no merged form."""
        raise no_merge("bottleneck adapters", "they are not linear")


METHOD = Adapter("adapter")


def _attach_bottlenecks(base: Base, placement: str, bottleneck: int, dropout: float) -> None:
    places = list(_places(base.model, placement))
    if not places:
        raise UserError(
            f"adapters do not support the layers of {type(base.model).__name__}",
            "use --method lora, which fits every linear layer",
        )
    hidden = base.model.config.get_text_config().hidden_size  # type: ignore[union-attr, operator]
    for module in places:
        module.adapter = Bottleneck(hidden, bottleneck, dropout).to(base.device.name)
        module.register_forward_hook(lambda module, _, output: module.adapter(output))


def _places(model: nn.Module, placement: str) -> "Iterator[nn.Module]":
    for attention, feed_forward in _PLACES:
        after_attention = [m for n, m in model.named_modules() if n.endswith(f".{attention}")]
        after_feed_forward = [
            m
            for n, m in model.named_modules()
            if n.endswith(f".{feed_forward}") and not n.endswith(f".{attention}")
        ]
        if after_attention and after_feed_forward:
            yield from after_feed_forward
            if placement == "houlsby":
                yield from after_attention
            return
