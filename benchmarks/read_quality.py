"""What documents lose when they are read: words, headings, table headers, order, encodings.

Makes files of every kind whose content is known, reads them with tailorbird and, where they are
installed, with markitdown and kreuzberg, and compares. Per kind and reader:

    words      of the words in the file, how many are in the text (recall)
    junk       of the words in the text, how many are not in the file or only stand around its
               content (menus, scripts, running heads)
    order      of two words that follow each other in a paragraph, heading or cell, how many do in
               the text
    headings   how many are marked as such
    cells      of the pairs of a value and a header of its column or row, how many are bound:
               `header: value`, or in the same column or row of a table in Markdown
    numbers    of the items of numbered lists, how many stand behind their number

The peers give Markdown. They may be in an environment of their own:

    python -m venv peers && peers/bin/pip install 'markitdown[all]' kreuzberg
    python benchmarks/read_quality.py --peers peers/bin/python

Prints one JSON line; the table goes to stderr.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any

from harness import emit, parser, say, stop

PEERS = ("markitdown", "kreuzberg")
MEASURES = ("words", "junk", "order", "headings", "cells", "numbers")
_TOKEN = re.compile(r"[\u0e00-\u0eff\u3040-\u9fff]|[^\W_\u0e00-\u0eff\u3040-\u9fff]+")
# What readers write of their own to say what follows.
_LABELS = frozenset(
    ("attachment", "attachments", "chart", "content", "date", "dec", "email", "footnote", "from")
    + ("mon", "note", "notes", "picture", "png", "sheet", "slide", "subject", "table", "to")
)
_ALL = "title headings text items tables notes"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of file is made, and what of a document it holds."""

    module: str
    writer: str
    parts: str = _ALL
    spans: bool = True
    numbers: str = ""
    suffix: str = ""


KINDS = {
    "html": Kind("made_documents", "write_html", numbers="each"),
    "md": Kind("made_documents", "write_markdown", spans=False, numbers="each"),
    "docx": Kind("made_office", "write_docx", numbers="through"),
    "odt": Kind("made_office", "write_odt", numbers="each"),
    "pptx": Kind("made_office", "write_pptx"),
    "xlsx": Kind("made_office", "write_xlsx", "headings tables"),
    "ods": Kind("made_office", "write_ods", "headings tables"),
    "pdf": Kind("made_office", "write_paper", spans=False, numbers="each"),
    "rtf": Kind("made_documents", "write_rtf", spans=False, numbers="each"),
    "eml": Kind("made_documents", "write_mail", "title headings text items"),
    "epub": Kind("made_documents", "write_epub", numbers="each"),
    "csv": Kind("made_documents", "write_csv", "tables", spans=False),
}


@dataclass(slots=True)
class Truth:
    """What a file holds."""

    kind: str
    sequences: list[str]
    headings: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    numbered: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Reading:
    """What a reader gave."""

    text: str
    headings: list[str]


def main() -> None:
    """Make the files, read them with each reader, and compare."""
    arguments = parser(__doc__)
    arguments.add_argument("--files", type=int, default=6, help="files of each kind")
    arguments.add_argument("--peers", type=Path, help="python that has markitdown and kreuzberg")
    arguments.add_argument("--keep", type=Path, help="folder to keep the files in")
    arguments.add_argument("--child", nargs=2, help="READER FOLDER: print what it reads there")
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(_read_all(*options.child)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        truths = make(folder, options.files)
        say(f"made {len(truths)} files of {len(KINDS) + 1} kinds")
        readings = {"tailorbird": _ours(folder, truths)}
        for peer in PEERS:
            answers = _peer(peer, options.peers, folder)
            if answers is not None:
                readings[peer] = {name: Reading(t, _marked(t)) for name, t in answers.items()}
        scores = {name: _scores(truths, found) for name, found in readings.items()}
    _show(scores)
    emit("read_quality", {"files": options.files, "readers": scores})


def make(folder: Path, count: int) -> dict[str, Truth]:
    """Write `count` files of each kind and one of each encoding; return what they hold."""
    from importlib import import_module

    from made_documents import ENCODED, story, write_encoded

    truths: dict[str, Truth] = {}
    for kind, how in KINDS.items():
        write: Callable[..., list[str] | None] = getattr(import_module(how.module), how.writer)
        for seed in range(count):
            # A table of plain rows in every other file, also where spans could be.
            made = story(1000 * len(truths) + seed, spans=how.spans and seed % 2 == 0)
            name = f"{kind}{seed}.{kind}"
            turned = {"turned": True} if kind == "pdf" and seed % 3 == 2 else {}
            more = write(folder / name, made, **turned) or []
            sections = made.sections[:1] if kind == "csv" else made.sections
            made.sections = sections
            truth = Truth(kind, [*made.sequences(how.parts), *more])
            if "headings" in how.parts and kind != "eml":
                truth.headings = [part.heading for part in sections]
            if "tables" in how.parts:
                truth.pairs = [pair for part in sections for pair in part.table.pairs]
            items = [item for part in sections for item in part.items]
            each = [1 + i % 3 if how.numbers == "each" else 1 + i for i in range(len(items))]
            truth.numbered = list(zip(each, items, strict=True)) if how.numbers else []
            truths[name] = truth
    for encoding, text in ENCODED.items():
        write_encoded(folder / f"{encoding}.txt", encoding)
        truths[f"{encoding}.txt"] = Truth("txt", [text])
    return truths


def _ours(folder: Path, names: Iterable[str]) -> dict[str, Reading]:
    from tailorbird.documents.read_result import ReadOptions, Unreadable
    from tailorbird.documents.readers import read_file

    readings = {}
    for name in names:
        try:
            documents, _ = read_file(folder / name, name, ReadOptions())
        except Unreadable as error:
            say(f"tailorbird: {name}: {error}")
            documents = []
        headings = {h for d in documents for mark in d.marks for h in mark.headings}
        # A mail's subject is its document's title.
        texts = [d.text if d.title in (name, "") else f"{d.title}\n\n{d.text}" for d in documents]
        readings[name] = Reading("\n\n".join(texts), sorted(headings))
    return readings


def _peer(name: str, python: Path | None, folder: Path) -> dict[str, str] | None:
    """Return a peer's texts; None where it is not installed."""
    if python is None and find_spec(name) is None:
        say(f"{name} is not installed; --peers names a python that has it")
        return None
    command = [str(python or sys.executable), __file__, "--child", name, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        stop(f"{name} ended with exit code {done.returncode}", "install it, or leave --peers out")
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers


def _read_all(name: str, folder: str) -> dict[str, str]:
    read = _markitdown() if name == "markitdown" else _kreuzberg()
    texts = {}
    for path in sorted(Path(folder).iterdir()):
        try:
            texts[path.name] = read(path)
        except Exception as error:  # its failure is its result
            say(f"{name}: {path.name}: {type(error).__name__}: {str(error)[:100]}")
            texts[path.name] = ""
    return texts


def _markitdown() -> Callable[[Path], str]:
    from markitdown import MarkItDown

    reader = MarkItDown(enable_plugins=False)
    return lambda path: str(reader.convert(path).text_content)


def _kreuzberg() -> Callable[[Path], str]:
    from kreuzberg import ExtractionConfig, extract_file_sync

    config = ExtractionConfig(output_format="markdown", use_cache=False)
    return lambda path: str(extract_file_sync(path, config=config).content)


def _marked(text: str) -> list[str]:
    """Return the headings of Markdown."""
    lines = (re.match(r"#+\s+(.*?)\s*#*$", line) for line in text.split("\n"))
    return [re.sub(r"[*_`]", "", line[1]) for line in lines if line]


def _scores(truths: dict[str, Truth], readings: dict[str, Reading]) -> dict[str, dict[str, Any]]:
    """Return the mean of each measure over the files of each kind, in percent."""
    rows: dict[str, dict[str, list[float]]] = {}
    for name, truth in truths.items():
        measured = measure(truth, readings.get(name, Reading("", [])))
        for key, value in measured.items():
            rows.setdefault(truth.kind, {}).setdefault(key, []).append(value)
    return {
        kind: {key: round(100 * mean(values), 1) for key, values in row.items()}
        for kind, row in rows.items()
    }


def measure(truth: Truth, reading: Reading) -> dict[str, float]:
    """Return the measures of one file, from 0 to 1."""
    wanted = [tokens(text) for text in truth.sequences]
    words = tokens(reading.text)
    present, known = set(words), {word for text in wanted for word in text}
    follows = set(zip(words, words[1:], strict=False))
    neighbours = [pair for text in wanted for pair in zip(text, text[1:], strict=False)]
    letters = [w for w in words if len(w) > 1 and w.isalpha() and w not in _LABELS]
    measured = {
        "words": share([word in present for word in known]),
        "junk": share([word not in known for word in letters]),
        "order": share([pair in follows for pair in neighbours]),
    }
    if truth.headings:
        headings = {" ".join(tokens(text)) for text in reading.headings}
        measured["headings"] = share([" ".join(tokens(h)) in headings for h in truth.headings])
    if truth.pairs:
        bound = set(_bound(reading.text))
        measured["cells"] = share([pair in bound for pair in map(_pair, truth.pairs)])
    if truth.numbered:
        text = " ".join(words)
        shown = [f"{number} {' '.join(tokens(item))}" for number, item in truth.numbered]
        measured["numbers"] = share([item in text for item in shown])
    return measured


def _pair(pair: tuple[str, str]) -> tuple[str, str]:
    return tokens(pair[0])[-1], tokens(pair[1])[0]


def _bound(text: str) -> Iterable[tuple[str, str]]:
    """Yield each word of a header with each word of a value that it is bound to."""
    above: list[set[str]] = []
    for line in text.split("\n"):
        if not line.lstrip().startswith("|"):
            above = []
            for part in line.split(";"):
                name, _, value = part.partition(": ")
                yield from ((n, v) for n in tokens(name) for v in tokens(value))
            row = tokens(line.partition(";")[0])
            yield from ((n, v) for n in row for v in tokens(line) if n != v)
            continue
        cells = [tokens(cell) for cell in line.strip().strip("|").split("|")]
        above += [set() for _ in range(len(cells) - len(above))]
        for names, cell in zip(above, cells, strict=False):
            yield from ((name, value) for name in (*names, *cells[0]) for value in cell)
            names.update(cell)


def tokens(text: str) -> list[str]:
    """Return words in small letters; of scripts without spaces each character."""
    # Markdown's escapes are no words, and a raised number is one of its own.
    return re.findall(
        r"[\u0e00-\u0eff\u3040-\u9fff]|[^\W_\u0e00-\u0eff\u3040-\u9fff]+", text.casefold()
    )


def share(hits: list[bool]) -> float:
    """Return which part of them is true; nothing is none."""
    return sum(hits) / len(hits) if hits else 0.0


def _show(scores: dict[str, dict[str, dict[str, Any]]]) -> None:
    for key in MEASURES:
        say(f"\n{key:<10}" + "".join(f"{reader:>12}" for reader in scores))
        for kind in [*KINDS, "txt"]:
            row = [found[kind].get(key) for found in scores.values()]
            if row[0] is not None:
                say(f"{kind:<10}" + "".join(f"{value:>12}" for value in row))


if __name__ == "__main__":
    main()
