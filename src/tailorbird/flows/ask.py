"""`tailor ask`: question -> passages -> answer with checked citations."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird.arms.load import arm_folder
from tailorbird.arms.load_writing import Writer
from tailorbird.arms.trained_writing import make_base
from tailorbird.config import Config
from tailorbird.config.knowledge import AskConfig
from tailorbird.data.encode_chat import encode_prompts
from tailorbird.errors import UserError
from tailorbird.models.device import choose
from tailorbird.models.embed import Remembered
from tailorbird.models.generate import stream
from tailorbird.models.inputs import context_length
from tailorbird.rag.answer import Extractive, Generator, Heard, Prompted, Writes, answer
from tailorbird.rag.endpoint import Endpoint
from tailorbird.rag.followup import Turn, standalone
from tailorbird.rag.retrieve import Retriever
from tailorbird.records import Answer, Example, Message, Passage
from tailorbird.runs.folder import REPORT, TASK, RunFolder
from tailorbird.tasks.answering import Answering

_UNLIMITED_CONTEXT = 4096


@dataclass
class Asker:
    """Answers questions from one knowledge base, and remembers the conversation.

    Attributes:
        kb: The knowledge base.
        config: Settings; `retrieve` and `ask` are looked at.
        history: Turns so far.
    """

    kb: Any
    config: Config
    history: list[Turn] = field(default_factory=list)

    def __post_init__(self) -> None:
        retrieve = self.config.retrieve
        self.retriever = Retriever(self.kb, retrieve)
        self.writer = make_writer(self.config)
        self._read = Remembered(lambda texts: self.kb.embedder.embed_documents(texts).vectors)
        self.generator: Generator = (
            Prompted(self.writer)
            if self.writer is not None
            else Extractive(self._embed, self.config.ask.sentences)
        )

    def passages(
        self, question: str, where: str | None = None, k: int | None = None
    ) -> list[Passage]:
        """Return what is found for a question, numbered, the best first.

        Raises:
            UserError: An empty question.
        """
        _need_words(question)
        found = self.retriever.search(question, where, k)
        return [replace(passage, number=n) for n, passage in enumerate(found, start=1)]

    def ask(
        self,
        question: str,
        where: str | None = None,
        k: int | None = None,
        heard: Heard = lambda piece: None,
    ) -> Answer:
        """Answer a question, with what it takes from the conversation so far.

        Args:
            question: What is asked.
            where: Condition on the documents' metadata.
            k: Passages to retrieve; default: ``retrieve.k``.
            heard: Called with each piece of text as a model writes it.

        Raises:
            UserError: An empty question; a model or an endpoint that fails.
        """
        _need_words(question)
        started = time.perf_counter()
        searched = standalone(question, self.history, self._write if self.writer else None)
        found = answer(
            question,
            self.passages(searched, where, k),
            self.generator,
            self.config.ask,
            searched=searched,
            threshold=self.kb.get_setting("threshold"),
            heard=heard,
        )
        self.history.append((searched, found.text))
        return replace(found, seconds=round(time.perf_counter() - started, 4))

    def _write(self, prompt: str) -> str:
        assert self.writer is not None
        return "".join(self.writer.stream([Message("user", prompt)]))

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        asked = self.kb.embedder.embed_queries(texts[:1]).vectors
        return np.concatenate([asked, self._read(texts[1:])])


def _need_words(question: str) -> None:
    if not question.strip():
        raise UserError("the question is empty", "ask at least one word")


@dataclass
class LocalWriter:
    """A model on this machine that writes from prompts.

    Attributes:
        name: A run's folder or a model's name.
        answering: The model, with its tokenizer and chat template.
        ask: Limits.
        system: The system message that the run was trained with.
    """

    name: str
    answering: Answering
    ask: AskConfig
    system: str | None = None

    @property
    def room(self) -> int:
        """Tokens that a prompt may take: what the model reads, less the answer's."""
        own = context_length(self.answering.model) or _UNLIMITED_CONTEXT
        return min(own, self.ask.context_tokens or own) - self.ask.answer_tokens

    def count(self, messages: Sequence[Message]) -> int:
        """Return the prompt's length by the model's own tokenizer and template."""
        return len(self._ids(messages))

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer as it is written."""
        a = self.answering
        sampling = a.sampling(self.ask.answer_tokens)
        sampling = replace(
            sampling, max_new_tokens=min(sampling.max_new_tokens, self.ask.answer_tokens)
        )
        yield from stream(a.model, a.tokenizer, self._ids(messages), sampling, a.device)

    def _ids(self, messages: Sequence[Message]) -> np.ndarray:
        lead = () if self.system is None else (Message("system", self.system),)
        asked = Example(messages[-1].content, messages=(*lead, *messages))
        return encode_prompts([asked], self.answering.tokenizer)[0]


def make_writer(config: Config) -> Writes | None:
    """Return what writes answers; None where sentences are quoted.

    Raises:
        UserError: Both a model and an endpoint, or a model that cannot be had or does not write.
    """
    asked = config.ask
    if asked.model and asked.endpoint:
        raise UserError("both ask.model and ask.endpoint are set", "choose one of them")
    if asked.endpoint:
        return Endpoint(asked.endpoint, asked)
    if not asked.model:
        return None
    place = Path(asked.model).expanduser()
    if place.is_dir() and (RunFolder(place).exists or RunFolder(place).file(REPORT).is_file()):
        folder = arm_folder(place)
        if not folder.file(TASK).is_file():
            raise UserError(
                f"the run {place} answers with labels, not in words",
                "give a run tuned on prompts and answers, or a base model",
            )
        run = Writer(folder, trust=config.model.trust_remote_code)
        return LocalWriter(run.name, run.answering, asked, run.config.data.system)
    model = config.model.model_copy(update={"name": asked.model})
    base = make_base(
        config.model_copy(update={"model": model}), choose(model.device, model.precision), None
    )
    limit = context_length(base.model) or _UNLIMITED_CONTEXT
    answering = Answering(base.model.eval(), base.tokenizer, base.device, limit, config)
    return LocalWriter(asked.model, answering, asked)


def open_asker(store: str | Path, config: Config) -> Asker:
    """Open a knowledge base to ask it.

    Raises:
        UserError: There is none, or a setting does not fit.
    """
    from tailorbird.knowledge.base import KnowledgeBase

    return Asker(KnowledgeBase.open(Path(store)), config)
