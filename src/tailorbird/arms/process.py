"""The process that a comparison's arms are forked from: what they all import is imported once.

Importing torch, transformers and PEFT takes a process several seconds, and every arm has one of its
own. `Nest` starts a process of this module, which imports them, computes nothing, and forks for
each piece of work: its memory is still its own, and a crash still ends it alone. Where
forking a process that has torch loaded is not safe (all but Linux), each starts from nothing.

multiprocessing's forkserver with the same preload starts them as fast
(`benchmarks/own_or_library.py processes`). It is not used, since work that it started keeps it
alive when we are killed, imports our main module anew, and leaves output and signals to us.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import IO

from tailorbird import log, terminal
from tailorbird.errors import Interrupted
from tailorbird.processes import computing, python

_FORKS = sys.platform == "linux"
_NEST = "tailorbird.arms.process"
_ANSWERED = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
ARM, SECOND_LOOK = "tailorbird.arms.worker", "tailorbird.arms.reload_check"
QUESTION_ARM = "tailorbird.arms.questions.job"
TRUST = "trust"
"""Tells the reload check that code may run that came with the model; else an empty word."""
# What every trained arm imports; none of it starts a thread or looks for a GPU.
PRELOAD = (
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
    """Runs modules one after the other, each in a process of its own; a context manager.

    Whatever ends this process ends the nest and the work in it: what nobody waits for must not go
    on writing to a run that somebody may resume.

    Args:
        environment: Variables that the processes have beside ours.
    """

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._ids: list[int] = []

    def __enter__(self) -> "Nest":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def run(self, module: str, *arguments: str) -> int:
        """Run `module`'s ``main`` with `arguments`, as ``python -m`` would; return its exit code.

        What it prints goes to our stderr. Ctrl-C reaches it by itself and is waited for; a second
        one ends it. SIGTERM, which may reach us alone, is handed on as Ctrl-C.
        """
        if not _FORKS:
            command = python(module, *arguments)
            environment = computing() | self._environment
            alone = subprocess.Popen(command, stdout=sys.stderr.fileno(), env=environment)
            self._ids = [alone.pid]
            return _patiently(self._ids, alone.wait)
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        replies = process.stdout
        self._ids = []

        def line() -> int:
            if text := replies.readline():
                return int(text)
            raise EOFError

        try:
            process.stdin.write(json.dumps([module, *arguments]) + "\n")
            process.stdin.flush()
            return _patiently(self._ids, line)
        except (BrokenPipeError, EOFError):  # the nest itself has ended
            return process.wait()

    def start(self) -> None:
        """Start the process that forks, for work that other threads will run.

        It ends with the thread that starts it.
        """
        if _FORKS:
            self._started()

    def send(self, number: int) -> None:
        """Send a signal to the work, if there is any; for other threads than the one that waits."""
        if len(self._ids) == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._ids[0], number)

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            # Blocked from its first moment on: signals are for us and for the work to answer.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _ANSWERED)
            try:
                self._process = subprocess.Popen(
                    python(_NEST, str(os.getpid())),
                    env=computing() | self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._process


def _patiently(numbers: list[int], line: Callable[[], int]) -> int:
    """Return the exit code of the work, Ctrl-C or not; a second Ctrl-C ends it.

    Args:
        numbers: The work's process id, or nothing yet.
        line: Waits for the next that is told: the process id, then the exit code.
    """
    interrupted = False

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(numbers[0], number)

    def terminated(*_: object) -> None:
        if numbers:
            send(signal.SIGINT)
        raise KeyboardInterrupt

    with answering_sigterm(terminated):
        while len(numbers) < 2:
            try:
                numbers.append(line())
                if interrupted and len(numbers) == 1:  # it was not there yet
                    send(signal.SIGINT)
            except KeyboardInterrupt:
                if interrupted and numbers:
                    send(signal.SIGKILL)
                interrupted = True
    return Interrupted.exit_code if interrupted else numbers[1]


@contextlib.contextmanager
def answering_sigterm(answer: Callable[..., None]) -> Iterator[None]:
    """Answer SIGTERM in this way within it, where we are the main thread."""
    try:
        before = signal.signal(signal.SIGTERM, answer)
    except ValueError:  # not the main thread: whoever owns it answers
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(requests: IO[str], replies: IO[str]) -> None:
    """Fork for every line of `requests`; tell the process's id, then its exit code, a line each."""
    log.quiet_libraries()
    for name in PRELOAD:
        importlib.import_module(name)
    gc.freeze()  # a collection in the work would copy every page that it marks
    here = os.getpid()
    while line := requests.readline():
        module, *arguments = json.loads(line)
        pid = os.fork()
        if not pid:
            _end_with(here)
            _become(module, arguments)
        replies.write(f"{pid}\n")
        replies.flush()
        _, status = os.waitpid(pid, 0)
        replies.write(f"{os.waitstatus_to_exitcode(status)}\n")
        replies.flush()


def _end_with(parent: int) -> None:
    """Have this process killed as soon as its parent ends, however that comes about."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _become(module: str, arguments: list[str]) -> None:
    """Do the work, and end."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # our parent's, which hands it on
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ANSWERED)
        os.dup2(2, 1)
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  (lives as long as we do)
        with terminal.guarded():
            code = importlib.import_module(module).main(*arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    except BaseException as error:
        log.failure(error)
    finally:
        # Not sys.exit: what the nest has registered to do at its end is the nest's.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _end_with(int(sys.argv[1]))
    serve(sys.stdin, sys.stdout)
