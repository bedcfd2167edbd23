"""How well a model still reads a text that it was not trained on."""

from typing import Any

import numpy as np
from torch import nn

from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.models.device import Device
from tailorbird.models.inputs import context_length
from tailorbird.models.packed import sequence_losses

MOST_TOKENS = 5_000
MOST_WINDOW = 512


def window_length(model: nn.Module, limit: int) -> int:
    """Return how many tokens of the reference text an arm reads at once.

    Half of what the untouched model reads, at most 512, so that virtual tokens fit beside it: a
    token with less before it is harder, and arms are compared by the same windows.

    Args:
        model: The model before a method is attached.
        limit: Tokens that the arm reads beside its virtual tokens.
    """
    context = context_length(model)
    return min(MOST_WINDOW, limit, context // 2 if context else limit)


def reference_loss(
    model: nn.Module, tokenizer: Any, text: str, device: Device, max_length: int
) -> tuple[float, int]:
    """Return the loss on a text in nats per token, and of how many tokens it is the mean.

    The text is cut into windows that do not overlap, each read on its own. Before and after
    training, and for all arms of a comparison, `max_length` must be the same (`window_length`).

    Args:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        text: At most its first 5,000 tokens are read.
        device: Where, and in which number format.
        max_length: Tokens per window at most; less where the model reads less.

    Raises:
        UserError: The text has no two tokens to read.
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

    Where the tokenizer begins texts with a token of its own, so does each window: models that
    learnt to lean on it read badly without.
    """
    found = tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"]
    plain = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][:MOST_TOKENS]
    first = tokenizer.bos_token_id
    begins = first is not None and found[:1] == [first] and plain[:1] != [first]
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
