"""Atomic writes of files and folders, which never follow links or write to devices."""

import errno
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from tailorbird.errors import NoSpace, UserError

_MOST_LINKS = 40


def replace_folder(part: Path, final: Path) -> None:
    """Move `part` to `final`; a kill in between leaves one of them complete."""
    old = final.with_name(f".{final.name}.old")
    remove(old)
    if final.exists():
        final.rename(old)
    part.rename(final)
    sync_folder(final.parent)
    remove(old)


def remove(path: Path) -> None:
    """Remove a folder, or a link in its place, but nothing behind the link."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def part_file(final: Path) -> Path:
    """Create an empty file beside `final`, never an existing one or one behind a link."""
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f".{final.name[:200]}.{secrets.token_hex(4)}.part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return part


def replace_file(part: Path, final: Path) -> Path:
    """Move the file `part` to `final` and sync it to disk; return `final`.

    A link of that name is replaced, not followed.
    """
    _sync_file(part)
    part.replace(final)
    sync_folder(final.parent)
    return final


@contextmanager
def new_file(final: Path) -> Iterator[Path]:
    """Yield a file to fill, which gets its name only once it is complete."""
    with writing(final):
        part = part_file(final)
        try:
            yield part
            replace_file(part, final)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield a folder to fill, which gets its name only once it is complete."""
    part = final.with_name(f".{final.name}.part")
    remove(part)
    try:
        with writing(final):
            part.mkdir(parents=True)
            yield part
            sync_all(part)
            replace_folder(part, final)
    finally:
        remove(part)  # frees space on a full disk


@contextmanager
def lock_file(path: Path, *, wait: bool) -> Iterator[None]:
    """Lock a file, which exists meanwhile; the system unlocks it when the process ends.

    Raises:
        BlockingIOError: Another process has the lock, and waiting is not requested.
    """
    import fcntl

    while True:
        with writing(path):
            handle = append_to(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            handle.close()
            raise
        # The previous owner may have removed the file, which then locks nothing.
        if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
            break
        handle.close()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        handle.close()


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically, and sync it to disk."""
    with new_file(path) as part:
        part.write_bytes(data)


@contextmanager
def output_file(path: Path) -> Iterator[IO[bytes]]:
    """Open the user's output: a new file that appears when complete, a device, pipe or open stream.

    A link is followed if it leads to a stream of this process (``/dev/stdout``); any other is
    replaced by the file.
    """
    if _is_stream(path):
        with writing(path), path.open("ab") as file:
            yield file
        return
    with new_file(path) as part, part.open("wb") as file:
        yield file
        file.flush()


def _is_stream(path: Path) -> bool:
    if not path.is_symlink():
        return path.exists() and not path.is_file() and not path.is_dir()
    own = (f"/proc/{os.getpid()}/fd", f"/proc/{os.getpid()}/task/{threading.get_native_id()}/fd")
    for _ in range(_MOST_LINKS):
        if str(path.parent.resolve()) in own:
            return path.exists()
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return False


def append_to(path: Path) -> TextIO:
    """Open a file for appending, but never behind a link."""
    return open(path, "a", encoding="utf-8", opener=_no_link)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def sync_all(folder: Path) -> None:
    """Sync every file of a folder to disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            _sync_file(file)


def _sync_file(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk, so that a power cut does not undo a rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's errors while writing `path` into messages.

    Raises:
        UserError: The disk is full, the place is read-only, or the like.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        fault = _os_error(error)
        if fault is None:
            raise
        if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoSpace(
                f"no space left on the disk of {path}", "free some space, or give another --output"
            ) from error
        raise UserError(
            f"{path} cannot be written: {fault.strerror}", "give another --output"
        ) from error


def _os_error(error: BaseException) -> OSError | None:
    """Return the system error in `error`, even if a library has wrapped it."""
    if isinstance(error, OSError):
        return error
    words = str(error)
    numbered = re.search(r"os error (\d+)", words)  # Rust's message, from safetensors
    number = int(numbered[1]) if numbered else 0
    if "No space left" in words or "unexpected pos" in words:
        number = errno.ENOSPC
    return OSError(number, os.strerror(number)) if number else None


def check_space(path: Path, needed_bytes: int) -> None:
    """Check that the disk has space for a result.

    Raises:
        UserError: Less than `needed_bytes` is free.
    """
    place = path
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise UserError(
            f"no space left for the run: {path} has {free / 1e6:,.0f} MB free, "
            f"about {needed_bytes / 1e6:,.0f} MB are needed",
            "free some space, or give another --output",
        )
