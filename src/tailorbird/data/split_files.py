"""Assigns the files of a folder to splits: by its dataset card, or by their names.

The rules are those of Hugging Face's datasets, so that a folder means the same to both; where they
silently choose, this raises an error.
"""

import fnmatch
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tailorbird.data.line_files import ENDINGS as CONLL
from tailorbird.data.textfile import PACKED, kind_of
from tailorbird.errors import UserError, did_you_mean
from tailorbird.yaml_text import YamlFault, parse_yaml

KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
CARD = "README.md"
FORMATS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    **dict.fromkeys((".jsonl", ".ndjson"), "JSON Lines"),
    ".json": "JSON",
    **dict.fromkeys((".parquet", ".arrow"), "Parquet"),
    **dict.fromkeys(CONLL, "CoNLL"),
    ".txt": "text",
    ".md": "Markdown",
}
"""Formats of training data, by the ending of a file name; most are documents too."""

PROSE = (".txt", ".md")
TABLES = tuple(ending for ending in FORMATS if ending not in PROSE)
_ABOUT = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json", "readme.md"}
_SHARD = re.compile(r"^data/([^/]*)-\d{5}-of-\d{5}[^/]*\.[^/]*$")

Splits = dict[str, tuple[str, ...]]
"""The files of each split by its name, as relative paths."""


def saved_splits(folder: Path) -> dict[str, tuple[Path, ...]] | None:
    """Return the files of a folder written by datasets' `save_to_disk`, or None.

    A single set's split has the empty name.

    Raises:
        UserError: The folder is incomplete.
    """
    parts = folder / "dataset_dict.json"
    if parts.is_file():
        names = [str(name) for name in _json(parts)["splits"]]
        return {name: _saved_files(folder / name) for name in names}
    return {"": _saved_files(folder)} if (folder / "state.json").is_file() else None


def _saved_files(folder: Path) -> tuple[Path, ...]:
    listed = _json(folder / "state.json")["_data_files"]
    files = tuple(folder / str(entry["filename"]) for entry in listed)
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        what = f"{missing[0].name} is missing" if missing else "it has no data file"
        raise UserError(f"{folder}: incomplete: {what}", "save or copy the folder again")
    return files


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path.parent}: incomplete or damaged: {path.name}: {error}",
            "save or copy the folder again",
        ) from None


def names_within(folder: Path) -> list[str]:
    """Return the files in a folder, as relative paths."""
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def folder_splits(
    folder: Path, where: str, subset: str | None = None
) -> dict[str, tuple[Path, ...]]:
    """Return the files of a local folder's splits; see `split_files`."""
    file = folder / CARD
    card = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    splits = split_files(where, names_within(folder), card, subset)
    return {split: tuple(folder / name for name in files) for split, files in splits.items()}


def data_files(names: Iterable[str]) -> list[str]:
    """Return the names of data files: not hidden, and not descriptions of the others."""
    files = []
    for name in sorted(names):
        path = PurePosixPath(name)
        hidden = any(part.startswith((".", "__")) for part in path.parts)
        if (
            not hidden
            and path.name.lower() not in _ABOUT
            and kind_of(Path(name)) in (*TABLES, *PROSE)
        ):
            files.append(name)
    # Text files beside tables are notes on them.
    tables = [name for name in files if kind_of(Path(name)) in TABLES]
    return tables or files


def split_files(where: str, names: Sequence[str], card: str, subset: str | None) -> Splits:
    """Return the splits of a folder by its card, else by the names of its files.

    Args:
        card: The text of its README.md; may be empty.
        subset: The configuration; None: the only one, or the default.

    Raises:
        UserError: There is no data, no such subset, or the choice is ambiguous.
    """
    configurations = _configurations(card)
    if configurations:
        return _configured_splits(where, names, configurations, subset)
    if subset is not None:
        raise UserError(
            f"{where} has no subset {subset!r}: its card names none", f"leave :{subset} out"
        )
    files = data_files(names)
    kinds = sorted({kind_of(Path(name)) for name in files})
    if not files:
        packed = ", ".join(PACKED)
        raise UserError(
            f"{where}: there is no file of data in this folder",
            f"name a file or folder with {', '.join(FORMATS)} (or packed: {packed})",
        )
    if len(kinds) > 1:
        raise UserError(
            f"{where}: the folder holds files of several kinds: {', '.join(kinds)}",
            f"name those to read, such as '{where}/*{kinds[0]}'",
        )
    for splits in (_shards(files), _by_keyword(files, of_folders=True), _by_keyword(files)):
        if splits:
            return splits
    return {"": tuple(files)}


def _shards(files: Sequence[str]) -> Splits:
    splits: dict[str, list[str]] = {}
    for name in files:
        if match := _SHARD.match(name):
            splits.setdefault(match[1], []).append(name)
    return {split: tuple(names) for split, names in splits.items()}


def _by_keyword(files: Sequence[str], *, of_folders: bool = False) -> Splits:
    """Return the splits by words in the files' or their folders' names."""
    splits = {}
    for split, words in KEYWORDS.items():
        end = "(?=[-._ 0-9]|$)" if of_folders else "(?=[-._ 0-9])"
        word = re.compile(f"(^|[-._ 0-9])({'|'.join(words)}){end}")
        hits = []
        for name in files:
            path = PurePosixPath(name)
            parts = path.parts[:-1] if of_folders else (path.name,)
            if any(word.search(part) for part in parts):
                hits.append(name)
        if hits:
            splits[split] = tuple(hits)
    return splits


def _configurations(card: str) -> list[dict[str, Any]]:
    """Return the configurations in a dataset card, with their files."""
    head = re.match(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", card, re.S)
    if head is None:
        return []
    try:
        header = parse_yaml(head[1])
    except YamlFault:
        return []
    listed = header.get("configs") if isinstance(header, dict) else None
    every = [c for c in listed or () if isinstance(c, dict) and c.get("data_files")]
    return [{"config_name": "default"} | c for c in every]


def _configured_splits(
    where: str, names: Sequence[str], configurations: list[dict[str, Any]], subset: str | None
) -> Splits:
    subsets = [str(c["config_name"]) for c in configurations]
    if subset is None:
        default = [c for c in configurations if c.get("default") or c["config_name"] == "default"]
        if not default and len(configurations) > 1:
            some = ", ".join(subsets[:20]) + (" ..." if len(subsets) > 20 else "")
            raise UserError(
                f"{where} has {len(subsets)} subsets: {some}",
                f"name one after a colon: {where}:{subsets[0]}",
            )
        configuration = (default or configurations)[0]
    elif subset in subsets:
        configuration = configurations[subsets.index(subset)]
    else:
        raise UserError(
            f"{where} has no subset {subset!r}{did_you_mean(subset, subsets)}",
            f"it has: {', '.join(subsets[:20])}",
        )
    below = str(configuration.get("data_dir") or "").strip("/")
    splits: dict[str, list[str]] = {}
    for split, pattern in _patterns(configuration["data_files"]):
        whole = f"{below}/{pattern}" if below else pattern
        hits = [name for name in sorted(names) if _matches(name, whole)]
        if not hits:
            raise UserError(
                f"{where}: its card names {whole!r}, but there is no such file",
                "get the whole folder, or name the files",
            )
        splits.setdefault(split, []).extend(hits)
    return {split: tuple(dict.fromkeys(files)) for split, files in splits.items()}


def _patterns(files: Any) -> Iterable[tuple[str, str]]:
    """Yield the split and each pattern of a card's ``data_files`` in any of its forms."""
    if isinstance(files, dict):
        files = [{"split": split, "path": path} for split, path in files.items()]
    for entry in [files] if isinstance(files, str) else files:
        split = str(entry.get("split", "train")) if isinstance(entry, dict) else "train"
        paths = entry.get("path", ()) if isinstance(entry, dict) else entry
        for path in [paths] if isinstance(paths, str) else paths:
            yield split, str(path).removeprefix("./")


def _matches(name: str, pattern: str) -> bool:
    """Return whether a path matches a pattern in which a single star stays within a folder."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(name, pattern.replace("**/", "*").replace("**", "*"))
    parts, globs = name.split("/"), pattern.split("/")
    return len(parts) == len(globs) and all(map(fnmatch.fnmatchcase, parts, globs))
