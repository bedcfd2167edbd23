"""The process that reads files: takes one per line on stdin, returns one JSON object each.

A separate process confines a file that hangs, exhausts memory or crashes a library. Answers are
JSON, not pickles, since the parent must not run code from a process that a damaged file subverted.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tailorbird.documents.read_result import ReadOptions, Unreadable, failure
from tailorbird.documents.readers import read_file
from tailorbird.processes import answer_questions, cap_memory
from tailorbird.records import Document

# The parent kills in time; this is for when the parent is gone.
_GRACE_SECONDS = 10
_MOST_NOTES = 20


def main() -> None:
    """Process requests until stdin ends."""
    options = ReadOptions(**json.loads(sys.stdin.buffer.readline()))
    cap_memory(options.memory_bytes)

    def answer(question: bytes) -> bytes:
        _alarm(int(options.seconds) + _GRACE_SECONDS)
        body = _encode(_answer(json.loads(question), options))
        _alarm(0)
        return body

    answer_questions(answer)


def _alarm(seconds: int) -> None:
    with contextlib.suppress(AttributeError):  # not on Windows
        signal.alarm(seconds)


def _answer(question: dict[str, Any], options: ReadOptions) -> dict[str, Any]:
    path = Path(os.fsdecode(bytes.fromhex(question["path"])))
    answer: dict[str, Any] = {"digest": ""}
    try:
        answer["digest"] = digest = file_digest(path, options)
        if digest == question["known"]:
            return answer | {"unchanged": True}
        documents, notes = read_file(path, question["source"], options)
        more = [f"and {len(notes) - _MOST_NOTES:,} more notes"] * (len(notes) > _MOST_NOTES)
        return answer | {
            "documents": [_plain(d) for d in documents],
            "notes": notes[:_MOST_NOTES] + more,
        }
    except Unreadable as error:
        return answer | {"why": str(error)}
    except OSError as error:
        return answer | {"why": f"cannot be opened: {error.strerror or error}"}
    except MemoryError:
        return answer | {"why": out_of_memory(options)}
    except Exception as error:
        return answer | {"why": failure(error, "a document")}


def out_of_memory(options: ReadOptions) -> str:
    """Return the message that a file needs too much memory."""
    return (
        f"reading it needs more than {options.memory_bytes / 2**20:,.0f} MB of memory "
        "(index.worker_memory_mb)"
    )


def file_digest(path: Path, options: ReadOptions) -> str:
    """Return a hash of the settings followed by a hash of a file's bytes."""
    with path.open("rb") as file:
        return f"{options.fingerprint}-{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _plain(document: Document) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which takes longer than reading.
    plain = {name: getattr(document, name) for name in _FIELDS}
    plain["marks"] = [[m.start, m.page, m.headings] for m in document.marks]
    return plain


_FIELDS = tuple(field.name for field in dataclasses.fields(Document))


def _encode(answer: dict[str, Any]) -> bytes:
    try:
        return json.dumps(answer).encode("ascii")
    except MemoryError:
        why = "too large to hand on"
    except (ValueError, RecursionError) as error:  # such as a number of thousands of digits
        why = failure(error, "a document")
    return json.dumps({"digest": answer["digest"], "why": why}).encode()


if __name__ == "__main__":
    main()
