"""What became of conversations on their way into tokens: counted, told, and refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tailorbird.data.answer_spans import TemplateShape
from tailorbird.data.normalise import rows
from tailorbird.errors import Faults
from tailorbird.records import THOUGHTS, Finding

TooLong = Literal["cut", "drop", "error"]

_SAMPLES = 5


@dataclass
class EncodingCounts:
    """What happened to conversations; the lists hold the numbers of rows.

    Attributes:
        conversations: How many there were.
        folded: System messages that were written into the first question.
        steering: The words spell tokens that steer the model.
        rewritten: The template writes an answer otherwise once more turns follow.
        odd: The generation prompt is not how the template begins an answer it knows.
        merged: A prompt's last and its answer's first characters are one token.
        lost_calls: The template leaves out their calls of tools.
        lost_tools: The template leaves out their definitions of tools.
        lost_thoughts: The template leaves out what the assistant thought.
        doubled: They begin with two beginning-of-text tokens.
        untrained: No token is trained, though nothing was cut.
        endless: The last trained token does not end an answer.
        long: They are longer than the limit.
        lost: Trained tokens were cut off.
        lost_tokens: How many that were.
        emptied: No trained token was left after the cut.
        longest: Tokens of the longest.
    """

    conversations: int = 0
    folded: int = 0
    steering: list[int] = field(default_factory=list)
    rewritten: list[int] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    merged: list[int] = field(default_factory=list)
    lost_calls: list[int] = field(default_factory=list)
    lost_tools: list[int] = field(default_factory=list)
    lost_thoughts: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    untrained: list[int] = field(default_factory=list)
    endless: list[int] = field(default_factory=list)
    long: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    lost_tokens: int = 0
    emptied: list[int] = field(default_factory=list)
    longest: int = 0


def refuse(
    counted: EncodingCounts,
    shape: TemplateShape | None = None,
    too_long: TooLong = "cut",
    limit: int = 0,
) -> None:
    """Raise what cannot be trained on, all of it at once.

    Raises:
        UserError: There is such a fault.
    """
    faults = Faults()
    every = counted.conversations
    if counted.lost_calls:
        faults.add(
            f"{_where(counted.lost_calls)} call tools, and the model's chat template leaves the "
            "calls out: the model would learn to answer with nothing",
            "take --set data.template=plain, a model whose template knows tools, or remove them",
        )
    if counted.doubled:
        faults.add(
            f"{_where(counted.doubled)} begin with two beginning-of-text tokens",
            "remove the token from the words of these rows, or from the chat template",
        )
    if too_long == "error" and counted.long:
        faults.add(
            f"{_where(counted.long)} longer than {limit:,} tokens; the longest has "
            f"{counted.longest:,}",
            f"set data.max_length={counted.longest}, or data.too_long=cut or drop",
        )
    if counted.untrained:
        faults.add(
            f"{_where(counted.untrained)} have no token to train on: the chat template writes "
            "nothing of their answers that the model would have to write",
            "mend or remove these rows, or take another template, such as "
            "--set data.template=plain",
        )
    elif every and len(counted.endless) == every and shape is not None:
        faults.add(
            f"no answer ends with {shape.end!r}, so the model would never learn to stop",
            "take another template, such as --set data.template=plain",
        )
    gone = len(counted.long) if too_long == "drop" else len(counted.emptied)
    if every and gone == every:
        faults.add(
            f"nothing is left to train on: every conversation has its answer beyond {limit:,} "
            f"tokens (data.max_length, data.too_long={too_long})",
            f"set data.max_length={counted.longest}, or shorten the prompts",
        )
    faults.raise_if_any()


def findings_of(
    counted: EncodingCounts, shape: TemplateShape, tokenizer: Any, too_long: TooLong, limit: int
) -> tuple[Finding, ...]:
    """Return what a person should know of how the conversations became tokens."""
    return (
        *_of_length(counted, too_long, limit),
        *_of_template(counted, shape),
        *_of_words(counted, shape, tokenizer),
    )


def _of_length(counted: EncodingCounts, too_long: TooLong, limit: int) -> Iterable[Finding]:
    every, long = counted.conversations, counted.long
    if not long:
        return
    longer = (
        f"{rows(len(long))} of {every:,} ({100 * len(long) / every:.1f} %) longer than {limit:,} "
        f"tokens (data.max_length); the longest has {counted.longest:,}."
    )
    if too_long == "drop":
        yield _finding("dropped_long", f"{longer} Dropped, as data.too_long=drop asks.", long)
        return
    if counted.lost:
        yield _finding(
            "cut_answers",
            f"{longer} Their ends are cut (data.too_long=cut): {rows(len(counted.lost))} lost "
            f"{counted.lost_tokens:,} tokens to train on and the end of the answer; nothing is "
            "taught about stopping there.",
            counted.lost,
        )
    if counted.emptied:
        yield _finding(
            "emptied",
            f"{rows(len(counted.emptied))} left without a token to train on after the cut at "
            f"{limit:,} tokens; dropped.",
            counted.emptied,
        )


def _of_template(counted: EncodingCounts, shape: TemplateShape) -> Iterable[Finding]:
    if counted.folded:
        yield Finding(
            "folded_system",
            "warning",
            f"The chat template has no place for a system message: in {rows(counted.folded)} it "
            "was put before the first question's words. Do the same when you use the model.",
            counted.folded,
        )
    if counted.rewritten:
        yield _finding(
            "rewritten_turns",
            f"In {rows(len(counted.rewritten))} the chat template writes earlier answers "
            "otherwise once later turns follow; these answers are not trained, the last one is.",
            counted.rewritten,
        )
    if counted.odd:
        yield _finding(
            "generation_prompt",
            f"In {rows(len(counted.odd))} the prompt for writing is not how the conversation "
            "begins in training: the chat template opens an answer to be written otherwise than "
            "one it is given.",
            counted.odd,
        )
    if shape.between.strip():
        yield Finding(
            "unopened",
            "info",
            f"The chat template writes {shape.between!r} between the prompt and an answer's "
            "words; it is trained as a part of the answer.",
            counted.conversations,
        )
    if counted.lost_tools:
        yield _finding(
            "lost_tools",
            f"{rows(len(counted.lost_tools))} with definitions of tools, which the chat template "
            "leaves out: the model does not see them.",
            counted.lost_tools,
        )
    if counted.lost_thoughts:
        yield _finding(
            "lost_thoughts",
            f"{rows(len(counted.lost_thoughts))} with an assistant's thoughts "
            f"({', '.join(THOUGHTS)}), which the chat template leaves out: they are not trained.",
            counted.lost_thoughts,
        )


def _of_words(counted: EncodingCounts, shape: TemplateShape, tokenizer: Any) -> Iterable[Finding]:
    yield from steering_of(counted)
    if counted.merged:
        yield _finding(
            "merged_tokens",
            f"In {rows(len(counted.merged))} the end of a prompt and the beginning of its answer "
            "become one token, which is not trained: the model is asked with other tokens than "
            "it was trained on. Leave out white space at the end of prompts and before answers.",
            counted.merged,
        )
    if counted.endless:
        yield _finding(
            "no_end",
            f"In {rows(len(counted.endless))} the last trained token is not one that ends an "
            "answer.",
            counted.endless,
        )
    if tokenizer.pad_token == shape.end:
        yield Finding(
            "pad_is_end",
            "info",
            f"The padding token is also the one that ends an answer, {shape.end!r}. It is "
            "trained all the same: masks go by position here. Tools that mask padding by its id "
            "would not train it.",
            counted.conversations,
        )


def steering_of(counted: EncodingCounts) -> Iterable[Finding]:
    """Return what a person should know of control tokens that the words spell."""
    if counted.steering:
        yield _finding(
            "special_tokens",
            f"{rows(len(counted.steering))} with words that spell special tokens, such as an end "
            "of turn. They are read as words. If tokens are meant, leave them to the chat template "
            "(data.template), which writes them around turns.",
            counted.steering,
        )


def _finding(code: str, message: str, places: list[int]) -> Finding:
    samples = tuple(f"row {row}" for row in places[:_SAMPLES])
    return Finding(code, "warning", message, len(places), samples)


def _where(places: list[int]) -> str:
    """Return ``"3 rows (the first is row 7)"``."""
    return f"{rows(len(places))} (the first is row {places[0]})"
