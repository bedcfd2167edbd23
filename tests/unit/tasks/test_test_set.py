"""What is asked, how it is scored, and how long an answer may be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.records import Example
from tailorbird.runs.folder import TASK, RunFolder
from tailorbird.tasks.arm_job import TaskFile, read_task
from tailorbird.tasks.prompt_set import (
    PromptSet,
    answer_length,
    prompt_set_of,
    sample_rows,
    saved_scoring,
    scoring_json,
    scoring_of,
    with_room,
)

Ask = Callable[[list[tuple[str, str]]], PromptSet]


def tokens_of(lengths: list[int]) -> Tokens:
    """Return sequences of a prompt of 3 tokens and answers of these lengths."""
    rows = [np.arange(3 + n, dtype=np.int32) for n in lengths]
    return Tokens(rows, [r >= 3 for r in rows], [r[:3] for r in rows], np.arange(len(rows)))


def test_examples_stand_beside_their_tokens() -> None:
    tokens = tokens_of([1, 2])
    tokens = Tokens(tokens.ids, tokens.trained, tokens.prompts, np.asarray([2, 0]))
    examples = [Example("a", "x", 1), Example("b", "y", 2), Example("c", "z", 3)]
    asked = prompt_set_of(tokens, examples)
    assert (asked.prompts, asked.references, asked.rows) == (("c", "a"), ("z", "x"), (3, 1))
    back = asked.take(np.asarray([1]))
    assert (back.prompts, back.rows, len(back)) == (("a",), (1,), 1)
    assert back.tokens.ids[0].tolist() == tokens.ids[1].tolist()
    assert back.tokens.rows.tolist() == [0]


def test_prompts_are_drawn_once() -> None:
    assert sample_rows(5, 300, 1).tolist() == [0, 1, 2, 3, 4]
    chosen = sample_rows(1000, 300, 13)
    assert len(set(chosen.tolist())) == 300
    assert np.array_equal(chosen, np.sort(chosen))
    assert np.array_equal(chosen, sample_rows(1000, 300, 13))
    assert not np.array_equal(chosen, sample_rows(1000, 300, 14))


@pytest.mark.parametrize(
    ("lengths", "most"),
    [
        ([1] * 10, 8),  # 1.25, up to a multiple of 8
        ([16] * 10, 24),  # 20
        ([32] * 10, 40),  # 40 exactly
        ([10] * 199 + [4000], 16),  # the longest of 200 is beyond the 99th percentile
        ([4000] * 10, 512),
        ([], 512),
    ],
)
def test_answers_may_be_as_long_as_nearly_all_are(lengths: list[int], most: int) -> None:
    assert answer_length(tokens_of(lengths)) == most


def test_another_process_scores_in_the_same_way(tmp_path: Path) -> None:
    """Labels and how they are written, a function of the user's own; not what is new to it."""
    rows = [("yes" if i % 2 else "no") for i in range(12)]
    tokens = tokens_of([1 + i % 2 for i in range(12)])
    train = prompt_set_of(
        tokens, [Example(f"Is it {i}?", row, i + 1) for i, row in enumerate(rows)]
    )
    own = tmp_path / "marks.py"
    own.write_text("def share(output, reference, prompt):\n    return 1.0\n")
    for metric in ("auto", "token_f1", f"{own}:share"):
        scoring = scoring_of(metric, train)
        told = {"task": "generation", "headline": scoring.headline} | scoring_json(scoring)
        folder = RunFolder(tmp_path / "run")
        folder.write_json(TASK, told)
        again = saved_scoring(read_task(folder), metric)
        assert again is not None
        assert (again.metrics, again.headline) == (scoring.metrics, scoring.headline)
        assert again.labels == scoring.labels
        assert [e.tolist() for e in again.endings] == [e.tolist() for e in scoring.endings]
        assert (again.custom is None) == (scoring.custom is None)
    assert scoring_of("auto", train).labels == ("no", "yes")
    assert saved_scoring(TaskFile("generation"), "auto") is None
    assert scoring_json(None) == {}


def test_scoring_of_free_answers(ask: Ask, tmp_path: Path) -> None:
    train = ask([("Who?", "a dog ran"), ("Where?", "in the park")])
    scoring = scoring_of("auto", train)
    assert (scoring.headline, scoring.metrics) == (
        "token_f1",
        ("token_f1", "rouge_l", "exact_match"),
    )
    assert scoring_of("numeric_match", train).metrics[-1] == "numeric_match"
    (tmp_path / "m.py").write_text("def words(o, r, p): return len(o.split())\n")
    own = scoring_of(f"{tmp_path / 'm.py'}:words", train)
    assert own.headline == "words"
    assert own.custom is not None
    assert own.metrics == scoring.metrics
    with pytest.raises(UserError, match="does not exist"):
        scoring_of(f"{tmp_path / 'n.py'}:words", train)


def test_scoring_of_labels(ask: Ask) -> None:
    train = ask([("Good?", "yes"), ("Bad?", "no"), ("Fine?", "yes "), ("Hm?", "no")])
    scoring = scoring_of("auto", train)
    assert (scoring.headline, scoring.labels) == ("choice_accuracy", ("no", "yes"))
    assert [ending[-1] for ending in scoring.endings] == [2, 2]
    first = train.tokens
    assert scoring.endings[0].tolist() == first.ids[1][len(first.prompts[1]) :].tolist()


def long_prompts(*lengths: int) -> PromptSet:
    rows = range(len(lengths))
    tokens = Tokens(
        [np.zeros(4, np.int32) for _ in rows],
        [np.ones(4, bool) for _ in rows],
        [np.zeros(length, np.int32) for length in lengths],
        np.arange(len(lengths)),
    )
    return prompt_set_of(tokens, [Example(f"question {row}", "yes", row=row + 1) for row in rows])


def test_prompts_that_fill_the_model_are_left_out_and_counted() -> None:
    asked, told = with_room(long_prompts(10, 448, 449, 1246), 512)
    assert asked.rows == (1, 2)
    assert "2 of 4 prompts have more than 448 tokens" in told
    assert with_room(long_prompts(10, 20), 512)[1] == ""
    with pytest.raises(UserError, match="every prompt to score has more than 96 tokens"):
        with_room(long_prompts(97, 120), 128)
