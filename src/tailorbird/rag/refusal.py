"""Whether retrieved passages are relevant enough to a question to answer from them.

A page on another subject may be near a question in meaning, or share a word with it; a page with
the answer does both. So the score adds the cosine of the best passage and the share of the
question's words in one passage. Words inside blocks of code do not count: code that mentions a
thing does not explain it.
"""

from collections.abc import Sequence

from tailorbird.rag.augment import heading_of
from tailorbird.rag.content_words import asks_for_figure, meaning, names_code, share_held
from tailorbird.rag.extract import Picked
from tailorbird.rag.retrieve import confidence
from tailorbird.rag.sentences import plain, split_sentences
from tailorbird.records import Passage

# Each was tuned on one half of the questions of benchmarks/refusals.py and reported on the other.
LEAST = 0.8
"""Least sum of the best passage's cosine and the share of the question's words in one passage."""
LEAST_SHARE = 0.4
"""Least share of the question's words in one passage, where no vectors were asked."""
LEAST_FIGURE = 1.0
"""As `LEAST`, of the best single sentence, where a figure is asked for."""
# For a question without content words: the cosine decides.
_WORDLESS = 0.5


def too_weak(
    passages: Sequence[Passage],
    threshold: float | None,
    calibrated: float | None = None,
    question: str = "",
) -> str:
    """Return why passages are too weak to answer from; empty if they are not.

    Args:
        threshold: The user's least cosine (BM25 with word search only).
        question: The question's text; without either threshold, its words count.
    """
    if not passages:
        return "nothing was found"
    cosines = any(p.dense is not None for p in passages)
    best = confidence(passages)
    name = "similarity" if cosines else "BM25"
    least = threshold if threshold is not None else calibrated
    if least is not None:
        return "" if best >= least else _why(f"the best passage has {name} {best:.2f}", least)
    share = max(_share(question, passage) for passage in passages)
    words = f"{share:.0%} of the question's words"
    if not cosines:
        return (
            "" if share >= LEAST_SHARE else _why(f"no passage holds more than {words}", LEAST_SHARE)
        )
    if best + share >= LEAST:
        return ""
    return _why(f"the best passage has similarity {best:.2f} and one holds {words}", LEAST)


def no_figure(question: str, ranked: Sequence[Picked]) -> str:
    """Return why no sentence has the figure that a question asks for; empty if one may.

    A page on the right subject nearly always has some other figure, which would be quoted.
    """
    if not asks_for_figure(question):
        return ""
    best = max((piece.nearness for piece in ranked if piece.kind != "code"), default=0.0)
    if best >= LEAST_FIGURE:
        return ""
    return f"no sentence is near enough to the figure that is asked for: {best:.2f} of 1.00 needed"


def _share(question: str, passage: Passage) -> float:
    """Return the share of a question's words that a passage contains outside code."""
    words = meaning(question)
    code = names_code(question)
    parts = [p for p in split_sentences(passage.text) if code or p.kind != "code"]
    text = " ".join([heading_of(passage), *(plain(part.text) for part in parts)])
    return share_held(words, meaning(text)) if words else _WORDLESS


def _why(what: str, least: float) -> str:
    return f"nothing in the documents is near enough to the question: {what}, needed is {least:.2f}"
