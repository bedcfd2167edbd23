"""Forgetting: the loss on a text outside the task, before and after training."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tailorbird.config import Config
from tailorbird.data.bundled import tutor_folder
from tailorbird.data.textfile import read_text
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.models.device import Device
from tailorbird.models.generation_inputs import context_length
from tailorbird.models.packed import sequence_losses
from tailorbird.records import Forgetting
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.base_model import Answering

_REFERENCE = "cache/reference.json"
MOST_TOKENS = 5_000
MOST_WINDOW = 512


def reference_text(config: Config) -> tuple[str, str]:
    """Return the name and the text for measuring forgetting.

    Raises:
        UserError: The file named in `evaluate.reference` cannot be read.
    """
    if config.evaluate.reference is not None:
        path = Path(config.evaluate.reference)
        if not path.is_file():
            raise UserError(
                f"evaluate.reference names {path}, which is not a file", "give a text file"
            )
        return path.name, read_text(path)
    folder = tutor_folder()
    pages = sorted((folder / "pages").glob("*.md")) if folder else []
    text = "\n\n".join(page.read_text(encoding="utf-8") for page in pages)
    return "pages on Python's errors that come with tailorbird", text


@dataclass(frozen=True)
class Reference:
    """The loss on the reference text before training, and the window length in tokens."""

    before: Forgetting
    window: int

    @classmethod
    def of(cls, answering: Answering, run: RunFolder) -> "Reference":
        """Compute it with the untrained model, or reuse another arm's result."""
        model: Any = answering.model
        text, window = reference_text(answering.config), window_length(model, answering.limit)
        # QLoRA's quantised base is another model, and quantisation error is no forgetting.
        packed = getattr(model.config, "quantization_config", None) is not None
        kind = f"{model.get_input_embeddings().weight.dtype}{' quantised' if packed else ''}"
        key = f"{answering.device.words}, {kind}, windows of {window}"
        file = run.file(_REFERENCE)
        losses = run.read_json(_REFERENCE) if file.is_file() else {}
        if key not in losses:
            losses[key] = asdict(loss_on(answering, text, window))
            run.write_json(_REFERENCE, losses)
        return cls(Forgetting(**losses[key]), window)


def loss_on(answering: Answering, text: tuple[str, str], window: int) -> Forgetting:
    """Return the loss on a named text, as before and for now as after."""
    model, tokenizer = answering.model, answering.tokenizer
    value, count = reference_loss(model, tokenizer, text[1], answering.device, window)
    return Forgetting(value, value, count, text[0])


def window_length(model: nn.Module, limit: int) -> int:
    """Return the number of tokens of the reference text that an arm reads at once.

    It is half of the base model's limit, at most 512, so that virtual tokens fit too: a token with
    less context is harder, and arms must be compared on the same windows.
    """
    context = context_length(model)
    return min(MOST_WINDOW, limit, context // 2 if context else limit)


def reference_loss(
    model: nn.Module, tokenizer: Any, text: str, device: Device, max_length: int
) -> tuple[float, int]:
    """Return the loss on a text in nats per token, and the number of tokens in the mean.

    The text is cut into independent windows without overlap. `max_length` must be the same before
    and after training, and for all arms of a comparison (`window_length`).

    Raises:
        UserError: The text has fewer than two tokens.
    """
    context = context_length(model)
    tokens = windows(tokenizer, text, min(max_length, context or max_length))
    count = int(tokens.weights.sum())
    if not count:
        raise UserError(
            "the reference text has fewer than two tokens, so forgetting cannot be measured",
            "give a longer text (evaluate.reference)",
        )
    losses = sequence_losses(model, tokens, device)
    return float(losses.loss_sums.sum() / count), count


def windows(tokenizer: Any, text: str, length: int) -> Tokens:
    """Return a text in windows of at most `length` tokens; all but the first of each count.

    If the tokenizer begins texts with a special token, so does each window: models that rely on it
    would otherwise have a high loss.
    """
    whole = tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"]
    plain = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][:MOST_TOKENS]
    first = tokenizer.bos_token_id
    begins = first is not None and whole[:1] == [first] and plain[:1] != [first]
    start = [first] if begins else []
    step = max(2 - len(start), length - len(start))
    ids = [
        np.asarray(start + plain[at : at + step], dtype=np.int32)
        for at in range(0, len(plain), step)
    ]
    ids = [row for row in ids if len(row) > 1]
    return Tokens(
        ids=ids,
        trained=[np.arange(len(row)) > 0 for row in ids],
        prompts=[np.empty(0, dtype=np.int32) for _ in ids],
        rows=np.zeros(len(ids), dtype=np.int64),
    )
