"""Which files of a folder are left out: .gitignore, .tailorignore, hidden ones."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

IGNORE_FILES = (".gitignore", ".tailorignore")
# Never written by a person for a person.
_ALWAYS = ("__pycache__/", "node_modules/", "*.pyc", "~$*", "*.egg-info/")


class Globs:
    """Patterns as in a .gitignore: `*.md`, `drafts/`, `docs/**/old.txt`."""

    def __init__(self, patterns: Sequence[str]) -> None:
        from pathspec import GitIgnoreSpec

        self._spec = GitIgnoreSpec.from_lines(patterns)

    def verdict(self, place: str) -> bool | None:
        """Return whether the last pattern that fits takes (True) or leaves (False); None: none.

        Args:
            place: Path from the patterns' folder on, a folder's with a slash at its end.
        """
        verdict: bool | None = self._spec.check_file(place).include
        return verdict


class Rules:
    """The ignore rules that hold in a folder, its parents' included; the deepest has the word."""

    def __init__(self, exclude: Sequence[str], root: Path) -> None:
        self._exclude = Globs(exclude) if exclude else None
        self._root = root
        self._always = Globs(_ALWAYS)
        self._found: dict[Path, list[tuple[Path, Globs]]] = {}

    def ignored(self, path: Path, *, is_folder: bool) -> bool:
        """Whether a file or a folder is left out."""
        name = path.name + "/" * is_folder
        if path.name.startswith(".") or self._always.verdict(name):
            return True
        if self._exclude and self._exclude.verdict(_place(path, self._root, is_folder)):
            return True
        for folder, globs in reversed(self._of(path.parent)):
            verdict = globs.verdict(_place(path, folder, is_folder))
            if verdict is not None:
                return verdict
        return False

    def _of(self, folder: Path) -> list[tuple[Path, Globs]]:
        """Return the rules of a folder and of those above it that belong to it."""
        if folder not in self._found:
            inside = folder != self._root and self._root in folder.parents
            above = self._of(folder.parent) if inside else _above(folder)
            self._found[folder] = [*above, *_own(folder)]
        return self._found[folder]


def _above(folder: Path) -> list[tuple[Path, Globs]]:
    """Return the rules of the git repository that a folder lies in."""
    if (folder / ".git").exists():
        return []
    absolute = Path(os.path.abspath(folder))
    for number, parent in enumerate(absolute.parents, 1):
        if (parent / ".git").exists():
            chain = list(reversed(absolute.parents[:number]))
            return [rule for place in chain for rule in _own(place)]
    return []


def _own(folder: Path) -> list[tuple[Path, Globs]]:
    found = []
    for name in IGNORE_FILES:
        try:
            lines = (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
            found.append((folder, Globs(lines)))
        except (OSError, ValueError):  # none there, or a pattern that git would not take either
            continue
    return found


def _place(path: Path, folder: Path, is_folder: bool) -> str:
    place: Any = os.path.relpath(path, folder)
    return str(place).replace(os.sep, "/") + "/" * is_folder
