"""A search that can be learnt in seconds: questions and texts share no word, pairs of words do."""

from itertools import product
from typing import Any

import numpy as np

from tailorbird.rag.query_pairs import Corpus, Queries

ASKED = {
    "dog": "house animal",
    "car": "road machine",
    "river": "flowing water",
    "king": "crowned ruler",
    "bread": "baked food",
    "snow": "white weather",
    "doctor": "healing person",
    "gun": "shooting weapon",
}
ABOUT = {
    "price": "cost and money",
    "history": "past times",
    "colour": "looks and paint",
    "danger": "harm and risk",
    "size": "large or small",
    "law": "court and rules",
}
FRAMES = ("what is the {about} of a {asked}", "tell me {asked} {about}")


def corpus() -> Corpus:
    """Return 48 texts, one per thing and what is said of it."""
    both = list(product(ASKED, ABOUT))
    texts = [f"{ASKED[asked]}: {ABOUT[about]}." for asked, about in both]
    titles = [f"{asked} {about}" for asked, about in both]
    return Corpus([f"{a}-{b}.md" for a, b in both], texts, titles, [() for _ in both], texts)


def queries() -> Queries:
    """Return 96 queries, each with its one right text."""
    rows = [(frame, a, b) for frame in FRAMES for a, b in product(ASKED, ABOUT)]
    texts = {f"q{n}": f.format(asked=a, about=b) for n, (f, a, b) in enumerate(rows)}
    return Queries(texts, {f"q{n}": {f"{a}-{b}.md": 1} for n, (_, a, b) in enumerate(rows)})


def word_side(texts: list[str]) -> Any:
    """Return a side that counts shared words: as good as BM25 where no words are shared."""
    bags = [set(text.lower().split()) for text in texts]

    def matching(question: str, k: int) -> dict[int, float]:
        asked = set(question.lower().split())
        counts = np.asarray([len(asked & bag) for bag in bags], dtype=float)
        best = np.argsort(-counts, kind="stable")[:k]
        return {int(place): float(counts[place]) for place in best if counts[place]}

    return matching
