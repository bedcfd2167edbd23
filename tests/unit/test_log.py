import os
import pty
import subprocess
import sys

LONG = "warning of something " * 6 + "/a/path/" + "x" * 100 + " and the end"


def _said(on_terminal: bool) -> str:
    code = f"from tailorbird import log; log.say({LONG!r})"
    plain = os.environ | {"COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    if not on_terminal:
        return subprocess.run(command, env=plain, capture_output=True, text=True).stderr
    screen, end = pty.openpty()
    subprocess.run(command, env=plain, stderr=end, check=True)
    os.close(end)
    return os.read(screen, 10_000).decode().replace("\r\n", "\n")


def test_a_terminal_breaks_between_words_and_leaves_a_long_path_whole() -> None:
    lines = _said(on_terminal=True).splitlines()
    assert len(lines) > 2
    assert [word for line in lines for word in line.split()] == LONG.split()
    assert all(len(line) <= 80 or "/a/path/" in line for line in lines)


def test_elsewhere_a_message_stays_on_its_line() -> None:
    assert _said(on_terminal=False).splitlines() == [LONG]
