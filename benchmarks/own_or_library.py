"""Own code beside the libraries that could take its place: results and seconds, on real files.

Four parts, each in a process of its own and each one JSON line:

chunking: documents cut for the embedder, by ours and by semantic-text-splitter with the same
    tokenizer, limit and overlap.
loading: the files of `tests/bad_inputs.py`, and one good file, by ours and by datasets.
workers: documents read in processes with limits, by ours and by pebble.
processes: five processes, one after the other, that import what a trained arm imports: forked from
    our nest, from multiprocessing's forkserver with the same preload, and started from nothing.

The libraries lie in an environment or a folder of their own: `pip install --target FOLDER
semantic-text-splitter datasets pebble`, then `--peers FOLDER`.
"""

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness import DATA, emit, fresh, parser, say

PARTS = ("chunking", "loading", "workers", "processes")
_TOKENS, _OVERLAP = 256, 32


def main() -> None:
    """Measure the parts that were named."""
    options = parser(__doc__)
    options.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    options.add_argument("--documents", type=Path, default=DATA / "documents")
    options.add_argument("--table", type=Path, default=DATA / "banking77" / "train.csv")
    options.add_argument("--peers", default="", help="folder that the libraries are installed in")
    options.add_argument("--child", action="store_true", help="measure in this process")
    arguments = options.parse_args()
    if arguments.child:
        sys.path.append(arguments.peers)
        (part,) = arguments.parts
        path = arguments.table if part == "loading" else arguments.documents
        emit("own_or_library", {"part": part, **globals()[part](path)})
        return
    for part in arguments.parts or PARTS:
        say(f"{part} ...")
        paths = ("--documents", str(arguments.documents), "--table", str(arguments.table))
        line = fresh(__file__, part, "--child", *paths, "--peers", arguments.peers)
        emit("own_or_library", {key: line[key] for key in line if key not in ("benchmark",)})


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its value."""
    start = time.perf_counter()
    value = function()
    return round(time.perf_counter() - start, 2), value


def chunking(folder: Path) -> dict[str, Any]:
    """Cut the documents of a folder in both ways, and count what a reader would mind."""
    from semantic_text_splitter import MarkdownSplitter

    from tailorbird.config.knowledge import IndexConfig
    from tailorbird.documents.chunk import chunk_document

    config = IndexConfig(chunk_tokens=_TOKENS, overlap_tokens=_OVERLAP)
    tokenizer = _tokenizer("builtin:minilm")
    documents = _documents(folder)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    splitter = MarkdownSplitter.from_huggingface_tokenizer(
        tokenizer.backend_tokenizer, _TOKENS - 2, overlap=_OVERLAP
    )
    seconds, own = timed(lambda: [chunk_document(d, tokenizer, config) for d in documents])
    peer_seconds, peer = timed(lambda: [splitter.chunk_indices(d.text) for d in documents])
    own_spans = [[(c.start, c.end) for c in chunks] for chunks in own]
    peer_spans = [[(at, at + len(text)) for at, text in chunks] for chunks in peer]
    count = partial(_faults, documents, tokenizer)
    return {
        "documents": len(documents),
        "letters": sum(len(d.text) for d in documents),
        "own": {"seconds": seconds, **count(own_spans)},
        "semantic-text-splitter": {"seconds": peer_seconds, **count(peer_spans)},
    }


def _tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    from tailorbird.models.builtin import resolve

    return AutoTokenizer.from_pretrained(resolve(name))


def _documents(folder: Path) -> list[Any]:
    from tailorbird.documents.kinds import read_file
    from tailorbird.documents.parsed import ReadOptions, Unreadable

    documents = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with contextlib.suppress(Unreadable):
            documents += read_file(path, path.name, ReadOptions())[0]
    return documents


def _faults(
    documents: list[Any], tokenizer: Any, spans: list[list[tuple[int, int]]]
) -> dict[str, Any]:
    """Count the chunks, and those that are too long, go over a heading or end within a sentence."""
    chunks = too_long = over_heading = unfinished = lost = 0
    for document, places in zip(documents, spans, strict=True):
        sections = [m.start for m in document.marks if m.headings and m.start]
        covered = bytearray(len(document.text))
        for start, end in places:
            text = document.text[start:end].strip()
            chunks += 1
            covered[start:end] = b"\1" * (end - start)
            too_long += len(tokenizer.backend_tokenizer.encode(text).ids) > _TOKENS
            over_heading += any(start + len(text) // 4 < at < end for at in sections)
            unfinished += text[-1:].isalnum() and document.text[end : end + 1] not in ("", "\n")
        lost += sum(
            not (c or char.isspace()) for c, char in zip(covered, document.text, strict=True)
        )
    return {
        "chunks": chunks,
        "too_long": too_long,
        "over_a_heading": over_heading,
        "end_within_a_sentence": unfinished,
        "letters_lost": lost,
    }


def loading(table: Path) -> dict[str, Any]:
    """Read damaged files in both ways: what is refused, and what is taken for rows."""
    import pandas

    sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
    os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp()
    import_seconds, datasets = timed(lambda: __import__("datasets"))
    datasets.disable_progress_bars()
    from bad_inputs import BAD_FILES
    from tailorbird.data.tables import read_table

    builders = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json",
                ".parquet": "parquet"}  # fmt: skip
    counts = {"files": 0, "own_refuses": 0, "datasets_refuses": 0, "datasets_names_a_line": 0}
    with tempfile.TemporaryDirectory() as scratch:
        for number, case in enumerate(BAD_FILES):
            folder = Path(scratch, str(number))
            folder.mkdir()
            path = folder / case.make(folder)[0]
            if path.suffix not in builders or not path.is_file():
                continue
            own = _refusal(lambda path=path: read_table(path))
            if not own:  # it is refused later, for what its columns mean
                continue
            peer = _refusal(
                lambda path=path: datasets.load_dataset(
                    builders[path.suffix], data_files=str(path), split="train"
                )
            )
            counts["files"] += 1
            counts["own_refuses"] += 1
            counts["datasets_refuses"] += bool(peer)
            counts["datasets_names_a_line"] += any(w in peer.lower() for w in ("line", "row"))
    seconds, own_rows = timed(lambda: len(read_table(table).rows))
    peer_seconds, peer_rows = timed(
        lambda: len(datasets.load_dataset("csv", data_files=str(table), split="train"))
    )
    return {
        **counts,
        "rows": own_rows,
        "same_rows": own_rows == peer_rows,
        "own_seconds": seconds,
        "datasets_seconds": peer_seconds,
        "datasets_import_seconds": import_seconds,
        "pandas": pandas.__version__,
    }


def _refusal(read: Callable[[], Any]) -> str:
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            read()
        except Exception as error:
            cause = error.__cause__ or error.__context__
            return f"{error} {cause or ''}"
    return ""


def workers(folder: Path) -> dict[str, Any]:
    """Read a folder in worker processes in both ways, with a file that never ends among them."""
    from concurrent.futures import TimeoutError as TooSlow

    from pebble import ProcessExpired, ProcessPool

    from tailorbird.config.knowledge import IndexConfig
    from tailorbird.documents.pool import read_files
    from tailorbird.documents.walk import find_files

    config = IndexConfig(seconds_per_file=30.0, workers=2)
    files = find_files([folder], config)

    def by_pebble() -> int:
        count = 0
        with ProcessPool(max_workers=2, initializer=_cap, initargs=(2 << 30,)) as pool:
            for result in [pool.schedule(_read, [str(f)], timeout=30.0) for f in files]:
                with contextlib.suppress(TooSlow, ProcessExpired):
                    count += result.result()
        return count

    seconds, own = timed(lambda: sum(len(r.documents or ()) for r in read_files(files, config)))
    peer_seconds, peer = timed(by_pebble)
    return {
        "files": len(files),
        "own": {"seconds": seconds, "documents": own},
        "pebble": {"seconds": peer_seconds, "documents": peer},
    }


def processes(_: Path) -> dict[str, Any]:
    """Start processes for arms in three ways: seconds of the first, and of each that follows."""
    import multiprocessing
    import subprocess

    from tailorbird.arms.process import PRELOAD, Nest
    from tailorbird.processes import computing

    work = "def main() -> int:\n    import peft, tailorbird.arms.worker\n    return 0\n"
    os.environ |= computing()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    with tempfile.TemporaryDirectory() as scratch, Nest() as nest:
        Path(scratch, "arm_work.py").write_text(work)
        sys.path.append(scratch)
        from arm_work import main as target  # type: ignore[import-not-found]

        def forked() -> None:
            process = context.Process(target=target)
            process.start()
            process.join()

        line = f"import sys; sys.path.append({scratch!r}); import arm_work; arm_work.main()"
        ways: dict[str, Callable[[], Any]] = {
            "nest": lambda: nest.run("arm_work"),
            "forkserver": forked,
            "fresh": lambda: subprocess.run([sys.executable, "-c", line], check=True),
        }
        seconds = {name: [timed(way)[0] for _ in range(5)] for name, way in ways.items()}
    return {n: {"first": s[0], "next": sorted(s[1:])[len(s) // 2]} for n, s in seconds.items()}


def _cap(memory_bytes: int) -> None:
    from tailorbird.processes import cap_memory

    cap_memory(memory_bytes)


def _read(path: str) -> int:
    from tailorbird.documents.kinds import read_file
    from tailorbird.documents.parsed import ReadOptions, Unreadable

    try:
        return len(read_file(Path(path), path, ReadOptions())[0])
    except Unreadable:
        return 0


if __name__ == "__main__":
    main()
