"""Chunks: token-exact, gapless, at the text's own pauses."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.chunk import chunk_document, chunk_id
from tailorbird.documents.chunk_context import chunk_limit, contextual_text
from tailorbird.errors import UserError
from tailorbird.records import Chunk, Document, Mark

WORD = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
PIECES = st.one_of(
    WORD,
    st.sampled_from(
        ["Some words of prose.", "the end!", "- an item", "```\ncode()\n```", "中文字。"]
    ),
    st.integers(1, 300).map(lambda n: "x" * n),
    st.integers(1, 40).map(lambda n: "👩‍👩‍👧" * n),
    st.sampled_from(["https://example.org/a/very/long/path?with=arguments&and=more", "a→b→c" * 9]),
)
TEXTS = st.lists(
    st.tuples(PIECES, st.sampled_from([" ", "\n", "\n\n", "\t", "\u3000", "\x85", "   \n \n"])),
    max_size=120,
).map(lambda parts: "".join(a + b for a, b in parts))


@cache
def byte_level() -> Any:
    """Return a small byte-level BPE tokenizer with start and end tokens, as RoBERTa has."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token=None))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["some words of prose and code in a line"] * 20, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=512)


def check(document: Document, tokenizer: Any, config: IndexConfig) -> list[Chunk]:
    """Chunk a document and hold every chunk to what the record promises."""
    chunks = chunk_document(document, tokenizer, config)
    limit = chunk_limit(tokenizer, config)
    covered = 0
    for number, chunk in enumerate(chunks):
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert chunk.text.strip() and chunk.position == number
        assert not document.text[covered : chunk.start].strip()
        covered = max(covered, chunk.end)
        ids = tokenizer(contextual_text(chunk), truncation=False, padding=False)["input_ids"]
        assert chunk.tokens == len(ids)
        assert chunk.tokens <= limit
        assert chunk.id == chunk_id(document.source, number, chunk.text)
    assert not document.text[covered:].strip()
    for before, after in pairwise(chunks):
        assert before.start < after.start and before.end < after.end
    return chunks


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS, st.integers(16, 60), st.integers(0, 7), st.data())
def test_any_text(wordpiece: Any, text: str, limit: int, overlap: int, data: st.DataObject) -> None:
    places = sorted(data.draw(st.sets(st.integers(0, max(0, len(text) - 1)), max_size=5)) | {0})
    trails = data.draw(
        st.lists(
            st.lists(st.sampled_from(["Heading", "Other one", "words " * 30]), max_size=3),
            min_size=len(places),
            max_size=len(places),
        )
    )
    marks = tuple(Mark(p, None, tuple(t)) for p, t in zip(places, trails, strict=True))
    document = Document("s", text, data.draw(st.sampled_from(["", "A title", "long " * 99])), marks)
    config = IndexConfig(chunk_tokens=limit, overlap_tokens=overlap)
    for tokenizer in (wordpiece, byte_level()):
        chunks = check(document, tokenizer, config)
        assert chunks == chunk_document(document, tokenizer, config)


def prose(sentences: int, word: str = "water") -> str:
    return " ".join(f"Sentence {i} speaks of {word} and kelp." for i in range(sentences))


def test_sections_stay_apart(wordpiece: Any) -> None:
    parts = [("Otters", prose(12, "otters")), ("Kelp", prose(12, "kelp")), ("Small", "A line.")]
    text, marks = "", []
    for name, body in parts:
        marks.append(Mark(len(text), None, ("Sea", name)))
        text += f"{name}\n\n{body}\n\n"
    chunks = check(Document("s", text, "Sea", tuple(marks)), wordpiece, IndexConfig())
    assert [c.headings[-1] for c in chunks] == ["Otters", "Kelp", "Small"]
    # The heading is the text's first line already, and the title is the trail's first.
    assert contextual_text(chunks[0]).startswith("Sea\nOtters\n\nSentence 0")


def test_small_sections_are_joined(wordpiece: Any) -> None:
    text = "".join(f"Part {i}\n\nShort.\n\n" for i in range(6))
    marks = tuple(Mark(text.index(f"Part {i}"), None, (f"Part {i}",)) for i in range(6))
    assert len(check(Document("s", text, "", marks), wordpiece, IndexConfig())) == 1


def test_cuts_at_paragraphs_then_sentences(wordpiece: Any) -> None:
    text = "\n\n".join(prose(8, f"topic{i}") for i in range(6))
    chunks = check(Document("s", text), wordpiece, IndexConfig(overlap_tokens=0))
    assert all(c.text.startswith("Sentence 0") for c in chunks)
    one = check(Document("s", prose(80)), wordpiece, IndexConfig(overlap_tokens=0))
    assert all(c.text.startswith("Sentence") and c.text.endswith(".") for c in one)


def test_overlap_repeats_whole_sentences(wordpiece: Any) -> None:
    chunks = check(Document("s", prose(80)), wordpiece, IndexConfig(overlap_tokens=30))
    for before, after in pairwise(chunks):
        shared = before.text[after.start - before.start :]
        assert shared.startswith("Sentence") and shared.endswith(".")
        assert 5 <= len(wordpiece.tokenize(shared)) <= 30


def test_code_is_cut_between_lines_and_keeps_its_indent(wordpiece: Any) -> None:
    body = "\n".join(f"    value_{i} = function_{i}(argument)" for i in range(60))
    text = f"Before.\n\n```python\n{body}\n```\n\nAfter."
    chunks = check(Document("s", text), wordpiece, IndexConfig())
    lines = set(text.split("\n"))
    assert len(chunks) >= 3
    assert all(line in lines for chunk in chunks for line in chunk.text.split("\n"))


def test_rows_are_not_cut(wordpiece: Any) -> None:
    rows = [f"Name: person {i}; City: town. Of some; Note: words here" for i in range(60)]
    document = Document("s", "\n".join(rows), metadata={"kind": "xlsx"})
    for chunk in check(document, wordpiece, IndexConfig(overlap_tokens=0)):
        assert set(chunk.text.split("\n")) <= set(rows)


def test_pages(wordpiece: Any) -> None:
    first, second = prose(20), prose(20, "page two")
    marks = (Mark(0, 1), Mark(len(first) + 2, 2))
    document = Document("s", f"{first}\n\n{second}", "", marks)
    chunks = check(document, wordpiece, IndexConfig(overlap_tokens=0))
    assert [c.page for c in chunks] == sorted(c.page or 0 for c in chunks)
    assert {c.page for c in chunks} == {1, 2}


def test_no_stub_is_left(wordpiece: Any) -> None:
    chunks = check(Document("s", prose(34)), wordpiece, IndexConfig(overlap_tokens=0))
    assert len(chunks) == 2 and min(c.tokens for c in chunks) > 60


def test_huge_words_and_windows(wordpiece: Any) -> None:
    texts = (
        "x" * 50_000,
        "ab cd " * 100_000,
        "a" + " " * 600_000 + "b",
        "中文" * 5_000,
        "\0" * 999,
    )
    for text in texts:
        chunks = chunk_document(Document("s", text), wordpiece, IndexConfig())
        assert chunks[0].start == 0 and chunks[-1].end == len(text.rstrip())
        assert max(c.tokens for c in chunks) <= 256
        assert max(len(c.text) for c in chunks) <= 256 * 20
        for before, after in pairwise(chunks):
            assert not text[before.end : after.start].strip()


def test_the_same_text_has_the_same_ids(wordpiece: Any) -> None:
    document = Document("s", prose(60))
    ids = [c.id for c in chunk_document(document, wordpiece, IndexConfig())]
    assert len(set(ids)) == len(ids) and all(len(i) == 32 for i in ids)
    other = chunk_document(replace(document, source="t"), wordpiece, IndexConfig())
    assert not set(ids) & {c.id for c in other}
    assert chunk_id("a", 1, "2 b") != chunk_id("a 1", 2, "b")


def test_nothing_from_nothing(wordpiece: Any) -> None:
    assert chunk_document(Document("s", " \n\t "), wordpiece, IndexConfig()) == []


def test_lengths_that_do_not_fit(wordpiece: Any) -> None:
    with pytest.raises(UserError, match="more than the"):
        chunk_limit(wordpiece, IndexConfig(chunk_tokens=100_000))
    with pytest.raises(UserError, match="overlap_tokens=32 leaves no room"):
        chunk_limit(wordpiece, IndexConfig(chunk_tokens=64))


def test_the_tokenizer_is_left_as_it_was() -> None:
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.enable_truncation(7)
    chunk_document(Document("s", prose(30)), tokenizer, IndexConfig())
    assert tokenizer.backend_tokenizer.truncation["max_length"] == 7
    tokenizer.backend_tokenizer.no_truncation()
