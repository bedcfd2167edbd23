"""Own code beside the libraries that could take its place: results and seconds, on real files.

Seven parts, each in a process of its own and each one JSON line:

chunking: documents cut for the embedder, by ours and by semantic-text-splitter with the same
    tokenizer, limit and overlap.
loading: the files of `tests/bad_inputs.py`, and one good file, by ours and by datasets.
workers: documents read in processes with limits, by ours and by pebble.
processes: five processes, one after the other, that import what a trained arm imports: forked from
    our runner, from multiprocessing's forkserver with the same preload, and started from nothing.
conditions: conditions on metadata, read by ours and by sqlglot.
endpoint: servers that behave badly, asked by ours and by the openai client.
embedding: processor seconds until an embedder is there, by ours and by sentence-transformers
    (`embed_speed.py` compares vectors and speed).

The libraries lie in an environment or a folder of their own: `pip install --target FOLDER
semantic-text-splitter datasets pebble sqlglot openai`, then `--peers FOLDER`.
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
from statistics import median
from typing import Any

from harness import DATA, emit, fresh, parser, say

PARTS = (
    *("chunking", "loading", "workers", "processes"), *("conditions", "endpoint", "embedding"),
)  # fmt: skip
_TOKENS, _OVERLAP = 256, 32
_MOST_CASES = 20


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
    from tailorbird.documents.read_result import ReadOptions, Unreadable
    from tailorbird.documents.readers import read_file

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
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    from bad_inputs import BAD_FILES
    from tailorbird.data.table_files import read_table

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
            # What is read is refused later, for what its columns mean.
            if not own or counts["files"] == _MOST_CASES:
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
    from tailorbird.documents.find_files import find_files
    from tailorbird.documents.pool import read_files

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

    from tailorbird.arms.fork_server import PRELOAD, ForkServer
    from tailorbird.processes import computing

    work = "def main() -> int:\n    import peft, tailorbird.arms.arm_process\n    return 0\n"
    os.environ |= computing()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    with tempfile.TemporaryDirectory() as scratch, ForkServer() as runner:
        Path(scratch, "arm_work.py").write_text(work)
        sys.path.append(scratch)
        from arm_work import main as target  # type: ignore[import-not-found]

        def forked() -> None:
            process = context.Process(target=target)
            process.start()
            process.join()

        line = f"import sys; sys.path.append({scratch!r}); import arm_work; arm_work.main()"
        ways: dict[str, Callable[[], Any]] = {
            "runner": lambda: runner.run("arm_work"),
            "forkserver": forked,
            "fresh": lambda: subprocess.run([sys.executable, "-c", line], check=True),
        }
        # What starts from nothing takes as long every time.
        times = {"runner": 6, "forkserver": 6, "fresh": 2}
        seconds = {name: [timed(way)[0] for _ in range(times[name])] for name, way in ways.items()}
    return {n: {"first": s[0], "median of more": median(s[1:])} for n, s in seconds.items()}


def _cap(memory_bytes: int) -> None:
    from tailorbird.processes import cap_memory

    cap_memory(memory_bytes)


def _read(path: str) -> int:
    from tailorbird.documents.read_result import ReadOptions, Unreadable
    from tailorbird.documents.readers import read_file

    try:
        return len(read_file(Path(path), path, ReadOptions())[0])
    except Unreadable:
        return 0


CONDITIONS = (
    "year >= 2020 and team = 'billing'", "not team = 'a'", "year == 2024", "price < 0.1",
    "title like 'Guide%'", "title contains 'merge'", "not (year < 2000 or team is null)",
    "team in ('a', 'b')", "team not in ('a')", "`due date` > '2024-05-01'", 'team = "billing"',
    "doc.lang = 'de'", "x-ray = true", "name <> 'O''Brien'", "page is not null", "n = 1e400",
    "title not contains 'x'", "no > 12345678901234567890123",
)  # fmt: skip
BAD_CONDITIONS = (
    "year >=", "team = 'a", "team = a", "(year = 1", "year = 1)", "and", "year = 1 2",
    "select 1", "team like 3", "drop table x", "year + 1", "f(year) = 1", "1", "team = null",
)  # fmt: skip


def conditions(_: Path) -> dict[str, Any]:
    """Read conditions in both ways: those that are good, and those that are none."""
    seconds, sqlglot = timed(lambda: __import__("sqlglot"))

    from tailorbird.knowledge.filter import parse

    def peer(text: str) -> Any:
        # Of its dialects the one that has backticks and texts in both quotes.
        return sqlglot.parse_one(f"SELECT 1 WHERE {text}", dialect="mysql")

    own: Any = parse.__wrapped__
    counts: dict[str, Any] = {}
    for name, read in (("own", own), ("sqlglot", peer)):
        counts[name] = {
            "good": sum(not _refusal(partial(read, text)) for text in CONDITIONS),
            "bad_refused": sum(bool(_refusal(partial(read, text))) for text in BAD_CONDITIONS),
            "microseconds": round(
                timed(lambda read=read: [read(CONDITIONS[0]) for _ in range(2000)])[0] * 500, 1
            ),
        }
    return counts | {
        "of_good": len(CONDITIONS),
        "of_bad": len(BAD_CONDITIONS),
        "sqlglot_import_seconds": seconds,
    }


def _serve(behave: Callable[[Any], None]) -> str:
    """Start a server on this machine that answers every connection in one way."""
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def answer(link: Any) -> None:
        with contextlib.suppress(OSError), link:
            link.recv(65536)
            behave(link)

    def accept() -> None:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def _drips(link: Any) -> None:
    link.sendall(_HEAD)
    for _ in range(600):
        link.sendall(b":")
        time.sleep(0.1)


def _floods(link: Any) -> None:
    link.sendall(_HEAD + b"data: ")
    for _ in range(200):
        link.sendall(b"x" * (1 << 20))


def endpoint(_: Path) -> dict[str, Any]:
    """Ask a server that drips and one that floods: seconds and memory until each way gives up."""
    import resource
    import threading

    from tailorbird.config.knowledge import AskConfig
    from tailorbird.rag.endpoint import Endpoint
    from tailorbird.records import Message

    os.environ["OPENAI_API_KEY"] = "none"
    config = AskConfig(endpoint_model="m", timeout_seconds=2, answer_tokens=2)

    def own(url: str) -> None:
        "".join(Endpoint(url, config).stream([Message("user", "?")]))

    def peer(url: str) -> None:
        import openai

        client = openai.OpenAI(base_url=url, timeout=2, max_retries=0)
        asked: Any = [{"role": "user", "content": "?"}]
        for _ in client.chat.completions.create(model="m", messages=asked, stream=True):
            pass

    results: dict[str, Any] = {}
    for name, ask in (("own", own), ("openai", peer)):
        for behave in (_drips, _floods):
            url, started = _serve(behave), time.perf_counter()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            thread = threading.Thread(target=_refusal, args=(partial(ask, url),), daemon=True)
            thread.start()
            thread.join(20)
            results[f"{name}{behave.__name__}"] = {
                "gave_up": not thread.is_alive(),
                "seconds": round(time.perf_counter() - started, 1),
                "more_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10,
            }
    return results


def embedding(_: Path) -> dict[str, Any]:
    """Load the bundled embedder in fresh processes; each way's processor seconds, best of three."""
    import subprocess

    ours = (
        "from tailorbird.knowledge.embedders import load_embedder;"
        "load_embedder('builtin:minilm').embed_queries(['a question'])"
    )
    theirs = (
        "from sentence_transformers import SentenceTransformer;"
        "from tailorbird.models.builtin import resolve;"
        "SentenceTransformer(resolve('builtin:minilm'), device='cpu').encode(['a question'])"
    )
    seconds: dict[str, float] = {}
    for name, code in (("own", ours), ("sentence-transformers", theirs)) * 3:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        after = os.times()
        spent = sum(after[2:4]) - sum(before[2:4])
        seconds[name] = round(min(spent, seconds.get(name, spent)), 2)
    return {"processor_seconds": seconds}


if __name__ == "__main__":
    main()
