"""The text that builtin:tutor is trained on, and the files it never sees.

Everything here is on every machine that has Python and this repository: the standard library's
sources, the topics behind `help()`, and the bundled tutor's pages and training programs. Hints
are left out even for training rows, so that the model is an honest starting point for
learning them.
"""

import csv
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
TUTOR = ROOT / "examples" / "tutor"
HELD_OUT_SHARE = 0.06
# Held-out files with more of their long lines than this in training files are in neither.
NEAR_SHARE = 0.15
LONG_LINE = 20
# Test suites and generated tables teach no Python; `_sysconfigdata` holds one machine's paths.
LEFT_OUT_PARTS = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages"}
LEFT_OUT_TOPS = (
    "pydoc_data",
    "encodings",
    "_sysconfigdata",
    "config-",
    "lib-dynload",
    "stringprep",
)
LEFT_OUT = ("html/entities.py", "re/_casefix.py")


@dataclass(frozen=True)
class Document:
    """One text and where it is from: `stdlib/`, `topics/`, `pages/` or `programs/` and a name."""

    name: str
    text: str

    @property
    def kind(self) -> str:
        """Return the first part of the name."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Corpus:
    """What is trained on, what is measured on, and what is in neither."""

    train: tuple[Document, ...]
    held_out: tuple[Document, ...]
    near: tuple[str, ...]

    def size_bytes(self, kind: str = "") -> int:
        """Return the bytes of the training text, all of it or of one kind."""
        return sum(len(d.text.encode()) for d in self.train if kind in ("", d.kind))


def standard_library() -> Iterator[Document]:
    """Yield the running interpreter's own modules, by path."""
    top = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(top.rglob("*.py"), key=lambda p: p.relative_to(top).as_posix()):
        name = path.relative_to(top).as_posix()
        if _is_wanted(PurePosixPath(name)):
            text = path.read_text(encoding="utf-8", errors="replace")
            if len(text) > 200:
                yield Document(f"stdlib/{name}", text.replace("\r\n", "\n"))


def _is_wanted(name: PurePosixPath) -> bool:
    module = name.parts[0].removesuffix(".py")
    if str(name) in LEFT_OUT or name.parts[0].startswith(LEFT_OUT_TOPS):
        return False
    # Installers put files of their own beside the library's.
    if module not in sys.stdlib_module_names:
        return False
    return not LEFT_OUT_PARTS.intersection(name.parts)


def topics() -> Iterator[Document]:
    """Yield what `help("FOR")` and its like print."""
    from pydoc_data.topics import topics as known

    for name in sorted(known):
        yield Document(f"topics/{name}", known[name].strip() + "\n")


def pages() -> Iterator[Document]:
    """Yield the bundled tutor's knowledge base."""
    for path in sorted((TUTOR / "pages").glob("*.md")):
        yield Document(f"pages/{path.stem}", path.read_text(encoding="utf-8"))


def programs() -> Iterator[Document]:
    """Yield the programs of the bundled training rows, without labels and hints."""
    with (TUTOR / "train.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield Document(f"programs/{number:04d}", row["text"] + "\n")


def is_held_out(name: str) -> bool:
    """Choose by the path alone, so that every machine and Python version chooses alike."""
    draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return draw / 2**64 < HELD_OUT_SHARE


@cache
def build() -> Corpus:
    """Return the corpus of this interpreter and this repository."""
    library = list(standard_library())
    seen = [d for d in library if not is_held_out(d.name)]
    known = [_long_lines(d.text) for d in seen]
    held_out, near = [], []
    for document in library:
        if is_held_out(document.name):
            alike = near_share(document.text, known)
            (near if alike > NEAR_SHARE else held_out).append(document)
    train = [*seen, *topics(), *pages(), *programs()]
    return Corpus(tuple(train), tuple(held_out), tuple(d.name for d in near))


def near_share(text: str, others: list[set[str]]) -> float:
    """Return the largest share of a text's long lines that one of the others holds."""
    lines = _long_lines(text)
    return max((len(lines & other) / max(1, len(lines)) for other in others), default=0.0)


def _long_lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if len(line.strip()) >= LONG_LINE}


def main() -> None:
    """Print what the corpus holds."""
    corpus = build()
    print(f"Python {sys.version.split()[0]}")
    for kind in ("stdlib", "topics", "pages", "programs"):
        count = sum(d.kind == kind for d in corpus.train)
        print(f"train {kind}: {count} texts, {corpus.size_bytes(kind):,} bytes")
    for document in corpus.held_out:
        print(f"held out: {document.name} {len(document.text.encode()):,} bytes")
    print("in neither (near copies of training files):", ", ".join(corpus.near) or "none")


if __name__ == "__main__":
    main()
