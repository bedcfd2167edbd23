"""Forks the processes of a comparison's arms from one with all imports loaded.

Every arm runs in a process of its own, and importing torch, transformers and PEFT takes each
several seconds. `ForkServer` starts one process of this module, which imports them, computes
nothing, and forks for each task: a task still has its own memory, and a crash still ends it alone.
Where forking is unsafe with torch loaded (everywhere but on Linux), each starts afresh.

multiprocessing's forkserver with the same preload starts tasks as fast
(`benchmarks/own_or_library.py processes`). It is not used, since its tasks keep it alive when we
are killed, it imports our main module anew, and it leaves output and signals to us.
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
_HERE = "tailorbird.arms.fork_server"
_ANSWERED = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
ARM, RELOAD_CHECK = "tailorbird.arms.arm_process", "tailorbird.arms.reload_check"
TRUST = "trust"
"""The reload check's argument if code that came with the model may run; else an empty text."""
# The imports of every trained arm; none of them starts a thread or looks for a GPU.
PRELOAD = (
    "torch",
    "transformers.modeling_utils",
    "transformers.modeling_layers",
    "transformers.models.auto.modeling_auto",
    "peft",
    "scipy.stats",
    ARM,
    RELOAD_CHECK,
)


class ForkServer:
    """Runs modules one after the other, each in a process of its own; a context manager.

    If this process ends, for whatever reason, so do the forking one and its task: otherwise the
    task would go on writing to a run that somebody may resume.

    Args:
        environment: Environment variables added for the processes.
    """

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._ids: list[int] = []

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def run(self, module: str, *arguments: str) -> int:
        """Run `module`'s ``main`` with `arguments`, as ``python -m`` would; return its exit code.

        Its output goes to our stderr. Ctrl-C reaches the task directly, and we wait for its end; a
        second one kills it. SIGTERM, which may reach us alone, is forwarded as Ctrl-C.
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
        except (BrokenPipeError, EOFError):  # the forking process has ended
            return process.wait()

    def start(self) -> None:
        """Start the forking process, for tasks that other threads will run.

        It ends with the thread that starts it.
        """
        if _FORKS:
            self._started()

    def send(self, number: int) -> None:
        """Send a signal to the running task, if any, from another thread than the waiting one."""
        if len(self._ids) == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._ids[0], number)

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            # Blocked from the start: only we and the task handle these signals.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _ANSWERED)
            try:
                self._process = subprocess.Popen(
                    python(_HERE, str(os.getpid())),
                    env=computing() | self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._process


def _patiently(numbers: list[int], line: Callable[[], int]) -> int:
    """Return the exit code of the task despite Ctrl-C; a second Ctrl-C kills the task.

    Args:
        numbers: The task's process id, or empty if unknown yet.
        line: Waits for the next number: the process id, then the exit code.
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
                if interrupted and len(numbers) == 1:  # it had not started yet
                    send(signal.SIGINT)
            except KeyboardInterrupt:
                if interrupted and numbers:
                    send(signal.SIGKILL)
                interrupted = True
    return Interrupted.exit_code if interrupted else numbers[1]


@contextlib.contextmanager
def answering_sigterm(answer: Callable[..., None]) -> Iterator[None]:
    """Handle SIGTERM with `answer` inside the context, if this is the main thread."""
    try:
        before = signal.signal(signal.SIGTERM, answer)
    except ValueError:  # not the main thread, which handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(requests: IO[str], replies: IO[str]) -> None:
    """Fork for every line of `requests`; reply with the process id, then the exit code."""
    log.quiet_libraries()
    for name in PRELOAD:
        importlib.import_module(name)
    gc.freeze()  # a collection in the task would copy every page it marks
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
    """Have this process killed as soon as its parent ends for any reason."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def _become(module: str, arguments: list[str]) -> None:
    """Run the task and exit."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # our parent forwards it
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
        # Not sys.exit, which would run the forking process's exit handlers here.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _end_with(int(sys.argv[1]))
    serve(sys.stdin, sys.stdout)
