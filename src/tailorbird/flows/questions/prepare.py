"""Prepares a comparison on questions: documents indexed, questions split, passages retrieved."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tailorbird import log
from tailorbird.arms.question_arms.records import QUESTION_SET, Item, QuestionSet
from tailorbird.arms.question_arms.registry import select_arms
from tailorbird.config import Config, dump_config
from tailorbird.data.questions import (
    PartSizes,
    QuestionSplit,
    SplitBy,
    is_squad,
    read_answers,
    read_paragraphs,
    split_questions,
)
from tailorbird.documents.read_result import document_digest
from tailorbird.errors import UserError
from tailorbird.flows.index import add_documents, index
from tailorbird.flows.questions.document_change import Change, make_change
from tailorbird.flows.questions.passages import Finder, passage_of, passages_that_fit, with_shots
from tailorbird.flows.questions.report import FACTS, Facts
from tailorbird.flows.questions.time_budget import within_budget
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.models.device import choose
from tailorbird.rag.retrieval_analysis import Names
from tailorbird.records import Chunk, Document, Question
from tailorbird.runs.folder import CONFIG, RunFolder

KNOWLEDGE = "knowledge"
_SHORT_CHUNKS = 128
_CPU_ROWS = 300
_PROBED = 20
_MOSTLY, _FEWEST_DOCUMENTS = 0.9, 10


def prepare_questions(config: Config, folder: RunFolder) -> None:
    """Read and split the questions, retrieve passages, and save question set and settings."""
    if config.data.train is None:
        raise UserError("no questions are given", "tailor compare QUESTIONS --store KB")
    path = Path(config.data.train)
    questions = read_answers(path)
    kb, config = open_store(config, folder, path)
    finder = Finder(kb, config, Names(name for q in questions for name in q.judged))
    notes = _check_sources(questions, finder)
    gold = finder.gold(questions)
    notes += _unlocated_answers(questions, gold)
    config, cut = within_budget(config, select_arms(config.compare.methods), len(questions))
    split, config, budget = _split(config, questions, gold)
    probe = finder.search(split.test[:_PROBED], 4)
    cpu = choose(config.model.device, config.model.precision).kind == "cpu"
    k = passages_that_fit(config, probe, cpu)
    budget = (*cut, *budget, f"{k} passages before each question (questions.passages)")
    for line in (split.how, *split.notes, *budget):
        log.say(line)
    parts = [_items(finder, part, gold, 2 * k) for part in (split.train, split.validation)]
    test = _items(finder, split.test, gold, 2 * k)
    retrieve_seconds = finder.seconds
    test = with_shots(kb, split.train, test, config.questions.shots)
    change = _changed(config, folder, finder, split, gold, questions, 2 * k)
    question_set = QuestionSet(parts[0], parts[1], test, k, str(kb.folder))
    if change is not None:
        question_set = replace(
            question_set,
            changed=change.changed,
            unchanged=change.unchanged,
            changed_store=change.store,
        )
    every = (*split.train, *split.validation, *split.test)
    facts = Facts(
        questions=every,
        groups={q.id: split.groups[q.id] for q in every},
        how=split.how,
        budget=budget,
        notes=(*notes, *split.notes),
        shared_answers=split.shared_answers,
        retrieve_seconds=retrieve_seconds,
        document_hits=_document_hits(finder.names, split.test, test, k),
        change_words=change.words if change else "",
        reindex_seconds=change.seconds if change else None,
    )
    kb.close()
    folder.write(CONFIG, dump_config(config))
    folder.write_json(FACTS, asdict(facts))
    folder.write_json(QUESTION_SET, asdict(question_set))


def _check_sources(questions: Sequence[Question], finder: Finder) -> tuple[str, ...]:
    """Return notes on the questions' sources.

    Raises:
        UserError: Sources are named, but the knowledge base has none of them.
    """
    named = {source for question in questions for source in question.judged}
    if not named:
        return ("the questions name no source: an answer counts as found in any document",)
    sources = finder.sources()
    unplaced = sorted(named - sources)
    if len(unplaced) == len(named):
        raise UserError(
            f"none of the {len(named):,} sources that the questions name is in the knowledge "
            f"base: they name {unplaced[0]!r}, it has {min(sources, default='nothing')!r}",
            "name documents by their path, file name, row id or title as "
            f"`tailor index --store {finder.kb.folder} --list` shows them",
        )
    if unplaced:
        note = f"{len(unplaced):,} of {len(named):,} sources are not in the knowledge base"
        return (f"{note}, e.g. {unplaced[0]!r}",)
    return ()


def _unlocated_answers(questions: Sequence[Question], gold: dict[str, Chunk]) -> tuple[str, ...]:
    answerable = [question for question in questions if question.answerable]
    unplaced = [question for question in answerable if question.id not in gold]
    if not unplaced:
        return ()
    note = (
        f"the answers to {len(unplaced):,} of {len(answerable):,} questions do not occur "
        f"verbatim in their documents, e.g. {unplaced[0].answers[0]!r} to "
        f"{unplaced[0].text[:60]!r}"
    )
    log.warn(note)
    return (note,)


def _split(
    config: Config, questions: Sequence[Question], gold: dict[str, Chunk]
) -> tuple[QuestionSplit, Config, tuple[str, ...]]:
    settings = config.questions
    documents = {q.document or min(q.judged, default="") for q in questions}
    sourced = sum(bool(q.judged) for q in questions) >= _MOSTLY * len(questions)
    by: SplitBy = settings.split or (
        "document" if sourced and len(documents) >= _FEWEST_DOCUMENTS else "question"
    )
    cpu = choose(config.model.device, config.model.precision).kind == "cpu"
    rows = settings.train or (_CPU_ROWS if cpu else None)
    sizes = PartSizes(settings.test, rows, settings.validation)

    def paragraph(question: Question) -> str:
        return gold[question.id].id if question.id in gold else ""

    split = split_questions(questions, by, sizes, settings.seed, paragraph)
    counts = ", ".join(
        f"{len(getattr(split, part)):,} {part}" for part in ("train", "validation", "test")
    )
    config = config.replace(questions={"split": by})
    return split, config, (f"{counts} questions (questions.train, questions.test)",)


def _items(
    finder: Finder, questions: Sequence[Question], gold: dict[str, Chunk], k: int
) -> tuple[Item, ...]:
    passages = finder.search(questions, k)
    return tuple(
        Item(
            q.id, q.text, q.answers, q.answerable, pieces,
            passage_of(gold[q.id], q.answers) if q.id in gold else None,
        )
        for q, pieces in zip(questions, passages, strict=True)
    )  # fmt: skip


def _changed(
    config: Config,
    folder: RunFolder,
    finder: Finder,
    split: QuestionSplit,
    gold: dict[str, Chunk],
    questions: Sequence[Question],
    k: int,
) -> Change | None:
    if config.questions.changed is None and not config.questions.substitutions:
        return None
    return make_change(config, folder, finder, split.test, gold, questions, k)


def _document_hits(
    names: Names, test: Sequence[Question], items: Sequence[Item], k: int
) -> dict[str, tuple[bool, ...]]:
    """Return by id whether each passage before a question is from a relevant document."""
    return {
        q.id: tuple(names(piece.source) in q.judged for piece in item.found[:k])
        for q, item in zip(test, items, strict=True)
        if q.judged
    }


def open_store(config: Config, run: RunFolder, questions: Path) -> tuple[KnowledgeFolder, Config]:
    """Return the knowledge base, after indexing the documents if they are given.

    Args:
        config: `questions.store` and `questions.documents`.
        run: Where a new one is stored.
        questions: SQuAD's JSON contains documents of its own.

    Raises:
        UserError: There is none, or its embedder differs from the configured one.
    """
    settings = config.questions
    squad = is_squad(questions) and settings.store is None
    if settings.store is not None and settings.documents is None:
        kb = KnowledgeFolder(Path(settings.store))
    else:
        if config.index.chunk_tokens is None and settings.store is None:
            # Short chunks, so that several fit into a prompt.
            config = config.replace(index={"chunk_tokens": _SHORT_CHUNKS})
        kb = KnowledgeFolder(Path(settings.store or run.file(KNOWLEDGE)), config.index)
    embedder = config.index.embedder
    if "embedder" in config.index.model_fields_set and not kb.adopts(embedder):
        raise UserError(
            f"{settings.store} is embedded with {kb.settings.embedder}, not {embedder}",
            f"leave index.embedder out, or embed it again: tailor index --store {settings.store} "
            f"--embedder {embedder}",
        )
    if squad and (settings.documents is None or Path(settings.documents) == questions):
        add_documents(kb, [_paragraph(p.id, p.title, p.text) for p in read_paragraphs(questions)])
    elif settings.documents is not None:
        paths = [part.strip() for part in settings.documents.split(",") if part.strip()]
        result = index(kb, paths, config.index)
        log.say(f"{result.added + result.changed:,} documents indexed, {result.chunks:,} chunks")
    if not kb.ledger.live_digests():
        raise UserError(f"{kb.folder} holds no documents", "give --documents PATHS")
    return kb, config


def _paragraph(name: str, title: str, text: str) -> Document:
    document = Document(name, text, title)
    return replace(document, digest=document_digest(document))
