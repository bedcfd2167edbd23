"""A run folder -> something that answers in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tailorbird.arms.load import read_memory, run_config
from tailorbird.arms.trained import max_length
from tailorbird.arms.trained_writing import make_base, writer_options
from tailorbird.config import Config
from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode_chat import encode_prompts
from tailorbird.errors import UserError, check_utf8
from tailorbird.methods import get_method
from tailorbird.models.builtin import with_place
from tailorbird.models.device import choose
from tailorbird.models.embed import Embedder
from tailorbird.models.generate import generate, stream
from tailorbird.models.load import Base, load_writer, tokenizer_in
from tailorbird.rag.neighbours import Memory
from tailorbird.rag.shots import fit_shots, with_shots
from tailorbird.records import Example, Message, Neighbour
from tailorbird.runs.files import damaged, inner, read_as
from tailorbird.runs.folder import MODEL, RunFolder
from tailorbird.tasks.answering import Answering
from tailorbird.tasks.job import read_task

if TYPE_CHECKING:
    from torch import nn

LONGEST_ANSWER = 256
"""Tokens of an answer where neither the run nor the person says."""


@dataclass(frozen=True, slots=True)
class WrittenPrediction:
    """What a run answers to one prompt.

    Attributes:
        text: The answer.
        tokens: How many the model wrote; 0 for an answer that was looked up.
        ended: Whether it came to its own end rather than to `generate.max_new_tokens`.
        neighbours: For retrieval runs, the training examples that were shown or copied.
    """

    text: str
    tokens: int = 0
    ended: bool = True
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class Prompted:
    """What `prompted.json` holds: how an arm answers that no training made.

    Attributes:
        k: How many training pairs are shown before a prompt.
        tuned: The arm whose model answers; None: the base model.
    """

    kind: Literal["nearest", "base", "rag"]
    k: Annotated[int, Field(ge=0)] = 0
    tuned: str | None = None
    embedder: Annotated[str, Field(min_length=1)] | None = None


def _prompted(folder: RunFolder) -> Prompted | None:
    path = folder.file(MODEL) / "prompted.json"
    if not path.is_file():
        return None
    found = read_as(path, Prompted)
    if found.kind != "base" and found.embedder is None:
        raise damaged(path, "it names no embedder")
    return found


class Writer:
    """A loaded run that answers in words.

    Attributes:
        name: The run's folder.
        longest: Tokens of an answer at most, where `generate.max_new_tokens` does not say.
        config: The run's settings; `generate` of it says how answers are written.
    """

    def __init__(self, folder: RunFolder, *, trust: bool = False) -> None:
        self.name = str(folder.path)
        self.longest = read_task(folder).max_new_tokens or LONGEST_ANSWER
        prompted = _prompted(folder)
        self.config = run_config(folder, trust=trust)
        self._pairs = 0 if prompted is None else prompted.k
        self._memory = self._embedder = None
        if prompted is not None and prompted.embedder is not None:
            base = self.config.model
            place = with_place(prompted.embedder, self.config.rag.embedder, base.name)
            model = base.model_copy(update={"name": place})
            self._embedder = _embedder(model.model_dump_json())
            self._memory = Memory(*read_memory(folder.file(MODEL), self._embedder), ())
        copies = prompted is not None and prompted.kind == "nearest"
        self._answering = None if copies else _answering(folder, prompted, trust)

    @property
    def shows_examples(self) -> bool:
        """Whether other examples stand before a prompt, or are all there is."""
        return self._memory is not None

    @property
    def copies(self) -> bool:
        """Whether answers are looked up and no model writes."""
        return self._answering is None

    @property
    def answering(self) -> Answering:
        """The model that answers.

        Raises:
            UserError: The run looks its answers up.
        """
        if self._answering is None:
            raise UserError(f"{self.name} has no model: it copies answers", "choose another arm")
        return self._answering

    def predict(self, prompts: Sequence[str | Example], title: str = "") -> list[WrittenPrediction]:
        """Return one answer per prompt; a prompt is a text or a conversation ending with a user."""
        asked = [as_example(prompt) for prompt in prompts]
        near = self._near(asked)
        if self._answering is None:
            return [WrittenPrediction(n[0].label, neighbours=n[:1]) for n in near]
        ids = self._encoded(asked, near)
        sampling = self.answering.sampling(self.longest)
        found = generate(
            self.answering.model, self.answering.tokenizer, ids, sampling,
            self.answering.device, title,
        )  # fmt: skip
        return [
            WrittenPrediction(w.text, w.tokens, w.ended, n)
            for w, n in zip(found, near, strict=True)
        ]

    def check(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Return the beginnings of answers, greedily: what was noted when the run was saved."""
        if not examples:
            return ()
        near = self._near(examples)
        if self._answering is None:
            return tuple(found[0].label for found in near)
        return self.answering.check(self._encoded(examples, near), self.longest)

    def stream(self, prompt: str | Example) -> Iterator[str]:
        """Yield the answer to one prompt piece by piece as it is written."""
        asked = [as_example(prompt)]
        near = self._near(asked)
        if self._answering is None:
            yield near[0][0].label
            return
        (ids,) = self._encoded(asked, near)
        a = self.answering
        yield from stream(a.model, a.tokenizer, ids, a.sampling(self.longest), a.device)

    def sampled(self, **settings: Any) -> "Writer":
        """Change how answers are written (`temperature`, `top_p`, `max_new_tokens` ...)."""
        given = {name: value for name, value in settings.items() if value is not None}
        if given and self._answering is not None:
            config = self._answering.config
            section = type(config.generate).model_validate(config.generate.model_dump() | given)
            config = config.model_copy(update={"generate": section})
            self._answering = replace(self._answering, config=config)
        return self

    def _near(self, asked: Sequence[Example]) -> list[tuple[Neighbour, ...]]:
        if self._memory is None or self._embedder is None:
            return [() for _ in asked]
        vectors = self._embedder.embed([e.text for e in asked]).vectors
        return [self._memory.neighbours(v, max(1, self._pairs)) for v in vectors]

    def _encoded(
        self, asked: Sequence[Example], near: Sequence[tuple[Neighbour, ...]]
    ) -> list[np.ndarray]:
        if self._pairs:
            shots = [[Example(n.text, n.label) for n in found] for found in near]
            tokenizer, room = self.answering.tokenizer, self.answering.limit - self.longest
            fitted = fit_shots(asked, shots, tokenizer, room)
            asked = [with_shots(e, s) for e, s in zip(asked, fitted, strict=True)]
        system = self.config.data.system
        if system is not None:
            lead = Message("system", system)
            asked = [
                e
                if e.messages and e.messages[0].role == "system"
                else replace(e, messages=(lead, *e.messages))
                for e in asked
            ]
        return encode_prompts(asked, self.answering.tokenizer)


def as_example(prompt: str | Example) -> Example:
    """Return a prompt as a conversation of one turn, unless it is one already.

    Raises:
        UserError: It is no UTF-8.
    """
    if isinstance(prompt, Example):
        return prompt
    check_utf8(prompt, "the prompt")
    return Example(prompt, messages=(Message("user", prompt),))


def open_tuned(folder: RunFolder, *, trust: bool) -> tuple[Base, "nn.Module", Config]:
    """Return the base, the tuned model on it, and the settings of a trained arm.

    Args:
        folder: The arm.
        trust: Whether code may run that came with its model.

    Raises:
        UserError: The folder is incomplete or damaged, or its base model is not there.
    """
    config = run_config(folder, trust=trust)
    method = get_method(config.method.name)
    device = choose(config.model.device, config.model.precision)
    base = load_writer(config.model, device, writer_options(config, device, method))
    # The saved tokenizer, with the chat template that was trained with.
    base.tokenizer = tokenizer_in(folder.file(MODEL), trust=trust)
    model = method.load(base, folder.file(MODEL))
    return base, model, config


def _answering(folder: RunFolder, prompted: Prompted | None, trust: bool) -> Answering:
    if prompted is None:
        base, model, config = open_tuned(folder, trust=trust)
        limit = max_length(config, base, get_method(config.method.name))
    elif prompted.tuned is not None:
        path = folder.file(MODEL) / "prompted.json"
        return _answering(RunFolder(inner(path, folder.path.parent, prompted.tuned)), None, trust)
    else:
        config = run_config(folder, trust=trust)
        base = make_base(config, choose(config.model.device, config.model.precision), None)
        model, limit = base.model, max_length(config, base, get_method("full"))
    return Answering(model.eval(), base.tokenizer, base.device, limit, config)


@lru_cache(maxsize=1)
def _embedder(model: str) -> Embedder:
    """Return the embedder of the settings in `model`: the arms of a comparison share one."""
    config = ModelConfig.model_validate_json(model)
    return Embedder(config, choose(config.device, config.precision))
