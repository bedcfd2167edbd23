"""Where words and entities stand in a text, in characters."""

import re
from typing import Any

_WORD = re.compile(r"\S+")


def word_spans(text: str, most: int) -> list[tuple[int, int]]:
    """Return the places of a text's words; of more than `most`, of groups of neighbours.

    >>> word_spans("a big  dog", 8)
    [(0, 1), (2, 5), (7, 10)]
    >>> word_spans("a big  dog", 2)
    [(0, 5), (7, 10)]
    """
    places = [match.span() for match in _WORD.finditer(text)]
    size = max(1, -(-len(places) // most))
    groups = [places[i : i + size] for i in range(0, len(places), size)]
    return [(group[0][0], group[-1][1]) for group in groups]


def entities_of(text: str, answer: Any) -> list[dict[str, Any]]:
    """Return the entities that a run of word labels marks, as Hugging Face's pipeline shapes them.

    Args:
        text: As it was given; its words stand between white space.
        answer: A `Tagged`. Where its labels mark no entities, every word is one of its own.
    """
    places = [match.span() for match in re.finditer(r"\S+", text)]
    rows: list[tuple[str, int, int]] = [
        (str(e["type"]), int(e["first"]), int(e["last"])) for e in answer.entities
    ]
    marked = any(label == "O" or label[:2] in ("B-", "I-") for label in answer.labels)
    if not rows and not marked:
        rows = [(label, i, i) for i, label in enumerate(answer.labels)]
    entities = []
    for kind, first, last in rows:
        start, end = places[first][0], places[last][1]
        scores = answer.confidences[first : last + 1]
        entities.append(
            {
                "entity_group": kind, "score": sum(scores) / len(scores), "word": text[start:end],
                "start": start, "end": end,
            }
        )  # fmt: skip
    return entities
