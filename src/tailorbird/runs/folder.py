"""The run folder: the only place that knows file names. All writes are atomic."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tailorbird.errors import Interrupted, UserError
from tailorbird.runs.atomic import lock_file, new_folder, write_atomically, writing
from tailorbird.runs.checked_files import Kind, read_as, read_json, read_rows

CONFIG, REPORT, PAGE, CARD = "config.yaml", "report.json", "report.html", "README.md"
MODEL, JOURNAL, PREDICTIONS = "model", "journal.jsonl", "predictions.jsonl"
CORRECTIONS = "corrections.jsonl"
CHECKPOINTS, ENVIRONMENT, LABELS = "checkpoints", "environment.json", "labels.json"
ARMS, DATA, PROBABILITIES, ARM = "arms", "data", "probabilities.npz", "arm.json"
TASK, VALUES, SHOWN = "task.json", "values.npz", "data/shown.json"
TENSORBOARD, LOCK = "tensorboard", ".lock"
SEARCH, TARGET, LABEL_ERRORS = "search", "target.json", "label_errors.csv"
KIND, SEEDS, CURVE = "kind.json", "seeds", "curve"


class RunFolder:
    """Names and writes the files of one run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def file(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path / name

    def arm(self, name: str) -> "RunFolder":
        """Return the folder of one arm of a comparison."""
        return RunFolder(self.path / ARMS / name)

    @property
    def run(self) -> "RunFolder":
        """The folder of the run that this arm belongs to; itself for a run with one arm."""
        above = (p for p in (self.path, *self.path.parents) if (p / DATA / "split.json").is_file())
        return RunFolder(next(above, self.path))

    @property
    def exists(self) -> bool:
        """Whether the folder contains a run, finished or not."""
        return self.file(CONFIG).is_file()

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return self.file(ARM).is_file() or self.file(REPORT).is_file()

    def start(self, *, resume: bool) -> None:
        """Create the folder, refusing one that is in use.

        Raises:
            UserError: See `check_free`; or the folder cannot be created.
        """
        self.check_free(resume=resume)
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def check_free(self, *, resume: bool) -> None:
        """Refuse a folder that is in use.

        Raises:
            UserError: It is a file, contains other files or a run, or has no run to resume.
        """
        if self.path.is_file():
            raise UserError(f"output {self.path} is a file", "give a folder: --output FOLDER")
        names = [item.name for item in self.path.iterdir()] if self.path.is_dir() else []
        names = [name for name in names if name != LOCK]
        if names and not resume:
            what = "a run" if self.exists else f"other files ({', '.join(sorted(names)[:3])})"
            raise UserError(
                f"output folder {self.path} is in use: it holds {what}",
                "give another --output"
                + (", or --resume to continue it" if self.exists else ", or empty it"),
            )
        if resume and names and not self.exists:
            raise UserError(f"{self.path} holds no run to resume", "check --output")

    @contextmanager
    def locked(self, *, wait: bool = False, forget: bool = False) -> Iterator[None]:
        """Lock the folder for this process; the system unlocks it when the process ends.

        Args:
            wait: Wait for another process with the lock, instead of raising.
            forget: Remove the folder if it stays empty, as when the data cannot be read.

        Raises:
            UserError: Another process has the lock.
            Interrupted: Ctrl-C, with the folder in it.
        """
        with ExitStack() as stack:
            if forget:
                stack.callback(self._forget)
            try:
                stack.enter_context(lock_file(self.file(LOCK), wait=wait))
            except OSError:
                raise UserError(
                    f"output folder {self.path} is in use by another tailor process",
                    "wait for it to end, or give another --output",
                ) from None
            try:
                yield
            except (Interrupted, KeyboardInterrupt) as stop:
                where = stop if isinstance(stop, Interrupted) else Interrupted("stopped")
                where.folder = self.path
                raise where from None

    def _forget(self) -> None:
        with suppress(OSError):  # it is not empty
            self.path.rmdir()

    @contextmanager
    def emptied_when_refused(self, *, unless: bool = False) -> Iterator[None]:
        """Remove a run's files if a user error ends it before any result.

        The same command then works once the error is fixed: a folder with a run is refused, and
        resuming keeps the wrong settings.

        Args:
            unless: Keep all files, which may be an earlier run's or another process's.
        """
        try:
            yield
        except UserError:
            traces = (JOURNAL, ARM, MODEL, CHECKPOINTS)
            if not unless and not any(any(self.path.rglob(name)) for name in traces):
                for item in self.path.iterdir():
                    if item.name != LOCK:
                        shutil.rmtree(item) if item.is_dir() else item.unlink()
            raise

    def write(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        write_atomically(self.file(name), text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file atomically."""
        self.write(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_rows(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write a JSONL file atomically."""
        self.write(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def read_json(self, name: str) -> Any:
        """Read a JSON file.

        Raises:
            UserError: It is missing or damaged.
        """
        with self._present(name):
            return read_json(self.file(name))

    def read_as(self, name: str, kind: type[Kind]) -> Kind:
        """Read a JSON file with a dataclass or another type that pydantic knows.

        Raises:
            UserError: It is missing or damaged, or has other contents.
        """
        with self._present(name):
            return read_as(self.file(name), kind)

    @contextmanager
    def _present(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise UserError(f"{self.path} has no {name}", self._what_is_there()) from None

    def _what_is_there(self) -> str:
        if not self.path.is_dir():
            return "check the path: there is no such folder"
        if self.exists:
            return "the run is not finished: continue it with --resume"
        return "give a folder that `tailor tune` or `tailor compare` made"

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """Read a JSONL file; a last line cut off by a kill is ignored.

        Raises:
            UserError: It is damaged.
        """
        return read_rows(self.file(name), dict[str, Any])

    def new_folder(self, name: str) -> AbstractContextManager[Path]:
        """Yield a folder to fill, which gets its name only once it is complete."""
        return new_folder(self.file(name))

    def exchange_seed(self, own: str, other: str) -> None:
        """Swap the training in an arm's folder with one in its `seeds`.

        Files are linked, so that neither is ever incomplete; their contents are not written. A
        search belongs to the arm and stays.

        Args:
            own: The seed of the folder's present training.
            other: The seed of its new one.
        """
        with RunFolder(self.path.parent).new_folder(self.path.name) as part:
            _link_all(self.file(SEEDS) / other, part)
            _link_all(self.path, part / SEEDS / own, SEEDS, SEARCH)
            if self.file(SEARCH).is_dir():
                _link_all(self.file(SEARCH), part / SEARCH)
            for place in self.file(SEEDS).iterdir():
                if place.name != other:
                    _link_all(place, part / SEEDS / place.name)

    def size_bytes(self, name: str) -> int:
        """Return the size of a file, or of all files in a folder."""
        path = self.file(name)
        if path.is_file():
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _link_all(source: Path, target: Path, *without: str) -> None:
    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in without if name in names and Path(folder) == source]

    def link(original: str, copy: str) -> str:
        try:
            os.link(original, copy)
        except OSError:  # not every file system supports links
            shutil.copy2(original, copy)
        return copy

    shutil.copytree(source, target, ignore=left_out, copy_function=link, dirs_exist_ok=True)
