"""Models and data so small that a test can train on them in a second.

The models are untrained and drawn wider than usual (``initializer_range`` 0.2), so that their
outputs depend on words and positions as a real model's do.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailorbird.records import Target

HIDDEN, INNER, LAYERS, HEADS = 32, 64, 2, 4
KEY_VALUE = 16
"""Width of keys and values where they have fewer heads than the queries."""
_SPREAD = 0.2
STORIES = Path(__file__).resolve().parents[2] / "shared" / "models" / "stories260k"

LABELS = ("food", "space", "sport")
TARGET = Target(labels=LABELS)
_WORDS = {
    "food": ("soup", "bread", "a sweet pear", "the salty cheese", "rice with onions"),
    "space": ("the moon", "a comet", "our galaxy", "the rocket", "a distant star"),
    "sport": ("the goal", "a tennis match", "the final race", "their coach", "a penalty"),
}
_FRAMES = (
    "i read about {} today",
    "{} again",
    "they never stop talking about {} when they meet in the evening",
    "what do you think of {} ?",
)


def rows() -> list[tuple[str, str]]:
    """Return 60 different (text, label) pairs of several lengths, classes mixed."""
    return [
        (frame.format(thing), label)
        for frame in _FRAMES
        for things in zip(*_WORDS.values(), strict=True)
        for thing, label in zip(things, LABELS, strict=True)
    ]


def write_csv(path: Path, pairs: list[tuple[str, str]] | None = None) -> Path:
    """Write ``text,label`` rows and return the path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(pairs or rows())
    return path


def _encoder(kind: str, name: str, **more: Any) -> Callable[[int], Any]:
    def make(vocabulary: int) -> Any:
        import transformers

        config = getattr(transformers, f"{kind}Config")(
            vocab_size=vocabulary,
            hidden_size=HIDDEN,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            initializer_range=_SPREAD,
            pad_token_id=0,
            **more,
        )
        return getattr(transformers, name)(config)

    return make


def _distilbert(vocabulary: int) -> Any:
    import transformers

    config = transformers.DistilBertConfig(
        vocab_size=vocabulary,
        dim=HIDDEN,
        hidden_dim=INNER,
        n_layers=LAYERS,
        n_heads=HEADS,
        initializer_range=_SPREAD,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return transformers.DistilBertModel(config)


def _gpt2(vocabulary: int) -> Any:
    import transformers

    config = transformers.GPT2Config(
        vocab_size=vocabulary,
        n_embd=HIDDEN,
        n_inner=INNER,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=128,
        initializer_range=_SPREAD,
        pad_token_id=0,
        bos_token_id=101,
        eos_token_id=102,
    )
    return transformers.GPT2LMHeadModel(config)


_ROTARY = {"max_position_embeddings": 128, "num_key_value_heads": 2, "bos_token_id": 101}

SHAPES: dict[str, Callable[[int], Any]] = {
    "bert": _encoder("Bert", "BertModel", max_position_embeddings=128),
    # Saved without a pooler: the classifier gets a new one.
    "bertmlm": _encoder("Bert", "BertForMaskedLM", max_position_embeddings=128),
    "distilbert": _distilbert,
    "roberta": _encoder("Roberta", "RobertaModel", max_position_embeddings=129),
    "electra": _encoder(
        "Electra", "ElectraModel", max_position_embeddings=128, embedding_size=HIDDEN
    ),
    "llama": _encoder("Llama", "LlamaForCausalLM", eos_token_id=102, **_ROTARY),
    "qwen2": _encoder("Qwen2", "Qwen2ForCausalLM", eos_token_id=102, **_ROTARY),
    "gpt2": _gpt2,
}

WRITERS = ("llama", "qwen2", "gpt2")
"""The shapes that write from left to right."""


def saved_model(shape: str, place: Path) -> Path:
    """Return the folder of the model called `shape`, made in `place` when it is not there yet.

    ``stories260k`` is a real, trained, tiny Llama; its tests are skipped where it is absent.
    """
    if shape == "stories260k":
        if not (STORIES / "config.json").is_file():
            pytest.skip("needs ../shared/models/stories260k")
        return STORIES
    folder = place / shape
    if folder.is_dir():
        return folder
    import torch
    from transformers import AutoTokenizer

    from tailorbird.models.builtin import resolve

    tokenizer = AutoTokenizer.from_pretrained(resolve("builtin:minilm"))
    tokenizer.model_max_length = 128
    if shape in WRITERS:
        tokenizer.eos_token = "[SEP]"  # what the shapes' configs say: 102
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = SHAPES[shape](len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tensors_of(model: Any, *, trained: bool) -> dict[str, Any]:
    """Return every trained (or every other) tensor by its name, quantisation scales too."""
    tensors: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad == trained:
            tensors[name] = parameter.detach()
        state = getattr(parameter, "quant_state", None)
        if state is not None and not trained:
            tensors[f"{name}.absmax"] = state.absmax
    return tensors if trained else tensors | dict(model.named_buffers())
