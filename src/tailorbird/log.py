"""Messages and progress bars for the user, all on stderr."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import TextWrapper
from typing import TYPE_CHECKING

from tailorbird import terminal

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_LINE_SECONDS = 10.0


def console() -> "Console":
    """Return the console for messages, on stderr so that stdout has only results."""
    return terminal.console(stderr=True)


_muted = False


def mute() -> None:
    """Suppress messages from now on, since another process reports for this one."""
    global _muted
    _muted = True


def say(message: str) -> None:
    """Print a message."""
    if _muted:
        return
    console().print(_between_words(_printable(message)))


def _between_words(message: str) -> str:
    """Wrap lines at words on a terminal; elsewhere a message stays on one line."""
    if not sys.stderr.isatty():
        return message
    # A path longer than a line stays in one piece, so that it can be copied.
    fill = TextWrapper(console().width, break_long_words=False, break_on_hyphens=False)
    lines = []
    for line in message.split("\n"):
        fill.subsequent_indent = line[: len(line) - len(line.lstrip())]
        lines.append(fill.fill(line))
    return "\n".join(lines)


def quiet_libraries() -> None:
    """Hide other libraries' messages; `--debug` leaves them on."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("bitsandbytes", "transformers", "peft", "accelerate", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)


def warn(message: str) -> None:
    """Print a warning."""
    if _muted:
        return
    from rich.text import Text

    words = _between_words(f"warning: {_printable(message)}").removeprefix("warning:")
    console().print(Text.assemble(("warning:", "yellow"), words))


def failure(error: BaseException) -> None:
    """Show a traceback."""
    from traceback import format_exception

    console().print(_printable("".join(format_exception(error)).rstrip()))


def _printable(message: str) -> str:
    return terminal.escape(terminal.without_credentials(message))


class Progress:
    """Counts units of long work; see `progress`."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = terminal.one_line(title), total, unit
        self.count, self.note = 0, ""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add `count` units; `note` is shown beside the bar (loss, accuracy)."""
        self.count += count
        self.note = terminal.one_line(note) or self.note


@contextmanager
def progress(title: str, total: int, unit: str = "it", start: int = 0) -> Iterator[Progress]:
    """Show a bar with rate and time left, or occasional plain lines without a terminal."""
    moves = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    bar = _Bar(title, total, unit) if moves else _Lines(title, total, unit)
    with bar:
        if start:
            bar.skip(start)
        yield bar


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


class _Bar(Progress):
    def __enter__(self) -> "_Bar":
        from rich import progress as bars

        self._bar = bars.Progress(
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=20),
            bars.TaskProgressColumn(),
            bars.TextColumn("{task.fields[rate]}"),
            bars.TimeRemainingColumn(compact=True),
            bars.TextColumn("{task.fields[note]}", markup=False),
            console=console(),
            transient=True,
            # Rich would interpret control codes in libraries' output.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar.start()
        self._task = self._bar.add_task(self.title, total=self.total, note="", rate="")
        self._began, self._skipped = time.monotonic(), 0
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def skip(self, count: int) -> None:
        """Count units of an earlier process."""
        self.count = self._skipped = count
        self._bar.update(self._task, completed=count)

    def advance(self, count: int = 1, note: str = "") -> None:
        super().advance(count, note)
        seconds = time.monotonic() - self._began
        rate = (self.count - self._skipped) / seconds if seconds > 0 else 0.0
        self._bar.update(
            self._task, advance=count, note=self.note, rate=f"{_rate(rate)} {self.unit}/s"
        )


class _Lines(Progress):
    def __enter__(self) -> "_Lines":
        self._began = self._last_line = time.monotonic()
        self._skipped = 0
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def skip(self, count: int) -> None:
        """Count units of an earlier process."""
        self.count = self._skipped = count

    def advance(self, count: int = 1, note: str = "") -> None:
        super().advance(count, note)
        now = time.monotonic()
        if now - self._last_line < _PLAIN_LINE_SECONDS:
            return
        self._last_line = now
        rate = (self.count - self._skipped) / (now - self._began)
        left = (self.total - self.count) / rate if rate else 0.0
        say(
            f"{self.title}: {self.count:,}/{self.total:,} {self.unit}, "
            f"{_rate(rate)} {self.unit}/s, {left:.0f} s left{', ' + self.note if self.note else ''}"
        )


@contextmanager
def quiet_progress(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
    """As `progress`, but silent without a title."""
    if not title:
        yield Progress(title, total, unit)
        return
    with progress(title, total, unit) as bar:
        yield bar
