"""Generates answers from passages with a run or a base model on this machine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tailorbird.arms.generative_predictor import open_generative, open_untouched
from tailorbird.config import Config
from tailorbird.config.knowledge import AskConfig
from tailorbird.data.encode_chat import encode_prompts
from tailorbird.errors import UserError
from tailorbird.models.generate import Sampling, stream
from tailorbird.models.generation_inputs import context_length
from tailorbird.records import Example, Message
from tailorbird.runs.finished_run import arm_folder
from tailorbird.runs.folder import REPORT, RunFolder
from tailorbird.tasks.arm_job import is_generative
from tailorbird.tasks.base_model import Answering

_UNLIMITED_CONTEXT = 4096


@dataclass
class LocalGenerator:
    """A generative model on this machine; several threads may share it.

    Attributes:
        name: A run folder or a model's name.
        system: The system message of the run's training.
    """

    name: str
    answering: Answering
    ask: AskConfig
    system: str | None = None

    @property
    def room(self) -> int:
        """The most prompt tokens: the model's context less the answer."""
        own = context_length(self.answering.model) or _UNLIMITED_CONTEXT
        return min(own, self.ask.context_tokens or own) - self.ask.answer_tokens

    def count(self, messages: Sequence[Message]) -> int:
        """Return the prompt's length in tokens, by the model's own tokenizer and template."""
        return len(self.encode(messages))

    @property
    def sampling(self) -> Sampling:
        """The settings of generation."""
        own = self.answering.sampling(self.ask.answer_tokens)
        return replace(own, max_new_tokens=min(own.max_new_tokens, self.ask.answer_tokens))

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """Yield the answer as it is generated."""
        a = self.answering
        yield from stream(a.model, a.tokenizer, self.encode(messages), self.sampling, a.device)

    def encode(self, messages: Sequence[Message]) -> np.ndarray:
        """Return a conversation's token ids as the model's prompt."""
        lead = () if self.system is None else (Message("system", self.system),)
        prompt = Example(messages[-1].content, messages=(*lead, *messages))
        return encode_prompts([prompt], self.answering.tokenizer)[0]


def open_generator(name: str, config: Config) -> LocalGenerator:
    """Load a generative run or a base model.

    Raises:
        UserError: It cannot be loaded, or cannot generate text.
    """
    place = Path(name).expanduser()
    if place.is_dir() and (RunFolder(place).exists or RunFolder(place).file(REPORT).is_file()):
        folder = arm_folder(place)
        if not is_generative(folder):
            raise UserError(
                f"the run {place} gives labels and cannot generate text",
                "give a run tuned on prompts and answers, or a base model",
            )
        run = open_generative(folder, trust=config.model.trust_remote_code)
        return LocalGenerator(run.name, run.answering, config.ask, run.config.data.system)
    answering = open_untouched(config.replace(model={"name": name}))
    limit = context_length(answering.model) or _UNLIMITED_CONTEXT
    answering = replace(answering, limit=limit, config=config)
    return LocalGenerator(name, answering, config.ask)
