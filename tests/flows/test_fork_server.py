"""The process that arms are forked from: exit codes, crashes, Ctrl-C, and who owns what memory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest

from tailorbird.arms.fork_server import ForkServer
from tailorbird.errors import Interrupted

# Other tests of a session replace it.
RUN = ForkServer.run

WORK = """
import os, signal, sys, time
def main(what, told):
    if what == "code":
        return 3
    if what == "raise":
        raise RuntimeError("no")
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "waits":
        open(told, "w").write(str(os.getpid()))
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            return 7
    print("on stdout")
    open(told, "w").write(f"{os.getpid()} {'torch' in sys.modules}")
    return 0
"""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ForkServer:
    place = tmp_path_factory.mktemp("work")
    (place / "some_work.py").write_text(WORK)
    before = os.environ.get("PYTHONPATH", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(place), before])))
        with ForkServer() as started:
            yield started


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="arms are forked on Linux only")


def test_each_work_is_a_process_of_its_own(runner: ForkServer, tmp_path: Path) -> None:
    told = [tmp_path / "one", tmp_path / "two"]
    assert [RUN(runner, "some_work", "fine", str(path)) for path in told] == [0, 0]
    (one, torch), (two, _) = (path.read_text().split() for path in told)
    assert len({one, two, str(os.getpid())}) == 3
    assert torch == "True"


@pytest.mark.parametrize(("what", "code"), [("code", 3), ("raise", 1), ("killed", -9)])
def test_how_it_ended_is_told_and_the_next_one_runs(
    runner: ForkServer, what: str, code: int, tmp_path: Path
) -> None:
    assert RUN(runner, "some_work", what, str(tmp_path / "a")) == code
    assert RUN(runner, "some_work", "fine", str(tmp_path / "b")) == 0


def started(told: Path) -> int:
    """Return the process id of the work that waits, as soon as it does."""
    for _ in range(6000):
        if told.exists() and told.read_text():
            return int(told.read_text())
        time.sleep(0.01)
    raise AssertionError("the work has not begun")


def test_ctrl_c_reaches_the_work_and_is_told(runner: ForkServer, tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def interrupt() -> None:
        for pid in (os.getpid(), started(told)):  # a terminal sends it to both at once
            os.kill(pid, signal.SIGINT)

    timer = Timer(0, interrupt)
    timer.start()
    assert RUN(runner, "some_work", "waits", str(told)) == Interrupted.exit_code
    timer.join()
    assert RUN(runner, "some_work", "fine", str(tmp_path / "b")) == 0


def test_sigterm_reaches_us_alone_and_is_handed_on(runner: ForkServer, tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def terminate() -> None:
        started(told)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    timer = Timer(0, terminate)
    timer.start()
    began = time.monotonic()
    assert RUN(runner, "some_work", "waits", str(told)) == Interrupted.exit_code
    timer.join()
    assert time.monotonic() - began < 50, "it was told, and did not sleep for a minute"
    assert signal.getsignal(signal.SIGTERM) is before
    assert RUN(runner, "some_work", "fine", str(tmp_path / "b")) == 0


def test_ctrl_c_before_the_work_has_begun(runner: ForkServer, tmp_path: Path) -> None:
    """It comes while the runner still imports: the work is told as soon as it is there."""
    with ForkServer() as new:
        timer = Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        code = RUN(new, "some_work", "waits", str(tmp_path / "pid"))
        assert code == Interrupted.exit_code
        assert time.monotonic() - began < 50
        timer.join()


def test_what_ends_us_ends_the_work(runner: ForkServer, tmp_path: Path) -> None:
    """An arm that went on by itself would write to a run that is resumed meanwhile."""
    told = tmp_path / "pid"
    code = "import sys; from tailorbird.arms.fork_server import ForkServer\n"
    code += "with ForkServer() as runner: runner.run('some_work', 'waits', sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", code, str(told)])
    pid = started(told)
    process.kill()
    process.wait()
    for _ in range(1000):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the work went on")
