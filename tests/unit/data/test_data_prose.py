"""Plain text: whole paragraphs in blocks, nothing lost, and read on."""

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.data.line_files import BLOCK_CHARACTERS
from tailorbird.data.read import read_examples
from tailorbird.data.table_files import read_table
from tailorbird.errors import UserError

word = st.text(st.characters(whitelist_categories=["L", "N", "P"]), min_size=1, max_size=30)
paragraph = st.lists(word, min_size=1, max_size=200).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(paragraphs=st.lists(paragraph, min_size=1, max_size=30), gap=st.integers(2, 4))
def test_blocks_are_whole_paragraphs(
    paragraphs: list[str], gap: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("prose") / "book.txt"
    path.write_text(("\n" * gap).join(paragraphs), encoding="utf-8")
    table = read_table(path)
    blocks = [str(row[0]) for row in table.rows]
    assert "\n\n".join(blocks) == "\n\n".join(paragraphs)
    for block in blocks:
        assert len(block) <= BLOCK_CHARACTERS or "\n\n" not in block
    for a, b in zip(blocks, blocks[1:], strict=False):
        assert len(a) + 2 + len(b.split("\n\n")[0]) > BLOCK_CHARACTERS, "blocks are filled"
    lines = path.read_text(encoding="utf-8").split("\n")
    for block, place in zip(blocks, table.places, strict=True):
        assert block.startswith(lines[int(str(place)) - 1])


def test_a_text_file_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "book.md"
    path.write_text("# Title\r\n\r\nFirst line,\r\nsecond.\r\n   \r\nThird.\r\n")
    loaded = read_examples(path, task="auto")
    assert loaded.task == "text"
    assert [e.text for e in loaded.examples] == ["# Title\n\nFirst line,\nsecond.\n\nThird."]
    assert any("plain text, split into blocks" in note for note in loaded.notes)
    with pytest.raises(UserError, match="plain text has no labels"):
        read_examples(path, task="classification")
    path.write_text("\n \n")
    with pytest.raises(UserError, match="empty"):
        read_examples(path, task="auto")
