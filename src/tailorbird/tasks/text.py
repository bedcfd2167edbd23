"""Continued pre-training on plain text: no prompts; the test is the loss."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.data.encode_chat import encode_texts
from tailorbird.data.encoding_report import TooLong
from tailorbird.data.tokens import Tokens
from tailorbird.records import TASKS, Example, Split
from tailorbird.tasks.generative_base import EncodedSplit, GenerativeTask
from tailorbird.tasks.prompt_set import AnswerTest, prompt_set_of

if TYPE_CHECKING:
    from tailorbird.config import Config


class PlainText(GenerativeTask):
    """Measures the loss of the test part; there are no prompts."""

    spec = TASKS["text"]
    resembles = False

    def encode(
        self, examples: Sequence[Example], tokenizer: Any, limit: int, too_long: TooLong
    ) -> Tokens:
        """See `GenerativeTask.encode`."""
        return encode_texts(examples, tokenizer, limit)

    def test(self, split: Split, parts: EncodedSplit, config: "Config", reads: int) -> AnswerTest:
        """See `GenerativeTask.test`."""
        return self.all_prompts(split, parts.test)

    def all_prompts(self, split: Split, test: Tokens) -> AnswerTest:
        """See `GenerativeTask.all_prompts`."""
        return AnswerTest(prompt_set_of(test, split.test).take(np.arange(0)), test, None, 0)


TASK = PlainText()
