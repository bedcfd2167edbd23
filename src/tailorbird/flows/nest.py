"""The process that a comparison's arms are forked from: what they all import is imported once.

Importing torch, transformers and PEFT takes a process several seconds, and every arm has one of its
own. `Nest` starts `python -m tailorbird.flows.nest`, which imports them, computes nothing, and
forks for each piece of work: its memory is still its own, and a crash still ends it alone. Where
forking a process that has torch loaded is not safe (all but Linux), each starts from nothing.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import IO

from tailorbird import log
from tailorbird.errors import Interrupted

_FORKS = sys.platform == "linux"
_NEST = "tailorbird.flows.nest"
ARM, SECOND_LOOK = "tailorbird.flows.child", "tailorbird.flows.second_look"
# What every trained arm imports; none of it starts a thread or looks for a GPU.
_SHARED = (
    "torch",
    "transformers.modeling_utils",
    "transformers.modeling_layers",
    "transformers.models.auto.modeling_auto",
    "peft",
    "scipy.stats",
    ARM,
    SECOND_LOOK,
)


class Nest:
    """Runs modules one after the other, each in a process of its own; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Nest":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def run(self, module: str, *arguments: str) -> int:
        """Run `module`'s ``main`` with `arguments`, as ``python -m`` would; return its exit code.

        What it prints goes to our stderr. Ctrl-C reaches it by itself and is waited for; a second
        one ends it.
        """
        if not _FORKS:
            command = [sys.executable, "-m", module, *arguments]
            alone = subprocess.Popen(command, stdout=sys.stderr.fileno())
            return _patiently(alone.wait, alone.kill)
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps([module, *arguments]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return process.wait()
        told: list[int] = []

        def ended() -> int:
            while len(told) < 2:
                line = process.stdout.readline()  # type: ignore[union-attr]
                if not line:
                    return process.wait()
                told.append(int(line))
            return told[1]

        def end() -> None:
            if told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(told[0], signal.SIGKILL)

        return _patiently(ended, end)

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _NEST],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process


def _patiently(wait: Callable[[], int], end: Callable[[], None]) -> int:
    """Return what `wait` returns, Ctrl-C or not; a second Ctrl-C calls `end`."""
    interrupted = False
    while True:
        try:
            code = wait()
        except KeyboardInterrupt:
            if interrupted:
                end()
            interrupted = True
            continue
        return Interrupted.exit_code if interrupted else code


def serve(asked: IO[str], told: IO[str]) -> None:
    """Fork for every line of `asked`; tell the process's id, then its exit code, a line each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work answers Ctrl-C
    log.quiet_libraries()
    for name in _SHARED:
        importlib.import_module(name)
    gc.freeze()  # a collection in the work would copy every page that it marks
    while line := asked.readline():
        module, *arguments = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(module, arguments)
        told.write(f"{pid}\n")
        told.flush()
        _, status = os.waitpid(pid, 0)
        told.write(f"{os.waitstatus_to_exitcode(status)}\n")
        told.flush()


def _become(module: str, arguments: list[str]) -> None:
    """Do the work, and end."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(2, 1)
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  (lives as long as we do)
        code = importlib.import_module(module).main(*arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: what the nest has registered to do at its end is the nest's.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
