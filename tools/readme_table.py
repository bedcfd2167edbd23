"""Fill the demo's two tables in README.md from the reports that `make demo` left.

Usage: python tools/readme_table.py [demo]
"""

import json
import sys
from pathlib import Path
from typing import Any

from tailorbird.metrics.display import duration
from tailorbird.metrics.question_verdict import becoming_current
from tailorbird.records import QuestionsReport, Report, report_from_json
from tailorbird.report.comparison_table import table_rows
from tailorbird.report.questions_page import table_rows as question_rows

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- demo-table -->\n", "<!-- /demo-table -->"
QUESTIONS_START, QUESTIONS_END = "<!-- questions-table -->\n", "<!-- /questions-table -->"
# README's columns are few: these say what a person asks first.
_COLUMNS = (
    "arm",
    "right answers",
    "95 %",
    "wrong",
    "training",
    "per 1,000",
    "after: new",
    "after: old",
    "",
)


def as_markdown(heading: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown, figures to the right."""
    right = ["---" if title in ("arm", "") else "---:" for title in heading]
    lines = [heading, right, *rows]
    return "\n".join(f"| {' | '.join(cell or ' ' for cell in line)} |" for line in lines)


def machine_words(report: Report[Any, Any]) -> str:
    """Return where a report was made."""
    machine = report.environment["machine"]
    return f"measured on {machine['processor']}, {machine['cores']} cores"


def table(report: Report[Any, Any]) -> str:
    """Return the comparison as a Markdown table, with the verdict and where it was measured."""
    counts = report.data.counts
    return (
        as_markdown(*table_rows(report))
        + f"\n\n{report.verdict.reason} Training and testing {machine_words(report)}, in "
        + f"{duration(report.seconds)}: {counts['train']:,} training, {counts['validation']:,} "
        + f"validation and {counts['test']:,} test examples, {len(report.data.labels)} classes.\n"
    )


def questions_table(report: QuestionsReport) -> str:
    """Return the comparison on questions likewise."""
    heading, rows = question_rows(report)
    places = [heading.index(title) for title in _COLUMNS if title in heading]
    rows = [[row[place] for place in places] for row in rows]
    counts = report.sections.counts
    return (
        as_markdown([heading[place] for place in places], rows)
        + f"\n\n{report.verdict.reason} {becoming_current(report)} "
        + f"{counts['train']:,} questions to train on, {counts['test']:,} to test, "
        + f"{machine_words(report)}.\n"
    )


def filled(page: str, text: str, start: str, end: str) -> str:
    """Return the page with a text between two of its marks."""
    if start not in page or end not in page:
        raise SystemExit(f"error: README.md has no {start.strip()} ... {end}")
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}{text}{end}{after}"


def main(arguments: list[str]) -> int:
    """Write the tables into README.md."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    demo = Path(arguments[0]) if arguments else ROOT / "demo"
    paths = demo / "report.json", demo / "questions" / "report.json"
    if lost := [path for path in paths if not path.is_file()]:
        print(f"error: there is no {lost[0]}\n  fix: make demo", file=sys.stderr)
        return 2
    readme = ROOT / "README.md"
    reports = [report_from_json(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    page = filled(readme.read_text(encoding="utf-8"), table(reports[0]), START, END)
    text = questions_table(reports[1])
    readme.write_text(filled(page, text, QUESTIONS_START, QUESTIONS_END), encoding="utf-8")
    print(f"README.md holds the tables of {demo}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
