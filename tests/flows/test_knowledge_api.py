"""Knowledge bases from Python, with the builtin embedder; and the example of the docs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tailorbird
from tailorbird import UserError

DOCS = Path(__file__).parents[2] / "docs" / "knowledge_base.md"
TEXTS = [
    {"text": "Invoices are due in 30 days.", "source": "pay", "metadata": {"team": "billing"}},
    {"text": "The parrot prefers ripe mangoes to seeds.", "title": "Parrots"},
]


@pytest.fixture
def kb(tmp_path: Path) -> Iterator[Any]:
    with tailorbird.KnowledgeBase(tmp_path / "KB", retrieve__k=2) as opened:
        yield opened


def test_the_example_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "merge.md").write_text("# Merging\n\nAn adapter is merged by export.\n")
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    # What the docs say that an expression gives is what it gives.
    names: dict[str, Any] = {}
    exec(re.sub(r"^(\s*)(\S.*?)  # -> (.*)$", r"\1assert (\2) == (\3)", example, flags=re.M), names)
    assert example.count("# -> ") >= 4


def test_texts_are_added_once_replaced_and_removed(kb: Any) -> None:
    first = kb.add(TEXTS)
    assert (first.added, first.changed, first.unchanged) == (2, 0, 0)
    assert kb.add(TEXTS).unchanged == 2
    assert kb.add(TEXTS[0] | {"text": "Invoices are due in 14 days."}).changed == 1
    found = kb.search("When must an invoice be paid?")
    assert "14 days" in found[0].text and not any("30 days" in hit.text for hit in found)
    assert [hit.title for hit in kb.search("fruit", where="team is null")] == ["Parrots"]
    assert kb.remove("pay") == 1 and len(kb.documents()) == 1
    assert kb.verify().problems == ()


def test_answers_cite_what_they_say(kb: Any) -> None:
    kb.add(TEXTS)
    answer = kb.ask("What does the parrot prefer?")
    assert "mangoes" in answer.text and "[1]" in answer.text and not answer.refused


def test_faults_are_told_together_and_nothing_is_added(kb: Any) -> None:
    faulty = [{"text": " "}, {"text": "a", "tilte": "b"}, {"text": "a", "metadata": {"x": [1]}}]
    with pytest.raises(UserError) as told:
        kb.add([*TEXTS, *faulty])
    for words in ("text 3 has no words", "did you mean 'title'?", "metadata 'x' is a list"):
        assert words in str(told.value)
    assert kb.documents() == []
    with pytest.raises(UserError, match="no such file"):
        kb.add(["nowhere.md", TEXTS[0]])
    assert kb.documents() == []


def test_the_parent_folder_can_be_indexed(tmp_path: Path, kb: Any) -> None:
    (tmp_path / "a.md").write_text("# A\n\nThe only file.\n")
    done = kb.add(tmp_path)
    assert (done.added, done.skipped) == (1, {})


def test_another_embedder_is_not_taken_silently(tmp_path: Path, kb: Any, models: Any) -> None:
    other = models("bert")
    with pytest.raises(UserError, match="is embedded with builtin:minilm"):
        tailorbird.KnowledgeBase(tmp_path / "KB", embedder=str(other))
