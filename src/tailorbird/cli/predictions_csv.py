"""Writes predictions for many inputs as CSV, beside the columns of their rows."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tailorbird import log, terminal


def write_blocks(
    blocks: Iterable[list[dict[str, Any]]],
    columns: Sequence[str],
    output: Path | None,
    *,
    raw: bool,
) -> None:
    """Write predictions beside the columns of their rows as CSV, to a file or stdout.

    Args:
        columns: Of the rows; empty: those of the first block.
        raw: For programs: cells that a spreadsheet would execute are unchanged.
    """
    from tailorbird.runs.atomic import output_file

    texts = _csv_blocks(blocks, columns, raw)
    if output is None:
        for text, _ in texts:
            terminal.write_data(text)
        return
    count = 0
    with output_file(output) as file:
        for text, rows in texts:
            file.write(text.encode())
            count += rows
    log.say(f"{count:,} answers in {output}")


def _csv_blocks(
    blocks: Iterable[list[dict[str, Any]]], columns: Sequence[str], raw: bool
) -> Iterator[tuple[str, int]]:
    """Yield the blocks as CSV, the first with the header, and their numbers of rows."""
    from tailorbird.runs.checked_files import csv_lines

    names: dict[str, str] = {}
    for answers in filter(None, blocks):
        own = [answer.get("row") or _input(answer) for answer in answers]
        cells = [_columns(answer) for answer in answers]
        head: list[list[str]] = []
        if not names:
            columns = columns or list(dict.fromkeys(name for row in own for name in row))
            names = _free_names(dict.fromkeys(name for row in cells for name in row), columns)
            head = [[*columns, *names.values()]]
        rows = [
            [*(row.get(name) for name in columns), *(answer.get(name) for name in names)]
            for row, answer in zip(own, cells, strict=True)
        ]
        yield csv_lines([*head, *rows], raw=raw), len(rows)


def _free_names(names: Iterable[str], columns: Sequence[str]) -> dict[str, str]:
    """Return our column names, changed if the file already has them."""
    free = {}
    for name in names:
        free[name] = name
        while free[name] in columns:
            free[name] = f"new_{free[name]}"
    renamed = [f"{new} (the file has {name})" for name, new in free.items() if new != name]
    if renamed:
        log.say(f"columns of the answers: {', '.join(renamed)}")
    return free


def _input(answer: dict[str, Any]) -> dict[str, Any]:
    names = ("prompt",) if answer.get("prompt") else ("text", "pair")
    return {name: answer[name] for name in names if name in answer}


def _columns(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a prediction."""
    if answer.get("prompt"):
        return {"answer": answer["text"]}
    values = answer.get("values")
    if isinstance(values, dict):
        named = {f"predicted({name})": value for name, value in values.items()}
        return named if len(named) > 1 else {"predicted": next(iter(values.values()))}
    if isinstance(answer.get("labels"), list | tuple):
        head = {"predicted": json.dumps(list(answer["labels"]), ensure_ascii=False)}
    else:
        head = {"predicted": answer["label"], "confidence": f"{answer['confidence']:.6f}"}
    shares = answer.get("probabilities", {})
    return head | {f"p({name})": f"{share:.6f}" for name, share in shares.items()}
