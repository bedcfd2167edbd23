"""What every arm that answers in words is asked, drawn once."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird.config import Config
from tailorbird.data.encode_chat import encode_conversations, encode_texts
from tailorbird.data.tokens import Tokens
from tailorbird.records import Split
from tailorbird.tasks.test_set import (
    Asked,
    Scoring,
    answer_length,
    asked_of,
    drawn,
    scoring_of,
    with_room,
)

ASKED_BY_DEFAULT = 300
TEXT_HEADLINE = "loss"


@dataclass(frozen=True)
class Paper:
    """What every arm is asked, and how its answers are marked; the same for all of them.

    Attributes:
        asked: The drawn test prompts and their references; empty for plain text.
        test: All test sequences: what the loss is measured on.
        scoring: Which metrics, and which of them decides; None for plain text.
        max_new_tokens: Longest answer.
        notes: What was not asked, in words.
    """

    asked: Asked
    test: Tokens
    scoring: Scoring | None
    max_new_tokens: int
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The metric of the verdict."""
        return TEXT_HEADLINE if self.scoring is None else self.scoring.headline


def paper_of(split: Split, test: Tokens, train: Tokens, config: Config, reads: int) -> Paper:
    """Draw the questions and choose the marks, by data, settings and base model alone.

    Args:
        split: The examples.
        test: The test part's tokens.
        train: The training part's tokens.
        config: The settings.
        reads: Tokens that the base model reads at most.

    Raises:
        UserError: `evaluate.metric` names nothing that can score these answers, or no prompt
            leaves room for one.
    """
    asked = asked_of(test, split.test)
    if split.task == "text":
        return Paper(asked.take(np.arange(0)), test, None, 0)
    asked, left_out = with_room(asked, reads)
    most = config.evaluate.examples or ASKED_BY_DEFAULT
    chosen = drawn(len(asked), most, config.data.split_seed)
    scoring = scoring_of(config.evaluate.metric, asked_of(train, split.train))
    notes = (left_out,) if left_out else ()
    return Paper(asked.take(chosen), test, scoring, answer_length(train), notes)


def encode_test(split: Split, tokenizer: Any, limit: int, config: Config) -> Tokens:
    """Return the test part's tokens and masks."""
    if split.task == "text":
        return encode_texts(split.test, tokenizer, limit)
    return encode_conversations(split.test, tokenizer, limit, config.data.too_long)
