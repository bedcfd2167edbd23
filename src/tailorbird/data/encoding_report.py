"""Counts what encoding did to conversations, and derives findings and errors."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tailorbird.data.answer_spans import TemplateShape
from tailorbird.data.message_words import rows
from tailorbird.errors import Faults
from tailorbird.records import THOUGHTS, Finding

TooLong = Literal["cut", "drop", "error"]
Event = Literal[
    "lost_calls", "doubled", "untrained", "long", "cut", "emptied", "rewritten_turns",
    "generation_prompt", "lost_tools", "lost_thoughts", "special_tokens", "merged_tokens", "no_end",
]  # fmt: skip

_SAMPLES = 5
_OF_TEMPLATE: dict[Event, str] = {
    "rewritten_turns": "In {rows} the chat template writes earlier answers differently once "
    "later turns follow; these answers are not trained on, the last one is.",
    "generation_prompt": "In {rows} the prompt at generation differs from the start of the "
    "conversation in training: the chat template opens an answer to generate differently from "
    "an answer in the data.",
    "lost_tools": "{rows} with tool definitions, which the chat template leaves out: the model "
    "does not see them.",
    "lost_thoughts": f"{{rows}} with an assistant's reasoning ({', '.join(THOUGHTS)}), which the "
    "chat template leaves out: it is not trained on.",
}
_OF_WORDS: dict[Event, str] = {
    "special_tokens": "{rows} with text that spells special tokens, such as an end of turn. It "
    "is read as plain text. If special tokens are meant, leave them to the chat template "
    "(data.template), which writes them around turns.",
    "merged_tokens": "In {rows} the end of a prompt and the beginning of its answer merge into "
    "one token, which is not trained on: at generation the prompt has different tokens from "
    "training. Remove white space at the end of prompts and before answers.",
    "no_end": "In {rows} the last trained token does not end an answer.",
}


@dataclass
class EncodingCounts:
    """Statistics of encoded conversations.

    Attributes:
        system_messages: Those moved into the first question.
        lost_tokens: Truncated trained tokens.
        longest: Tokens of the longest conversation.
        events: The row numbers of each kind of event.
    """

    conversations: int = 0
    system_messages: int = 0
    lost_tokens: int = 0
    longest: int = 0
    events: defaultdict[Event, list[int]] = field(default_factory=lambda: defaultdict(list))

    def note(self, event: Event, row: int) -> None:
        """Record an event in a row."""
        self.events[event].append(row)


def refuse(counts: EncodingCounts, shape: TemplateShape, too_long: TooLong, limit: int) -> None:
    """Raise all errors that prevent training, at once.

    Raises:
        UserError: There is such an error.
    """
    faults = Faults()
    every, events = counts.conversations, counts.events
    if events["lost_calls"]:
        faults.add(
            f"{_where(events['lost_calls'])} call tools, but the model's chat template leaves "
            "the calls out: the model would learn to give empty answers",
            "use --set data.template=plain or a model whose template supports tools, or remove "
            "these rows",
        )
    if events["doubled"]:
        faults.add(
            f"{_where(events['doubled'])} begin with two beginning-of-text tokens",
            "remove the token from the text of these rows, or from the chat template",
        )
    if too_long == "error" and events["long"]:
        faults.add(
            f"{_where(events['long'])} longer than {limit:,} tokens; the longest has "
            f"{counts.longest:,}",
            f"set data.max_length={counts.longest}, or data.too_long=cut or drop",
        )
    if events["untrained"]:
        faults.add(
            f"{_where(events['untrained'])} have no token to train on: the chat template leaves "
            "out the text of their answers",
            "correct or remove these rows, or use another template, such as --set "
            "data.template=plain",
        )
    elif every and len(events["no_end"]) == every:
        faults.add(
            f"no answer ends with {shape.end!r}, so the model would never learn to stop",
            "take another template, such as --set data.template=plain",
        )
    if every and len(events["long" if too_long == "drop" else "emptied"]) == every:
        faults.add(
            f"no conversation is left to train on: every answer begins beyond {limit:,} tokens "
            f"(data.max_length, data.too_long={too_long})",
            f"set data.max_length={counts.longest}, or shorten the prompts",
        )
    faults.raise_if_any()


def findings_of(
    counts: EncodingCounts, shape: TemplateShape, tokenizer: Any, too_long: TooLong, limit: int
) -> Iterable[Finding]:
    """Yield the findings on the encoding of the conversations."""
    yield from _of_length(counts, too_long, limit)
    if count := counts.system_messages:
        yield Finding(
            "folded_system",
            "warning",
            f"The chat template has no system role: in {rows(count)} the system message was put "
            "before the text of the first question. Do the same when you use the model.",
            count,
        )
    yield from _of_events(counts, _OF_TEMPLATE)
    if shape.between.strip():
        yield Finding(
            "unopened",
            "info",
            f"The chat template writes {shape.between!r} between the prompt and the text of an "
            "answer; it is trained on as part of the answer.",
            counts.conversations,
        )
    yield from word_findings(counts)
    if tokenizer.pad_token == shape.end:
        yield Finding(
            "pad_is_end",
            "info",
            f"The padding token also ends answers: {shape.end!r}. It is still trained on, "
            "because padding is masked by position. Tools that mask padding by token id would "
            "not train on it.",
            counts.conversations,
        )


def word_findings(counts: EncodingCounts) -> Iterable[Finding]:
    """Yield the findings on control tokens in messages and on the ends of answers."""
    return _of_events(counts, _OF_WORDS)


def _of_length(counts: EncodingCounts, too_long: TooLong, limit: int) -> Iterable[Finding]:
    every, events = counts.conversations, counts.events
    if not (long := events["long"]):
        return
    longer = (
        f"{rows(len(long))} of {every:,} ({100 * len(long) / every:.1f} %) longer than {limit:,} "
        f"tokens (data.max_length); the longest has {counts.longest:,}."
    )
    if too_long == "drop":
        yield _finding("dropped_long", f"{longer} Dropped (data.too_long=drop).", long)
        return
    if cut := events["cut"]:
        yield _finding(
            "cut_answers",
            f"{longer} Truncated (data.too_long=cut): {rows(len(cut))} lost "
            f"{counts.lost_tokens:,} tokens to train on and the end of the answer, so they do "
            "not teach the model to stop.",
            cut,
        )
    if emptied := events["emptied"]:
        yield _finding(
            "emptied",
            f"{rows(len(emptied))} without a token to train on after truncation to {limit:,} "
            "tokens; dropped.",
            emptied,
        )


def _of_events(counts: EncodingCounts, messages: dict[Event, str]) -> Iterable[Finding]:
    for event, message in messages.items():
        if places := counts.events[event]:
            yield _finding(event, message.format(rows=rows(len(places))), places)


def _finding(code: str, message: str, places: list[int]) -> Finding:
    samples = tuple(f"row {row}" for row in places[:_SAMPLES])
    return Finding(code, "warning", message, len(places), samples)


def _where(places: list[int]) -> str:
    """Return ``"3 rows (the first is row 7)"``."""
    return f"{rows(len(places))} (the first is row {places[0]})"
