"""Few-shot prompting: solved examples before a question (Brown et al. 2020, arXiv 2005.14165).

The most similar examples are retrieved for each question (Liu et al. 2022, arXiv 2101.06804) and
become earlier turns of the conversation, the most similar last, next to the question.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tailorbird.data.encode_chat import encode_prompts
from tailorbird.records import Example, Message


def with_shots(example: Example, shots: Sequence[Example]) -> Example:
    """Return the conversation with `shots`, given most similar first, as turns before it."""
    turns = [
        message
        for shot in reversed(shots)
        for message in (
            Message("user", shot.text),
            Message("assistant", str(shot.label), trained=False),
        )
    ]
    leads = example.messages[:1] if opens_with_system(example) else ()
    rest = example.messages[len(leads) :]
    return replace(example, messages=(*leads, *turns, *rest))


def fit_shots(
    examples: Sequence[Example],
    shots: Sequence[Sequence[Example]],
    tokenizer: Any,
    room: int,
) -> list[list[Example]]:
    """Return each example's most similar shots, as many as keep its prompt within `room` tokens."""
    rest = [list(each) for each in shots]
    left = list(range(len(examples)))
    while left:
        longer = [with_shots(examples[i], rest[i]) for i in left]
        lengths = [len(ids) for ids in encode_prompts(longer, tokenizer)]
        left = [i for i, length in zip(left, lengths, strict=True) if length > room and rest[i]]
        for i in left:
            rest[i].pop()
    return rest


def opens_with_system(example: Example) -> bool:
    """Return whether a conversation begins with a system message."""
    return bool(example.messages) and example.messages[0].role == "system"
