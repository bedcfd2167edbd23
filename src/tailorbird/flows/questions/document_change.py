"""Simulates changed documents, by substituted answers or a real edit, and asks again."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tailorbird import log
from tailorbird.arms.question_arms.records import Item
from tailorbird.config import Config
from tailorbird.documents.find_files import source_of
from tailorbird.documents.read_result import document_digest
from tailorbird.flows.index import Indexed, add_documents, index, remove
from tailorbird.flows.questions.passages import Finder, holds, passage_of
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.rag.entity_substitution import Substitution, choose_substitutions, substituted
from tailorbird.records import Chunk, Document, Question
from tailorbird.runs.folder import RunFolder

CHANGED = "knowledge-changed"


@dataclass(frozen=True)
class Change:
    """Changed documents, and the affected questions.

    Attributes:
        changed: Items with the new answers and newly retrieved passages.
        unchanged: Items whose relevant passage is unchanged.
        seconds: Time of the update.
    """

    changed: tuple[Item, ...]
    unchanged: tuple[Item, ...]
    store: str
    seconds: float
    words: str


def make_change(
    config: Config,
    run: RunFolder,
    finder: Finder,
    test: Sequence[Question],
    gold: Mapping[str, Chunk],
    pool: Sequence[Question],
    k: int,
) -> Change | None:
    """Change the documents and retrieve again; None if nothing can be changed.

    Args:
        config: `questions.changed` names a real edit; otherwise answers are substituted.
        run: Where the changed knowledge base is stored.
        finder: Searches the original documents.
        test: The test questions.
        gold: The chunk with the answer, by question id.
        pool: Questions whose answers can be the new ones.
        k: Passages before a question.

    Raises:
        UserError: The edited documents cannot be read.
    """
    place = run.file(CHANGED)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(finder.kb.folder, place)
    kb = KnowledgeFolder(place)
    if config.questions.changed is not None:
        result = _edit(kb, config.questions.changed)
        answers = {q.id: q.changed for q in test if q.changed}
        what = (
            f"{result.added + result.changed:,} documents were edited: {config.questions.changed}"
        )
    else:
        changes = _choose(config, finder, test, gold, pool)
        if not changes:
            return None
        result = add_documents(kb, _edited(kb, changes))
        answers = {change.id: (change.new,) for change in changes}
        documents = len({change.source for change in changes})
        what = f"{len(changes):,} answers were replaced by others in {documents:,} documents"
        run.write_rows("data/substitutions.jsonl", [_row(change) for change in changes])
    after = Finder(kb, config, finder.names)
    changed, dropped = _changed_items(after, test, answers, k)
    if dropped:
        what += f"; {dropped:,} were dropped: the old answer is still in the retrieved passages"
    log.say(f"{what}; indexed again in {result.seconds:.1f} s")
    unchanged = _unchanged_items(after, test, gold, {*answers}, k, len(changed))
    return Change(changed, unchanged, str(place), result.seconds, what)


def _edit(kb: KnowledgeFolder, place: str) -> Indexed:
    """Index edited documents in place of those with the same name.

    A row is identified by its id, a file by its path below the folder: the edit is in another
    folder, and the originals would otherwise still be found.
    """
    before = set(kb.ledger.live_digests())
    result = index(kb, [place], kb.settings)
    root = source_of(Path(place)).rstrip("/")
    fresh = set(kb.ledger.live_digests()) - before
    rows = {row for source in fresh if (row := source.rpartition("#")[2]) != source}
    files = {source.removeprefix(root).lstrip("/") or Path(source).name for source in fresh}
    old = [
        source
        for source in sorted(before)
        if source.rpartition("#")[2] in rows
        or any(source == name or source.endswith(f"/{name}") for name in files)
    ]
    if old:
        remove(kb, old)
    log.say(f"{len(old):,} documents replaced by edited ones")
    return result


def _choose(
    config: Config,
    finder: Finder,
    test: Sequence[Question],
    gold: Mapping[str, Chunk],
    pool: Sequence[Question],
) -> list[Substitution]:
    sources = {q.id: gold[q.id].source for q in test if q.id in gold}
    with finder.kb.reading() as view:
        texts = {source: view.text(source) for source in set(sources.values())}
    settings, embedder = config.questions, finder.kb.embedder
    return choose_substitutions(
        test, sources, texts, pool, settings.substitutions, settings.seed,
        lambda names: embedder.embed_documents(names).vectors,
    )  # fmt: skip


def _edited(kb: KnowledgeFolder, changes: Sequence[Substitution]) -> list[Document]:
    edited = []
    for source in dict.fromkeys(change.source for change in changes):
        record = kb.ledger.document(source)
        assert record is not None
        text = substituted(record[0].text, [c for c in changes if c.source == source])
        # Page and heading offsets no longer match.
        document = replace(record[0], text=text, marks=())
        edited.append(replace(document, digest=document_digest(document)))
    return edited


def _row(change: Substitution) -> dict[str, object]:
    return {
        "id": change.id, "source": change.source, "old": list(change.old), "new": change.new,
        "places": change.places,
    }  # fmt: skip


def _changed_items(
    after: Finder, test: Sequence[Question], answers: Mapping[str, tuple[str, ...]], k: int
) -> tuple[tuple[Item, ...], int]:
    touched = [question for question in test if question.id in answers]
    if not touched:
        return (), 0
    passages = after.search(touched, k, answers)
    gold = after.gold(touched, answers)
    items, dropped = [], 0
    for question, pieces in zip(touched, passages, strict=True):
        if any(holds(piece.text, question.answers) for piece in pieces):
            dropped += 1
            continue
        new = answers[question.id]
        right = passage_of(gold[question.id], new) if question.id in gold else None
        items.append(Item(question.id, question.text, new, True, pieces, right))
    return tuple(items), dropped


def _unchanged_items(
    after: Finder,
    test: Sequence[Question],
    gold: Mapping[str, Chunk],
    changed: set[str],
    k: int,
    most: int,
) -> tuple[Item, ...]:
    """Return as many questions as were changed whose relevant passage is exactly the same."""
    untouched = [q for q in test if q.id in gold and q.id not in changed]
    now = after.gold(untouched)
    same = [q for q in untouched if q.id in now and now[q.id].text == gold[q.id].text][:most]
    if not same:
        return ()
    passages = after.search(same, k)
    return tuple(
        Item(q.id, q.text, q.answers, True, pieces, passage_of(now[q.id], q.answers))
        for q, pieces in zip(same, passages, strict=True)
    )
