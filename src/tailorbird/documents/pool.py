"""Reads files in worker processes, with limits of time and memory per file."""

import contextlib
import json
import os
import selectors
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.documents.find_files import source_of
from tailorbird.documents.read_result import FileResult, FileVersion, ReadOptions
from tailorbird.documents.worker import out_of_memory
from tailorbird.processes import Worker, cores
from tailorbird.records import Document, Mark

if TYPE_CHECKING:
    from tailorbird.config.knowledge import IndexConfig

_MOST_WORKERS = 4
# Number of files read ahead per worker.
_AHEAD = 8
# A file this recently modified may change again within the clock's resolution.
_YOUNG_NS = 2_000_000_000
_START_SECONDS = 30.0


def read_files(
    files: Iterable[Path], config: "IndexConfig", earlier: Mapping[str, FileVersion] | None = None
) -> Iterator[FileResult]:
    """Read files in worker processes; yield one result per file, in order.

    A file that cannot be read, takes too long, needs too much memory or crashes its reader is
    yielded with the reason; the others continue.

    Args:
        earlier: Recorded versions by source; unchanged files are not read again.
    """
    with contextlib.closing(_Pool(list(files), config, earlier)) as pool:
        yield from pool.results()


def read_options(config: "IndexConfig") -> ReadOptions:
    """Return the settings for workers."""
    return ReadOptions(
        text=config.text,
        title=config.title,
        id=config.id,
        seconds=config.seconds_per_file,
        memory_bytes=int(config.worker_memory_mb * 2**20),
        file_bytes=int(config.max_file_mb * 2**20),
    )


class _FileWorker(Worker):
    """A worker process and its current file."""

    def __init__(self, options: ReadOptions, scratch: str) -> None:
        super().__init__("tailorbird.documents.worker", TMPDIR=scratch, TEMP=scratch, TMP=scratch)
        self.seconds = options.seconds
        self.fresh = True
        self.number = -1
        self.deadline = float("inf")
        self.send(json.dumps(asdict(options)).encode())

    def give(self, number: int, question: dict[str, Any]) -> None:
        # Start-up does not count as the file's time.
        start = _START_SECONDS if self.fresh else 0.0
        self.fresh, self.number = False, number
        self.deadline = time.monotonic() + self.seconds + start
        self.send(json.dumps(question).encode())

    def receive(self) -> dict[str, Any] | None:
        answer = super().receive()
        if answer is not None:
            self.number, self.deadline = -1, float("inf")
        return answer

    def end(self, patience: float = 0.0) -> int:
        # A worker that has closed its output is about to exit with a status.
        return super().end(0.2 if self.deadline > time.monotonic() else 0)


class _Pool:
    """Distributes files to workers and orders their results."""

    def __init__(
        self, files: list[Path], config: "IndexConfig", earlier: Mapping[str, FileVersion] | None
    ) -> None:
        self.files, self.options = files, read_options(config)
        self.earlier = earlier or {}
        self.most = min(config.workers or min(cores(), _MOST_WORKERS), max(1, len(files)))
        self.workers: list[_FileWorker] = []
        # Temporary files of killed workers are deleted with it.
        self.scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.waiting: deque[int] = deque(range(len(files)))
        self.results_by_number: dict[int, FileResult] = {}
        self.stats: dict[int, os.stat_result] = {}

    def results(self) -> Iterator[FileResult]:
        for number in range(len(self.files)):
            while number not in self.results_by_number:
                self._hand_out(number)
                if number not in self.results_by_number:
                    self._collect()
            yield self.results_by_number.pop(number)

    def close(self) -> None:
        for worker in self.workers:
            worker.deadline = 0.0
            worker.end()
        self.workers = []
        self.scratch.cleanup()

    def _hand_out(self, first: int) -> None:
        """Give every idle worker a file; finish files that need no worker."""
        while self.waiting and self.waiting[0] < first + _AHEAD * self.most:
            number = self.waiting[0]
            before = self._look(number)
            if before is None:
                self.waiting.popleft()
                continue
            worker = self._idle()
            if worker is None:
                return
            self.waiting.popleft()
            path = self.files[number]
            worker.give(
                number,
                {"path": os.fsencode(path).hex(), "source": source_of(path), "known": before},
            )

    def _idle(self) -> _FileWorker | None:
        for worker in self.workers:
            if worker.number < 0:
                return worker
        if len(self.workers) < self.most:
            self.workers.append(_FileWorker(self.options, self.scratch.name))
            return self.workers[-1]
        return None

    def _look(self, number: int) -> str | None:
        """Return the file's recorded digest ("": none), None if it need not be read."""
        path = self.files[number]
        try:
            stat = self.stats[number] = path.stat()
        except OSError as error:
            self._skip(number, f"cannot be opened: {error.strerror or error}")
            return None
        if stat.st_size > self.options.file_bytes:
            size, most = stat.st_size / 2**20, self.options.file_bytes / 2**20
            self._skip(number, f"it has {size:,.0f} MB, more than {most:,.0f} (index.max_file_mb)")
            return None
        if not path.is_file():
            self._skip(number, "not a regular file")
            return None
        noted = self.earlier.get(source_of(path))
        if noted is None:
            return ""
        same = (noted.size, noted.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        if same and noted.digest.startswith(f"{self.options.fingerprint}-"):
            self._finish(number, {"digest": noted.digest, "unchanged": True})
            return None
        return noted.digest

    def _collect(self) -> None:
        """Wait until a worker answers, exits or times out."""
        busy = [worker for worker in self.workers if worker.number >= 0]
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker, selectors.EVENT_READ)
            left = min(worker.deadline for worker in busy) - time.monotonic()
            ready = [key.fileobj for key, _ in selector.select(max(0.0, left))]
        for worker in busy:
            if worker in ready:
                self._receive(worker)
            elif time.monotonic() >= worker.deadline:
                self._replace(worker, lambda _: self._too_slow())

    def _receive(self, worker: _FileWorker) -> None:
        number = worker.number
        try:
            answer = worker.receive()
        except (EOFError, ValueError):
            self._replace(worker, self._why_ended)
            return
        if answer is not None:
            self._finish(number, answer)

    def _replace(self, worker: _FileWorker, why: Callable[[int], str]) -> None:
        number = worker.number
        self.workers.remove(worker)
        self._skip(number, why(worker.end()))

    def _too_slow(self) -> str:
        return f"reading it took longer than {self.options.seconds:g} s (index.seconds_per_file)"

    def _why_ended(self, status: int) -> str:
        if status == -getattr(signal, "SIGALRM", 0):  # the worker's own alarm
            return self._too_slow()
        # PDFium and Rust abort if out of memory; the kernel's OOM killer sends 9.
        if status in (-6, -9):
            return f"its reader was stopped, most likely for memory: {out_of_memory(self.options)}"
        if status < 0:
            return f"its reader crashed (signal {-status})"
        return f"its reader ended (exit code {status})"

    def _skip(self, number: int, why: str) -> None:
        self._finish(number, {"digest": "", "why": why})

    def _finish(self, number: int, answer: dict[str, Any]) -> None:
        path, stat = self.files[number], self.stats.pop(number, None)
        young = stat is None or time.time_ns() - stat.st_mtime_ns < _YOUNG_NS
        documents = answer.get("documents")
        self.results_by_number[number] = FileResult(
            path=path,
            source=source_of(path),
            documents=None if documents is None else tuple(map(_document, documents)),
            why=answer.get("why", ""),
            unchanged=answer.get("unchanged", False),
            digest=answer["digest"],
            size=0 if stat is None else stat.st_size,
            mtime_ns=0 if stat is None or young else stat.st_mtime_ns,
            notes=tuple(answer.get("notes", ())),
        )


def _document(plain: dict[str, Any]) -> Document:
    marks = tuple(Mark(start, page, tuple(names)) for start, page, names in plain.pop("marks"))
    return Document(marks=marks, **plain)
