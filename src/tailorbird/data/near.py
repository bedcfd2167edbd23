"""Nearly equal texts in two lists: MinHash proposes pairs, the exact overlap decides."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from tailorbird.data.sameness import text_key

_SHINGLE = 5
# Longer texts are compared by their beginning: the sketch of 20,000 shingles takes 10 MB.
_READ_CHARACTERS = 20_000
# 16 bands of 4: a pair at the threshold of 0.8 is proposed with probability 1 - (1 - 0.8^4)^16,
# which is 0.9998 (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4).
_BANDS, _ROWS_PER_BAND = 16, 4
_PERMUTATIONS = _BANDS * _ROWS_PER_BAND
# Texts made from one template are all candidates of each other: only the most alike by their
# sketches are compared exactly.
_COMPARED = 20


class Near(NamedTuple):
    """A text and the one nearest to it in the other list, by index."""

    left: int
    right: int
    overlap: float


def near_pairs(left: Sequence[str], right: Sequence[str], threshold: float = 0.8) -> list[Near]:
    """Return each left text that has a nearly equal, but not the same, text on the right.

    Args:
        left: Texts.
        right: Texts to compare each of them with.
        threshold: The least Jaccard overlap of their five-character shingles.

    Returns:
        At most one pair per left text, with the exact overlap, in order.
    """
    import numpy as np
    from datasketch import MinHashLSH

    # Repeated texts would crowd out the others among the candidates.
    first = {text_key(text): j for j, text in reversed(list(enumerate(right)))}
    keys = sorted(first, key=first.__getitem__)
    if not keys:
        return []
    sketches = list(_sketches(keys))
    index = MinHashLSH(num_perm=_PERMUTATIONS, params=(_BANDS, _ROWS_PER_BAND))
    for j, sketch in enumerate(sketches):
        index.insert(j, sketch, check_duplication=False)
    hashes = np.stack([sketch.hashvalues for sketch in sketches])
    pairs = []
    for i, sketch in enumerate(_sketches(left)):
        candidates = np.array(sorted(index.query(sketch)), dtype=int)
        alike = (hashes[candidates] == sketch.hashvalues).sum(axis=1)
        likely = candidates[np.argsort(-alike, kind="stable")[:_COMPARED]]
        key, mine = text_key(left[i]), shingles(left[i])
        scored = [(jaccard(mine, shingles(keys[j])), j) for j in likely if keys[j] != key]
        overlap, j = max(scored, key=lambda pair: pair[0], default=(0.0, 0))
        if overlap >= threshold:
            pairs.append(Near(i, first[keys[j]], overlap))
    return pairs


def shingles(text: str) -> frozenset[str]:
    """Return the runs of five characters in a text, case and white space apart."""
    key = text_key(text[:_READ_CHARACTERS])
    return frozenset(key[i : i + _SHINGLE] for i in range(max(1, len(key) - _SHINGLE + 1)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of two sets' elements that both have."""
    both = len(a & b)
    return both / (len(a) + len(b) - both)


def _sketches(texts: Sequence[str]) -> Iterable[Any]:
    from datasketch import MinHash

    # CRC-32 spreads short strings well enough and is many times faster than SHA-1.
    encoded = ([s.encode("utf-8", "surrogatepass") for s in shingles(text)] for text in texts)
    found: Iterable[Any] = MinHash.generator(encoded, num_perm=_PERMUTATIONS, hashfunc=crc32)
    return found
