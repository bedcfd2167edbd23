"""Inputs of a causal LM: padded prompts, virtual tokens, and model flags in generation."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from tailorbird.errors import UserError
from tailorbird.models.device import Device

if TYPE_CHECKING:
    import torch
    from torch import nn

_GUARD = Lock()
_LOCKS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def base_of(model: "nn.Module") -> Any:
    """Return transformers' own model: `model` itself, or the one that PEFT wraps."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def check_ids(model: Any, sequences: Sequence[np.ndarray]) -> None:
    """Check that the model has an embedding of all token ids.

    It is checked on the ids, since a tokenizer may know tokens that never occur.

    Raises:
        UserError: The tokenizer is not the model's.
    """
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    largest = max((int(ids.max()) for ids in sequences if len(ids)), default=0)
    if largest >= vocabulary:
        name = getattr(model.config, "_name_or_path", "")
        raise UserError(
            f"model {name} has a vocabulary of {vocabulary:,} tokens, but its tokenizer gives "
            f"token id {largest:,}",
            "put the tokenizer files that belong to it beside its weights",
        )


def virtual_tokens(model: "nn.Module") -> "torch.Tensor | None":
    """Return the trained embeddings before every text ``[virtual, hidden]``, or None."""
    config = getattr(model, "active_peft_config", None)
    off = getattr(model, "_adapters_disabled", False)
    if config is None or off or not getattr(config, "is_prompt_learning", False):
        return None
    prompt: torch.Tensor = model.get_prompt(batch_size=1)[0]  # type: ignore[operator]
    return prompt


def virtual_count(model: "nn.Module") -> int:
    """Return the number of trained embeddings before every text."""
    config = getattr(model, "active_peft_config", None)
    return int(getattr(config, "num_virtual_tokens", None) or 0)


def context_length(model: "nn.Module") -> int | None:
    """Return the model's positions for a text, without virtual tokens; None: unlimited."""
    shape = base_of(model).config.get_text_config()
    positions = getattr(shape, "max_position_embeddings", None)
    return int(positions) - virtual_count(model) if positions else None


@contextmanager
def ready_to_generate(model: "nn.Module") -> Iterator[Any]:
    """Yield `base_of` the model in evaluation mode, without generation settings of its own.

    A checkpoint's ``generation_config.json`` may set sampling or a repetition penalty, which
    transformers would mix into our settings. Everything is restored at the end. Threads that share
    a model wait for each other.
    """
    from transformers import GenerationConfig

    inner = base_of(model)
    with _GUARD:
        lock = _LOCKS.setdefault(inner, RLock())
    with lock:
        modes = [(module, module.training) for module in model.modules()]
        settings = getattr(inner, "generation_config", None)
        model.eval()
        inner.generation_config = GenerationConfig()
        try:
            yield inner
        finally:
            inner.generation_config = settings
            for module, training in modes:
                module.training = training


def left_padded(
    model: "nn.Module", prompts: Sequence[np.ndarray], pad_id: int, device: Device
) -> "dict[str, torch.Tensor]":
    """Return the model's inputs for prompts of several lengths, padded on the left.

    With virtual tokens the inputs are embeddings, with the virtual tokens between padding and text.
    (PEFT 0.21's own ``generate`` puts the padding between virtual tokens and text and counts it in
    the positions, which changes the answers to all but the longest prompt of a batch.)

    Returns:
        ``input_ids [batch, seq]`` or ``inputs_embeds [batch, seq, hidden]``, and ``attention_mask
        [batch, seq]``.
    """
    import torch

    width = max(len(prompt) for prompt in prompts)
    ids = np.full((len(prompts), width), pad_id, dtype=np.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        row[width - len(prompt) :] = prompt
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device.name)
    tokens = torch.from_numpy(ids).to(device.name)
    virtual = virtual_tokens(model)
    count = 0 if virtual is None else len(virtual)
    starts = width - lengths[:, None]
    mask = (torch.arange(width + count, device=device.name) >= starts).long()
    if virtual is None:
        return {"input_ids": tokens, "attention_mask": mask}
    words = base_of(model).get_input_embeddings()(tokens)
    virtual = virtual.to(words.dtype)
    rows = [
        torch.cat((row[:start], virtual, row[start:]))
        for row, start in zip(words, starts[:, 0].tolist(), strict=True)
    ]
    return {"inputs_embeds": torch.stack(rows), "attention_mask": mask}
