"""Training examples that stay in the run's file and are read on use."""

import json
import os
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from tailorbird.records import Example
from tailorbird.runs.atomic import new_file
from tailorbird.runs.checked_files import checked, damaged, reading


class ExamplesFile(Sequence[Example]):
    """The lines of a JSONL file as examples, read on each access.

    Args:
        path: The file.
        count: The number of examples.
        check: Called with each example; raises if it does not fit.
    """

    def __init__(
        self, path: Path, count: int, check: Callable[[Path, Example], None] | None = None
    ) -> None:
        self.path, self.folder = path, path.parent
        self._count, self._check = count, check

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the open file."""
        return type(self), (self.path, self._count, self._check)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Example]:
        count = 0
        with reading(self.path), self.path.open("rb") as file:
            for line in file:
                count += 1
                yield self._example(line)
        self._check_count(count)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        with reading(self.path):
            number, ends = self._open_file
            start, end = ends[index % self._count], ends[index % self._count + 1]
            # By position: threads and forked processes share the file, not a place in it.
            return self._example(os.pread(number, end - start, start))

    @cached_property
    def _open_file(self) -> tuple[int, "array[int]"]:
        """The open file's descriptor, and the end of each line after a 0."""
        ends = array("q", [0])
        number = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, number)
        with open(number, "rb", closefd=False) as file:
            for line in file:
                ends.append(ends[-1] + len(line))
        self._check_count(len(ends) - 1)
        return number, ends

    def _check_count(self, count: int) -> None:
        if count != self._count:
            raise damaged(self.path, f"it has {count:,} lines of {self._count:,}")

    def _example(self, line: bytes) -> Example:
        example = checked(self.path, json.loads(line), Example)
        if self._check is not None:
            self._check(self.path, example)
        return example


@contextmanager
def write_examples(path: Path) -> Iterator[Callable[[Example], None]]:
    """Yield a function that adds an example to a file, which appears once complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        # Lines of bytes end at "\n" only, which JSON escapes inside texts.
        def add(example: Example) -> None:
            file.write(json.dumps(asdict(example), ensure_ascii=False) + "\n")

        yield add
