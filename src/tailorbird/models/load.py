"""Loads a base model and its tokenizer, with a clear error if that fails."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError, did_you_mean
from tailorbird.models.builtin import public_name, resolve, without_place
from tailorbird.models.device import Device
from tailorbird.models.hub import hub_reachable
from tailorbird.models.weights import (
    check_numbers,
    explain_loading,
    explained,
    hub_options,
    pretrained,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Base:
    """A loaded base model, with a classification head or for generation.

    Attributes:
        head: Names of the modules without weights in the checkpoint (a classifier's head, in some
            families with a dense layer before it; none for generation). Every method trains them.
        is_decoder: Left-to-right attention: the model classifies at the last token.
        generates: It has a language-model head and generates text.
        per_word: Its head labels every token.
    """

    model: "nn.Module"
    tokenizer: Any
    name: str
    head: tuple[str, ...]
    is_decoder: bool
    device: Device
    generates: bool = False
    per_word: bool = False
    notes: list[str] = field(default_factory=list)


def load_tokenizer(config: ModelConfig) -> Any:
    """Return the tokenizer, with a padding token.

    Raises:
        UserError: The model cannot be found or has no usable tokenizer.
    """
    from transformers import AutoTokenizer

    source = model_source(config)
    with explained(config.name):
        tokenizer = AutoTokenizer.from_pretrained(source, **hub_options(config))
    return _checked(tokenizer, config.name)


def tokenizer_in(folder: Path, *, trust: bool = False) -> Any:
    """Load the tokenizer saved with a model, including its chat template.

    Args:
        trust: Whether code in the folder may run, see `ModelConfig`.

    Raises:
        UserError: It is missing or damaged.
    """
    from transformers import AutoTokenizer

    check_numbers(folder)
    with explained(str(folder)):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    return _checked(tokenizer, str(folder))


_LEAST_LENGTH = 4


def _checked(tokenizer: Any, name: str) -> Any:
    # Without files transformers returns an empty tokenizer, for which every word is unknown.
    if tokenizer.vocab_size <= len(set(tokenizer.all_special_ids)):
        raise UserError(
            f"model {name} has no tokenizer files",
            "put its tokenizer.json and tokenizer_config.json beside the weights",
        )
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or not longest >= _LEAST_LENGTH:
        raise UserError(
            f"the tokenizer of {name} has a model_max_length of {longest!r}",
            "set the model's token limit in its tokenizer_config.json, or remove the entry",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise UserError(
            f"the tokenizer of {name} has no padding, end or unknown token",
            "set one in its tokenizer_config.json",
        )
    tokenizer.padding_side = "right"
    return tokenizer


def config_folder(config: ModelConfig) -> Path:
    """Return a folder with a model's small descriptive files, without its weights.

    Raises:
        UserError: The model cannot be found.
    """
    local = Path(model_source(config))
    if local.is_dir():
        return local
    from huggingface_hub import snapshot_download

    with explained(config.name):
        small = ["config.json", "modules.json", "*sentence*.json", "*/config.json"]
        folder = snapshot_download(config.name, revision=config.revision, allow_patterns=small)
    return Path(folder)


def load_generative(
    config: ModelConfig, device: Device, options: Mapping[str, Any] | None = None
) -> Base:
    """Return the base model with its language-model head, for generation.

    Raises:
        UserError: The model cannot be found or read, or is not causal.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(config)
    source = model_source(config)
    usual = {"dtype": "float32"}
    model, info = pretrained(AutoModelForCausalLM, source, config, **usual | dict(options or {}))
    if "quantization_config" not in (options or {}):
        model.to(device.name)
    model.config.use_cache = False
    if info["missing_keys"] or not _reads_left_to_right(model):
        raise UserError(
            f"model {config.name} cannot generate text: it encodes a whole text, to classify it",
            "use a language model such as builtin:tutor, Llama, Qwen, Mistral or Gemma",
        )
    ends = model.generation_config.eos_token_id
    for end in ends if isinstance(ends, list) else [ends]:
        if end is not None and not isinstance(end, int):
            raise UserError(
                f"model {config.name} has the end token {ends!r}, which is not a token id",
                "correct eos_token_id in its generation_config.json or config.json",
            )
    return Base(model, tokenizer, config.name, (), True, device, generates=True)


def hidden_size(config: ModelConfig) -> int:
    """Return the model's width, from its configuration only."""
    from transformers import AutoConfig

    with explained(config.name):
        shape = AutoConfig.from_pretrained(model_source(config), **hub_options(config))
    return int(shape.get_text_config().hidden_size)


def _reads_left_to_right(model: "nn.Module") -> bool:
    """Return whether later tokens leave earlier outputs unchanged.

    This is tested on the model itself: an encoder with a language-model head (BERT's) would see the
    tokens that it is trained to generate.
    """
    import torch

    device = next(model.parameters()).device
    size = int(model.config.get_text_config().vocab_size)  # type: ignore[union-attr, operator]
    one = torch.arange(1, 7, device=device).remainder(size)[None]
    other = one.clone()
    other[0, -1] = (other[0, -1] + 1) % size
    model.eval()
    with torch.inference_mode():
        first, second = model(input_ids=one).logits[:, :-1], model(input_ids=other).logits[:, :-1]
    return bool(torch.allclose(first, second, rtol=1e-3, atol=1e-4))


def reads_segments(shape: Any) -> bool:
    """Return whether a model distinguishes the two texts of a pair (BERT's segments)."""
    return int(getattr(shape, "type_vocab_size", 0) or 0) > 1


def length_limit(tokenizer: Any, shape: Any) -> int:
    """Return the longest input in tokens for both model and tokenizer."""
    limits = [int(tokenizer.model_max_length)] if tokenizer.model_max_length < 10**9 else []
    positions = getattr(shape, "max_position_embeddings", None)
    if positions and not getattr(shape, "rope_parameters", None):
        # RoBERTa's family counts positions from padding_idx + 1.
        offset = shape.pad_token_id + 1 if shape.model_type in _OFFSET_FAMILIES else 0
        limits.append(positions - offset)
    elif positions:
        limits.append(positions)
    return min(limits, default=512)


_OFFSET_FAMILIES = ("roberta", "xlm-roberta", "camembert", "longformer", "mpnet")


def model_source(config: ModelConfig) -> str:
    """Return the folder or hub id of an available model.

    Raises:
        UserError: It is not available.
    """
    source = resolve(config.name)
    folder = Path(source).expanduser()
    looks_local = source.startswith((".", "/", "~")) or folder.exists()
    if not looks_local:
        _check_reachable(config)
        return source
    if not folder.is_dir():
        near = did_you_mean(folder.name, _siblings(folder))
        raise UserError(f"model folder {source} does not exist{near}", "check model.name (--model)")
    if not (folder / "config.json").is_file():
        raise UserError(
            f"model folder {source} has no config.json",
            "give a folder saved by save_pretrained, or a Hugging Face id",
        )
    check_numbers(folder)
    return str(folder)


def _check_reachable(config: ModelConfig) -> None:
    """Fail early if a hub model is neither cached nor reachable: the client retries long."""
    from huggingface_hub import constants, try_to_load_from_cache

    with explained(config.name):
        cached = try_to_load_from_cache(config.name, "config.json", revision=config.revision)
    proxied = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"))
    if isinstance(cached, str) or constants.HF_HUB_OFFLINE or proxied:
        return
    why = hub_reachable()
    if why:
        raise explain_loading(config.name, OSError(why)) from None


def _siblings(folder: Path) -> list[str]:
    return [item.name for item in folder.parent.iterdir()] if folder.parent.is_dir() else []


def hub_name(name: str) -> str:
    """Return a model's name for saved files, valid on other machines."""
    return without_place(public_name(name))
