"""Finds the files to read from paths, folders and globs."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from tailorbird import log
from tailorbird.data.message_words import listing
from tailorbird.documents.ignore_rules import Globs, Rules
from tailorbird.errors import Faults

if TYPE_CHECKING:
    from tailorbird.config.knowledge import IndexConfig


def find_files(paths: Iterable[str | Path], config: "IndexConfig") -> list[Path]:
    """Return the files that paths name, each once; those in folders sorted by name.

    An explicitly named file or folder is always read, whatever the ignore rules say. Files inside
    folders are read if `index.include` matches and they are not hidden nor excluded by
    `index.exclude`, .gitignore or .tailorignore. Links to folders are followed once; links out of
    the folder or to a hidden file only with `index.follow_links`.

    Args:
        paths: Files, folders and globs such as ``docs/**/*.md``.

    Raises:
        UserError: Paths that do not exist or invalid patterns; all are named.
    """
    faults = Faults()
    globs = {}
    for option in ("include", "exclude"):
        try:
            globs[option] = Globs(getattr(config, option))
        except ValueError as error:
            faults.add(f"index.{option}: {error}", "write globs such as 'drafts/' or '*.md'")
    faults.raise_if_any()
    files: dict[str, Path] = {}
    for pattern in paths:
        path = Path(pattern).expanduser()
        named = [path]
        # `path.exists()` raises if a parent folder may not be opened.
        if not os.path.exists(path):
            matches = glob.glob(str(path), recursive=True) if glob.has_magic(str(path)) else []
            named = [Path(match) for match in sorted(matches)]
            if not named:
                faults.add(f"{pattern}: there is no such file or folder", "check the path")
        for one in named:
            # A glob's matches count as named, but not the files below a matched folder.
            for file in _walk(one, config, **globs) if one.is_dir() else [one]:
                files.setdefault(source_of(file), file)
    faults.raise_if_any()
    return list(files.values())


def source_of(path: Path) -> str:
    r"""Return the name of a file as a source: its path as given, or relative to the working folder.

    It has slashes on every system. Bytes of a name that are not UTF-8 are written as ``\xff``, and
    a backslash in a name as ``\x5c``, so different files have different sources.
    """
    plain = os.path.normpath(path)
    if os.path.isabs(plain):
        same_drive = os.path.splitdrive(plain)[0] == os.path.splitdrive(os.getcwd())[0]
        relative = os.path.relpath(plain) if same_drive else plain
        plain = plain if relative.startswith("..") else relative
    plain = plain.replace(os.sep, "/").replace("\\", "\\x5c")
    return os.fsencode(plain).decode("utf-8", "backslashreplace")


def below(path: str, roots: Iterable[str]) -> bool:
    """Return whether a source is one of the files, folders or globs, or below one."""
    return any(
        (root == "." and not path.startswith(("/", "..")))
        or _matches(path.split("/"), root.rstrip("/").split("/"))
        for root in roots
    )


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the glob matches the path or a parent folder, as `glob.glob` would."""
    if not pattern:
        return True
    if pattern[0] == "**":
        visible = len(list(takewhile(lambda part: not part.startswith("."), parts)))
        return any(_matches(parts[n:], pattern[1:]) for n in range(visible + 1))
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    fits = parts[0] == pattern[0] or fnmatchcase(parts[0], pattern[0])
    return fits and _matches(parts[1:], pattern[1:])


def _walk(root: Path, config: "IndexConfig", include: Globs, exclude: Globs) -> Iterator[Path]:
    rules = Rules(exclude, root)
    inside = None if config.follow_links else os.path.realpath(root)
    strays = []
    folders = {_identity(root)}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        inner = []
        for entry in _entries(folder):
            path = folder / entry.name
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # a link to itself, a lost network drive
                _left_out(path, error)
                continue
            if rules.ignored(path, is_folder=is_folder):
                continue
            if inside is not None and entry.is_symlink() and _strays(path, inside):
                strays.append(source_of(path))
                continue
            if is_folder:
                # By device and inode, not by name, since links may form a cycle.
                if (identity := _identity(path)) not in folders:
                    folders.add(identity)
                    inner.append(path)
            elif not include.patterns or include.verdict(os.path.relpath(path, root)):
                yield path
        waiting.extend(reversed(inner))
    if strays:
        log.warn(
            f"links that lead out of {source_of(root)} or to hidden files are left out "
            f"(index.follow_links): {listing(strays)}"
        )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:  # no permission, or deleted since
        _left_out(folder, error)
        return []


def _strays(link: Path, inside: str) -> bool:
    """Return whether a link leads out of a folder, given by its real path, or to a hidden file."""
    place = os.path.relpath(os.path.realpath(link), inside)
    return any(part.startswith(".") and part != "." for part in Path(place).parts)


def _left_out(path: Path, error: OSError) -> None:
    log.warn(f"{source_of(path)} is left out: cannot be opened: {error.strerror}")


def _identity(folder: Path) -> tuple[int, int]:
    try:
        stat = folder.stat()
    except OSError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)
