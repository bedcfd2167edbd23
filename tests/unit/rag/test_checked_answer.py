"""Answers: quoted or written, checked, or refused with the reason."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailorbird.config.knowledge import AskConfig
from tailorbird.rag.checked_answer import (
    Drafter,
    Extractive,
    Prompted,
    laid_out,
    last_answer,
    stream_answer,
)
from tailorbird.rag.citations import check_answer
from tailorbird.rag.content_words import content_words
from tailorbird.rag.extract import extract, rank_sentences
from tailorbird.records import Answer, Message, Passage

PAGES = Path(__file__).resolve().parents[3] / "examples" / "tutor" / "pages"


def embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of stems: likeness is shared words."""
    bags = [content_words(text) for text in texts]
    places = {word: n for n, word in enumerate(sorted({w for bag in bags for w in bag}))}
    vectors = np.zeros((len(texts), max(1, len(places))))
    for row, bag in zip(vectors, bags, strict=True):
        for word in bag:
            row[places[word]] += 1
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9))


def page(name: str, dense: float | None = 0.6, number: int = 0) -> Passage:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    return Passage(number, f"{name}.md", name, text, 0, len(text), dense or 1.0, dense=dense)


@dataclass
class Canned:
    """A model that writes what it was told to."""

    says: str
    room: int = 2000
    name: str = "canned"
    asked: list[str] = field(default_factory=list)

    def count(self, messages: Sequence[Message]) -> int:
        return sum(len(m.content.split()) for m in messages)

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        self.asked.append(messages[0].content)
        yield from re.findall(r"\S+\s*", self.says)


def answer(
    question: str, passages: Sequence[Passage], by: Drafter, *rest: Any, **named: Any
) -> Answer:
    return last_answer(stream_answer(question, passages, by, *rest, **named))


def ask(question: str, *passages: Passage, by: Drafter | None = None, **config: float) -> Answer:
    return answer(question, passages, by or Extractive(embed), AskConfig(**config))  # type: ignore[arg-type]


def test_quotes_are_cited_to_the_letter_and_in_each_documents_order() -> None:
    question = "Does copy.deepcopy copy everything, all the way down?"
    found = ask(question, page("copying"), page("keyerror", 0.4))
    assert not found.refused and found.claims
    cited = [citation for claim in found.claims for citation in claim.citations]
    for citation in cited:
        text = (PAGES / citation.source).read_text(encoding="utf-8")
        assert text[citation.start : citation.end] == citation.quote
    for source in {citation.source for citation in cited}:
        places = [citation.start for citation in cited if citation.source == source]
        assert places == sorted(places)
    assert "deepcopy" in found.text and "[1]" in found.text
    assert found.claims and all(claim.supported and not claim.wrong for claim in found.claims)


def test_pieces_of_quotes_and_refusals_are_the_answers_text() -> None:
    by = Extractive(embed)
    for question, passage in (("A KeyError?", page("keyerror")), ("Who?", page("copying", 0.1))):
        *pieces, last = stream_answer(question, [passage], by, AskConfig())
        assert isinstance(last, Answer) and "".join(map(str, pieces)) == last.text
    assert len(pieces) == 1 and last.refused


def test_quotes_stand_the_check_that_written_answers_must_stand() -> None:
    found = ask("What does the KeyError message show?", page("keyerror"))
    _, checked = check_answer(found.text, found.passages, 0.6)
    assert checked and all(claim.supported for claim in checked)


def test_code_stays_whole_and_comes_with_what_announces_it() -> None:
    ranked = rank_sentences(
        "How do I deepcopy the grid: import copy, shallow, deep?",
        [replace(page("copying"), number=1)],
        embed,
    )
    pieces = extract(ranked, 2)
    code = next(piece.text for piece in pieces if "import copy" in piece.text)
    assert code.startswith("If these can be changed") and code.endswith("```")


def test_no_more_sentences_than_asked_for() -> None:
    ranked = rank_sentences("list copy", [replace(page("copying"), number=1)], embed)
    assert len(extract(ranked, 1)) == 1
    assert rank_sentences("list", [], embed) == [] and extract([], 3) == []


def test_weak_finds_are_refused_with_the_reason_and_the_nearest() -> None:
    found = ask("Who won the cup?", page("copying", 0.21), page("keyerror", 0.1))
    assert found.refused and found.text == "I don't know." and found.claims == ()
    assert (
        "similarity 0.21 and one holds 0% of the question's words, in sum 0.21, needed is 0.80"
        in found.why
    )
    assert [p.source for p in found.passages] == ["copying.md", "keyerror.md"]
    assert ask("Who?").why == "no passage was retrieved"


def test_thresholds_the_persons_then_the_calibrated_then_ours() -> None:
    weak = page("keyerror", 0.4)
    assert not ask("A KeyError?", weak).refused
    assert ask("A KeyError?", weak, threshold=0.5).refused
    by = Extractive(embed)
    assert answer("A KeyError?", [weak], by, AskConfig(), threshold=0.5).refused
    assert not answer("A KeyError?", [weak], by, AskConfig(threshold=0.1), threshold=0.5).refused
    assert not ask("A KeyError?", page("keyerror", None)).refused


def test_a_figure_that_no_sentence_gives_is_refused_and_no_other_is_quoted() -> None:
    text = "The pump lifts forty litres a minute. Its hose is 3 metres long."
    manual = Passage(0, "pump.md", "Pump", text, 0, len(text), 1.0, dense=0.6)
    assert "forty" in ask("How many litres a minute does the pump lift?", manual).text
    assert not ask("How long is the hose of the pump?", manual).refused
    for question in ("How heavy is the filter of the pump?", "When was the pump repaired?"):
        found = ask(question, manual)
        assert found.refused and "figure that the question asks for" in found.why


def test_code_answers_what_asks_for_code() -> None:
    text = "A list has an order.\n\n```python\nnumbers = [3, 1]\nnumbers.sort()\n```\n"
    manual = Passage(0, "lists.md", "Lists", text, 0, len(text), 1.0, dense=0.6)
    assert "numbers.sort()" in ask("How do I sort numbers in a list?", manual).text
    assert "```" not in ask("What order do numbers in a list have?", manual).text


def test_quotes_show_neither_pipes_nor_addresses() -> None:
    text = "See [the *prices*](https://example.org).\n\n| Size | Price |\n|---|---|\n| big | 5 |\n"
    manual = Passage(0, "p.md", "Prices", text, 0, len(text), 1.0, dense=0.6)
    found = ask("What is the price of the big size?", manual)
    assert "Size: big; Price: 5 [1]" in found.text and "|" not in found.text
    assert found.claims[0].citations[0].quote == "| big | 5 |", "the source to the letter"
    assert "the prices" in ask("Where do I see the prices?", manual).text


def test_what_a_model_writes_is_checked() -> None:
    model = Canned("A KeyError quotes the key it looked for [1]. Sets are green [1]. Bye [9].")
    passages = [page("keyerror")]
    *pieces, found = stream_answer("What is a KeyError?", passages, Prompted(model), AskConfig())
    assert pieces == re.findall(r"\S+\s*", model.says) and isinstance(found, Answer)
    assert [claim.supported for claim in found.claims] == [True, False, False]
    assert [claim.wrong for claim in found.claims] == [(), (1,), (9,)]
    assert found.text.count("[?]") == 2 and found.prompt_tokens == model.count(
        [Message("user", model.asked[0])]
    )
    cited, wrong = zip(*((len(c.citations), len(c.wrong)) for c in found.claims), strict=True)
    assert (sum(cited), sum(wrong)) == (1, 2)
    assert [claim.supported for claim in found.claims].count(True) == 1


@pytest.mark.parametrize("says", ["I don't know", "I do not know.", "I don\u2019t know.", "  "])
def test_a_model_may_refuse(says: str) -> None:
    found = ask("What is a KeyError?", page("keyerror"), by=Prompted(Canned(says)))
    assert found.refused and found.why and found.text == "I don't know."


def test_what_does_not_fit_is_recorded() -> None:
    model = Canned("A KeyError.", room=150)
    found = ask("Why a KeyError?", page("keyerror"), page("copying", 0.4), by=Prompted(model))
    assert found.prompt_tokens <= 150
    assert {passage.source for passage, _ in found.dropped} == {"keyerror.md", "copying.md"}


def test_quotes_are_laid_out_as_they_are_read() -> None:
    text = "Use one of **these**:\n\n- [a](x)\n- b\n\n```python\nx = 1\n```"
    assert laid_out(text) == "Use one of these:\n- a\n- b\n```python\nx = 1\n```"
