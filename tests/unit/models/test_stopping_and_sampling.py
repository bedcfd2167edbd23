"""Where an answer ends, which characters are whole, and what is drawn how often."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare
from transformers import PreTrainedTokenizerFast

import tiny
from tailorbird.models.device import choose
from tailorbird.models.generate import Sampling, warpers
from tailorbird.models.stopping_and_sampling import AnswerRow, Ending, MostRowsDone, SeededDraw

NO_CHANCES = np.empty(0)


@cache
def by_bytes() -> Any:
    """Return a tokenizer whose tokens are single bytes, as the rarest of GPT-2's are."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


@cache
def by_fallback() -> Any:
    """Return a tokenizer that spells rare characters in bytes, as Llama's does."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny.saved_model("stories260k", tiny.STORIES))


def told(ending: Ending, tokens: list[int]) -> list[str]:
    """Return what is sure after each token."""
    return [ending.final_text(tokens[: i + 1]) for i in range(len(tokens))]


@pytest.mark.parametrize("make", [by_bytes, by_fallback], ids=["bytes", "fallback"])
@pytest.mark.parametrize("text", ["a€b", "né 🐦 ok", "漢字", "x🐦"])
def test_characters_come_whole(make: Any, text: str) -> None:
    tokenizer = make()
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    ending = Ending(tokenizer, frozenset(), ())
    steps = told(ending, tokens)
    assert steps[-1] == text
    for step in steps:
        assert text.startswith(step)
        assert "\ufffd" not in step
    # Cut off inside a character, the answer ends before it.
    assert ending.text(tokens[:-1]) == text[:-1] if ord(text[-1]) > 127 else True


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(list("ab€🐦é".encode())), max_size=24), st.sampled_from("ab€"))
def test_what_was_told_is_never_taken_back(spelt: list[int], stop: str) -> None:
    """Whatever bytes a model writes, also such as are no text."""
    tokenizer = by_bytes()
    letters = bytes_to_letters()
    tokens = tokenizer.convert_tokens_to_ids([letters[b] for b in spelt])
    ending = Ending(tokenizer, frozenset(), (stop + stop, "a" + stop))
    row = AnswerRow(0, np.asarray([1]), 99, ending, NO_CHANCES)
    shown = ""
    for token in tokens:
        row.take(token)
        if row.done:
            break
        sure = ending.final_text(row.tokens)
        assert sure.startswith(shown)
        shown = sure
    assert row.text.startswith(shown)
    whole = bytes(spelt).decode(errors="replace")
    assert row.ended == any(s in whole for s in ending.stop)


def bytes_to_letters() -> dict[int, str]:
    """GPT-2's table, from the paper's code (encoder.py, bytes_to_unicode)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in kept}
    for n, b in enumerate(b for b in range(256) if b not in table):
        table[b] = chr(256 + n)
    return table


def test_what_may_begin_a_stop_string_waits() -> None:
    tokenizer = by_bytes()
    ending = Ending(tokenizer, frozenset(), ("\nUser:", "END"))
    tokens = tokenizer("ok\nUs and EN", add_special_tokens=False).input_ids
    assert told(ending, tokens)[1:6] == ["ok", "ok", "ok", "ok", "ok\nUs "]
    assert told(ending, tokens)[-1] == "ok\nUs and "
    assert ending.text(tokens) == "ok\nUs and EN"
    tokens += tokenizer("D of it", add_special_tokens=False).input_ids
    assert ending.text(tokens) == "ok\nUs and "


def test_the_earliest_stop_string_counts() -> None:
    tokenizer = by_bytes()
    tokens = tokenizer("one two three", add_special_tokens=False).input_ids
    assert Ending(tokenizer, frozenset(), ("three", "wo", "two")).text(tokens) == "one "


def test_a_row_takes_no_more_than_it_may() -> None:
    tokenizer = by_bytes()
    row = AnswerRow(0, np.asarray([1, 2]), 3, Ending(tokenizer, frozenset({9}), ()), NO_CHANCES)
    for token in (5, 6, 7, 8):
        row.take(token)
    assert (row.tokens, row.done, row.ended) == ([5, 6, 7], True, False)
    assert row.ids.tolist() == [1, 2, 5, 6, 7]
    ended = AnswerRow(0, np.asarray([1]), 3, row.ending, NO_CHANCES)
    ended.take(9)
    assert (ended.done, ended.ended, ended.text) == (True, True, "")


def test_a_batch_ends_when_three_quarters_are_done() -> None:
    def after(count: int, finished: int) -> list[bool]:
        ending = Ending(by_bytes(), frozenset({9}), ())
        rows = [AnswerRow(i, np.asarray([1]), 5, ending, NO_CHANCES) for i in range(count)]
        last = torch.tensor([[9 if i < finished else 8] for i in range(count)])
        return MostRowsDone(rows)(last, None).tolist()

    assert after(8, 5) == [True] * 5 + [False] * 3
    assert after(8, 6) == [True] * 8
    assert after(4, 3) == [True, True, True, False]
    assert after(1, 0) == [False]


def draws(sampling: Sampling, logits: list[float], count: int = 20_000) -> np.ndarray:
    """Return how often each token is drawn."""
    ending = Ending(None, frozenset(), ())
    chances = np.random.default_rng(0).random((count, 1))
    rows = [AnswerRow(i, np.asarray([1]), 1, ending, chances[i]) for i in range(count)]
    processor = SeededDraw(rows, warpers(sampling, choose("cpu", "fp32")))
    ids = torch.ones(count, 1, dtype=torch.long)
    scores = processor(ids, torch.tensor(logits).expand(count, -1).clone())
    assert (torch.isfinite(scores).sum(dim=1) == 1).all()
    return np.bincount(scores.argmax(dim=1).numpy(), minlength=len(logits))


LOGITS = [2.0, -1.0, 0.5, 1.9, -30.0]


def expected(temperature: float, kept: list[int]) -> np.ndarray:
    """By the definition of a softmax over the tokens that are kept."""
    weights = np.zeros(len(LOGITS))
    weights[kept] = np.exp(np.asarray(LOGITS)[kept] / temperature)
    return weights / weights.sum()


# Softmax of LOGITS: 0.44, 0.02, 0.10, 0.40, 0.00.
@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(1, 1.0), [0, 1, 2, 3]),
        (Sampling(1, 0.5), [0, 1, 2, 3]),
        (Sampling(1, 2.0, top_k=3), [0, 2, 3]),
        (Sampling(1, 1.0, top_k=99), [0, 1, 2, 3]),
        (Sampling(1, 1.0, top_p=0.9), [0, 2, 3]),
        (Sampling(1, 1.0, top_p=0.3), [0]),
        (Sampling(1, 1.0, min_p=0.15), [0, 2, 3]),
        (Sampling(1, 1.0, min_p=0.5), [0, 3]),
    ],
)
def test_draws_follow_the_distribution(sampling: Sampling, kept: list[int]) -> None:
    counts = draws(sampling, LOGITS)
    chances = expected(sampling.temperature, kept)
    assert counts[chances == 0].sum() == 0
    seen = chances > 1e-4
    assert counts[~seen].sum() <= 1
    if seen.sum() > 1:
        shares = chances[seen] / chances[seen].sum()
        assert chisquare(counts[seen], shares * counts[seen].sum()).pvalue > 1e-3


def test_the_last_number_draws_a_possible_token() -> None:
    ending = Ending(None, frozenset(), ())
    rows = [AnswerRow(0, np.asarray([1]), 1, ending, np.asarray([np.nextafter(1.0, 0.0)]))]
    logits = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]])
    assert int(SeededDraw(rows, [])(torch.ones(1, 1), logits).argmax()) in (0, 1)
