"""The examples that a report shows as wrong, the highest loss first."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np

from tailorbird.records import Example, WrongExample

MOST_ERRORS = 200


def worst(
    examples: Sequence[Example],
    losses: np.ndarray,
    wrong: Callable[[int], bool],
    given: Callable[[int], str],
    said: Callable[[int], str],
) -> tuple[WrongExample, ...]:
    """Return the wrong examples with the highest losses.

    Args:
        examples: The examples.
        losses: ``[n]``, theirs.
        wrong: Whether the answer to the example of this index is wrong.
        given: The right answer to it, in words.
        said: What was answered, in words.
    """
    order: Iterable[int] = (int(i) for i in np.argsort(-losses, kind="stable"))
    places = islice((i for i in order if wrong(i)), MOST_ERRORS)
    return tuple(
        WrongExample(
            examples[i].row, examples[i].text, given(i), said(i), 0.0, loss=float(losses[i])
        )
        for i in places
    )
