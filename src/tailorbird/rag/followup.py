"""Rewrites follow-up questions of a conversation so that they can be searched for alone."""

import re
from collections.abc import Callable, Sequence

from tailorbird.rag.content_words import content_words, tokens

Turn = tuple[str, str]
"""A question as it was searched for, and its answer."""

_MOST_CARRIED = 12
_LONGEST = 400
_MOST_BEFORE = 2
# A follow-up may take up an answer's words, but a rewriting must not bring in a new subject.
_LEAST_KNOWN = 0.7
_REFERS = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|their|theirs|he|she|him|his|hers|such|the same"
    r"|the (?:former|latter|first|second|third|other|others)|(?:another|which|this|that) one"
    r"|the ones?)\b",
    re.I,
)
# Pronouns that refer to nothing: "is it possible", "it says that", "that is".
_EMPTY = re.compile(
    r"\b(?:is it (?:ok|okay|possible|better|safe|normal|true|necessary|allowed|bad|good|wrong)\b"
    r"|does it (?:make sense|matter)|(?:it|python) (?:says|complains|looks|seems)|like this"
    r"|so that|(?:say|says|said|know|means?|sure|think|see|told|complains?) that\b"
    r"|in that case|that (?:i|you|we|is|are|has|have|was|were|can)\b)",
    re.I,
)
_LINKS = re.compile(
    r"^\W*(?:and|but|or|so|then|also|what about|how about|what if|why(?: not)?\W*$|how(?: so)?\W*$"
    r"|when\W*$|where\W*$|who\W*$|for example|any (?:other|more)|else|more|go on|tell me more"
    r"|in what way|since when|with which)\b",
    re.I,
)


def leans_on_history(question: str) -> bool:
    """Return whether a question cannot be understood without the one before it."""
    if _LINKS.search(question):
        return True
    words = content_words(question)
    if len(words) <= 1:
        return True
    rest = _EMPTY.sub(" ", question)
    pronoun = _REFERS.search(rest)
    # After more words than this, a pronoun refers to something in the question itself.
    return pronoun is not None and len(content_words(rest[: pronoun.start()])) <= _MOST_BEFORE


def standalone(
    question: str, history: Sequence[Turn], write: Callable[[str], str] | None = None
) -> str:
    """Return the question with the words that it needs from the conversation.

    Without a model, a dependent question (a pronoun, "and ...", "what about ...", hardly a word of
    its own) is extended by the content words of the one before. A model's rewriting is used only if
    it is a single question without new content.

    Args:
        question: The original question.
        history: The turns so far, in order; questions as they were searched for.
        write: Returns a model's answer to a prompt; None: use rules.
    """
    if not history:
        return question
    if write is not None:
        rewritten = _cleaned(write(_prompt(question, history)))
        if _is_faithful(rewritten, question, history):
            return rewritten
    if not leans_on_history(question):
        return question
    carried = _carried(question, history[-1][0])
    return f"{question.rstrip()} ({' '.join(carried)})" if carried else question


def _carried(question: str, before: str) -> list[str]:
    """Return the content words of the earlier question that this one lacks."""
    here = set(content_words(question))
    words: list[str] = []
    for word in re.findall(r"[^\s()\[\]{}\"?!,;]+", before):
        bare = word.strip(".:'`")
        means = [*content_words(bare), *(t for t in tokens(bare) if t[0].isdigit())]
        if means and not set(means) & here:
            words.append(bare)
            here |= set(means)
    return words[:_MOST_CARRIED]


def _prompt(question: str, history: Sequence[Turn]) -> str:
    turns = "\n".join(
        f"User: {earlier}\nAssistant: {answer[:500]}" for earlier, answer in history[-3:]
    )
    return (
        "Rewrite the last question so that it can be understood without the conversation. Keep "
        "its meaning, add nothing, answer nothing. Write only the question.\n\n"
        f"{turns}\nUser: {question}\n\nQuestion:"
    )


def _cleaned(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    first = lines[0] if len(lines) == 1 else ""
    return re.sub(r"^(?:rewritten |standalone )?question:\s*", "", first, flags=re.I).strip(' "')


def _is_faithful(rewritten: str, question: str, history: Sequence[Turn]) -> bool:
    """Return whether a rewriting is short, keeps the question's words and adds no new ones."""
    if not rewritten or len(rewritten) > max(_LONGEST, 2 * len(question)):
        return False
    words, own = set(content_words(rewritten)), set(content_words(question))
    conversation = " ".join(part for turn in history[-3:] for part in turn)
    familiar = own | set(content_words(conversation))
    return (
        bool(words)
        and len(words & familiar) >= _LEAST_KNOWN * len(words)
        and (len(words & own) >= _LEAST_KNOWN * len(own))
    )
