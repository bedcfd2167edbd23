"""An answerer that many threads share, and conversations with it."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailorbird.config import load_config
from tailorbird.errors import UserError
from tailorbird.models.embed import Embedded
from tailorbird.rag.answerer import Answerer, Conversation
from tailorbird.rag.content_words import content_words
from tailorbird.records import Answer, Chunk, Hit, Message

TEXTS = {
    "tea": "Green tea is steeped for two minutes. Black tea is steeped for four minutes.",
    "coffee": "Coffee is ground before it is brewed. A filter keeps the grounds out of the cup.",
    "cocoa": "Cocoa is stirred into hot milk. Cold milk leaves lumps of cocoa.",
}
WORDS = sorted({word for text in TEXTS.values() for word in content_words(text)})


class Bags:
    """Embeds texts as their words."""

    def embed_queries(self, texts: Sequence[str], title: str = "") -> Embedded:
        rows = np.asarray([[1e-6 + (w in content_words(t)) for w in WORDS] for t in texts])
        return Embedded(rows / np.linalg.norm(rows, axis=1, keepdims=True), 0.0)

    embed_documents = embed_queries


class Shelf:
    """A knowledge base of a few texts."""

    folder = Path()
    embedder = Bags()

    @contextmanager
    def reading(self) -> Iterator["Shelf"]:
        yield self

    waits = False

    def whole(self) -> bool:
        return True

    def get_setting(self, name: str) -> Any:
        return None

    def nearest(self, vector: np.ndarray, k: int, where: str | None = None) -> list[Hit]:
        cosines = self.embedder.embed_documents(list(TEXTS.values())).vectors @ vector
        hits = [
            Hit(Chunk(name, name, 0, text, 0, len(text)), float(c), dense=float(c))
            for (name, text), c in zip(TEXTS.items(), cosines, strict=True)
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def texts_of(self, sources: Iterable[str]) -> dict[str, str]:
        return {source: TEXTS[source] for source in sources}


@dataclass
class Echo:
    """A model that says the best passage's first sentence, and keeps what it is asked."""

    prompts: list[str] = field(default_factory=list)
    name: str = "echo"
    room: int = 1000

    def count(self, messages: Sequence[Message]) -> int:
        return len(messages[-1].content.split())

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        prompt = messages[-1].content
        self.prompts.append(prompt)
        if "[1]" in prompt:
            yield prompt.partition("[1] ")[2].partition("\n")[2].partition(".")[0]
            yield " [1]."


def answerer(writer: Any = None) -> Answerer:
    config = load_config(None, ["retrieve.mode=dense", "retrieve.neighbours=0"], {})
    return Answerer(Shelf(), config, writer)  # type: ignore[arg-type]


def test_conversations_share_one_answerer_and_nothing_else() -> None:
    shared = answerer()
    tea, coffee = Conversation(shared), Conversation(shared)
    assert "two minutes" in tea.ask("How long is green tea steeped?").text
    coffee.ask("When is coffee ground?")
    assert "black" in tea.ask("And black?").text.lower()
    assert [len(tea.history), len(coffee.history)] == [2, 1]
    assert "steeped" in tea.history[1][0], "what it was searched for goes on"
    alone = shared.answer("And black?")
    assert alone.searched == "And black?", "a call leaves nothing behind"
    assert shared.answer("And black?", tea.history[:1]).searched == tea.history[1][0]


def test_a_stream_ends_with_the_checked_answer() -> None:
    *pieces, last = answerer(Echo()).stream("Into what is cocoa stirred?")
    assert pieces == ["Cocoa is stirred into hot milk", " [1]."]
    assert isinstance(last, Answer) and last.text == "Cocoa is stirred into hot milk. [1]"
    assert last.claims[0].citations[0].source == "cocoa" and last.generator == "echo"


def test_a_model_is_asked_to_rewrite_only_what_goes_on() -> None:
    echo = Echo()
    conversation = Conversation(answerer(echo))
    conversation.ask("When is coffee ground?")
    assert len(echo.prompts) == 1
    conversation.ask("And why?")
    assert len(echo.prompts) == 3 and "User: When is coffee ground?" in echo.prompts[1]


def test_an_empty_question_is_refused_at_once() -> None:
    for call in (answerer().stream, answerer().answer, answerer().passages):
        with pytest.raises(UserError, match="the question is empty"):
            call("  ")


def test_threads_get_the_answers_that_one_gets() -> None:
    shared = answerer()
    questions = [f"{q} ({n})" for n in range(8) for q in ("Is tea steeped?", "Is cocoa stirred?")]
    alone = [replace(answerer().answer(q), seconds=0.0) for q in questions]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(shared.answer, questions))
    assert [replace(one, seconds=0.0) for one in together] == alone
