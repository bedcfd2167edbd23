"""Prints reports and knowledge bases as a table or JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailorbird import log, terminal
from tailorbird.records import Report
from tailorbird.terminal import one_line

Printer = Callable[[Any, Any], None]
"""Prints a report on a console."""


def show_report(
    report: Report[Any, Any], as_json: bool, folder: Path | None, print_report: Printer
) -> None:
    """Print a report as JSON or with `print_report`, and name its page if there is one."""
    if as_json:
        print(terminal.as_json(report.to_json()))
    else:
        print_report(report, terminal.console(stderr=False))
    if folder is not None and (page := folder / "report.html").is_file():
        log.say(f"report: {page}")


def say_one(answer: dict[str, Any]) -> None:
    """Print a prediction, with the most likely labels as bars."""
    from tailorbird.metrics.display import percent

    values, words = answer.get("values"), answer.get("words")
    if words is not None:
        words = list(map(one_line, words))
        width = max(map(len, words))
        for word, label in zip(words, answer["labels"], strict=True):
            print(f"{word:<{width}}  {one_line(label)}")
    elif values is not None:
        for name, value in values.items():
            print(f"{value:.6g}" if len(values) == 1 else f"{one_line(name)}: {value:.6g}")
    else:
        if "label" in answer:
            print(f"{one_line(str(answer['label']))}  ({percent(answer['confidence'])})")
        else:
            print(one_line(", ".join(answer["labels"])) or "(none of the labels)")
        shares = [(one_line(name), share) for name, share in answer["probabilities"].items()]
        ranked = sorted(shares, key=lambda item: -item[1])
        width = max(len(name) for name, _ in ranked[:5])
        for name, share in ranked[:5]:
            print(f"  {name:<{width}}  {percent(share):>7}  {'#' * round(30 * share)}")
    for near in answer.get("neighbours", ()):
        label, text = one_line(near["label"]), one_line(near["text"])
        print(f"  near ({near['similarity']:.2f}, {label}): {text[:60]}")


def show_index(result: dict[str, Any]) -> None:
    """Print the documents, then a line per action."""
    for document in result.pop("documents", []):
        print(f"{document['chunks']:>6}  {one_line(document['source'])}")
    for name, value in result.items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
            continue
        for problem in value.get("problems", ()):
            print(f"problem: {one_line(problem)}")
        words = [f"{k.replace('_', ' ')} {_plain(v)}" for k, v in value.items() if _plain(v)]
        print(f"{name}: {', '.join(words)}")
        if left_out := len(value.get("skipped", ())):
            print(f"left out: {left_out:,} files, each listed above with its reason")


def _plain(value: Any) -> str:
    """Return a scalar as text; empty for a list or an object."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else value if isinstance(value, str) else ""
