"""Sources of data: files, several of them, a pattern, a folder, a hub data set."""

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tailorbird.data.delimited import delimiter_of
from tailorbird.data.hub import hub_address, hub_splits
from tailorbird.data.split_files import FORMATS, KEYWORDS, folder_splits, saved_splits
from tailorbird.data.textfile import PACKED, kind_of, open_text
from tailorbird.errors import Faults, UserError, check_utf8, did_you_mean

_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Source:
    """The rows to read, and their origin.

    Attributes:
        name: Files separated by commas, a pattern (``data/*.csv``), a folder, or
            ``owner/name[:subset][@revision]`` on the Hugging Face hub; ``#split`` at the end
            selects a split of a folder or data set.
        most: The most rows to keep, sampled while reading; None: all.
        group: Column whose values must stay within one part.
    """

    name: str
    most: int | None = None
    seed: int = 0
    group: str | None = None
    time: str | None = None

    @classmethod
    def of(cls, named: "Path | str | Source") -> "Source":
        """Return a name as a source."""
        return named if isinstance(named, Source) else cls(str(named))


def files_of(name: str) -> tuple[Path, ...]:
    """Return the files of one part of the data.

    Raises:
        UserError: It does not exist, has several splits without a selection, or a file's name is
            not UTF-8.
    """
    splits = splits_of(name)
    if len(splits) > 1:
        names = ", ".join(splits)
        raise UserError(
            f"{name} has several splits: {names}",
            f"name the one to read: {name}#{'test' if 'test' in splits else next(iter(splits))}",
        )
    files = next(iter(splits.values()))
    check_utf8([str(file) for file in files], "the name of a file")
    return files


def splits_of(name: str) -> dict[str, tuple[Path, ...]]:
    """Return the splits of a name; plain files are one split with an empty name.

    Raises:
        UserError: It does not exist, or its files are ambiguous.
    """
    bare, mark, split = name.rpartition("#")
    if not mark or _exists(name):
        return _find_splits(name)
    splits = _find_splits(bare)
    if split not in splits:
        there = [s for s in splits if s]
        raise UserError(
            f"{bare} has no split {split!r}{did_you_mean(split, there)}",
            f"it has: {', '.join(there)}" if there else f"leave #{split} out",
        )
    return {split: splits[split]}


def parts_of(name: str) -> dict[str, str]:
    """Return the splits of a source for training, validation and test, as sources.

    Raises:
        UserError: As `splits_of`.
    """
    splits = splits_of(name)
    if len(splits) == 1:
        return {"training": name}
    roles = {"training": "train", "validation": "validation", "test": "test"}
    by_role = {
        role: next((s for s in splits if s in (split, *KEYWORDS[split])), None)
        for role, split in roles.items()
    }
    if by_role["training"] is None:
        raise UserError(
            f"{name} has the splits {', '.join(splits)}, but none is called train",
            f"name the one to train on: {name}#{next(iter(splits))}",
        )
    return {role: f"{name}#{split}" for role, split in by_role.items() if split is not None}


def _find_splits(name: str) -> dict[str, tuple[Path, ...]]:
    path = Path(name)
    if _exists(name):
        if path.is_dir():
            return saved_splits(path) or folder_splits(path, str(path))
        return {"": (_check_kind(path),)}
    if "," in name:
        faults = Faults()
        files: list[Path] = []
        for piece in filter(None, map(str.strip, name.split(","))):
            try:
                files += files_of(piece)
            except UserError as error:
                faults.catch(error)
        faults.raise_if_any()
        return {"": _once(files)}
    if glob.has_magic(name):
        hits = [Path(hit) for hit in sorted(glob.glob(name, recursive=True))]
        hits = [hit for hit in hits if hit.is_file()]
        if not hits:
            raise UserError(f"{name}: no file matches this pattern", "check the pattern and folder")
        return {"": tuple(map(_check_kind, hits))}
    address = hub_address(name)
    if address is not None and kind_of(path) not in FORMATS and not path.parent.is_dir():
        return hub_splits(address)
    raise _missing(path)


def _once(files: Iterable[Path]) -> tuple[Path, ...]:
    first_names: dict[Path, Path] = {}
    for file in files:
        first = first_names.setdefault(file.resolve(), file)
        if first is not file:
            raise UserError(f"{file}: the same file is named twice", "name it once")
    return tuple(first_names.values())


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError as error:
        raise UserError(f"{name}: cannot be opened: {error.strerror}", "check the path") from None


def _check_kind(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: this is not a regular file", "write the data to a file first")
    kind = kind_of(path)
    if kind in FORMATS or (not kind and kind_in(path)):
        return path
    what = f"files in {kind}" if kind else "files whose name has no ending, and no rows in them,"
    raise UserError(
        f"{path}: {what} cannot be read{did_you_mean(kind, FORMATS)}",
        f"save it as one of: {', '.join(FORMATS)} (also compressed: {', '.join(PACKED)})",
    )


def kind_in(path: Path) -> str:
    """Return the kind of a table: by its ending, or else by its content.

    Raises:
        UserError: It has no ending, and is empty, damaged or in no known encoding.
    """
    if (kind := kind_of(path)) or not path.is_file():
        return kind
    with path.open("rb") as file:
        start = file.read(8)
    for magic, binary in ((b"PAR1", ".parquet"), (b"ARROW1", ".arrow")):
        if start.startswith(magic):
            return binary
    try:
        with open_text(path) as text:
            head = text.read(_HEAD)
    except PermissionError:
        return ""
    return _kind_of_text(head)


def _kind_of_text(head: str) -> str:
    """Return the kind of a table by its first lines; empty if they are none."""
    if head.lstrip()[:1] == "[":
        return ".json"
    first, _, second = head.lstrip().partition("\n")
    if first[:1] == "{":
        whole = first.rstrip().endswith("}") and (not second.strip() or second[:1] in "{\n")
        return ".jsonl" if whole else ".json"
    delimiter = delimiter_of(head)
    split = bool(first and second and delimiter in first and delimiter in second.split("\n")[0])
    return (".tsv" if delimiter == "\t" else ".csv") if split else ""


def _missing(path: Path) -> UserError:
    folder = path.parent
    try:
        if not folder.is_dir():
            return UserError(f"{path}: the folder {str(folder)!r} does not exist", "check the path")
        near = did_you_mean(path.name, (p.name for p in folder.iterdir()))
    except OSError as error:
        return UserError(f"{path}: cannot be opened: {error.strerror}", "check the path")
    return UserError(f"{path}: there is no such file{near}", "check the name and the folder")
