"""Terms of our own against LanceDB's: each word finds the same words, whichever index is asked."""

import re
from pathlib import Path

import numpy as np

from tailorbird.knowledge.index_terms import terms_to_find, terms_to_index
from tailorbird.knowledge.lance import LanceStore

ODD = """
this was these theirs such will into not no are because has before others mostly done thing a1 1.5
x_y d'été Übermaß straßen ærø über naïveté cafés running runner's été Łódź smørrebrød Don't
supercalifragilisticexpialidociousandmore東京都 東京 도서관 日本語の本 ﬁne
"""


def test_each_word_finds_what_it_finds_in_lancedb(tmp_path: Path) -> None:
    pages = Path(__file__).parents[3] / "docs"
    text = " ".join(page.read_text(encoding="utf-8") for page in pages.glob("k*.md"))
    words = sorted({*re.findall(r"\w+", text)[::4], *ODD.split()})
    assert len(words) > 200
    store = LanceStore(tmp_path / "index", "g1", 2, create=True)
    store.add(np.arange(len(words)), np.ones((len(words), 2), np.float32), words)
    store.optimize()
    having: dict[str, set[int]] = {}
    for number, word in enumerate(words):
        for term in terms_to_index(word):
            having.setdefault(term, set()).add(number)
    wrong = []
    for word in words:
        theirs = set(store.matching(word, len(words))[0].tolist())
        ours = set().union(*(having.get(term, set()) for term in terms_to_find(word)))
        if ours != theirs:
            wrong.append((word, [words[n] for n in ours ^ theirs]))
    assert wrong == []
