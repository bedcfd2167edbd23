"""The split of a run, kept in its folder so that every arm and every resume sees the same one."""

from dataclasses import asdict
from typing import Any

from tailorbird.records import Example, Finding, Message, Split
from tailorbird.runs.folder import DATA, RunFolder

_PARTS = ("train", "validation", "test")


def save_split(folder: RunFolder, split: Split, source: str, columns: dict[str, str]) -> None:
    """Write the three parts as JSONL and the rest as JSON."""
    for part in _PARTS:
        folder.write_rows(f"{DATA}/{part}.jsonl", (asdict(e) for e in getattr(split, part)))
    rest = {
        "source": source,
        "columns": columns,
        "labels": split.labels,
        "how": split.how,
        "task": split.task,
        "form": split.form,
        "separator": split.separator,
        "findings": [asdict(finding) for finding in split.findings],
    }
    # Last, so that its presence says that the parts are complete.
    folder.write_json(f"{DATA}/split.json", rest)


def load_split(folder: RunFolder) -> tuple[Split, str, dict[str, str]]:
    """Read back what `save_split` wrote.

    Raises:
        UserError: Something is missing or damaged.
    """
    rest: dict[str, Any] = folder.read_json(f"{DATA}/split.json")
    parts = {
        part: tuple(map(example_from_json, folder.read_rows(f"{DATA}/{part}.jsonl")))
        for part in _PARTS
    }
    findings = tuple(map(finding_from_json, rest["findings"]))
    split = Split(
        labels=tuple(rest["labels"]),
        how=rest["how"],
        findings=findings,
        task=rest["task"],
        form=rest["form"],
        separator=rest.get("separator"),
        **parts,
    )
    return split, rest["source"], rest["columns"]


def example_from_json(row: dict[str, Any]) -> Example:
    """Return the example that `dataclasses.asdict` made `row` of."""
    messages = tuple(Message(**message) for message in row["messages"])
    more: dict[str, Any] = {
        name: tuple(row.get(name, ())) for name in ("pair", "labels", "values", "words")
    }
    more |= {"group": row.get("group", ""), "time": row.get("time")}
    return Example(row["text"], row["label"], row["row"], messages, tuple(row["tools"]), **more)


def finding_from_json(row: dict[str, Any]) -> Finding:
    """Return the finding that `dataclasses.asdict` made `row` of."""
    return Finding(**row | {"samples": tuple(row["samples"])})


def has_split(folder: RunFolder) -> bool:
    """Say whether the folder holds a complete split."""
    return folder.file(f"{DATA}/split.json").is_file()
