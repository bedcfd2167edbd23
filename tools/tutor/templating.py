"""Read the template files and fill them.

A template file belongs to one class of bug, and holds templates like this one::

    == past_the_end train IndexError
    $nums = $list3
    for $i in range(@4~3@):
        print($nums[$i])
    -- The list $nums has three places, counted from 0. Which value of $i comes last on line $line?

The first line gives a name, a split and the outcome (an exception's type, or `silent`).
`@bug~fix@` is the planted bug and its repair; `$name` is a slot. The lines after `--` are what
a tutor would say.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from vocabulary import DOMAINS, NAME_SLOTS, POOLS, slots

FOLDER = Path(__file__).parent / "templates"
SPLITS = ("train", "validation", "test")
_CHOICE = re.compile(r"@([^@~]*)~([^@~]*)@")
_SLOT = re.compile(r"\$\{?([a-z0-9_]+)")


@dataclass(frozen=True)
class ProgramTemplate:
    """A program with slots, its planted bug and its repair."""

    id: str
    label: str
    split: str
    outcome: str
    body: str
    hint: str


@dataclass(frozen=True)
class Variant:
    """A template with its slots filled."""

    template: ProgramTemplate
    buggy: str
    fixed: str
    hint: str
    cause_line: int


def read_templates() -> list[ProgramTemplate]:
    """Read every template file, sorted by class and then in file order."""
    found: list[ProgramTemplate] = []
    for path in sorted(FOLDER.glob("*.txt")):
        for block in re.split(r"^== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            found.append(_parse(path.stem, block))
    ids = [template.id for template in found]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ValueError(f"templates named twice: {twice}")
    return found


def _parse(label: str, block: str) -> ProgramTemplate:
    head, rest = block.split("\n", 1)
    name, split, outcome = head.split()
    body, hint = rest.split("\n-- ", 1)
    if split not in SPLITS or not _CHOICE.search(body):
        raise ValueError(f"{label}/{name}: unknown split, or no @bug~fix@ in it")
    return ProgramTemplate(f"{label}/{name}", label, split, outcome, body, " ".join(hint.split()))


def first_difference(buggy: str, fixed: str) -> int:
    """Return the number of the first line of `buggy` that the repair changes."""
    mine, theirs = buggy.splitlines(), fixed.splitlines()
    for number, (left, right) in enumerate(zip(mine, theirs, strict=False), 1):
        if left != right:
            return number
    return min(len(mine), len(theirs))


def _used_names(template: ProgramTemplate) -> list[str]:
    names = set(_SLOT.findall(template.body))
    return sorted(name for name in names if name in NAME_SLOTS or name in POOLS)


def fill(template: ProgramTemplate, at: int, attempt: int) -> Variant | None:
    """Fill the slots for the variant number `at`, or return None where two names collide."""
    order = random.Random(f"domains {template.id}").sample(range(len(DOMAINS)), len(DOMAINS))
    rng = random.Random(f"{template.id} {at} {attempt}")
    values = slots(rng, DOMAINS[order[(at + attempt * 7) % len(DOMAINS)]])
    names = [values[name] for name in _used_names(template)]
    if len(set(names)) < len(names):
        return None
    body = Template(template.body).substitute(values)
    buggy = _tidy(_CHOICE.sub(lambda found: found[1], body))
    fixed = _tidy(_CHOICE.sub(lambda found: found[2], body))
    line = first_difference(buggy, fixed)
    hint = Template(template.hint).substitute(values, line=str(line))
    return Variant(template, buggy, fixed, hint, line)


def _tidy(program: str) -> str:
    """Drop lines that an empty choice left blank."""
    return "\n".join(line.rstrip() for line in program.splitlines() if line.strip())
