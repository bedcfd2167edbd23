"""Counts what encoding did to conversations, and derives findings and errors."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tailorbird.data.answer_spans import TemplateShape
from tailorbird.data.normalise import rows
from tailorbird.errors import Faults
from tailorbird.records import THOUGHTS, Finding

TooLong = Literal["cut", "drop", "error"]
Event = Literal[
    "lost_calls", "doubled", "untrained", "long", "cut", "emptied", "rewritten_turns",
    "generation_prompt", "lost_tools", "lost_thoughts", "special_tokens", "merged_tokens", "no_end",
]  # fmt: skip

_SAMPLES = 5
_OF_TEMPLATE: dict[Event, str] = {
    "rewritten_turns": "In {rows} the chat template writes earlier answers otherwise once later "
    "turns follow; these answers are not trained, the last one is.",
    "generation_prompt": "In {rows} the prompt for writing is not how the conversation begins in "
    "training: the chat template opens an answer to be written otherwise than one it is given.",
    "lost_tools": "{rows} with definitions of tools, which the chat template leaves out: the model "
    "does not see them.",
    "lost_thoughts": f"{{rows}} with an assistant's thoughts ({', '.join(THOUGHTS)}), which the "
    "chat template leaves out: they are not trained.",
}
_OF_WORDS: dict[Event, str] = {
    "special_tokens": "{rows} with words that spell special tokens, such as an end of turn. They "
    "are read as words. If tokens are meant, leave them to the chat template (data.template), "
    "which writes them around turns.",
    "merged_tokens": "In {rows} the end of a prompt and the beginning of its answer become one "
    "token, which is not trained: the model is asked with other tokens than it was trained on. "
    "Leave out white space at the end of prompts and before answers.",
    "no_end": "In {rows} the last trained token is not one that ends an answer.",
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
            f"{_where(events['lost_calls'])} call tools, and the model's chat template leaves the "
            "calls out: the model would learn to answer with nothing",
            "take --set data.template=plain, a model whose template knows tools, or remove them",
        )
    if events["doubled"]:
        faults.add(
            f"{_where(events['doubled'])} begin with two beginning-of-text tokens",
            "remove the token from the words of these rows, or from the chat template",
        )
    if too_long == "error" and events["long"]:
        faults.add(
            f"{_where(events['long'])} longer than {limit:,} tokens; the longest has "
            f"{counts.longest:,}",
            f"set data.max_length={counts.longest}, or data.too_long=cut or drop",
        )
    if events["untrained"]:
        faults.add(
            f"{_where(events['untrained'])} have no token to train on: the chat template writes "
            "nothing of their answers that the model would have to write",
            "mend or remove these rows, or take another template, such as "
            "--set data.template=plain",
        )
    elif every and len(events["no_end"]) == every:
        faults.add(
            f"no answer ends with {shape.end!r}, so the model would never learn to stop",
            "take another template, such as --set data.template=plain",
        )
    if every and len(events["long" if too_long == "drop" else "emptied"]) == every:
        faults.add(
            f"nothing is left to train on: every conversation has its answer beyond {limit:,} "
            f"tokens (data.max_length, data.too_long={too_long})",
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
            f"The chat template has no place for a system message: in {rows(count)} it "
            "was put before the first question's words. Do the same when you use the model.",
            count,
        )
    yield from _of_events(counts, _OF_TEMPLATE)
    if shape.between.strip():
        yield Finding(
            "unopened",
            "info",
            f"The chat template writes {shape.between!r} between the prompt and an answer's "
            "words; it is trained as a part of the answer.",
            counts.conversations,
        )
    yield from word_findings(counts)
    if tokenizer.pad_token == shape.end:
        yield Finding(
            "pad_is_end",
            "info",
            f"The padding token is also the one that ends an answer, {shape.end!r}. It is "
            "trained all the same: masks go by position here. Tools that mask padding by its id "
            "would not train it.",
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
        yield _finding("dropped_long", f"{longer} Dropped, as data.too_long=drop asks.", long)
        return
    if cut := events["cut"]:
        yield _finding(
            "cut_answers",
            f"{longer} Their ends are cut (data.too_long=cut): {rows(len(cut))} lost "
            f"{counts.lost_tokens:,} tokens to train on and the end of the answer; nothing is "
            "taught about stopping there.",
            cut,
        )
    if emptied := events["emptied"]:
        yield _finding(
            "emptied",
            f"{rows(len(emptied))} left without a token to train on after the cut at {limit:,} "
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
