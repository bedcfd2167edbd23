"""How a report reaches the person: a table, or one JSON object."""

import json
from pathlib import Path

from tailorbird import log
from tailorbird.records import Report


def show_report(report: Report, as_json: bool, folder: Path | None = None) -> None:
    """Print the JSON on stdout, or the table on stdout with the verdict below."""
    if as_json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        from rich.console import Console

        from tailorbird.report.table import print_report

        print_report(report, Console(highlight=False))
    place = folder or log.last_folder()
    if place is not None and (page := place / "report.html").is_file():
        log.say(f"report: {page}")
