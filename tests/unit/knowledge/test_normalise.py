"""One spelling for what reads alike, on both sides of a search for words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tailorbird.knowledge import lance
from tailorbird.knowledge.index_terms import fold, words_to_find, words_to_index
from tailorbird.knowledge.lance import LanceStore
from tailorbird.rag.content_words import content_words, tokens


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("plain ASCII - 1.5", "plain ASCII - 1.5"),
        ("sus\u00adpen\u200bsion\ufeff", "suspension"),
        ("cafe\u0301", "caf\u00e9"),
        ("\ufb01nal o\ufb03ce", "final office"),
        ("\uff30\uff44\uff26 \uff13\uff0e\uff15", "PdF 3.5"),
        ("\uff76\uff9e\uff7d", "\u30ac\u30b9"),  # half-width katakana
        ("10\u2076 m\u00b2", "10^6 m^2"),
        ("Corp\u2122", "Corp "),
        ("\u0663\u0665 \u096a", "35 4"),
        ("\u0643\u0650\u062a\u0627\u0628", "\u0643\u062a\u0627\u0628"),  # without its vowel points
    ],
)
def test_fold(written: str, folded: str) -> None:
    assert fold(written) == folded
    assert fold(folded) == folded


def test_fractions_stay_apart_from_what_stands_before_them() -> None:
    assert fold("2\u00bd l").split() == ["2", "1/2", "l"]
    assert fold("\u2153").split() == ["1/3"]


def test_longer_words_are_asked_for_by_their_pairs() -> None:
    assert words_to_find("\u6771\u4eac\u90fd?").split() == ["\u6771\u4eac", "\u4eac\u90fd", "?"]
    assert words_to_find("\u6771").split() == ["\u6771"]
    assert set(words_to_index("\u6771\u4eac").split()) == {"\u6771", "\u4eac", "\u6771\u4eac"}


TEXTS = {
    "chinese": ("火车八点出发。", "八点"),
    "one letter": ("積雪は深い", "雪"),
    "japanese": (
        "市場は毎朝開きます",
        "開きます",
    ),
    "katakana": ("パンフレットは無料", "レット"),
    "half-width": ("ﾊﾞｽ乗り場", "バス"),
    "korean": (
        "시장은 아침에 열립니다",
        "시장",
    ),
    "korean parted": (
        "열차는 떠났다",
        "열차",
    ),
    "thai": (
        "ตลาดเปิดตอนเช้า",
        "เช้า",
    ),
    "lao": ("ຕະຫຼາດເປີດ", "ເປີດ"),
    "khmer": (
        "ផ្សារបើកព្រឹក",
        "ព្រឹក",
    ),
    "burmese": ("ဈေးဖွင့်သည်", "ဈေး"),
    "soft hyphen": ("The sus\u00adpension was mended.", "suspension"),
    "zero width": ("a \u200bturbo\u200bcharger\u200b", "turbocharger"),
    "sought with a soft hyphen": ("the gearbox", "gear\u00adbox"),
    "ligature": ("the \ufb02ywheel", "flywheel"),
    "sought with a ligature": ("the camshaft fillet", "\ufb01llet"),
    "full-width": ("\uff22\uff32\uff21\uff2b\uff25 lever", "brake"),
    "sought full-width": ("the clutch", "\uff43\uff4c\uff55\uff54\uff43\uff48"),
    "parted accents": ("le de\u0301marreur", "démarreur"),
    "hindi": ("हिन्दी पुस्तक", "पुस्तक"),
    "glued": ("Pythonの関数", "python"),
}  # fmt: skip


def filled(folder: Path, texts: Sequence[str]) -> LanceStore:
    store = LanceStore(folder / "index", "g1", 2, create=True)
    store.add(np.arange(len(texts)), np.ones((len(texts), 2), np.float32), texts)
    return store


def test_words_of_every_script_are_searched(tmp_path: Path) -> None:
    store = filled(tmp_path, [text for text, _ in TEXTS.values()])
    for tidied in (False, True):
        if tidied:
            store.optimize()
        for number, (name, (_, word)) in enumerate(TEXTS.items()):
            rows, _ = store.matching(word, 5)
            assert len(rows) and rows[0] == number, name


def test_an_index_of_an_earlier_version_is_searched_and_added_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lance, "_WORDS", "text")  # as it was named when words were kept as written
    monkeypatch.setattr(lance, "words_to_index", str)
    filled(tmp_path, ["brakes \u516b\u70b9\u51fa\u53d1", "gears"])
    monkeypatch.undo()
    store = LanceStore(tmp_path / "index", "g1", 2)
    store.add(np.array([7]), np.ones((1, 2), np.float32), ["\ufb01ne \u706b\u8f66\u516b\u70b9"])
    store.optimize()
    assert [store.matching(word, 5)[0].tolist() for word in ("brake", "fine")] == [[0], [7]]
    assert capsys.readouterr().err == ""
    assert store.matching("\u516b\u70b9", 5)[0].tolist() == [7]
    assert "--repair" in capsys.readouterr().err


def test_words_that_are_compared_are_folded_too() -> None:
    assert content_words("\ufb01ling o\u00adverdue cafe\u0301s") == content_words(
        "filing overdue caf\u00e9s"
    )
    assert tokens("STRASSE Stra\u00dfe") == ["strasse", "strasse"]
    thai, _ = TEXTS["thai"]
    assert set(tokens(TEXTS["thai"][1])) <= set(tokens(thai))
    assert tokens(TEXTS["hindi"][0])[1] == TEXTS["hindi"][1]
