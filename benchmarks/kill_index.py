"""Kill -9 at random moments of ingest, update, delete, sync and change of embedder.

Each round forks a writer from this process, which has imported everything, and kills it at a moment
drawn over the time that such work takes. Then another process opens the knowledge base. It must
verify clean; of every document there must be one whole version: the last that was acknowledged, or
the one that was being written, and what one call writes must have come together; searches of both
sides must find it. In the end two writers contend before a reader, and both are killed.

Prints one JSON line; exits with 1 when anything was lost, half or not found.
"""

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import emit, parser, say

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
KINDS = ("ingest", "update", "delete", "sync", "shadow")
SOURCES, TOGETHER = 24, 4  # documents in all, and in one call
SPAN = 0.3

Plan = list[dict[str, int | None]]
"""Calls in their order: each maps sources to the version that it writes; None: it deletes."""


def main() -> None:
    """Kill, look, and say what was seen."""
    asked = parser(__doc__)
    asked.add_argument("--kills", type=int, default=100)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--contend", type=int, default=20, help="calls of each of two writers")
    given = asked.parse_args()
    preload()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        trial = Trial(Path(place), random.Random(given.seed))
        trial.prepare(calibrate=given.kills >= 20)
        for number in range(given.kills):
            trial.kill(KINDS[number % len(KINDS)])
            say(f"{number + 1} kills, {len(trial.problems)} problems")
        if given.contend:
            trial.contend(given.contend)
    result = {
        "kills": given.kills, "seed": given.seed, "problems": trial.problems,
        "left_behind": dict(trial.left), "by_kind": dict(trial.kinds),
        "acknowledged": trial.acknowledged, "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    emit("kill_index", result)
    sys.exit(bool(trial.problems))


def preload() -> None:
    """Import what writers and lookers need."""
    import filelock  # noqa: F401
    import numpy.ma
    import numpy.random  # noqa: F401

    import tailorbird.documents.pool
    import tailorbird.knowledge.segments  # noqa: F401
    from tailorbird.config.knowledge import IndexConfig
    from tailorbird.documents.chunk import chunk_document
    from tests_knowledge import document, load

    # Words and tokens that were met once cost nothing in the forks.
    for number in range(2):
        chunk_document(document("doc1", number), load("words").tokenizer, IndexConfig())


class Trial:
    """One knowledge base, what is known to be in it, and what went wrong.

    Attributes:
        sure: Source -> the version that was acknowledged; None: it was deleted.
        disk: The same of files, as a sync finds them.
        embedder: The one that was acknowledged.
        left: What kills left unfinished, as the ledger said before anybody opened it.
    """

    def __init__(self, place: Path, draw: random.Random) -> None:
        self.folder, self.draw = place / "kb", draw
        self.sure: dict[str, int | None] = {}
        self.disk: dict[str, int | None] = {}
        self.embedder, self.version, self.acknowledged = "words", 0, 0
        self.problems: list[str] = []
        self.left: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.spans: dict[str, float] = {}

    def prepare(self, *, calibrate: bool) -> None:
        """Make the knowledge base, and do each kind of work once to know how long it takes.

        For a few kills that is not worth its time: they are drawn over `SPAN`.
        """
        os.chdir(self.folder.parent)  # files are known by their path from here
        Path("files").mkdir()
        with forked(lambda tell: make(self.folder)) as (_, lines):
            lines.read()
        for kind in KINDS if calibrate else ():
            self._round(kind, kill=False)

    def kill(self, kind: str) -> None:
        """Kill a writer that does this kind of work, and look."""
        self.kinds[kind] += 1
        self._round(kind, kill=True)

    def contend(self, calls: int) -> None:
        """Let two writers write the same documents and a reader read, then kill all."""
        plans = [self._plan("update", 10 * calls) for _ in range(2)]

        def write(plan: Plan) -> Callable[[Tell], None]:
            return lambda tell: work(self.folder, plan, tell)

        with (
            forked(write(plans[0])) as (one, first),
            forked(write(plans[1])) as (two, second),
            forked(lambda tell: watch(self.folder, tell)) as (reader, told),
        ):
            ended = False
            for lines in (first, second, told):
                ended |= any(not lines.readline().strip() for _ in range(calls))
            for process in (one, two, reader):
                os.kill(process, signal.SIGKILL)
            seen = set(told.read().split("\n")) - {"looked", ""}
        self.acknowledged += 2 * calls
        self.problems += [*sorted(seen), *["contend: a writer or reader ended"] * ended]
        may = self._may([call for plan in plans for call in plan])
        self._look("contend", may, [])

    def _round(self, kind: str, *, kill: bool) -> None:
        plan = self._plan(kind, 3)
        target = f"words-{self.version}" if kind == "shadow" else None
        started = time.monotonic()
        with forked(lambda tell: work(self.folder, plan, tell, kind, target)) as (process, lines):
            if lines.readline() != "at work\n":
                self.problems.append(f"{kind}: a writer failed: {lines.read()}")
            if kill:
                time.sleep(self.draw.uniform(0, self.spans.get(kind, SPAN)))
                os.kill(process, signal.SIGKILL)
            else:
                started = time.monotonic()
            said = lines.read().split("\n")
        if not kill:
            self.spans[kind] = time.monotonic() - started
        done = said.count("done")
        if not kill and (done < len(plan) or (target and "switched" not in said)):
            self.problems.append(f"{kind}: a writer that was not killed ended: {said}")
        self.acknowledged += done
        for call in plan[:done]:
            self.sure |= self.disk if kind == "sync" else call
        embedders = {self.embedder, target} if target else {self.embedder}
        if not kill:
            self.embedder = target or self.embedder
            return
        self.left.update(unfinished(self.folder))
        may = self._may([self.disk] if kind == "sync" else plan[done : done + 1])
        calls = [] if kind == "sync" else plan[done : done + 1]
        self._look(kind, may, calls, {target} if "switched" in said else embedders)

    def _may(self, calls: Plan) -> dict[str, set[int | None]]:
        """Return which versions each document may be of, when these calls may have been done."""
        may = {source: {self.sure.get(source)} for source in (*names(), *names("files/"))}
        for call in calls:
            for source, version in call.items():
                may[source].add(version)
        return may

    def _plan(self, kind: str, calls: int) -> Plan:
        if kind == "sync":
            # Some files new or changed, some gone, in one pass.
            self.version += 1
            new, old = (self.draw.sample(names("files/"), TOGETHER) for _ in range(2))
            self.disk |= dict.fromkeys(new, self.version) | dict.fromkeys(old)
            return [dict(self.disk)]
        plan: Plan = []
        sure = {source: self.sure.get(source) for source in names()}
        for _ in range(calls):
            self.version += 1
            there = [source for source in sure if sure[source] is not None]
            gone = [source for source in sure if sure[source] is None]
            pool = {"ingest": gone, "delete": there}.get(kind) or names()
            chosen = self.draw.sample(pool, min(TOGETHER, len(pool)))
            call = dict.fromkeys(chosen, None if kind == "delete" and there else self.version)
            sure |= call
            plan.append(call)
        return plan

    def _look(
        self, kind: str, may: dict[str, set[int | None]], calls: Plan,
        embedders: set[str | None] | None = None,
    ) -> None:  # fmt: skip
        """Open it in another process and compare it with what may be there."""
        with forked(lambda tell: look(self.folder, tell)) as (_, lines):
            told = lines.read()
        if not told.endswith("\n"):
            self.problems.append(f"{kind}: looking failed: {told}")
            return
        seen = json.loads(told)
        self.problems += [f"{kind}: {problem}" for problem in seen["problems"]]
        versions: dict[str, int] = seen["versions"]
        for source, allowed in may.items():
            if (found := versions.get(source)) not in allowed:
                self.problems.append(f"{kind}: {source} is {found}, not one of {allowed}")
            self.sure[source] = found
        for call in calls:
            if len({versions.get(source) == version for source, version in call.items()}) > 1:
                self.problems.append(f"{kind}: half of a call came: {call} {versions}")
        if embedders and seen["embedder"] not in embedders:
            self.problems.append(f"{kind}: searched with {seen['embedder']}, not {embedders}")
        self.embedder = seen["embedder"]


Tell = Callable[[str], None]


@contextmanager
def forked(body: Callable[[Tell], None]) -> Iterator[tuple[int, Any]]:
    """Run `body` in a fork of this process; yield its id and what it tells."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        status = 1
        try:
            body(lambda line: os.write(writing, f"{line}\n".encode()) and None)
            status = 0
        except BaseException as error:  # told, or the round would only look killed
            os.write(writing, f"failed {type(error).__name__}: {error}".encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as lines:
        yield process, lines
    os.waitpid(process, 0)


def names(before: str = "") -> list[str]:
    """Return the documents' names."""
    return [f"{before}doc{number}" for number in range(SOURCES)]


def make(folder: Path) -> None:
    """Make an empty knowledge base."""
    from tailorbird.config.knowledge import IndexConfig
    from tailorbird.knowledge.base import KnowledgeFolder
    from tests_knowledge import load

    config = IndexConfig(embedder="words", chunk_tokens=64, overlap_tokens=8, workers=1)
    KnowledgeFolder(folder, config, load).close()


def work(
    folder: Path, plan: Plan, tell: Tell, kind: str = "update", target: str | None = None
) -> None:
    """Write what the plan says, and tell each call that was acknowledged."""
    from tailorbird.knowledge.base import KnowledgeFolder
    from tests_knowledge import load

    with KnowledgeFolder(folder, None, load) as kb:
        if kind == "sync":
            _sync(kb, plan[0], tell)
            return
        tell("at work")
        if target is None:
            _calls(kb, plan, tell)
            return
        beside = threading.Thread(target=_beside, args=(folder, plan, tell))
        beside.start()
        kb.switch(kb.build_generation(target))
        tell("switched")
        beside.join()


def _beside(folder: Path, plan: Plan, tell: Tell) -> None:
    from tailorbird.knowledge.base import KnowledgeFolder
    from tests_knowledge import load

    with KnowledgeFolder(folder, None, load) as kb:
        _calls(kb, plan, tell)


def _calls(kb: Any, plan: Plan, tell: Tell) -> None:
    from tailorbird.flows.index import add_documents, remove
    from tests_knowledge import document

    for number, call in enumerate(plan):
        new = [document(source, v) for source, v in call.items() if v is not None]
        if new:
            add_documents(kb, new)
        old = [s for s, v in call.items() if v is None and kb.ledger.live(s) is not None]
        if old:
            remove(kb, old)
        tell("done")
        if number == len(plan) // 2:
            kb.optimize(0)


def _sync(kb: Any, disk: dict[str, int | None], tell: Tell) -> None:
    """Bring a folder's files to their versions, and the knowledge base to the folder."""
    from tailorbird.flows.index import index
    from tests_knowledge import document

    for source, version in disk.items():
        if version is None:
            Path(source).unlink(missing_ok=True)
        else:
            Path(source).write_text(document(source, version).text, encoding="utf-8")
    write = kb.write

    def told(*given: Any) -> Any:
        tell("at work")
        return write(*given)

    kb.write = told
    index(kb, ["files"], kb.settings.model_copy(update={"workers": 1}), sync=True)
    tell("done")


def look(folder: Path, tell: Tell) -> None:
    """Tell what verifies, and the versions that readers see, as JSON."""
    from tailorbird.knowledge.base import KnowledgeFolder
    from tailorbird.knowledge.maintenance import verify
    from tests_knowledge import load, versions

    with KnowledgeFolder(folder, None, load) as kb:
        problems = list(verify(kb).problems)
        seen = versions(kb)
        problems += [f"{source} is of versions {found}" for source, found in seen.items()
                     if len(found) != 1]  # fmt: skip
        whole = {source: int(min(found)) for source, found in seen.items()}
        with kb.reading() as view:
            for source in seen:
                problems += [f"{source} is not found by {side}" for side in lost(kb, view, source)]
        told = {"problems": problems, "versions": whole, "embedder": kb.current.embedder}
    tell(json.dumps(told))


def lost(kb: Any, view: Any, source: str) -> Iterator[str]:
    """Yield the sides that do not find a document's first chunk by its own words."""
    from tailorbird.documents.chunk_context import contextual_text

    chunk = view.chunks(source)[0]
    text = contextual_text(chunk)
    vector = kb.embedder.embed_queries([text]).vectors[0]
    nearest = view.nearest(vector, 5)
    if chunk.id not in {hit.chunk.id for hit in nearest if hit.dense > 0.999}:
        yield "vectors"
    if chunk.id not in {hit.chunk.id for hit in view.matching(text, 1000)}:
        yield "words"


def watch(folder: Path, tell: Tell) -> None:
    """Read all the time; tell every look, and what it saw half."""
    from tailorbird.knowledge.base import KnowledgeFolder
    from tests_knowledge import load, versions

    with KnowledgeFolder(folder, None, load) as kb:
        while True:
            tell("looked")
            for source, found in versions(kb).items():
                if len(found) != 1:
                    tell(f"a reader saw {source} of versions {found}")


def unfinished(folder: Path) -> list[str]:
    """Return what a writer left in the ledger: pending or dead versions."""
    import sqlite3

    link = sqlite3.connect(folder / "ledger.sqlite")
    try:
        states = link.execute("SELECT DISTINCT state FROM documents WHERE state <> 'live'")
        return [row[0] for row in states] or ["nothing"]
    finally:
        link.close()


if __name__ == "__main__":
    main()
