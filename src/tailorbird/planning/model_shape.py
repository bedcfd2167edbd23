"""A model's shape from its configuration alone: no weights are read or allocated."""

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.models.classifier import headed_class, is_decoder
from tailorbird.models.device import Device
from tailorbird.models.load import Base, config_folder
from tailorbird.models.weights import explained, hub_options
from tailorbird.records import TASKS, Target

if TYPE_CHECKING:
    from torch import nn

_MOST = {"num_hidden_layers": 1000, "hidden_size": 200_000, "vocab_size": 10_000_000,
         "intermediate_size": 2_000_000, "num_local_experts": 10_000}  # fmt: skip
_SYNONYMS = {
    "n_layer": "num_hidden_layers",
    "n_layers": "num_hidden_layers",
    "num_layers": "num_hidden_layers",
    "n_embd": "hidden_size",
    "dim": "hidden_size",
    "d_model": "hidden_size",
    "hidden_dim": "intermediate_size",
    "n_inner": "intermediate_size",
    "num_experts": "num_local_experts",
}


@dataclass(frozen=True)
class Shape:
    """A model's configuration.

    Attributes:
        name: The user's name of the model.
        config: transformers' configuration; None for an unknown architecture.
        plain: The configuration as plain values.
        stored_bits: Bits of a weight in a quantised checkpoint, else None.
        notes: The plan's assumptions, in words.
    """

    name: str
    config: Any
    plain: dict[str, Any]
    stored_bits: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> Any:
        """The configuration of the text part."""
        return self.config.get_text_config()

    @property
    def layers(self) -> int:
        """The number of layers of the text part."""
        return int(self.text.num_hidden_layers)

    @property
    def stored_bytes(self) -> int | None:
        """Bytes of a weight in the checkpoint; None if unspecified."""
        name = str(self.plain.get("dtype") or self.plain.get("torch_dtype") or "")
        return {"float32": 4, "bfloat16": 2, "float16": 2}.get(name.removeprefix("torch."))

    def size(self, key: str, otherwise: int = 0) -> int:
        """Return a size by its usual name, whatever the family's name for it."""
        names = [key, *(other for other, usual in _SYNONYMS.items() if usual == key)]
        inner = self.plain.get("text_config") or {}
        places = [place.get(name) for place in (inner, self.plain) for name in names]
        return int(next((value for value in places if isinstance(value, int)), otherwise))


def read_shape(model: ModelConfig) -> Shape:
    """Return a model's shape from its ``config.json``.

    Args:
        model: A hub id, a builtin, a folder, or the file itself.

    Raises:
        UserError: There is no configuration, it needs custom code, or its sizes are implausible.
    """
    from transformers import AutoConfig, PreTrainedConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    file = Path(model.name).expanduser()
    source = file if file.suffix == ".json" and file.is_file() else config_folder(model)
    with explained(model.name):
        plain, _ = PreTrainedConfig.get_config_dict(source, **hub_options(model))
    _check_sizes(model.name, plain)
    bits, note = _stored_bits(plain.get("quantization_config") or {})
    notes = [note] if note else []
    supported = plain.get("model_type") in CONFIG_MAPPING
    if not supported and "auto_map" not in plain:
        notes.append(
            f"transformers does not know the architecture {plain.get('model_type')!r}: the figures "
            "follow a formula for plain transformers, and may be off by a third"
        )
        return Shape(model.name, None, plain, bits, tuple(notes))
    without = {"quantization_config": None} if bits else {}
    with explained(model.name):
        config = AutoConfig.from_pretrained(source, **hub_options(model), **without)
    if bits and hasattr(config, "quantization_config"):
        del config.quantization_config
    return Shape(model.name, config, plain, bits, tuple(notes))


def _check_sizes(name: str, plain: dict[str, Any]) -> None:
    """Refuse implausible sizes before anything of that size is built."""
    if not plain:
        raise UserError(f"model {name} has an empty config.json", "download or save it again")
    for part in (plain, plain.get("text_config") or {}):
        for key, value in part.items():
            usual = _SYNONYMS.get(key, key)
            if usual not in _MOST or value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(
                    f"model {name}: its config.json says {key}={json.dumps(value)[:60]}",
                    "a whole number from 1 on is due there; download or save it again",
                )
            if value > _MOST[usual]:
                raise UserError(
                    f"model {name}: its config.json says {key}={value:,}; no model has more than "
                    f"{_MOST[usual]:,}",
                    "the file may be damaged: download or save it again",
                )


def _stored_bits(settings: dict[str, Any]) -> tuple[float | None, str]:
    """Return the bits per weight of a quantised checkpoint, and a note."""
    if not settings:
        return None, ""
    kind = str(settings.get("quant_method") or "unknown")
    bits = settings.get("bits")
    if settings.get("load_in_4bit") or settings.get("_load_in_4bit"):
        bits = 4
    if not isinstance(bits, int):
        bits = 4 if "4" in kind else 8
    # Including scales: 16 bits for 128 weights, as in GPTQ and AWQ.
    note = (
        f"the checkpoint is quantised already ({kind}, {bits} bits): its matrices are counted so, "
        "and only methods that leave them frozen can train it"
    )
    return bits + 16 / 128, note


def with_depth(config: Any, layers: int) -> Any:
    """Return a copy of a configuration with fewer layers; per-layer lists are shortened."""
    shorter = deepcopy(config)
    text = shorter.get_text_config()
    before = int(text.num_hidden_layers)
    for key, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == before:
            setattr(text, key, value[:layers])
    text.num_hidden_layers = layers
    return shorter


def depths(config: Any) -> tuple[int, ...]:
    """Return the depths to trace: two short ones for extrapolation, or the whole one.

    Families with several kinds of layers repeat them with a period (ModernBERT: every third attends
    globally). Memory at the whole depth lies on the line through both.
    """
    text = config.get_text_config()
    total = int(text.num_hidden_layers)
    kinds = [v for v in vars(text).values() if isinstance(v, list) and len(v) == total]
    period = next(
        (p for p in range(1, total) if all(v[i] == v[i % p] for v in kinds for i in range(total))),
        total,
    )
    first = period + total % period
    first = first if first > 1 else first + period
    second = first + period
    if text is not config or second + period > total:
        return (total,)
    return first, second


def empty_base(
    shape: Shape, config: Any, target: Target | None, device: Device, dtype: Any
) -> Base:
    """Return the base model on torch's meta device: shapes and formats without memory.

    Args:
        shape: The planned model.
        config: Its configuration, or one with fewer layers.
        target: The target of a head; None: generation.
        device: The device and its number format.
        dtype: The format of the loaded weights.

    Raises:
        UserError: transformers has no model for this task in the family.
    """
    import torch
    from transformers import AutoModelForCausalLM

    writes = target is None
    config = deepcopy(config)
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0
    kind: Any = AutoModelForCausalLM
    if target is not None:
        config.num_labels = max(1, len(target.labels))
        config.problem_type = TASKS[target.task].problem
        kind = headed_class(config, target)
    make = getattr(kind, "from_config", None) or kind._from_config
    try:
        with torch.device("meta"):
            model = make(config, dtype=dtype)
    except ValueError as error:
        what = "writes answers" if writes else "labels texts"
        raise UserError(
            f"model {shape.name} ({config.model_type}) is none that {what}",
            "name another --model, or another --task",
        ) from error
    model.config.use_cache = False
    per_word = target is not None and TASKS[target.task].per_word
    nowhere = Device("meta", device.precision, device.words)
    head = () if writes else _head_names(model)
    decoder = is_decoder(model)
    return Base(model, None, shape.name, head, decoder, nowhere, writes, per_word)


def _head_names(model: "nn.Module") -> tuple[str, ...]:
    """Return the modules above the backbone, which have no weights in a checkpoint."""
    prefix = f"{model.base_model_prefix}."
    names = {n.rpartition(".")[0] for n, _ in model.named_parameters() if not n.startswith(prefix)}
    return tuple(sorted(names))
