"""What a pretraining run can be asked for, and the command line made of it."""

import argparse
from dataclasses import dataclass, field, fields
from typing import Any


def _option(default: Any, words: str) -> Any:
    return field(default=default, metadata={"help": words})


@dataclass(frozen=True)
class Settings:
    """How the model is shaped and trained; a field's words are its help."""

    minutes: float = _option(80.0, "wall-clock minutes; schedule and mixture follow the clock")
    steps: int = _option(0, "stop after this many steps instead: then a run can be repeated")
    rows: int = _option(16, "sequences per step")
    length: int = _option(512, "tokens per sequence")
    optimizer: str = _option("muon", "muon (with AdamW for embeddings and norms) or adamw")
    matrix_rate: float = _option(0.02, "peak learning rate of the matrices inside the layers")
    other_rate: float = _option(0.006, "peak learning rate of embeddings and norms")
    weight_decay: float = _option(0.02, "of the matrices")
    warmup: float = _option(0.02, "share of training in which the rates rise")
    decay_from: float = _option(0.45, "share of training after which the rates fall, to zero")
    chat_from: float = _option(0.8, "share of training after which conversations are mixed in")
    chat_length: int = _option(1024, "tokens per sequence from then on")
    chat_share: float = _option(0.5, "share of conversations from then on")
    seed: int = _option(0, "of the initial weights and of the order of texts")
    vocabulary: int = _option(4096, "tokens in the vocabulary")
    hidden: int = _option(256, "width of the model")
    layers: int = _option(4, "number of layers")
    heads: int = _option(4, "attention heads; half as many for keys and values")
    feed_forward: int = _option(704, "width inside the feed-forward layers")
    compile: int = _option(1, "1: compile the model (needs a C++ compiler), 0: do not")
    checkpoint_minutes: float = _option(5.0, "how often to save")
    device: str = _option("", "cpu or cuda; empty: what there is")


def parse(words: list[str] | None = None) -> tuple[argparse.Namespace, Settings]:
    """Return where to write and the settings asked for."""
    parser = argparse.ArgumentParser(
        description="Train builtin:tutor from scratch, or go on with a run that was interrupted.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="folder of the run; an old one is resumed")
    parser.add_argument("--stop-at", type=int, default=None, help="interrupt at this step")
    for item in fields(Settings):
        flag = "--" + item.name.replace("_", "-")
        kind = type(item.default)
        parser.add_argument(flag, type=kind, default=item.default, help=item.metadata["help"])
    given = parser.parse_args(words)
    return given, Settings(**{item.name: getattr(given, item.name) for item in fields(Settings)})
