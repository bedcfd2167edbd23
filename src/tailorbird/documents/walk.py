"""Paths, folders and globs to the files to read."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tailorbird import log
from tailorbird.documents.ignore import Globs, Rules
from tailorbird.errors import Faults

if TYPE_CHECKING:
    from tailorbird.config.knowledge import IndexConfig


def find_files(paths: Iterable[str | Path], config: "IndexConfig") -> list[Path]:
    """Return the files that paths name, each once; those of folders in the order of their names.

    A file that is named itself is taken whatever the rules say. From folders come the files that
    `index.include` takes, without hidden ones and those that `index.exclude`, .gitignore or
    .tailorignore leave out. Links to folders are followed, once.

    Args:
        paths: Files, folders and globs such as ``docs/**/*.md``.
        config: `include` and `exclude`.

    Raises:
        UserError: Paths that do not exist; all are named.
    """
    faults = Faults()
    found: dict[str, Path] = {}
    for given in paths:
        path = Path(given).expanduser()
        named = [path]
        # Not `path.exists()`, which raises where a folder on the way may not be opened.
        if not os.path.exists(path):
            matches = glob.glob(str(path), recursive=True) if glob.has_magic(str(path)) else []
            named = [Path(match) for match in sorted(matches)]
            if not named:
                faults.add(f"{given}: there is no such file or folder", "check the path")
        for one in named:
            # A glob's matches are as if named, but not all that lies below a folder it matches.
            for file in _walk(one, config) if one.is_dir() else [one]:
                found.setdefault(source_of(file), file)
    faults.raise_if_any()
    return list(found.values())


def source_of(path: Path) -> str:
    r"""Return what a file is known by: its path as given, or from the working folder on inside it.

    Slashes on every system. Bytes of a name that are no UTF-8 are written as ``\xff``.
    """
    plain = os.path.normpath(path)
    if os.path.isabs(plain):
        relative = os.path.relpath(plain) if _same_drive(plain) else plain
        plain = plain if relative.startswith("..") else relative
    return os.fsencode(plain).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def _same_drive(path: str) -> bool:
    return os.path.splitdrive(path)[0] == os.path.splitdrive(os.getcwd())[0]


def _walk(root: Path, config: "IndexConfig") -> Iterator[Path]:
    include = Globs(config.include) if config.include else None
    rules = Rules(config.exclude, root)
    seen = {_identity(root)}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:  # may not be opened, or is gone since
            _left_out(folder, error)
            continue
        inner = []
        for entry in entries:
            path = folder / entry.name
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:  # a link to itself, a lost network drive
                _left_out(path, error)
                continue
            if rules.ignored(path, is_folder=is_folder):
                continue
            if is_folder:
                # By device and inode, not by name: links may lead in a circle.
                if (identity := _identity(path)) not in seen:
                    seen.add(identity)
                    inner.append(path)
            elif is_file and _taken(include, path, root):
                yield path
        waiting.extend(reversed(inner))


def _left_out(path: Path, error: OSError) -> None:
    log.warn(f"{source_of(path)} is left out: cannot be opened: {error.strerror}")


def _taken(include: Globs | None, path: Path, root: Path) -> bool:
    return include is None or bool(include.verdict(os.path.relpath(path, root)))


def _identity(folder: Path) -> tuple[int, int]:
    try:
        stat = folder.stat()
    except OSError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)
