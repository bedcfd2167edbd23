"""Ctrl-C while a run is at work: its step is finished and its checkpoint written first."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tailorbird import log


@contextmanager
def patient_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a wish that the loop can see; the second one ends at once."""
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)
        log.say("stopping after this step (Ctrl-C again: at once) ...")

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: whoever owns it handles Ctrl-C
        yield lambda: False
        return
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
