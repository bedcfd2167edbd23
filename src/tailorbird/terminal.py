r"""Safe terminal output: text from data, models and servers is displayed, never interpreted.

A label, a file name or a server's answer may contain an escape sequence that changes the window
title, fills the clipboard or rewrites earlier lines, or a character that reverses the text. Such
characters are written in Python's notation, such as ``\x1b``. All output passes here: ours through
`console` and `print`, that of libraries through `guarded`.
"""

import contextlib
import errno
import json
import os
import re
import select
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO, cast

from tailorbird.errors import NoSpace, check_utf8

if TYPE_CHECKING:
    from rich.console import Console

# Control characters but tab and line feed; all that Unicode calls default-ignorable (bidirectional
# overrides, zero-width signs, fillers, tags) but the selectors of a letter's form; its other line
# ends; halves of surrogate pairs. Joiners stay where scripts and emoji take them: from Arabic on.
_STEERING = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    "|(?<=[\0-\u05ff])[\u200c\u200d]"
)
_CREDENTIALS = re.compile(r"(\w://)(?:[^\s/?#@]{0,200}@|[^\s/?#@:]*:[^\s@]{0,1000}@)")
_SECRETS = re.compile(r"(?i)([?&][\w.-]{0,30}(?:key|token|secret|password|sig)=)[^\s&'\"#]+")
# Moves of libraries' progress bars: to the line's start, up to the bars above.
_BAR = re.compile(r"\r|(?:\n|\x1b\[A)+\Z")


def escape(text: str) -> str:
    r"""Return text with control characters escaped; line breaks stay.

    Example:
        >>> escape("\x1b[2Jpositive")
        '\\x1b[2Jpositive'
    """
    return _STEERING.sub(lambda match: ascii(match.group())[1:-1], text)


def one_line(text: str) -> str:
    r"""Return `escape(text)` with line breaks escaped too, for names within a line."""
    return escape(text).replace("\n", r"\n").replace("\t", r"\t")


def without_credentials(text: str) -> str:
    """Return text without the user names, passwords and keys in its URLs.

    Example:
        >>> without_credentials("see http://me:secret@example.org/v1")
        'see http://example.org/v1'
    """
    return _SECRETS.sub(r"\1***", _CREDENTIALS.sub(r"\1", text))


def as_json(value: Any) -> str:
    """Return JSON on one line that a terminal displays unchanged."""
    text = json.dumps(value, ensure_ascii=False)
    return _STEERING.sub(lambda match: json.dumps(match.group())[1:-1], text)


def write_data(text: str) -> None:
    """Write to stdout for a program, escaped only if stdout is a terminal."""
    stream = sys.stdout
    (stream if stream.isatty() else _unguarded(stream)).write(text)


class _Guard:
    """A stream for untrusted text."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text, escaped; moves of progress bars pass on stderr, which has no data."""
        moves = _BAR.match(text) if self.stream is sys.__stderr__ else None
        moves_end = moves.end() if moves else 0
        self.stream.write(text[:moves_end] + escape(text[moves_end:]))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)


def _unguarded(stream: Any) -> Any:
    return stream.stream if isinstance(stream, _Guard) else stream


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Escape everything that libraries write to stdout and stderr inside the context."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):  # unsupported letters as their numbers
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (cast(TextIO, _Guard(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def open_closed_streams() -> None:
    """Open the streams that the process was started without (``>&-``) as the null device.

    Otherwise `sys.stdout` is None, and the next file that is opened receives its output.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Flush stdout at the end; that its reader has closed it (`| head`) is no error.

    Raises:
        NoSpace: The disk of a file behind stdout is full.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        full = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not full and not (error.errno == errno.EPIPE and _reader_is_gone()):
            raise
        # Python flushes once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if full:
            raise NoSpace(
                "no space left on the disk of the output", "free some space, or send it elsewhere"
            ) from error


def _reader_is_gone() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def check_given() -> None:
    """Check that arguments are valid UTF-8; such bytes on stdin are kept, to be reported when read.

    Raises:
        UserError: One is not.
    """
    for number, argument in enumerate(sys.argv[1:], 1):
        check_utf8(argument, f"argument {number}")
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")


@cache
def console(*, stderr: bool) -> "Console":
    """Return the process's console for a stream: styles are ours, texts are escaped."""
    from rich import console as rich
    from rich.segment import Segment

    class Escaping(rich.Console):
        """Writes its own styles and moves to the stream directly, and texts escaped."""

        def render(self, *renderable: Any, **options: Any) -> Iterator[Segment]:
            for text, style, control in super().render(*renderable, **options):
                yield Segment(text if control else escape(text), style, control)

        file = property(lambda self: _unguarded(super().file))

        def on_broken_pipe(self) -> None:
            raise  # rich would end with exit code 1, without a word; see `flushed`

    return Escaping(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=stderr)
