"""The training log, one line per event, also as TensorBoard events."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tailorbird import log
from tailorbird.errors import NoSpace
from tailorbird.runs.atomic import writing
from tailorbird.runs.checked_files import checked
from tailorbird.runs.folder import JOURNAL, TENSORBOARD, RunFolder


@dataclass(frozen=True)
class _Line:
    """The common fields of all lines."""

    event: str
    step: int


class Journal:
    """Writes `journal.jsonl` line by line, and TensorBoard events beside it."""

    def __init__(self, folder: RunFolder, *, tensorboard: bool, after_step: int = 0) -> None:
        self._folder = folder
        # A resumed run removes lines written after its checkpoint.
        rows = folder.read_rows(JOURNAL)
        lines = [
            row for row in rows if checked(folder.file(JOURNAL), row, _Line).step <= after_step
        ]
        folder.write_rows(JOURNAL, lines)
        self._path = folder.file(JOURNAL)
        self._whole = self._path.stat().st_size  # bytes of complete lines
        self._file = self._path.open("ab", buffering=0)
        self._unsaved = b""
        self._events: Any = None
        self._open = ExitStack()
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(folder.file(TENSORBOARD)), purge_step=after_step + 1)

    def __enter__(self) -> "Journal":
        self._open.enter_context(_without_tracebacks_of_events())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with self._open:
            if self._unsaved:
                self._append(b"")
            self._file.close()
            if self._events is not None:
                with suppress(OSError):
                    self._events.close()

    def write(self, event: str, step: int, **values: float) -> None:
        """Log `values` of an ``event`` (``step``, ``validation``) after optimizer step `step`.

        A full disk does not end the training: lines wait until there is room.
        """
        import json

        self._append(json.dumps({"event": event, "step": step, **values}).encode() + b"\n")
        if self._events is None:
            return
        try:
            for name, value in values.items():
                self._events.add_scalar(f"{event}/{name}", value, step)
        except OSError as error:
            log.warn(f"no more TensorBoard events: {error.strerror}")
            self._events = None

    def _append(self, line: bytes) -> None:
        had_waited = bool(self._unsaved)
        self._unsaved += line
        try:
            with writing(self._path):
                count = self._file.write(self._unsaved) or 0
                if count < len(self._unsaved):  # the disk filled up during a line
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except NoSpace as error:
            os.truncate(self._path, self._whole)  # drop a partial line
            if not had_waited:
                log.warn(f"{error.problem}; the journal waits for free space")
            return
        self._whole += len(self._unsaved)
        self._unsaved = b""


@contextmanager
def _without_tracebacks_of_events() -> Iterator[None]:
    """Hide tracebacks of TensorBoard's writer thread; `Journal.write` reports them."""
    before = threading.excepthook

    def hook(fault: threading.ExceptHookArgs) -> None:
        if type(fault.thread).__name__ != "_AsyncWriterThread":
            before(fault)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
