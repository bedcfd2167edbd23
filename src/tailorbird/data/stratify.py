"""Stratified assignment of rows to parts that keeps groups whole."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from random import Random

from tailorbird.data.near_duplicates import text_key
from tailorbird.data.targets import classes_of
from tailorbird.errors import UserError
from tailorbird.records import TASKS, Example, TaskName

_BINS = 10
_ALL = "\0"
"""Counts all rows beside the labels; no cell can contain it."""
# If some part must lack a label, training and test get it first.
_FIRST = ("train", "test")


def strata(examples: Sequence[Example], task: TaskName) -> list[tuple[str, ...]]:
    """Return the strata of each row, to be spread evenly over the parts.

    They are its labels, the tenth of all values that each number is in, or repeated generated
    answers. An answer that occurs once would demand a place in training.
    """
    spec = TASKS[task]
    if spec.numbers:
        return _tenths([example.values for example in examples])
    if not spec.head:
        answers = Counter(str(example.label) for example in examples)
        often = {answer for answer, count in answers.items() if count >= _BINS}
        return [(str(e.label),) if str(e.label) in often else () for e in examples]
    return [classes_of(example, task) for example in examples]


def _tenths(values: Sequence[Sequence[float]]) -> list[tuple[str, ...]]:
    import numpy as np

    columns = np.asarray(values, dtype=np.float64)
    cuts = np.quantile(columns, np.arange(1, _BINS) / _BINS, axis=0)
    # A value so frequent that it is a quantile itself is a stratum of its own.
    tenths = [
        np.searchsorted(cut, own, "left") + np.searchsorted(cut, own, "right")
        for cut, own in zip(cuts.T, columns.T, strict=True)
    ]
    rows = zip(*tenths, strict=True)
    return [tuple(f"{j}/{tenth}" for j, tenth in enumerate(row)) for row in rows]


def deal(
    examples: Sequence[Example], shares: Mapping[str, float], seed: int, column: str, task: TaskName
) -> list[str]:
    """Return the part of each row; rows of one group, or else of one text, have the same.

    Groups are assigned one after the other, the largest first, and at equal size those with the
    rarest label first (iterative stratification: Sechidis, Tsoumakas and Vlahavas 2011, section 3).
    Each goes to the part that it brings nearest to its share of the rows and of every label. A
    label with as many groups as there are parts is in each of them.

    Raises:
        UserError: There are fewer groups than parts.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        members[example.group or text_key(example.text)].append(i)
    if len(members) < len(shares):
        raise UserError(
            f"{column} has {len(members):,} different groups, too few for {len(shares)} parts",
            "name a column with more groups, or give the parts as separate files",
        )
    labels = strata(examples, task)
    every = Counter(label for row in labels for label in row)
    groups = list(members.values())
    Random(seed).shuffle(groups)
    rarest = [min((every[x] for x in row), default=len(examples)) for row in labels]
    groups.sort(key=lambda group: (-len(group), min(rarest[i] for i in group)))
    dealt = [Counter(x for i in group for x in labels[i]) for group in groups]
    parts = _PartShares(dealt, len(examples), shares)
    where = [""] * len(examples)
    for group, counts in zip(groups, dealt, strict=True):
        part = parts.put(counts, len(group))
        for i in group:
            where[i] = part
    return where


class _PartShares:
    """The rows and labels of each part during the assignment."""

    def __init__(
        self, groups: Sequence[Counter[str]], rows: int, shares: Mapping[str, float]
    ) -> None:
        self.shares, self.groups_left = shares, len(groups)
        self.totals = Counter({_ALL: rows})
        self.left: Counter[str] = Counter()
        """How many groups with a label are still to be dealt out."""
        for counts in groups:
            self.totals.update(counts)
            self.left.update(counts.keys())
        self.groups = Counter(self.left)
        self.have: dict[str, Counter[str]] = {part: Counter() for part in shares}
        # With fewer rows of a label, no part can have its share; one each is enough.
        self.fewest = 1 / min(shares.values())

    def put(self, counts: Counter[str], size: int) -> str:
        """Return the part for a group of `size` rows with these labels."""
        parts = self._open(counts, size)
        moved = Counter({x: n for x, n in counts.items() if self.totals[x] >= self.fewest})
        moved[_ALL] = size
        best = min(parts, key=lambda part: self._excess(moved, part))
        self.have[best].update(counts)
        self.have[best][_ALL] += size
        self.groups_left -= 1
        self.left.subtract(counts.keys())
        return best

    def _open(self, counts: Counter[str], size: int) -> Sequence[str]:
        """Return the parts that may get a group, so that no part goes without."""
        empty = [part for part in self.shares if not self.have[part]]
        parts: Sequence[str] = list(self.shares)
        # Once there are only as many groups as empty parts, each part gets one.
        if len(empty) >= self.groups_left:
            parts = empty
        # A full part takes no more rows for a label's sake: each of thousands of rare labels would
        # add one.
        rows = self.totals[_ALL]
        room = [p for p in parts if self.have[p][_ALL] + size <= max(size, self.shares[p] * rows)]
        for label in sorted(counts, key=lambda x: (self.totals[x], x)):
            lacking = [part for part in self.shares if not self.have[part][label]]
            # A label with one group cannot be measured; if many groups have such a label, the
            # largest would all go to training.
            alone = self.groups[label] == 1 and size > 1
            if alone or self.left[label] > len(lacking):
                continue
            allowed = [part for part in lacking if part in room]
            if allowed:
                first = [part for part in _FIRST if part in allowed]
                return first[:1] or allowed
        return parts

    def _excess(self, moved: Counter[str], part: str) -> float:
        """Return by how much a group moves a part away from its share of the labels.

        It is the change of the squared distance, each label weighted by its size: negative while
        the part still lacks rows with these labels.
        """
        share, have, change = self.shares[part], self.have[part], 0.0
        for label, count in moved.items():
            expected = share * self.totals[label]
            change += (count * count - 2 * count * (expected - have[label])) / expected
        return change


def stratified_order(classes: Sequence[str], seed: int) -> list[int]:
    """Return row numbers in an order whose every prefix has the class proportions of the whole.

    Each class is spread evenly over the order with its first row at the start, so that the first
    rows contain one of each class.

    Args:
        classes: The class of each row; all equal to keep no proportions.

    Example:
        >>> order = stratified_order(["a"] * 8 + ["b"] * 4, seed=0)
        >>> sorted("aaaaaaaabbbb"[i] for i in order[:6])
        ['a', 'a', 'a', 'a', 'b', 'b']
    """
    import numpy as np

    random = np.random.default_rng(seed)
    sizes = Counter(classes)
    counts: dict[str, int] = defaultdict(int)
    places = []
    for row in random.permutation(len(classes)).tolist():
        label = classes[row]
        places.append((counts[label] / sizes[label], row))
        counts[label] += 1
    return [row for _, row in sorted(places, key=lambda place: place[0])]
