"""Conversations for the last part of training, in the tokenizer's chat template."""

from random import Random
from typing import Any

from corpus import Corpus
from questions import (
    SMALL_TALK,
    Pair,
    Passage,
    about_section,
    from_code,
    from_program,
    grounded,
    passages,
)

SYSTEM = (
    "You are a patient Python tutor.",
    "You are a helpful assistant.",
    "Answer briefly.",
    "Answer from the context only.",
)
# How many of each kind there are at most, so that code does not crowd out the rest.
MOST = {
    "does": 6000,
    "write": 1500,
    "finish": 1500,
    "runs": 1000,
    "section": 2500,
    "grounded": 5000,
}
# The bundled pages are few and of more use to a tutor than the library's own prose.
PAGE_ROUNDS = 6
TALK_ROUNDS = 25
LONG_TALK = 700


def pairs(texts: Corpus, seed: int) -> list[Pair]:
    """Return every question and answer, in an order of the seed's."""
    draw = Random(seed)
    found: list[Pair] = []
    prose: list[Passage] = []
    for document in texts.train:
        if document.kind == "stdlib":
            found += from_code(document, draw)
        if document.kind == "programs":
            found.append(from_program(document, draw))
        else:
            rounds = PAGE_ROUNDS if document.kind == "pages" else 1
            here = list(passages(document)) * rounds
            prose += here
            if document.kind != "stdlib":
                found += [pair for p in here if (pair := about_section(p, draw))]
    for passage in prose:
        others = draw.sample(prose, draw.choice((0, 0, 1, 2)))
        pair = grounded(passage, [p for p in others if p.title != passage.title], draw)
        if pair:
            found.append(pair)
    draw.shuffle(found)
    kept = [pair for kind, most in MOST.items() for pair in _of(kind, found)[:most]]
    kept += [Pair("talk", *words) for words in SMALL_TALK] * TALK_ROUNDS
    draw.shuffle(kept)
    return kept


def _of(kind: str, found: list[Pair]) -> list[Pair]:
    return [pair for pair in found if pair.kind == kind]


def conversations(texts: Corpus, seed: int) -> list[list[dict[str, str]]]:
    """Return messages of one to three turns, some after a system's word."""
    draw = Random(seed)
    left = pairs(texts, seed)
    found = []
    while left:
        messages: list[dict[str, str]] = []
        if draw.random() < 0.2:
            messages.append({"role": "system", "content": draw.choice(SYSTEM)})
        turns = draw.choice((1, 1, 1, 2, 3))
        while left and turns and (not messages or _length(messages) < LONG_TALK):
            pair = left.pop()
            messages.append({"role": "user", "content": pair.question})
            messages.append({"role": "assistant", "content": pair.answer})
            turns -= 1
        found.append(messages)
    return found


def _length(messages: list[dict[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)


def rendered(texts: Corpus, tokenizer: Any, seed: int) -> list[str]:
    """Return every conversation as the model sees it."""
    talks = conversations(texts, seed)
    return [tokenizer.apply_chat_template(talk, tokenize=False) for talk in talks]
