"""The likeliest label: against whole readings of each prompt with each label."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.data.tokens import Tokens
from tailorbird.models.device import choose
from tailorbird.models.load import Base
from tailorbird.tasks import label_likelihood
from tailorbird.tasks.label_likelihood import choose_labels, label_endings

CPU = choose("cpu", "fp32")
ENDINGS = [np.asarray(ids) for ids in ([7, 2], [9, 11, 12, 2], [300], [9, 11, 2])]
LENGTHS = (3, 17, 9, 9, 1)


def by_the_book(model: torch.nn.Module, prompt: np.ndarray, ending: np.ndarray) -> float:
    """Sum the log-probabilities of `ending` in one plain reading."""
    ids = torch.from_numpy(np.concatenate([prompt, ending]).astype(np.int64))
    with torch.no_grad():
        logits = model(input_ids=ids[None]).logits[0, -len(ids) :]
    chances = torch.log_softmax(logits.double(), dim=-1)
    places = range(len(prompt) - 1, len(ids) - 1)
    return float(sum(chances[at, ids[at + 1]] for at in places))


def prompts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(5, 400, n).astype(np.int32) for n in LENGTHS]


def table(model: torch.nn.Module) -> np.ndarray:
    return np.asarray([[by_the_book(model, p, e) for e in ENDINGS] for p in prompts()])


@pytest.mark.parametrize("shape", ["stories260k", "llama", "gpt2"])
@pytest.mark.parametrize("method", ["", "lora", "prompt"])
def test_choices_are_whole_readings(
    shape: str, method: str, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, model = made(models(shape), method)
    expected = table(model)
    found = choose_labels(model, base.tokenizer, prompts(), ENDINGS, CPU)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    monkeypatch.setattr(label_likelihood, "_TOKENS_PER_BATCH", 8)
    found = choose_labels(model, base.tokenizer, prompts(), ENDINGS, CPU)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def made(folder: Any, method: str) -> tuple[Base, torch.nn.Module]:
    from tailorbird.config import Config
    from tailorbird.methods.registry import get_method
    from tailorbird.models.load import load_generative

    own = {"lora": {"rank": 2}, "prompt": {"virtual_tokens": 5}}
    config = Config.model_validate(
        {
            "model": {"name": str(folder)},
            "method": {"name": method, **own[method]} if method else {},
        }
    )
    base = load_generative(config.model, CPU)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = get_method(method).attach(base, config) if method else base.model
    return base, model.eval()


def test_a_model_without_keys_and_values_is_asked_plainly(
    stories: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = label_likelihood._read

    def forgets(*given: Any) -> Any:
        read = real(*given)
        read["past_key_values"] = None
        return read

    monkeypatch.setattr(label_likelihood, "_read", forgets)
    found = choose_labels(stories.model, stories.tokenizer, prompts(), ENDINGS, CPU)
    np.testing.assert_allclose(found, table(stories.model), atol=2e-4)


def test_complete_answers_exclude_each_other(stories: Base) -> None:
    """Endings of a token and the end, or the end alone: their probabilities sum to at most 1."""
    every = [np.asarray([a, 2]) for a in range(3, 512, 5)] + [np.asarray([2])]
    found = choose_labels(stories.model, stories.tokenizer, prompts()[:1], every, CPU)
    assert 0 < np.exp(found).sum() <= 1


def test_endings_are_those_trained_on(encode: Callable[..., Tokens]) -> None:
    pairs = [("One", "yes"), ("Two", "no"), ("Three", "yes"), ("Four", "no")]
    tokens = encode(pairs)
    endings = label_endings(tokens, [answer for _, answer in pairs], ("no", "yes"))
    for at, ending in ((1, endings[0]), (0, endings[1])):
        assert ending.tolist() == tokens.ids[at][len(tokens.prompts[at]) :].tolist()
        assert ending[-1] == 2


def test_an_ending_that_was_cut_does_not_count(encode: Callable[..., Tokens]) -> None:
    tokens = encode([("One", "yes")] * 3)
    tokens.ids[0], tokens.trained[0] = tokens.ids[0][:-1], tokens.trained[0][:-1]
    (ending,) = label_endings(tokens, ["yes"] * 3, ("yes",))
    assert ending[-1] == 2


def test_what_follows_the_answer_untrained_is_left_off(encode: Callable[..., Tokens]) -> None:
    """Some templates put a line break after the end of the turn, which nobody writes."""
    tokens = encode([("One", "yes")] * 2)
    plain = label_endings(tokens, ["yes"] * 2, ("yes",))[0].tolist()
    longer = Tokens(
        [np.r_[ids, 13] for ids in tokens.ids],
        [np.r_[row, False] for row in tokens.trained],
        tokens.prompts,
        tokens.rows,
    )
    assert label_endings(longer, ["yes"] * 2, ("yes",))[0].tolist() == plain
