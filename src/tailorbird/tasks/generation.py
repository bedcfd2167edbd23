"""Generation: answers to instructions, questions and chats."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tailorbird.data.encode_chat import encode_conversations
from tailorbird.data.encoding_report import TooLong
from tailorbird.data.tokens import Tokens
from tailorbird.records import TASKS, Example, ExamplesOnDisk, Split
from tailorbird.tasks.generative_base import EncodedSplit, GenerativeTask
from tailorbird.tasks.prompt_set import (
    AnswerTest,
    answer_length,
    prompt_set_of,
    sample_rows,
    scoring_of,
    with_room,
)

if TYPE_CHECKING:
    from tailorbird.config import Config

ASKED_BY_DEFAULT = 300
# The most examples read from disk to characterise answers.
_LOOKED_AT = 20_000


class TextGeneration(GenerativeTask):
    """Answers the prompts of the test part, and scores the answers."""

    spec = TASKS["generation"]

    def encode(
        self, examples: Sequence[Example], tokenizer: Any, limit: int, too_long: TooLong
    ) -> Tokens:
        """See `GenerativeTask.encode`."""
        return encode_conversations(examples, tokenizer, limit, too_long)

    def test(self, split: Split, parts: EncodedSplit, config: "Config", reads: int) -> AnswerTest:
        """See `GenerativeTask.test`."""
        prompts, left_out = with_room(prompt_set_of(parts.test, split.test), reads)
        most = config.evaluate.examples or ASKED_BY_DEFAULT
        questions = prompts.take(sample_rows(len(prompts), most, config.data.split_seed))
        sample = parts.train
        if isinstance(split.train, ExamplesOnDisk):
            sample = sample.take(sample_rows(len(sample), _LOOKED_AT, config.data.split_seed))
        scoring = scoring_of(config.evaluate.metric, prompt_set_of(sample, split.train))
        notes = (left_out,) if left_out else ()
        length = answer_length(parts.train)
        return AnswerTest(questions, parts.test, scoring, length, notes)

    def all_prompts(self, split: Split, test: Tokens) -> AnswerTest:
        """See `GenerativeTask.all_prompts`."""
        return AnswerTest(prompt_set_of(test, split.test), test, None, 0)


TASK = TextGeneration()
