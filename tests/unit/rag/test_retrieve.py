"""The retriever, on a knowledge base in memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from small_knowledge import SmallKnowledge
from tailorbird.config.knowledge import RetrieveConfig
from tailorbird.rag.retrieve import Retriever, confidence

TEXTS = {
    "lists.md": (
        "A list holds things in order.\n\nAppend adds to the end of a list.\n\n"
        "Sorting a list in place gives None back.\n\nSlices copy a part."
    ),
    "files.md": "Open a file with a path.\n\nClose the file when done.\n\nEncodings matter.",
    "copy.md": "Append adds to the end of a list.",
    "far.md": "Nothing of the kind stands here.",
}


def retriever(reranker: Any = None, kept: dict[str, Any] | None = None, **more: Any) -> Retriever:
    kb = SmallKnowledge(TEXTS)
    kb.kept |= kept or {}
    return Retriever(kb, RetrieveConfig(**more), reranker)


def test_the_right_chunk_comes_first_with_both_scores() -> None:
    hits = retriever().hits("append to the end of a list", k=3)
    assert hits[0].chunk.text == "Append adds to the end of a list."
    assert hits[0].dense is not None and hits[0].words is not None
    assert [hit.score for hit in hits] == sorted((h.score for h in hits), reverse=True)


def test_a_text_that_stands_twice_is_found_once() -> None:
    texts = [hit.chunk.text for hit in retriever().hits("append to the end", k=9)]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("mode", ["dense", "words"])
def test_one_side_alone(mode: Any) -> None:
    found = retriever(mode=mode).hits("close the file", k=2)
    assert found[0].chunk.text == "Close the file when done."
    other = "words" if mode == "dense" else "dense"
    assert all(getattr(hit, other) is None for hit in found)


def test_what_only_words_found_gets_its_cosine() -> None:
    sides = retriever(candidates=1).sides(["sorting encodings file list None back"])[0]
    assert sides.dense_count == 1
    assert all(hit.dense is not None for hit in sides.dense)
    kb = SmallKnowledge(TEXTS)
    vector = kb.embedder.embed_queries([sides.question]).vectors[0]
    for hit in sides.dense:
        assert hit.dense == pytest.approx(float(kb.vectors([hit])[0] @ vector), abs=1e-6)


def test_the_weight_is_the_asked_the_kept_or_even() -> None:
    assert retriever().weight == 0.5
    assert retriever(kept={"weight": 0.3}).weight == 0.3
    assert retriever(kept={"weight": 0.3}, weight=0.9).weight == 0.9
    assert retriever(kept={"weight": 0.3}, mode="words").weight == 0.0


def test_many_questions_are_each_alone() -> None:
    ours = retriever()
    questions = ["close the file", "sorting a list", "encodings"]
    together = ours.many(questions, k=3)
    assert together == [ours.hits(question, k=3) for question in questions]
    assert ours.many([]) == []


def test_passages_are_the_documents_own_text() -> None:
    for passage in retriever(k=4).search("append to the end of a list"):
        assert TEXTS[passage.source][passage.start : passage.end] == passage.text


def test_hits_that_touch_are_one_passage() -> None:
    found = retriever(k=3, neighbours=1).search("append adds, sorting a list in place")
    places = [(p.source, p.start, p.end) for p in found]
    for i, (source, start, end) in enumerate(places):
        for other, low, high in places[i + 1 :]:
            assert source != other or end < low or high < start
    lists = next(p for p in found if p.source == "lists.md")
    assert len(lists.chunks) == 4
    assert lists.text == TEXTS["lists.md"]


def test_without_neighbours_a_passage_is_its_hit() -> None:
    found = retriever(k=1, neighbours=0).search("encodings matter")
    assert [p.text for p in found] == ["Encodings matter."]
    assert confidence(found) == pytest.approx(1.0, abs=1e-5)
    assert confidence([]) == 0.0


class Backwards:
    """Ranks by the number of letters, the fewest first."""

    def score(self, question: str, texts: Sequence[str]) -> np.ndarray:
        return np.asarray([1 / (1 + len(text)) for text in texts])


def test_the_reranker_ranks_what_it_reads_and_the_rest_follows() -> None:
    hits = retriever(Backwards(), rerank=3).hits("append to the end of a list", k=8)
    assert all(hit.reranked is not None for hit in hits[:3])
    assert all(hit.reranked is None for hit in hits[3:])
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_diversity_keeps_the_best_first() -> None:
    plain = retriever().hits("file list", k=3)
    spread = retriever(diversity=0.9).hits("file list", k=3)
    assert spread[0] == plain[0]


def test_reciprocal_ranks_need_both_lists_as_they_were() -> None:
    ours = retriever(fusion="rrf", candidates=2)
    sides = ours.sides(["close the file"])[0]
    scores = {hit.chunk.id: hit.score for hit in ours.fuse(sides)}
    for rank, hit in enumerate(sides.dense[: sides.dense_count], start=1):
        if all(hit.chunk.id != other.chunk.id for other in sides.words):
            assert scores[hit.chunk.id] == pytest.approx(0.5 / (60 + rank))
