"""An arm's answers from prompts to records."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tailorbird.metrics.text import token_f1
from tailorbird.models.device import choose
from tailorbird.models.generate import Sampling, generate
from tailorbird.models.load import Base
from tailorbird.tasks.generative_scoring import (
    AnswerScores,
    answer_all,
    samples,
    score_outputs,
    worst,
)
from tailorbird.tasks.prompt_set import PromptSet, Scoring, scoring_of

CPU = choose("cpu", "fp32")
Ask = Callable[[list[tuple[str, str]]], PromptSet]
PAIRS = [
    ("Once upon a time", "there was a girl"),
    ("Tom had a", "big red ball"),
    ("The dog was", "very happy"),
    ("Lily and her mom went to the", "park"),
]


def test_answers_and_their_scores(stories: Base, ask: Ask) -> None:
    asked, sampling = ask(PAIRS), Sampling(10, end_ids=(2,))
    scoring = scoring_of("auto", asked)
    found = answer_all(stories.model, stories.tokenizer, asked, scoring, sampling, CPU)
    written = generate(stories.model, stories.tokenizer, asked.tokens.prompts, sampling, CPU)
    assert found.outputs == tuple(one.text.strip() for one in written)
    expected = [token_f1(o, r) for o, r in zip(found.outputs, asked.references, strict=True)]
    np.testing.assert_allclose(found.headline_values, expected)
    assert set(found.values) == {"token_f1", "rouge_l", "exact_match"}
    assert found.ms_per_example > 0
    assert found.loss_sums is not None
    for row, (ids, prompt) in enumerate(zip(asked.tokens.ids, asked.tokens.prompts, strict=True)):
        whole = torch.from_numpy(ids.astype(np.int64))[None]
        labels = whole.clone()
        labels[0, : len(prompt)] = -100
        with torch.no_grad():  # transformers' own loss, the mean over what is not -100
            mean = float(stories.model(input_ids=whole, labels=labels).loss)
        assert found.losses[row] == pytest.approx(mean, abs=1e-4)


def test_choices(stories: Base, ask: Ask) -> None:
    pairs = [(prompt, label) for prompt, _ in PAIRS for label in ("dog", "ball")]
    asked = ask(pairs)
    scoring = scoring_of("auto", asked)
    found = answer_all(stories.model, stories.tokenizer, asked, scoring, Sampling(4), CPU)
    assert set(found.outputs) <= {"dog", "ball"}
    # Each prompt stands there once with either label: whatever is chosen, half is right.
    assert found.headline == "choice_accuracy"
    assert found.headline_values.mean() == 0.5
    assert found.outputs[::2] == found.outputs[1::2]


def test_a_users_metric_decides(stories: Base, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def length(o, r, p): return len(o) + 100 * len(p)\n")
    asked = ask(PAIRS)
    scoring = scoring_of(f"{tmp_path / 'm.py'}:length", asked)
    found = answer_all(stories.model, stories.tokenizer, asked, scoring, Sampling(4), CPU)
    expected = [len(o) + 100 * len(p) for o, p in zip(found.outputs, asked.prompts, strict=True)]
    assert found.headline_values.tolist() == expected


def test_answers_of_no_model(ask: Ask) -> None:
    asked = ask([("a", "yes"), ("b", "no"), ("c", "yes"), ("d", "no")])
    scoring = scoring_of("auto", asked)
    found = score_outputs([" yes", "yes", "no", "no"], asked, scoring)
    assert found.values["choice_accuracy"].tolist() == [1, 0, 0, 1]
    assert (found.loss_sums, found.losses.tolist()) == (None, [0, 0, 0, 0])
    free = score_outputs(["yes"] * 4, asked, Scoring(("token_f1",), "token_f1"))
    assert list(free.values) == ["token_f1"]


def scored(values: list[float], losses: list[float]) -> AnswerScores:
    return AnswerScores(
        tuple(f"out {i}" for i in range(len(values))),
        {"token_f1": np.asarray(values)},
        "token_f1",
        np.asarray(losses) * 2,
        np.full(len(values), 2),
    )


def test_worst_are_lowest_then_least_foreseen(ask: Ask) -> None:
    asked = ask(PAIRS)
    found = worst(asked, scored([0.5, 0.0, 1.0, 0.0], [1.0, 2.0, 3.0, 4.0]), most=3)
    assert [(w.row, w.score, w.loss) for w in found] == [(4, 0, 4), (2, 0, 2), (1, 0.5, 1)]
    assert found[0].prompt == PAIRS[3][0]
    assert (found[0].reference, found[0].output) == ("park", "out 3")


def test_samples_are_the_same_of_every_arm(ask: Ask) -> None:
    asked = ask(PAIRS * 10)
    one = samples(asked, scored([0.1] * 40, [1.0] * 40), seed=13)
    two = samples(asked, scored([0.9] * 40, [0.0] * 40), seed=13)
    assert [w.row for w in one] == [w.row for w in two]
    assert len({w.row for w in one}) == 24
    assert [w.row for w in one] == sorted(w.row for w in one)
    assert [w.row for w in samples(asked, scored([0.1] * 40, [1.0] * 40), seed=14)] != [
        w.row for w in one
    ]
    assert len(samples(ask(PAIRS), scored([0.1] * 4, [1.0] * 4), seed=13)) == 4
