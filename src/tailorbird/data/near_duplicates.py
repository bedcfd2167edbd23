"""Nearly equal texts in two lists: MinHash finds candidates, the exact overlap decides."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

_SHINGLE = 5
# Longer texts are compared by their beginning: a sketch of 20,000 shingles takes 10 MB.
_READ_CHARACTERS = 20_000
# 16 bands of 4 rows: a pair at the threshold of 0.8 is a candidate with probability 1 - (1 -
# 0.8^4)^16, which is 0.9998 (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4).
_BANDS, _ROWS_PER_BAND = 16, 4
_PERMUTATIONS = _BANDS * _ROWS_PER_BAND
# All texts of one template are candidates of each other, so only those with the most similar
# sketches are compared exactly, and the search ends after this many.
_COMPARED = 20
_MOST_CANDIDATES = 10_000_000

NEAR = "near-duplicates"
"""In place of a column name: nearly equal rows form a group."""


def text_key(text: str) -> str:
    """Return a text without case, width variants and extra whitespace."""
    return " ".join(outer_key(text).split())


def outer_key(text: str) -> str:
    """Return the same, but with the whitespace between words unchanged."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


class Near(NamedTuple):
    """A text and its nearest indexed one, by their places in the two lists."""

    query: int
    indexed: int
    overlap: float


class NearTexts:
    """An index for finding nearly equal texts.

    Args:
        threshold: The least Jaccard overlap of five-character shingles.
    """

    def __init__(self, texts: Sequence[str], threshold: float = 0.8) -> None:
        import numpy as np
        from datasketch import MinHashLSH

        self._threshold = threshold
        # Each text once, since repeated ones would crowd out other candidates.
        self._first: dict[str, int] = {}
        for place, text in enumerate(texts):
            self._first.setdefault(text_key(text), place)
        self._keys = list(self._first)
        self._index = MinHashLSH(num_perm=_PERMUTATIONS, params=(_BANDS, _ROWS_PER_BAND))
        self._hashes = np.zeros((len(self._keys), _PERMUTATIONS), dtype=np.uint64)
        for j, sketch in enumerate(_sketches(self._keys)):
            self._index.insert(j, sketch, check_duplication=False)
            self._hashes[j] = sketch.hashvalues

    def search(self, texts: Sequence[str]) -> tuple[list[Near], int]:
        """Return each text with a nearly equal, but not the same, text in the index.

        Returns:
            At most one pair per text, with the exact overlap, in order; and the number of texts
            searched, which is all unless too many are alike.
        """
        pairs: list[Near] = []
        compared = 0
        for i, sketch in enumerate(_sketches(texts)):
            if compared > _MOST_CANDIDATES:
                return pairs, i
            candidates = self._index.query(sketch)
            compared += len(candidates)
            overlap, j = self._best(texts[i], candidates, sketch)
            if overlap >= self._threshold:
                pairs.append(Near(i, self._first[self._keys[j]], overlap))
        return pairs, len(texts)

    def _best(self, text: str, candidates: Sequence[int], sketch: Any) -> tuple[float, int]:
        """Return the highest exact overlap among the candidates, and its place."""
        import numpy as np

        places = np.sort(np.array(candidates, dtype=int))
        alike = (self._hashes[places] == sketch.hashvalues).sum(axis=1)
        likely = places[np.argsort(-alike, kind="stable")[:_COMPARED]].tolist()
        key, mine = text_key(text), shingles(text)
        scored = [
            (_jaccard(mine, shingles(self._keys[j])), j) for j in likely if self._keys[j] != key
        ]
        return max(scored, key=lambda pair: pair[0], default=(0.0, 0))


def clusters(texts: Sequence[str]) -> list[str]:
    """Return a cluster name per text, shared by equal and nearly equal texts; "" outside clusters.

    Clusters are chains of nearest texts. A name derives from the first text, so that the same
    cluster has the same name in two lists that begin with it.
    """
    pairs, _ = NearTexts(texts).search(texts)
    first: dict[str, int] = {}
    root = [first.setdefault(text_key(text), place) for place, text in enumerate(texts)]

    def top(place: int) -> int:
        while root[place] != place:
            root[place] = place = root[root[place]]
        return place

    for pair in pairs:
        a, b = sorted((top(pair.query), top(pair.indexed)))
        root[b] = a
    tops = [top(place) for place in range(len(texts))]
    sizes = Counter(tops)
    keys = {t: text_key(texts[t]).encode("utf-8", "surrogatepass") for t in sizes}
    return [f"near {crc32(keys[t]):08x}" if sizes[t] > 1 else "" for t in tops]


def shingles(text: str) -> frozenset[str]:
    """Return the runs of five characters in a text, ignoring case and whitespace."""
    key = text_key(text[:_READ_CHARACTERS])
    return frozenset(key[i : i + _SHINGLE] for i in range(max(1, len(key) - _SHINGLE + 1)))


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    both = len(a & b)
    return both / (len(a) + len(b) - both)


def _sketches(texts: Sequence[str]) -> Iterable[Any]:
    from datasketch import MinHash

    # CRC-32 spreads short strings well enough and is many times faster than SHA-1.
    encoded = ([s.encode("utf-8", "surrogatepass") for s in shingles(text)] for text in texts)
    sketches: Iterable[Any] = MinHash.generator(encoded, num_perm=_PERMUTATIONS, hashfunc=crc32)
    return sketches
