"""What the loop trains on, for every task: the losses are those of transformers' own models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode import Encoded, collate, encode, encode_words
from tailorbird.models.classifier import load_classifier
from tailorbird.models.device import choose
from tailorbird.models.load import Base, reads_segments
from tailorbird.records import Target, TaskName
from tailorbird.train.head_losses import bce_sum, distance_sum
from tailorbird.train.workloads import LabelWork, TokenWork

LABELS = ("a", "b", "c")
PAIRS = [("the moon", "a comet"), ("soup", "bread and butter"), ("a goal", "their coach")]
COLUMNS = [list(column) for column in zip(*PAIRS, strict=True)]
WORDS = [("the", "moon", "unbelievably"), ("soup",), ("a", "tennis", "match", "again")]


def base_for(task: TaskName, folder: Path) -> Base:
    torch.manual_seed(3)
    target = Target(task, LABELS)
    base = load_classifier(ModelConfig(name=str(folder)), target, choose("cpu", "fp32"))
    base.model.eval()
    return base


def inputs_of(encoded: Encoded, pad: int) -> dict[str, torch.Tensor]:
    arrays = collate(encoded, np.arange(len(encoded)), pad)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_the_loss_is_transformers_own(task: TaskName, tiny_encoder: Path) -> None:
    base = base_for(task, tiny_encoder)
    targets = np.asarray([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=np.float32)
    segments = reads_segments(base.model.config)
    encoded = encode(PAIRS, base.tokenizer, 64, targets, segments)
    loss = bce_sum if task == "multilabel" else distance_sum
    work = LabelWork(encoded, base.tokenizer.pad_token_id, base.device, 2, loss)
    model: Any = base.model
    with torch.no_grad():
        ours = work.loss_sum(model, np.arange(3)).item() / 3
        plain = base.tokenizer(*COLUMNS, padding=True, return_tensors="pt")
        theirs = model(**plain, labels=torch.from_numpy(targets)).loss.item()
        parts = sum(work.loss_sum(model, part).item() for part in work.micro_batches(np.arange(3)))
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert parts / work.weight(np.arange(3)) == pytest.approx(theirs, abs=1e-5)


def test_the_words_loss_is_transformers_own(tiny_encoder: Path) -> None:
    base = base_for("tokens", tiny_encoder)
    ids = [0, 1, 2, 1, 2, 0, 0, 1]
    encoded = encode_words(WORDS, base.tokenizer, 64, ids)
    work = TokenWork(encoded, base.tokenizer.pad_token_id, base.device, 2)
    inputs = inputs_of(encoded, base.tokenizer.pad_token_id)
    labels = torch.full_like(inputs["input_ids"], -100)
    told = base.tokenizer([list(words) for words in WORDS], is_split_into_words=True)
    rest = iter(ids)
    for row, words in enumerate(WORDS):
        for word in range(len(words)):
            labels[row, told.word_ids(row).index(word)] = next(rest)
    model: Any = base.model
    with torch.no_grad():
        theirs = model(**inputs, labels=labels).loss.item()
        ours = work.loss_sum(model, np.arange(3)).item() / work.weight(np.arange(3))
        parts = sum(work.loss_sum(model, part).item() for part in work.micro_batches(np.arange(3)))
    assert work.weight(np.arange(3)) == 8
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert parts / 8 == pytest.approx(theirs, abs=1e-5)


def test_words_beyond_the_longest_input_are_not_learnt(tiny_encoder: Path) -> None:
    base = base_for("tokens", tiny_encoder)
    encoded = encode_words(WORDS, base.tokenizer, 4, [0, 1, 2, 1, 2, 0, 0, 1])
    work = TokenWork(encoded, base.tokenizer.pad_token_id, base.device, 2)
    assert work.weight(np.asarray([0])) == 2
    assert work.weight(np.arange(3)) == 2 + 1 + 2
    assert torch.isfinite(work.loss_sum(base.model, np.arange(3)))


def test_pairs_are_what_the_tokenizer_makes_of_them(tiny_encoder: Path, tiny_decoder: Path) -> None:
    base = base_for("classification", tiny_encoder)
    encoded = encode(PAIRS, base.tokenizer, 64, None, True)
    theirs = base.tokenizer(*COLUMNS, padding="max_length", max_length=8)
    ours = inputs_of(encoded, base.tokenizer.pad_token_id)
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        assert ours[name].tolist() == theirs[name], name
    long = ("one two three four five six seven", "eight nine")
    cut = encode([long], base.tokenizer, 8, None, True)
    assert base.tokenizer.decode(cut.ids[0]) == "[CLS] one two three [SEP] eight nine [SEP]"
    assert cut.segments is not None
    assert cut.segments[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert encode(PAIRS, base.tokenizer, 64).segments is None
