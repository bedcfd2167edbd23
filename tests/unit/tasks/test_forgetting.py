"""The loss on a reference text: against plain readings of its windows."""

from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.config.schema import ModelConfig
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.models.device import choose
from tailorbird.models.load import Base, load_generative
from tailorbird.models.packed import SequenceLosses
from tailorbird.tasks import forgetting
from tailorbird.tasks.forgetting import reference_loss, window_length, windows

CPU = choose("cpu", "fp32")
TEXT = "Once upon a time there was a little dog. He liked to run in the park all day. " * 12


def plain_loss(model: torch.nn.Module, ids: list[list[int]]) -> tuple[float, int]:
    """Return transformers' own loss, which is the mean over all but a text's first token."""
    total = 0.0
    for window in ids:
        one = torch.tensor([window])
        with torch.no_grad():
            total += float(model(input_ids=one, labels=one).loss) * (len(window) - 1)
    count = sum(len(window) - 1 for window in ids)
    return total / count, count


def test_loss_is_that_of_plain_readings(stories: Base) -> None:
    """Each window begins with the token that this tokenizer begins texts with, unscored."""
    assert stories.tokenizer("a").input_ids[0] == 1
    loss, count = reference_loss(stories.model, stories.tokenizer, TEXT, CPU, 64)
    ids = stories.tokenizer(TEXT, add_special_tokens=False).input_ids
    cut = [[1, *ids[at : at + 63]] for at in range(0, len(ids), 63)]
    expected, counted = plain_loss(stories.model, cut)
    assert count == counted == len(ids)
    assert loss == pytest.approx(expected, abs=1e-4)


def test_windows_without_a_first_token_of_their_own(models: Any) -> None:
    base = load_generative(ModelConfig(name=str(models("llama"))), CPU)
    loss, count = reference_loss(base.model, base.tokenizer, TEXT, CPU, 64)
    ids = base.tokenizer(TEXT, add_special_tokens=False).input_ids
    cut = [ids[at : at + 64] for at in range(0, len(ids), 64)]
    expected, counted = plain_loss(base.model, [window for window in cut if len(window) > 1])
    assert count == counted
    assert loss == pytest.approx(expected, abs=1e-3)


def test_windows_are_no_longer_than_the_model_reads(
    stories: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def note(model: Any, tokens: Tokens, device: Any) -> SequenceLosses:
        seen.append(tokens.lengths)
        zeros = np.zeros(len(tokens))
        return SequenceLosses(zeros, tokens.weights, zeros)

    monkeypatch.setattr(forgetting, "sequence_losses", note)
    reference_loss(stories.model, stories.tokenizer, TEXT * 3, CPU, 100_000)
    assert seen[0].tolist()[:-1] == [512]


def test_windows_leave_room_for_virtual_tokens(stories: Base) -> None:
    """Two arms of a comparison read the same windows: the model has 512 positions."""
    assert window_length(stories.model, 512) == window_length(stories.model, 512 - 20) == 256
    assert window_length(stories.model, 100) == 100


def test_only_so_much_is_read(stories: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "MOST_TOKENS", 100)
    assert windows(stories.tokenizer, TEXT, 41).lengths.tolist() == [41, 41, 21]
    assert int(windows(stories.tokenizer, TEXT, 41).weights.sum()) == 100


def test_nothing_to_read_is_said(stories: Base) -> None:
    with pytest.raises(UserError, match="reference text"):
        reference_loss(stories.model, stories.tokenizer, "", CPU, 64)
