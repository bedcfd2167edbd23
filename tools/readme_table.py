"""Fill the demo's table in README.md from the report that `make demo` left.

Usage: python tools/readme_table.py [demo/report.json]
"""

import json
import sys
from pathlib import Path

from tailorbird.metrics.numbers import duration
from tailorbird.records import Report, report_from_json
from tailorbird.report.table import table_rows

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- demo-table -->\n", "<!-- /demo-table -->"


def table(report: Report) -> str:
    """Return the comparison as a Markdown table, with the verdict and where it was measured."""
    heading, rows = table_rows(report)
    right = ["---" if title in ("arm", "") else "---:" for title in heading]
    lines = [heading, right, *rows]
    counts, machine = report.data.counts, report.environment["machine"]
    return (
        "\n".join(f"| {' | '.join(cell or ' ' for cell in line)} |" for line in lines)
        + f"\n\n{report.verdict.reason}\n\n"
        + f"Measured on {machine['processor']}, {machine['cores']} cores, in "
        + f"{duration(report.seconds)}: {counts['train']:,} training, {counts['validation']:,} "
        + f"validation and {counts['test']:,} test examples, {len(report.data.labels)} classes.\n"
    )


def filled(page: str, report: Report) -> str:
    """Return the page with the table between its two marks."""
    if START not in page or END not in page:
        raise SystemExit(f"error: README.md has no {START.strip()} ... {END}")
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}{table(report)}{END}{after}"


def main(arguments: list[str]) -> int:
    """Write the table into README.md."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    path = Path(arguments[0]) if arguments else ROOT / "demo" / "report.json"
    if not path.is_file():
        print(f"error: there is no {path}\n  fix: make demo", file=sys.stderr)
        return 2
    readme = ROOT / "README.md"
    report = report_from_json(json.loads(path.read_text(encoding="utf-8")))
    readme.write_text(filled(readme.read_text(encoding="utf-8"), report), encoding="utf-8")
    print(f"README.md holds the table of {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
