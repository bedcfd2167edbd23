"""Build the debugging tutor's data from the program templates.

Usage::

    python tools/tutor/build.py            # write examples/tutor
    python tools/tutor/build.py --check    # exit 1 if the files there are not what this builds

Every program is run, with and without its bug, and a row is kept only if the two differ in the
way its template announces. The questions on the pages are made from facts (`question_set.py`).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facts import facts
from question_set import as_lines, check_facts, old_pages, questions, read_facts
from templating import SPLITS, ProgramTemplate, Variant, fill, read_templates

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "examples" / "tutor"
PAGES = TARGET / "pages"
WORKER = Path(__file__).with_name("worker.py")
ROWS_PER_CLASS = {"train": 80, "validation": 15, "test": 25}
ATTEMPTS = 12
MAX_TEXT = 330
COLUMNS = ("text", "label", "difficulty", "hint", "template")
COUNTS = re.compile(r"(<!-- counts -->\n).*?(<!-- /counts -->)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One example: a program, the interpreter's words, and what a tutor knows about it."""

    text: str
    label: str
    difficulty: float
    hint: str
    template: str
    split: str


def run_all(programs: list[str]) -> list[dict[str, Any]]:
    """Run programs in one worker process and return their outcomes in order."""
    done = subprocess.run(
        [sys.executable, "-I", str(WORKER)],
        input=json.dumps(programs), capture_output=True, text=True, check=True, timeout=110,
    )  # fmt: skip
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def last_words(outcome: dict[str, Any], expected: str) -> str:
    """Say what the interpreter said, or what was printed instead of what was expected."""
    if outcome["error"]:
        return f"{outcome['error']}: {outcome['message']}"
    return f"prints {outcome['printed'] or 'nothing'}, expected {expected}"


def misbehaves(variant: Variant, outcome: dict[str, Any], fixed: dict[str, Any]) -> bool:
    """Tell whether a program goes wrong as announced while its repaired version does not.

    Where nothing is raised, a program can by chance print the right value (2 * 2 for 2 + 2);
    such a program shows no bug, and the answer is False.

    Raises:
        ValueError: The repaired version fails, or the bug shows in another way than announced;
            then the template itself is at fault.
    """
    template = variant.template
    if fixed["error"] or not fixed["printed"]:
        raise ValueError(f"{template.id}: the repaired program does not print\n{variant.fixed}")
    announced = None if template.outcome == "silent" else template.outcome
    if outcome["error"] != announced:
        raise ValueError(f"{template.id}: ends in {outcome['error']}\n{variant.buggy}")
    return bool(announced or outcome["printed"] != fixed["printed"])


def _key(text: str) -> str:
    return " ".join(text.casefold().split())


def _variants(templates: Iterable[ProgramTemplate], wanted: dict[str, int]) -> list[Variant]:
    """Fill every template more often than needed, in an order that never changes."""
    found: list[Variant] = []
    for template in templates:
        for at in range(wanted[template.id] + 2):
            tries = (fill(template, at, attempt) for attempt in range(ATTEMPTS))
            found.extend([variant for variant in tries if variant is not None][:4])
    return found


def shares(templates: list[ProgramTemplate]) -> dict[str, int]:
    """Divide the rows of each class and split evenly among its templates."""
    wanted: dict[str, int] = {}
    for label in sorted({template.label for template in templates}):
        for split in SPLITS:
            mine = [t for t in templates if t.label == label and t.split == split]
            whole, extra = divmod(ROWS_PER_CLASS[split], len(mine))
            wanted |= {t.id: whole + (at < extra) for at, t in enumerate(mine)}
    return wanted


def make_row(variant: Variant, outcome: dict[str, Any], expected: str) -> Row:
    """Turn a program that went wrong into a row."""
    template = variant.template
    known = facts(variant.buggy, variant.cause_line, outcome["line"], outcome["message"])
    text = f"{variant.buggy}\n{last_words(outcome, expected)}"
    return Row(text, template.label, known.difficulty(), variant.hint, template.id, template.split)


def build_rows() -> list[Row]:
    """Make every row, sorted by split, class and template.

    Raises:
        ValueError: A template yields too few programs that go wrong as it announces.
    """
    templates = read_templates()
    wanted = shares(templates)
    variants = _variants(templates, wanted)
    outcomes = run_all([v.buggy for v in variants])
    repaired = run_all([v.fixed for v in variants])
    rows: list[Row] = []
    seen: set[str] = set()
    left = dict(wanted)
    for variant, outcome, fixed in zip(variants, outcomes, repaired, strict=True):
        if not left[variant.template.id] or not misbehaves(variant, outcome, fixed):
            continue
        row = make_row(variant, outcome, fixed["printed"])
        if _key(row.text) in seen or len(row.text) > MAX_TEXT:
            continue
        seen.add(_key(row.text))
        left[variant.template.id] -= 1
        rows.append(row)
    short = {name: count for name, count in left.items() if count}
    if short:
        raise ValueError(f"templates with too few programs that misbehave: {short}")
    return rows


def as_csv(rows: list[Row]) -> str:
    """Write rows as CSV text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)
    return out.getvalue()


def as_pairs(rows: list[Row]) -> str:
    """Write rows as prompt and completion, one JSON object a line."""
    pairs = ({"prompt": row.text, "completion": row.hint} for row in rows)
    return "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)


def counts_text(rows: list[Row]) -> str:
    """Return the tables of counts that the README shows."""
    lines = [
        "| split | rows | templates | no exception | median difficulty |",
        "|---|--:|--:|--:|--:|",
    ]
    for split in SPLITS:
        mine = [row for row in rows if row.split == split]
        silent = sum("\nprints " in row.text for row in mine) / len(mine)
        middle = statistics.median(row.difficulty for row in mine)
        lines.append(
            f"| {split} | {len(mine)} | {len({row.template for row in mine})} "
            f"| {silent:.0%} | {middle:.2f} |"
        )
    lines += [
        "",
        "| class | rows | templates | last lines (most frequent first) |",
        "|---|--:|--:|---|",
    ]
    for label in sorted({row.label for row in rows}):
        mine = [row for row in rows if row.label == label]
        kinds = Counter(row.text.splitlines()[-1].split()[0].rstrip(":") for row in mine)
        ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
        said = ", ".join(f"{name} {count}" for name, count in ordered)
        lines.append(f"| {label} | {len(mine)} | {len({row.template for row in mine})} | {said} |")
    return "\n".join(lines) + "\n"


def files(rows: list[Row]) -> dict[Path, str]:
    """Return the text of every file that the builder is responsible for."""
    made: dict[Path, str] = {}
    for split in SPLITS:
        mine = [row for row in rows if row.split == split]
        made[TARGET / f"{split}.csv"] = as_csv(mine)
        made[TARGET / f"pairs_{split}.jsonl"] = as_pairs(mine)
    readme = TARGET / "README.md"
    if readme.is_file():
        counts = counts_text(rows)
        made[readme] = COUNTS.sub(
            lambda found: found[1] + counts + found[2], readme.read_text(encoding="utf-8")
        )
    return made


def page_files() -> dict[Path, str]:
    """Return the text of the questions on the pages, and of the pages for Python 2.7.

    Raises:
        ValueError: A fact does not hold, or does not stand in its page.
    """
    known, old = read_facts(), old_pages(PAGES)
    pages = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    check_facts(known, run_all, pages, old)
    made = {TARGET / "facts.jsonl": as_lines(questions(known))}
    return made | {TARGET / "pages_python2" / name: text for name, text in old.items()}


def _words_aside(text: str) -> str:
    """Drop the lines that hold an interpreter's message, to compare across versions."""
    return re.sub(r"^\w+Error: [^\"\n]*", "", text.replace("\\n", "\n"), flags=re.MULTILINE)


def check(made: dict[Path, str]) -> int:
    """Compare the files in place with what would be built, and say which differ."""
    stale = 0
    for path, text in made.items():
        current = path.read_text(encoding="utf-8") if path.is_file() else ""
        if current == text:
            continue
        stale += 1
        name = path.relative_to(ROOT)
        if _words_aside(current) == _words_aside(text):
            version = ".".join(map(str, sys.version_info[:2]))
            print(f"{name}: only the messages differ, as worded by Python {version}")
        else:
            print(f"{name}: stale, run python tools/tutor/build.py")
    return 1 if stale else 0


def main() -> int:
    """Build the files, or check them."""
    parser = argparse.ArgumentParser(description="Build the debugging tutor's data.")
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    options = parser.parse_args()
    rows = build_rows()
    made = files(rows) | page_files()
    if options.check:
        return check(made)
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    print(counts_text(rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
