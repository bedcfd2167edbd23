"""Decides which files of a folder are left out: .gitignore, .tailorignore, hidden files."""

import contextlib
import functools
import os
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path

from tailorbird import log

IGNORE_FILES = (".gitignore", ".tailorignore")
_LARGEST_BYTES = 1 << 18
# RE2 compiles a group of patterns into one machine of bounded size.
_LINES_AT_ONCE = 500
# Files that programs write for themselves.
_ALWAYS = ("__pycache__/", "node_modules/", "__MACOSX/", "*.pyc", "~$*", "*.egg-info/")
# A name that no real pattern matches; a pattern that does matches every file in its folder.
_ANY_NAME = "\x07"
# A knowledge base inside a folder of documents contains one of these files.
_LEDGERS = "ledger.sqlite", "ledger.json"
_KNOWLEDGE = ("/ledger.sqlite*", "/ledger.json", "/lock", "/index/", "/embedders/", "/rerankers/")


class Globs:
    """Patterns as in a .gitignore: `*.md`, `drafts/`, `docs/**/old.txt`.

    Raises:
        ValueError: A pattern is invalid in git too, or is too large.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        from pathspec import GitIgnoreSpec

        self.patterns = patterns
        try:
            # RE2's time is linear in the name for any pattern, unlike Python's. pathspec also
            # compiles with Python, which warns about some patterns.
            with warnings.catch_warnings(action="ignore"):
                self._spec = GitIgnoreSpec.from_lines(patterns, backend="re2")
        except Exception as error:  # RE2's, re's and pathspec's errors have no common base
            raise ValueError(f"not a valid git pattern: {_excerpt(patterns)}") from error

    def verdict(self, place: str) -> bool | None:
        """Return whether the last matching pattern selects a path or negates that; None: no match.

        Args:
            place: Path relative to the patterns' folder; a folder's ends with a slash.
        """
        words = place.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        verdict: bool | None = self._spec.check_file(words).include
        return verdict


class Rules:
    """The ignore rules of a folder and its parents; the deepest takes precedence.

    Rules above the folder that exclude it are ignored, since it was named explicitly.
    """

    def __init__(self, exclude: Globs, root: Path) -> None:
        self._exclude = exclude
        self._root = root
        self._rules_of: dict[Path, list[tuple[Path, Globs]]] = {}

    def ignored(self, path: Path, *, is_folder: bool) -> bool:
        """Return whether a file or a folder is excluded."""
        if is_clutter(path.name + "/" * is_folder):
            return True
        if self._exclude.verdict(_place(path, self._root, is_folder)):
            return True
        for folder, globs in reversed(self._of(path.parent)):
            verdict = globs.verdict(_place(path, folder, is_folder))
            if verdict is not None:
                return verdict
        return False

    def _of(self, folder: Path) -> list[tuple[Path, Globs]]:
        """Return the rules of a folder and its parents."""
        if folder not in self._rules_of:
            inside = folder != self._root and self._root in folder.parents
            above = self._of(folder.parent) if inside else _above(folder)
            self._rules_of[folder] = [*above, *_own(folder)]
        return self._rules_of[folder]


def _above(folder: Path) -> list[tuple[Path, Globs]]:
    """Return the rules of a folder's git repository."""
    if (folder / ".git").exists():
        return []
    absolute = Path(os.path.abspath(folder))
    for number, parent in enumerate(absolute.parents, 1):
        if (parent / ".git").exists():
            chain = list(reversed(absolute.parents[:number]))
            return [rule for place in chain for rule in _own(place, absolute)]
    return []


def _own(folder: Path, named: Path | None = None) -> list[tuple[Path, Globs]]:
    """Return the rules in a folder itself; invalid ones are logged.

    Args:
        named: A path below it that is read even if a rule excludes it.
    """
    rules = [Globs(_KNOWLEDGE)] if any((folder / name).is_file() for name in _LEDGERS) else []
    for name in IGNORE_FILES:
        try:
            lines = _lines(folder / name)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            log.warn(f"{folder / name} is not followed: {error}")
            continue
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = _valid_globs(lines[start : start + _LINES_AT_ONCE], folder / name)
            rules += some if named is None else _without(some, named, folder / name)
    return [(folder, globs) for globs in rules]


def _without(rules: list[Globs], named: Path, file: Path) -> list[Globs]:
    """Return rules without the patterns that exclude a named folder, which is logged."""
    inside = _place(named / _ANY_NAME, file.parent, is_folder=False)
    if not any(globs.verdict(inside) for globs in rules):
        return rules
    singly = [Globs([pattern]) for globs in rules for pattern in globs.patterns]
    against = [globs for globs in singly if globs.verdict(inside)]
    log.say(
        f"{file} leaves out {os.path.relpath(named)}, which is read since it was named: "
        f"{_excerpt([pattern for globs in against for pattern in globs.patterns])}"
    )
    return [globs for globs in singly if globs not in against]


def _lines(path: Path) -> list[str]:
    """Return the lines of an ignore file.

    Raises:
        ValueError: It is a pipe, a device, a link, or implausibly large.
    """
    # Checked before opening, since a pipe would block. As in git, links are not followed: they may
    # lead to any of the user's files.
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > _LARGEST_BYTES:
        raise ValueError(f"it has {status.st_size:,} bytes, more than {_LARGEST_BYTES:,}")
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def is_clutter(place: str) -> bool:
    """Return whether a file is hidden or a program's own, in any folder."""
    return any(part.startswith(".") for part in place.split("/")) or bool(_always().verdict(place))


@functools.cache
def _always() -> Globs:
    return Globs(_ALWAYS)


def _valid_globs(lines: Sequence[str], path: Path) -> list[Globs]:
    """Return the valid patterns among lines."""
    with contextlib.suppress(ValueError):
        return [Globs(lines)]
    rules, bad = [], []
    for line in lines:
        try:
            rules.append(Globs([line]))
        except ValueError:
            bad.append(line)
    log.warn(f"{path}: {len(bad)} lines are not valid git patterns: {_excerpt(bad)}")
    return rules


def _excerpt(patterns: Sequence[str]) -> str:
    return repr(", ".join(patterns)[:80])


def _place(path: Path, folder: Path, is_folder: bool) -> str:
    return os.path.relpath(path, folder).replace(os.sep, "/") + "/" * is_folder
