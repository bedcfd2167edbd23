"""Ctrl-C while a run is at work: its step is finished and its checkpoint written first.

SIGTERM, which `kill`, a scheduler or a container that is stopped send, is answered alike.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tailorbird import log

# A launcher hands Ctrl-C on to processes that the terminal has sent it to as well.
_SAME_SECONDS = 0.5


@contextmanager
def patient_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a request that the loop sees; the second one ends at once."""
    pressed: list[float] = []

    def note(number: int, frame: Any) -> None:
        now = time.monotonic()
        if pressed and now - pressed[0] < _SAME_SECONDS:
            return
        if pressed:
            raise KeyboardInterrupt
        pressed.append(now)
        log.say("stopping after this step (Ctrl-C again: at once) ...")

    # Where SIGTERM is ignored, somebody else hands it on as Ctrl-C.
    ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    answered = (signal.SIGINT,) if ignored else (signal.SIGINT, signal.SIGTERM)
    try:
        before = [(number, signal.signal(number, note)) for number in answered]
    except ValueError:  # not the main thread: whoever owns it handles Ctrl-C
        yield lambda: False
        return
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def answer_sigterm() -> None:
    """Answer SIGTERM as Ctrl-C from now on; call it in the main thread."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
