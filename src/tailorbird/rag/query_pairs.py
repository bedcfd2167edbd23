"""Pairs of queries and relevant documents: read, generated from documents, and split."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tailorbird.data.questions import read_questions
from tailorbird.errors import UserError, did_you_mean
from tailorbird.records import Chunk, RankingPair

SHORTEST_QUERY, SHORTEST_TEXT = 2, 8
"""The fewest words of a generated query and its text: fewer carry no meaning."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Judged queries.

    Attributes:
        grades: Relevance grades by query id and document; 0 and below: judged not relevant.
    """

    texts: dict[str, str]
    grades: dict[str, dict[str, int]]

    def only(self, ids: Iterable[str]) -> "Queries":
        """Return the queries with these ids, in this order."""
        names = list(ids)
        return Queries({i: self.texts[i] for i in names}, {i: self.grades[i] for i in names})

    def relevant(self, query: str) -> set[str]:
        """Return the relevant documents of a query."""
        return {name for name, grade in self.grades[query].items() if grade > 0}


@dataclass(frozen=True, slots=True)
class Corpus:
    """The chunks of a knowledge base, in the order of their vectors.

    Attributes:
        texts: The embedded text of each chunk: title, headings and body.
        titles, headings, bodies: Its parts, for pairs generated from documents.
    """

    sources: list[str]
    texts: list[str]
    titles: list[str] = field(default_factory=list)
    headings: list[tuple[str, ...]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    def by_source(self) -> dict[str, list[int]]:
        """Return the places of the chunks of each document."""
        places: dict[str, list[int]] = {}
        for place, source in enumerate(self.sources):
            places.setdefault(source, []).append(place)
        return places


def corpus_of(chunks: Sequence[Chunk], texts: Sequence[str]) -> Corpus:
    """Return the corpus of a knowledge base's chunks and their embedded texts."""
    return Corpus(
        [chunk.source for chunk in chunks],
        list(texts),
        [chunk.title for chunk in chunks],
        [chunk.headings for chunk in chunks],
        [chunk.text for chunk in chunks],
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """Queries split for training, validation, and the gate's test."""

    train: Queries
    validation: Queries
    held_out: Queries


def read_queries(queries: Path, qrels: Path | None = None) -> Queries:
    """Return judged queries with a relevant document; see `data.questions.read_questions`.

    Raises:
        UserError: A file is missing or damaged, or no query has a relevant document.
    """
    read = read_questions(queries, qrels)
    every = Queries({q.id: q.text for q in read}, {q.id: dict(q.judged) for q in read})
    right = [query for query in every.texts if every.relevant(query)]
    if not right:
        raise UserError(
            f"no query of {queries} has a relevant document", "check the ids in the two files"
        )
    return every.only(right)


def check_sources(queries: Queries, sources: Iterable[str]) -> Queries:
    """Return the queries with a relevant document among `sources`.

    Judgements often have file names where the knowledge base has paths: a name that only one source
    ends in stands for that document.

    Raises:
        UserError: None of the documents is in the knowledge base.
    """
    known_sources = list(dict.fromkeys(sources))
    names = _short_names(known_sources)
    grades = {
        query: {names[doc]: grade for doc, grade in judgements.items() if doc in names}
        for query, judgements in queries.grades.items()
    }
    right = [q for q in queries.texts if any(grade > 0 for grade in grades[q].values())]
    if not right:
        doc = next(iter(next(iter(queries.grades.values()))))
        raise UserError(
            f"no judged document is in the knowledge base, e.g. {doc!r}{did_you_mean(doc, names)}",
            "index the documents first; `tailor index --list` shows their names",
        )
    return Queries({q: queries.texts[q] for q in right}, {q: grades[q] for q in right})


def _short_names(sources: Sequence[str]) -> dict[str, str]:
    """Return a document's names: its source, its file name, the row's id after ``#``."""
    names: dict[str, set[str]] = {}
    for source in sources:
        path, _, row = source.rpartition("#")
        for name in (row, Path(source).name, Path(path or source).stem if not path else row):
            if name:
                names.setdefault(name, set()).add(source)
    short = {name: next(iter(matches)) for name, matches in names.items() if len(matches) == 1}
    return short | {source: source for source in sources}


def split_queries(queries: Queries, validation: float, held_out: float, seed: int) -> Parts:
    """Split queries into three parts; those equal up to case and space stay together."""
    groups: dict[str, list[str]] = {}
    for query, text in queries.texts.items():
        groups.setdefault(" ".join(text.lower().split()), []).append(query)
    order = np.random.default_rng(seed).permutation(len(groups))
    members = list(groups.values())
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    sizes = (round(held_out * len(queries.texts)), round(validation * len(queries.texts)))
    for place in order:
        if len(parts[2]) < sizes[0]:
            parts[2].extend(members[place])
        elif len(parts[1]) < sizes[1]:
            parts[1].extend(members[place])
        else:
            parts[0].extend(members[place])
    return Parts(*(queries.only(part) for part in parts))


def pairs_from_queries(
    queries: Queries, corpus: Corpus, best: Mapping[tuple[str, str], int]
) -> list[RankingPair]:
    """Return one pair per query and relevant document.

    Args:
        best: Maps (query id, document) to the place of the document's best chunk: only some chunks
            of a long document answer the query.
    """
    pairs = []
    for query, text in queries.texts.items():
        relevant = queries.relevant(query)
        for source in sorted(relevant):
            place = best.get((query, source))
            if place is not None:
                others = frozenset(relevant - {source})
                pairs.append(RankingPair(text, corpus.texts[place], source, others))
    return pairs


def pairs_from_documents(corpus: Corpus, most: int, seed: int) -> list[RankingPair]:
    """Return pairs of a title or heading path and the text under it.

    The positive's text lacks the heading: otherwise comparing words would suffice. Each query text
    has one pair, since a title that many documents share describes none of them.
    """
    by_query: dict[str, list[RankingPair]] = {}
    parts = zip(corpus.sources, corpus.titles, corpus.headings, corpus.bodies, strict=True)
    for source, title, headings, body in parts:
        queries = [title] if not headings else [" ".join((title, *headings)).strip()]
        if headings and headings[-1] not in queries:
            queries.append(headings[-1])
        for query in queries:
            text = _without(body, (title, *headings))
            if len(query.split()) >= SHORTEST_QUERY and len(text.split()) >= SHORTEST_TEXT:
                pair = RankingPair(query, text, source)
                by_query.setdefault(query.lower(), []).append(pair)
    pairs = []
    for alike in by_query.values():
        if len({pair.source for pair in alike}) == 1:
            pairs.append(alike[0])
    if len(pairs) > most:
        sample = np.random.default_rng(seed).choice(len(pairs), most, replace=False)
        pairs = [pairs[i] for i in sorted(sample)]
    return pairs


def split_documents(
    pairs: Sequence[RankingPair], validation: float, held_out: float, seed: int
) -> Parts:
    """Split generated queries ``document:N`` into three parts, each document's in one part."""
    texts = {f"document:{n}": pair.query for n, pair in enumerate(pairs)}
    grades = {f"document:{n}": {pair.source: 1} for n, pair in enumerate(pairs)}
    queries = Queries(texts, grades)
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    order = np.random.default_rng(seed).permutation(len(sources))
    ends = np.cumsum([round(held_out * len(sources)), round(validation * len(sources))])
    part_of = {
        sources[place]: 2 if rank < ends[0] else 1 if rank < ends[1] else 0
        for rank, place in enumerate(order)
    }
    members: tuple[list[str], list[str], list[str]] = ([], [], [])
    for query, pair in zip(queries.texts, pairs, strict=True):
        members[part_of[pair.source]].append(query)
    return Parts(*(queries.only(part) for part in members))


def without_leaks(pairs: Sequence[RankingPair], parts: Parts) -> tuple[list[RankingPair], int]:
    """Return the pairs whose query occurs in no other part, and the number left out.

    A generated pair may repeat a held-out query, which would then be memorised.
    """
    kept_out = {
        " ".join(text.lower().split())
        for part in (parts.validation, parts.held_out)
        for text in part.texts.values()
    }
    rest = [pair for pair in pairs if " ".join(pair.query.lower().split()) not in kept_out]
    return rest, len(pairs) - len(rest)


def without_headings(corpus: Corpus) -> Corpus:
    """Return the corpus with texts that lack titles and headings."""
    parts = zip(corpus.bodies, corpus.titles, corpus.headings, strict=True)
    texts = [_without(body, (title, *headings)) or body for body, title, headings in parts]
    return replace(corpus, texts=texts)


def _without(body: str, headings: Sequence[str]) -> str:
    """Return a text without the lines that repeat its headings."""
    repeats = {heading.strip().lower() for heading in headings}
    lines = body.splitlines()
    return "\n".join(
        x for x in lines if x.strip().strip("#=-*").strip().lower() not in repeats - {""}
    )
