"""Handling of Ctrl-C during a run: the step is completed and a checkpoint written first.

SIGTERM, sent by `kill`, a scheduler or a stopping container, is treated alike.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tailorbird import log

# A launcher forwards Ctrl-C to processes that the terminal has sent it to as well.
_SAME_SECONDS = 0.5


@contextmanager
def patient_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a request that the loop polls; the second ends at once."""
    pressed: list[float] = []

    def note(number: int, frame: Any) -> None:
        now = time.monotonic()
        if pressed and now - pressed[0] < _SAME_SECONDS:
            return
        if pressed:
            raise KeyboardInterrupt
        pressed.append(now)
        log.say("stopping after this step (Ctrl-C again: at once) ...")

    # If SIGTERM is ignored, the parent forwards it as Ctrl-C.
    ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    answered = (signal.SIGINT,) if ignored else (signal.SIGINT, signal.SIGTERM)
    try:
        before = [(number, signal.signal(number, note)) for number in answered]
    except ValueError:  # not the main thread, which handles Ctrl-C
        yield lambda: False
        return
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def answer_sigterm() -> None:
    """Treat SIGTERM as Ctrl-C from now on; must be called in the main thread."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
