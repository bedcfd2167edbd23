"""How a model reads and answers: a text at a time, or a word at a time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.config import Config
from tailorbird.data.encode import Encoded, Text, encode, encode_apart, encode_words
from tailorbird.models.device import Device
from tailorbird.models.load import reads_segments
from tailorbird.models.predict import Model, Predicted, predict, predict_words
from tailorbird.records import KINDS, Split, Target
from tailorbird.tasks.truths import target_of

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.train.labels import LabelWork
    from tailorbird.train.loss import LossSum
    from tailorbird.train.tokens import TokenWork


def trained_target(config: Config, split: Split) -> Target:
    """Return what a trained model's head has to put out, and how pairs are read for it."""
    target, how = target_of(split), config.model.pairs
    if not target.pairs or how == "cross-encoder":
        return target
    from tailorbird.models.bi_encoder import pooling_of, vector_pooling

    pooling = None
    if how == "bi-encoder":
        pooling = pooling_of(config.model)
    elif target.task == "regression":
        # How much alike two texts are is what sentence vectors were made for.
        pooling = vector_pooling(config.model)
    return target if pooling is None else replace(target, pooling=pooling)


def encoded_for(
    target: Target,
    texts: Sequence[Text],
    tokenizer: Any,
    model: "nn.Module",
    limit: int,
    learnt: np.ndarray | None = None,
) -> Encoded:
    """Return the texts, pairs or words as the model reads them."""
    if KINDS[target.task].per_word:
        return encode_words(texts, tokenizer, limit, learnt)
    if target.bi_encoder:
        return encode_apart(texts, tokenizer, limit, learnt)
    return encode(texts, tokenizer, limit, learnt, reads_segments(model.config))


def asked(
    target: Target,
    model: Model,
    encoded: Encoded,
    pad: int,
    device: Device,
    title: str = "",
) -> Predicted:
    """Return the model's logits, one row per text or per word."""
    if KINDS[target.task].per_word:
        outside = target.labels.index("O") if "O" in target.labels else 0
        return predict_words(model, encoded, pad, device, title, outside)
    return predict(model, encoded, pad, device, title)


def work_of(
    target: Target, train: Encoded, pad: int, device: Device, size: int, loss: "LossSum"
) -> "LabelWork | TokenWork":
    """Return what the loop trains on."""
    from tailorbird.train.labels import LabelWork
    from tailorbird.train.tokens import TokenWork

    if KINDS[target.task].per_word:
        return TokenWork(train, pad, device, size, loss)
    return LabelWork(train, pad, device, size, loss)


def split_rows(outputs: np.ndarray, texts: Sequence[Any], target: Target) -> list[np.ndarray]:
    """Return the outputs of each text: a row, or where words are labelled a row per word.

    Args:
        outputs: ``[n, outputs]``, or ``[words, outputs]``.
        texts: The texts; of token classification the words of each.
        target: What the outputs mean.
    """
    if not KINDS[target.task].per_word:
        return list(outputs)
    return np.split(outputs, np.cumsum([len(words) for words in texts])[:-1])
