"""Nothing that comes with data, models or servers steers the terminal."""

import contextlib
import io
import json
import logging
import os
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tailorbird import log, terminal

# What a terminal obeys or hides: control, format, line and paragraph signs, halves of pairs.
_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Arabic number signs and the like are called format characters and are seen; joiners have rules.
_FILLERS = set("\u115f\u1160\u3164\uffa0")  # letters without ink
_SEEN = set(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)

HOSTILE = [
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[31m",
    "\x9b31m",
    "back\b\b\bspace",
    "over\rwritten",
    "\u202edesrever\u202c",
    "\u2066isolated\u2069",
    "zero\u200bwidth\u2060joined\ufeff",
    "hid\u200dden",
    "other\u2028lines\u2029here\x85too",
    "tags\U000e0041\U000e007f",
    "filler\u3164\u115f\uffa0",
    "half \ud83d pair",
    "nul\0 del\x7f soft\xadhyphen",
]


def obeyed(text: str) -> set[str]:
    """Return the characters of a text that are obeyed or hidden rather than seen."""
    unseen = (
        {c for c in text if unicodedata.category(c) in _OBEYED} - _SEEN - set("\n\t\u200c\u200d")
    )
    return unseen | (_FILLERS & set(text))


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def streams(kind: type[io.StringIO] = io.StringIO) -> Any:
    """Put guarded streams in the place of stdout and stderr."""
    before = sys.stdout, sys.stderr
    out, err = kind(), kind()
    sys.stdout, sys.stderr = out, err
    try:
        with terminal.guarded():
            yield out, err
    finally:
        sys.stdout, sys.stderr = before


hostile_texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(
        st.one_of(
            st.characters(),
            st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]),
            st.sampled_from("\x1b[];\\07mJ"),
        )
    ),
)


@given(text=hostile_texts)
@settings(max_examples=300, deadline=None)
def test_every_way_to_the_terminal_shows_what_it_would_obey(text: str) -> None:
    from rich.table import Table

    with streams() as (out, err):
        sys.stdout.write(f"{text} [red]{text}")
        sys.stderr.writelines(["x", text])
        log.say(f"file {text}")
        log.warn(text)
        log.failure(ValueError(text))
        table = Table()
        table.add_column(text)
        table.add_row(text)
        terminal.console(stderr=False).print(text, table)
        line = terminal.as_json({text: [text]})
        sys.stdout.write(line)
        terminal.write_data("")
    shown = out.getvalue() + err.getvalue()
    assert obeyed(shown) == set()
    assert "[red]" in shown
    assert json.loads(line) == {text: [text]}


@given(text=hostile_texts)
@settings(max_examples=200, deadline=None)
def test_escaping_changes_nothing_else(text: str) -> None:
    escaped = terminal.escape(text)
    assert obeyed(escaped) == set()
    assert terminal.escape(escaped) == escaped
    if all(unicodedata.category(c)[0] in "LNPS" for c in text) and not set(text) & _FILLERS:
        assert escaped == text
    assert "\n" not in terminal.one_line(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\x9b\u202eb\U000e0041", r"a\x9b\u202eb\U000e0041"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian needs its joiner
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("po\u200ds", r"po\u200ds"),
        ("naïve 中文 ไทย ✓", "naïve 中文 ไทย ✓"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert terminal.escape(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://ann:pass@h.org/v1, and", "at http://h.org/v1, and"),
        ("https://t0ken@h.org:8000", "https://h.org:8000"),
        ("http://ann:p/a?s#s@h.org", "http://h.org"),
        ("http://h/v1?api-key=abc&v=2&access_token=x'", "http://h/v1?api-key=***&v=2&access_token=***'"),
        ("ann@h.org http://h.org/@ann hf://datasets/a@main", "ann@h.org http://h.org/@ann hf://datasets/a@main"),
        ("http://h.org:8000/v1", "http://h.org:8000/v1"),
    ],
)  # fmt: skip
def test_no_password_is_in_a_message(text: str, shown: str) -> None:
    assert terminal.without_credentials(text) == shown
    with streams() as (_, err):
        log.say(text)
    assert err.getvalue() == f"{shown}\n"


def test_data_goes_to_a_program_as_it_is_and_to_a_terminal_escaped() -> None:
    with streams() as (out, _):
        terminal.write_data("a\x1b[31m,b\r\n")
    assert out.getvalue() == "a\x1b[31m,b\r\n"
    with streams(Screen) as (out, _):
        terminal.write_data("a\x1b[31m,b\n")
    assert out.getvalue() == "a\\x1b[31m,b\n"


def test_what_libraries_log_is_escaped() -> None:
    with streams() as (_, err):
        record = logging.LogRecord("lib", logging.WARNING, "", 0, "column \x1b]0;x\x07", (), None)
        logging.StreamHandler().emit(record)
    assert err.getvalue() == "column \\x1b]0;x\\x07\n"


def test_bars_of_libraries_still_move(monkeypatch: pytest.MonkeyPatch) -> None:
    with streams() as (out, err):
        monkeypatch.setattr(sys, "__stderr__", err)
        sys.stderr.write("\r 50% of a\x1b[31m\rb")
        sys.stderr.write("\n\n")
        sys.stderr.write("\x1b[A\x1b[A")
        sys.stdout.write("\rover")
    assert err.getvalue() == "\r 50% of a\\x1b[31m\\rb\n\n\x1b[A\x1b[A"
    assert out.getvalue() == "\\rover"


def test_a_terminal_gets_our_styles_and_not_those_of_the_data() -> None:
    import pty
    import subprocess

    code = """
from tailorbird import log, terminal
with terminal.guarded():
    with log.progress("index \\x1b[41m [blue]", 2) as bar:
        bar.advance(1, "note \\x1b[42m")
        print("meanwhile \\x1b[43m")
        log.warn("label \\x1b[44m")
"""
    plain = os.environ | {"TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    plain.pop("NO_COLOR", None)
    screen, end = pty.openpty()
    subprocess.run([sys.executable, "-c", code], env=plain, stdout=end, stderr=end, check=True)
    os.close(end)
    shown = os.read(screen, 20_000).decode()
    assert "\x1b[33mwarning:\x1b[0m label \\x1b[44m" in shown
    assert "meanwhile \\x1b[43m" in shown
    assert not any(f"\x1b[{colour}m" in shown for colour in range(41, 45))


@pytest.mark.parametrize("buffered", [True, False])
def test_a_closed_reader_is_no_error_and_a_full_disk_is_one(buffered: bool) -> None:
    import subprocess

    code = """
import sys
from tailorbird.cli import main
from tailorbird import terminal
def verb() -> None:
    print("a result")
    terminal.console(stderr=False).print("and a table")
main.app.command("toy")(main._guarded(verb))
main.run()
"""
    own = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    if buffered:
        own.pop("PYTHONUNBUFFERED")
    ends = {
        "| true; exit ${PIPESTATUS[0]}": (0, ""),
        "> /dev/full": (2, "error: no space left on the disk of the output"),
        ">&-": (0, ""),
        "<&- >&- 2>&-": (0, ""),
    }
    for end, expected in ends.items():
        line = f"{sys.executable} -c '{code}' toy {end}"
        done = subprocess.run(["bash", "-c", line], env=own, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr.split("\n")[0]) == expected, end
