"""Questions on the tutor's pages, made from facts, and the pages as Python 2.7 has them.

`facts_of_pages.txt` holds what the pages say; code in it is run, and every answer must stand in its
page. `python2_of_pages.txt` holds what Python 2.7 does otherwise: the pages changed so, and the
answers that change with them. The words of a question come from the templates here.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailorbird.metrics.answer_match import match_words

FACTS = Path(__file__).with_name("facts_of_pages.txt")
EDITS = Path(__file__).with_name("python2_of_pages.txt")
_SIGNS = {" -> ": "value", " !! ": "error", " = ": "name"}
_TEMPLATES = {
    "value": (
        "What does Python give for `{code}`?",
        "What is `{code}` in Python?",
        "I typed `{code}`. What comes out?",
        "What is the result of `{code}`?",
        "Which value does `{code}` have?",
    ),
    "value after": (
        "After {setup}, what is `{code}`?",
        "I run {setup}. What does `{code}` give then?",
        "First comes {setup}. What will `{code}` be?",
        "What is `{code}` after {setup}?",
    ),
    "error": (
        "Which error does `{code}` raise?",
        "What kind of exception comes from `{code}`?",
        "My program stops at `{code}`. Which error will I see?",
        "`{code}` does not work. What is the error called?",
    ),
    "error after": (
        "After {setup}, which error does `{code}` raise?",
        "I run {setup}. Which exception comes from `{code}` then?",
        "First comes {setup}, then `{code}` fails. With which error?",
    ),
    "name": (
        "What is {code}?",
        "Can you tell me {code}?",
        "I have forgotten {code}. What is it?",
        "My teacher asked for {code}. What is the answer?",
    ),
    "clause": (
        "Can you tell me {code}?",
        "Do you know {code}?",
        "I would like to know {code}.",
        "My teacher asked {code}. What is the answer?",
    ),
}


@dataclass(frozen=True)
class Fact:
    """What a page says: code and what becomes of it, or a thing and its name.

    Attributes:
        page: Its file name.
        kind: `value` or `error` of code, or `name`.
        asked: The code, its lines parted by "; ", or the thing.
        answers: What Python 3 gives, in the words of the page first.
        old: What Python 2.7 gives, where that is something else.
    """

    page: str
    kind: str
    asked: str
    answers: tuple[str, ...]
    old: str | None

    @property
    def lines(self) -> list[str]:
        """The lines of code, the one that is asked for last."""
        return self.asked.split("; ")

    def program(self) -> str:
        """Return what shows by running that the fact holds."""
        *before, last = self.lines
        return "\n".join([*before, f"print({last})" if self.kind == "value" else last])


def read_facts() -> list[Fact]:
    """Return every fact, in the order of the file."""
    return [
        Fact(page, kind, *_parsed(line, sign))
        for page, line in _blocks(FACTS)
        for sign, kind in [next(pair for pair in _SIGNS.items() if pair[0] in line)]
    ]


def _parsed(line: str, sign: str) -> tuple[str, tuple[str, ...], str | None]:
    asked, _, answers = line.rpartition(sign)
    now, _, old = answers.partition(" ~ ")
    return asked, tuple(now.split(" | ")), old or None


def _blocks(path: Path) -> Iterator[tuple[str, str]]:
    page = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            page = line[3:]
        elif line and not line.startswith("# What") and page:
            yield page, line


def old_pages(folder: Path) -> dict[str, str]:
    """Return by name the pages that differ, as they are for Python 2.7.

    Raises:
        ValueError: A part that is to be replaced does not stand in its page exactly once.
    """
    pages: dict[str, str] = {}
    for block in re.split(r"^== ", EDITS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, edits = block.split("\n", 1)
        text = (folder / name).read_text(encoding="utf-8")
        # An edit may hold line ends; the next one begins where a part of the page does.
        for edit in _edits(edits, text):
            before, after = edit
            if text.count(before) != 1:
                raise ValueError(f"{name}: {text.count(before)} times {before!r}")
            text = text.replace(before, after)
        pages[name] = text
    return pages


def _edits(block: str, text: str) -> Iterator[tuple[str, str]]:
    lines: list[str] = []
    for line in block.strip("\n").split("\n"):
        starts = "\n".join([*lines, line])
        if " ~> " in starts and lines and " ~> " not in line and line not in text:
            lines.append(line)
            continue
        if lines and " ~> " in "\n".join(lines):
            before, _, after = "\n".join(lines).partition(" ~> ")
            yield before, after
            lines = []
        lines.append(line)
    before, _, after = "\n".join(lines).partition(" ~> ")
    yield before, after


def check_facts(
    facts: Sequence[Fact],
    run_all: Callable[[list[str]], list[dict[str, Any]]],
    pages: dict[str, str],
    old: dict[str, str],
) -> None:
    """Run the code of the facts and look for their answers in the pages.

    Raises:
        ValueError: A fact does not hold, or does not stand in its page; all of them are named.
    """
    code = [fact for fact in facts if fact.kind != "name"]
    faults = []
    for fact, outcome in zip(code, run_all([fact.program() for fact in code]), strict=True):
        result = outcome["error"] if fact.kind == "error" else outcome["printed"]
        if result != fact.answers[0] or (fact.kind == "value" and outcome["error"]):
            faults.append(f"{fact.page}: {fact.asked} gives {outcome}")
    for fact in facts:
        if not _stands(fact.answers[0], pages[fact.page]):
            faults.append(f"{fact.page}: {fact.answers[0]!r} does not stand there")
        if fact.old is not None and not _stands(fact.old, old.get(fact.page, "")):
            faults.append(f"{fact.page}: {fact.old!r} does not stand in the one for Python 2.7")
    if faults:
        raise ValueError("\n".join(faults))


def _stands(answer: str, page: str) -> bool:
    return bool(match_words(answer)) and _spaced(answer) in _spaced(page)


def _spaced(text: str) -> str:
    return f" {' '.join(match_words(text))} "


def questions(facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """Return the rows of the file: a fact in one wording, one that changes in two."""
    rows: dict[str, dict[str, Any]] = {}
    for fact in facts:
        wordings = [text for text in _wordings(fact) if text not in rows]
        for text in wordings[: 2 if fact.old else 1]:
            row = {"question": text, "answers": list(fact.answers), "source": fact.page}
            rows[text] = row | ({"changed_answers": [fact.old]} if fact.old else {})
    return [{"id": f"f{n:03d}"} | row for n, row in enumerate(rows.values(), 1)]


def _wordings(fact: Fact) -> list[str]:
    """Return every wording of a fact's question, in an order of its own."""
    *before, last = fact.lines if fact.kind != "name" else [fact.asked]
    setup = " and ".join(part for part in (_listed(before[:-1]), _listed(before[-1:])) if part)
    templates = _TEMPLATES[_wording(fact)]
    order = random.Random(f"{fact.page} {fact.asked}").sample(templates, len(templates))
    return [template.format(code=last, setup=setup) for template in order]


def _wording(fact: Fact) -> str:
    if fact.kind == "name":
        return "name" if fact.asked.startswith("the ") else "clause"
    return f"{fact.kind} after" if len(fact.lines) > 1 else fact.kind


def _listed(lines: Sequence[str]) -> str:
    return ", ".join(f"`{line}`" for line in lines)


def as_lines(rows: Sequence[dict[str, Any]]) -> str:
    """Write rows as one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
