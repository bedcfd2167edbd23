"""How a report reaches the person: a table, or one JSON object."""

import csv
import io
import json
from pathlib import Path

from tailorbird import log, terminal
from tailorbird.records import Report
from tailorbird.terminal import one_line


def show_report(report: Report, as_json: bool, folder: Path | None = None) -> None:
    """Print the JSON on stdout, or the table on stdout with the verdict below."""
    if as_json:
        print(terminal.as_json(report.to_json()))
    else:
        from tailorbird.report.table import print_report

        print_report(report, terminal.console(stderr=False))
    place = folder or log.last_folder()
    if place is not None and (page := place / "report.html").is_file():
        log.say(f"report: {page}")


def write_rows(rows: list[dict[str, object]], output: Path | None) -> None:
    """Write answers as CSV, whole or not at all; to stdout when there is no file."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if output is None:
        terminal.write_data(buffer.getvalue())
        return
    from tailorbird.runs.folder import write_atomically

    write_atomically(output, buffer.getvalue().encode())
    log.say(f"{len(rows):,} answers in {output}")


def write_answers(answers: list[dict[str, object]], output: Path | None) -> None:
    """Write what a run of labels or numbers answers, as `write_rows` does."""
    write_rows([_flat(answer) for answer in answers], output)


def _flat(answer: dict[str, object]) -> dict[str, object]:
    row = answer.get("row")
    head: dict[str, object] = dict(row) if isinstance(row, dict) else {}
    if not head:
        head = {name: answer[name] for name in ("text", "pair") if name in answer}
    values = answer.get("values")
    if isinstance(values, dict):
        named = {f"predicted({name})": value for name, value in values.items()}
        return head | (named if len(named) > 1 else {"predicted": next(iter(values.values()))})
    labels, shares = answer.get("labels"), answer.get("probabilities", {})
    if isinstance(labels, list | tuple):
        head |= {"predicted": json.dumps(list(labels), ensure_ascii=False)}
    else:
        confidence = f"{float(str(answer['confidence'])):.6f}"
        head |= {"predicted": answer["label"], "confidence": confidence}
    assert isinstance(shares, dict)
    return head | {f"p({name})": f"{share:.6f}" for name, share in shares.items()}


def say_one(answer: dict[str, object]) -> None:
    """Print a label, a set of labels or numbers, and the likeliest labels as bars."""
    from tailorbird.metrics.numbers import percent

    values, words = answer.get("values"), answer.get("words")
    if isinstance(words, list | tuple):
        labels = answer["labels"]
        assert isinstance(labels, list | tuple)
        words = list(map(one_line, words))
        width = max(map(len, words))
        for word, label in zip(words, labels, strict=True):
            print(f"{word:<{width}}  {one_line(label)}")
    elif isinstance(values, dict):
        for name, value in values.items():
            print(f"{value:.6g}" if len(values) == 1 else f"{one_line(name)}: {value:.6g}")
    else:
        if "label" in answer:
            print(
                f"{one_line(str(answer['label']))}  ({percent(float(str(answer['confidence'])))})"
            )
        else:
            labels = answer["labels"]
            assert isinstance(labels, list | tuple)
            print(one_line(", ".join(labels)) or "(none of the labels)")
        probabilities = answer["probabilities"]
        assert isinstance(probabilities, dict)
        shares = [(one_line(name), share) for name, share in probabilities.items()]
        ranked = sorted(shares, key=lambda item: -item[1])
        width = max(len(name) for name, _ in ranked[:5])
        for name, share in ranked[:5]:
            print(f"  {name:<{width}}  {percent(share):>7}  {'#' * round(30 * share)}")
    for near in answer.get("neighbours", ()):  # type: ignore[attr-defined]
        label, text = one_line(near["label"]), one_line(near["text"])
        print(f"  near ({near['similarity']:.2f}, {label}): {text[:60]}")
