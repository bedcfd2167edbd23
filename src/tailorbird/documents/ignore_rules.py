"""Which files of a folder are left out: .gitignore, .tailorignore, hidden ones."""

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
# Never written by a person for a person.
_ALWAYS = ("__pycache__/", "node_modules/", "__MACOSX/", "*.pyc", "~$*", "*.egg-info/")
# What no pattern names: one that takes it takes all that lies in its folder.
_ANY_NAME = "\x07"
# A knowledge base may stand in a folder of documents: it has one of these files.
_LEDGERS = "ledger.sqlite", "ledger.json"
_KNOWLEDGE = ("/ledger.sqlite*", "/ledger.json", "/lock", "/index/", "/embedders/", "/rerankers/")


class Globs:
    """Patterns as in a .gitignore: `*.md`, `drafts/`, `docs/**/old.txt`.

    Raises:
        ValueError: One that git would not take either, or that is too large.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        from pathspec import GitIgnoreSpec

        self.patterns = patterns
        try:
            # RE2's time is linear in the name whatever the pattern; Python's own is not. pathspec
            # has Python's compile them too, which warns of some.
            with warnings.catch_warnings(action="ignore"):
                self._spec = GitIgnoreSpec.from_lines(patterns, backend="re2")
        except Exception as error:  # RE2's, re's and pathspec's own have no base in common
            raise ValueError(f"no pattern of git's: {_excerpt(patterns)}") from error

    def verdict(self, place: str) -> bool | None:
        """Return whether the last pattern that fits takes (True) or leaves (False); None: none.

        Args:
            place: Path from the patterns' folder on, a folder's with a slash at its end.
        """
        words = place.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        verdict: bool | None = self._spec.check_file(words).include
        return verdict


class Rules:
    """The ignore rules that hold in a folder, its parents' included; the deepest has the word.

    Rules above the folder that leave out the folder itself do not hold: it was named.
    """

    def __init__(self, exclude: Globs, root: Path) -> None:
        self._exclude = exclude
        self._root = root
        self._rules_of: dict[Path, list[tuple[Path, Globs]]] = {}

    def ignored(self, path: Path, *, is_folder: bool) -> bool:
        """Whether a file or a folder is left out."""
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
        """Return the rules of a folder and of those above it that belong to it."""
        if folder not in self._rules_of:
            inside = folder != self._root and self._root in folder.parents
            above = self._of(folder.parent) if inside else _above(folder)
            self._rules_of[folder] = [*above, *_own(folder)]
        return self._rules_of[folder]


def _above(folder: Path) -> list[tuple[Path, Globs]]:
    """Return the rules of the git repository that a folder lies in."""
    if (folder / ".git").exists():
        return []
    absolute = Path(os.path.abspath(folder))
    for number, parent in enumerate(absolute.parents, 1):
        if (parent / ".git").exists():
            chain = list(reversed(absolute.parents[:number]))
            return [rule for place in chain for rule in _own(place, absolute)]
    return []


def _own(folder: Path, named: Path | None = None) -> list[tuple[Path, Globs]]:
    """Return the rules that lie in a folder itself; what cannot be followed is logged.

    Args:
        named: One below it that is read although a rule leaves it out.
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
    """Return rules without the patterns that leave out a named folder, which is logged."""
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
        ValueError: It is a pipe, a device, a link, or too large to be written by a person.
    """
    # Never opened before it is known to be a plain file: a pipe would wait for a writer. As git
    # does, no link is followed: it may lead to any file of the person's.
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no plain file")
    if status.st_size > _LARGEST_BYTES:
        raise ValueError(f"it has {status.st_size:,} bytes, more than {_LARGEST_BYTES:,}")
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def is_clutter(place: str) -> bool:
    """Say whether a file is hidden, or made by a program for itself, wherever it lies."""
    return any(part.startswith(".") for part in place.split("/")) or bool(_always().verdict(place))


@functools.cache
def _always() -> Globs:
    return Globs(_ALWAYS)


def _valid_globs(lines: Sequence[str], path: Path) -> list[Globs]:
    """Return the patterns of lines, without those that are none."""
    with contextlib.suppress(ValueError):
        return [Globs(lines)]
    rules, bad = [], []
    for line in lines:
        try:
            rules.append(Globs([line]))
        except ValueError:
            bad.append(line)
    log.warn(f"{path}: {len(bad)} lines are no patterns of git's: {_excerpt(bad)}")
    return rules


def _excerpt(patterns: Sequence[str]) -> str:
    return repr(", ".join(patterns)[:80])


def _place(path: Path, folder: Path, is_folder: bool) -> str:
    return os.path.relpath(path, folder).replace(os.sep, "/") + "/" * is_folder
