"""Pairs: read as BEIR writes them, made from documents, split with nothing in two parts."""

import json
from pathlib import Path

import pytest

from tailorbird.errors import UserError
from tailorbird.rag.query_pairs import (
    Corpus,
    Queries,
    check_sources,
    pairs_from_documents,
    pairs_from_queries,
    read_queries,
    split_documents,
    split_queries,
    without_headings,
    without_leaks,
)
from tailorbird.records import RankingPair as Pair

LONG = "these are at least eight words about one thing"


def beir(folder: Path) -> tuple[Path, Path]:
    rows = [{"_id": f"{n}", "text": f"query {n}"} for n in range(4)]
    queries, qrels = folder / "queries.jsonl", folder / "train.tsv"
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows))
    qrels.write_text("query-id\tcorpus-id\tscore\n0\ta\t1\n0\tb\t2\n1\ta\t0\n2\tc\t1\n9\ta\t1\n")
    return queries, qrels


def test_beir_queries_have_their_grades(tmp_path: Path) -> None:
    found = read_queries(*beir(tmp_path))
    # Query 1 has no relevant document, 3 no judgement, 9 no text.
    assert found.texts == {"0": "query 0", "2": "query 2"}
    assert found.grades == {"0": {"a": 1, "b": 2}, "2": {"c": 1}}
    assert found.relevant("0") == {"a", "b"}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_questions_with_their_source(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"q.{kind}"
    if kind == "csv":
        path.write_text('id,question,source\nx,"Why, then?",a.md\ny,How?,b.md\n')
    else:
        rows = [
            {"id": "x", "question": "Why, then?", "source": "a.md"},
            {"id": "y", "question": "How?", "source": ["b.md"]},
        ]
        path.write_text("\n".join(json.dumps(row) for row in rows))
    found = read_queries(path, None)
    assert found.texts == {"x": "Why, then?", "y": "How?"}
    assert found.relevant("y") == {"b.md"}


def test_bundled_questions_are_read(tmp_path: Path) -> None:
    path = Path(__file__).parents[3] / "examples" / "tutor" / "questions.jsonl"
    found = read_queries(path, None)
    assert len(found.texts) == len(path.read_text().splitlines())
    assert found.relevant("q003") == {"nameerror.md"}


def test_faults_name_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("ask,where\na,b\n")
    with pytest.raises(UserError, match="no question: it has ask, where"):
        read_queries(path, None)
    queries, qrels = beir(tmp_path)
    qrels.write_text("query-id\tcorpus-id\tscore\n0\ta\t0\n")
    with pytest.raises(UserError, match="no query of .* has a relevant document"):
        read_queries(queries, qrels)


def test_file_names_stand_for_the_only_path_that_ends_so() -> None:
    queries = Queries({"1": "a", "2": "b", "3": "c"}, {})
    queries = Queries(queries.texts, {"1": {"x.md": 1}, "2": {"y.md": 1}, "3": {"7": 1, "x.md": 0}})
    found = check_sources(queries, ["docs/x.md", "docs/y.md", "old/y.md", "corpus.jsonl#7"])
    # y.md is ambiguous, so its query is left out.
    assert found.grades == {"1": {"docs/x.md": 1}, "3": {"corpus.jsonl#7": 1, "docs/x.md": 0}}
    with pytest.raises(UserError, match="no judged document"):
        check_sources(queries, ["other"])


def test_parts_share_no_query_and_no_words() -> None:
    texts = {f"{n}": f"Query  {n % 40}" for n in range(80)}  # each twice
    queries = Queries(texts, {name: {"d": 1} for name in texts})
    parts = split_queries(queries, 0.15, 0.25, seed=1)
    groups = [set(part.texts.values()) for part in (parts.train, parts.validation, parts.held_out)]
    assert len(parts.held_out.texts) == 20 and len(parts.validation.texts) == 12
    assert sum(len(group) for group in groups) == len(set.union(*groups)) == 40
    again = split_queries(queries, 0.15, 0.25, seed=1)
    assert again == parts
    assert split_queries(queries, 0.15, 0.25, seed=2) != parts


def test_titles_and_headings_become_queries_without_standing_in_the_text() -> None:
    corpus = Corpus(
        ["a", "a", "b", "c"],
        ["", "", "", ""],
        ["Adding numbers", "Adding numbers", "Home page", "Home page"],
        [(), ("Large sums",), (), ()],
        [f"# Adding numbers\n{LONG}", f"Large sums\n---\n{LONG} too", LONG, LONG],
    )
    pairs = pairs_from_documents(corpus, 100, seed=1)
    assert [(p.query, p.source) for p in pairs] == [
        ("Adding numbers", "a"),
        ("Adding numbers Large sums", "a"),
        ("Large sums", "a"),
    ]  # "Home page" is the title of two documents
    assert pairs[0].positive == LONG
    assert "Large sums" not in pairs[1].positive
    assert without_headings(corpus).texts[0] == LONG


def test_generated_pairs_are_split_by_document() -> None:
    pairs = [Pair(f"title {n}", LONG, f"doc {n // 2}") for n in range(60)]
    parts = split_documents(pairs, 0.2, 0.3, seed=3)
    sources = [
        {name for query in part.texts for name in part.grades[query]}
        for part in (parts.train, parts.validation, parts.held_out)
    ]
    assert [len(found) for found in sources] == [15, 6, 9]
    assert not sources[0] & sources[1] and not sources[0] & sources[2]


def test_a_pair_that_says_a_kept_out_query_is_left_out() -> None:
    texts = {f"{n}": f"query {n}" for n in range(30)}
    parts = split_queries(Queries(texts, {n: {"d": 1} for n in texts}), 0.2, 0.2, seed=1)
    secret = next(iter(parts.held_out.texts.values()))
    learnt = next(iter(parts.train.texts.values()))
    pairs = [Pair(secret.upper() + " ", LONG, "d"), Pair(learnt, LONG, "d")]
    assert without_leaks(pairs, parts) == ([pairs[1]], 1)


def test_a_query_has_a_pair_for_each_right_document() -> None:
    corpus = Corpus(["a", "a", "b"], ["a0", "a1", "b0"])
    queries = Queries({"q": "ask"}, {"q": {"a": 1, "b": 1, "c": 1}})
    pairs = pairs_from_queries(queries, corpus, {("q", "a"): 1, ("q", "b"): 2})
    assert pairs == [
        Pair("ask", "a1", "a", frozenset({"b", "c"})),
        Pair("ask", "b0", "b", frozenset({"a", "c"})),
    ]
