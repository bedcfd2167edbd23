"""A loaded generative run, and the training pairs that it may show before a prompt."""

import copy
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tailorbird.arms.predictor import Predictor, PredictorSpec
from tailorbird.arms.split_embeddings import SplitVectors, read_examples_of, save_examples
from tailorbird.config import Config, dump_config
from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode_chat import encode_prompts
from tailorbird.errors import UserError, check_utf8
from tailorbird.methods.registry import get_method
from tailorbird.models.builtin import with_place, without_place
from tailorbird.models.device import choose
from tailorbird.models.embed import Embedder
from tailorbird.models.generate import generate, stream
from tailorbird.models.load import load_generative, tokenizer_in
from tailorbird.rag.labelled_vectors import LabelledVectors
from tailorbird.records import Example, Message, Neighbour
from tailorbird.runs.checked_files import damaged, inner, read_as
from tailorbird.runs.finished_run import run_config
from tailorbird.runs.folder import CONFIG, MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob, read_task
from tailorbird.tasks.base_model import Answering, generative_options, make_base, max_length
from tailorbird.tasks.predictions import GeneratedText

PROMPTED = "prompted.json"
"""A file in an untrained generative arm's model folder: how the arm answers."""
LONGEST_ANSWER = 256
"""The most tokens of an answer if neither the run nor a setting limits it."""


@dataclass(frozen=True)
class PromptedFile:
    """The contents of `prompted.json`: how an untrained generative arm answers.

    Attributes:
        k: The number of training pairs before a prompt.
        tuned: The arm whose model answers; None: the base model.
    """

    kind: Literal["nearest", "base", "rag"]
    k: Annotated[int, Field(ge=0)] = 0
    tuned: str | None = None
    embedder: Annotated[str, Field(min_length=1)] | None = None

    @property
    def arm(self) -> str:
        """The arm's key in the table of arms."""
        return "few_shot" if self.kind == "rag" else self.kind


def read_prompted(folder: RunFolder) -> PromptedFile | None:
    """Return how an untrained generative arm answers; None for a trained arm.

    Raises:
        UserError: The file is damaged.
    """
    path = folder.file(MODEL) / PROMPTED
    if not path.is_file():
        return None
    prompted = read_as(path, PromptedFile)
    if prompted.kind != "base" and prompted.embedder is None:
        raise damaged(path, "it names no embedder")
    return prompted


@dataclass(frozen=True)
class PairMemory:
    """Training pairs to show before a prompt, or to copy answers from."""

    memory: LabelledVectors
    embedder: Embedder
    count: int

    @classmethod
    def of(cls, folder: RunFolder, config: Config, prompted: PromptedFile) -> "PairMemory":
        """Load the pairs of a saved arm.

        Raises:
            UserError: They are missing or damaged, or another embedder made them.
        """
        assert prompted.embedder is not None
        place = with_place(prompted.embedder, config.rag.embedder, config.model.name)
        embedder = _embedder(config.model.replace(name=place).model_dump_json())
        vectors, examples = read_examples_of(folder.file(MODEL), embedder)
        return cls(LabelledVectors(vectors, examples, ()), embedder, prompted.k)

    def near(self, prompts: Sequence[Example]) -> list[tuple[Neighbour, ...]]:
        """Return the pairs most similar to each prompt."""
        vectors = self.embedder.embed([prompt.text for prompt in prompts]).vectors
        return [self.memory.neighbours(vector, max(1, self.count)) for vector in vectors]


class GenerativePredictor(Predictor):
    """A loaded generative run.

    Args:
        config: Its settings; `generate` has those of generation.
        answering: The model that answers; None: answers are copied from `pairs`.

    Attributes:
        test_file: The test of the run, and how it was scored.
        longest: The most tokens of an answer, unless `generate.max_new_tokens` is set.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Config,
        answering: Answering | None,
        pairs: PairMemory | None = None,
    ) -> None:
        self.test_file = read_task(folder)
        self.name, self.config, self._pairs = str(folder.path), config, pairs
        self.longest = self.test_file.max_new_tokens or LONGEST_ANSWER
        self._answering = answering
        self._lock = threading.RLock()

    @property
    def spec(self) -> PredictorSpec:
        """See `Predictor.spec`."""
        return PredictorSpec(self.test_file.task, streams=True)

    @property
    def shows_examples(self) -> bool:
        """Whether training examples precede a prompt, or are copied."""
        return self._pairs is not None

    @property
    def copies(self) -> bool:
        """Whether answers are copied, without a model."""
        return self._answering is None

    @property
    def answering(self) -> Answering:
        """The model that answers.

        Raises:
            UserError: The run copies its answers.
        """
        if self._answering is None:
            raise UserError(f"{self.name} has no model: it copies answers", "choose another arm")
        return self._answering

    def predict(self, inputs: Sequence[str | Example], title: str = "") -> list[GeneratedText]:
        """Return one answer per prompt; a prompt is a text or a conversation ending with a user."""
        prompts = [as_example(prompt) for prompt in inputs]
        with self._lock:
            near = self._near(prompts)
            if self._answering is None:
                return [GeneratedText(n[0].label, neighbours=n[:1]) for n in near]
            ids, a = self._encoded(prompts, near), self._answering
            sampling = a.sampling(self.longest)
            answers = generate(a.model, a.tokenizer, ids, sampling, a.device, title)
        return [
            GeneratedText(answer.text, answer.tokens, answer.ended, pairs)
            for answer, pairs in zip(answers, near, strict=True)
        ]

    def check(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Return the first tokens of greedy answers, as recorded when the run was saved."""
        if not examples:
            return ()
        near = self._near(examples)
        if self._answering is None:
            return tuple(pairs[0].label for pairs in near)
        return self._answering.check(self._encoded(examples, near), self.longest)

    def stream(self, text: str | Example) -> Iterator[str]:
        """Yield the answer to one prompt piece by piece as it is generated."""
        prompts = [as_example(text)]
        with self._lock:
            near = self._near(prompts)
            if self._answering is None:
                yield near[0][0].label
                return
            (ids,), a = self._encoded(prompts, near), self._answering
            yield from stream(a.model, a.tokenizer, ids, a.sampling(self.longest), a.device)

    def sampled(self, **settings: Any) -> "GenerativePredictor":
        """Return a predictor with other generation settings (`temperature`, `top_p`, ...).

        It shares this one's model.
        """
        changes = {name: value for name, value in settings.items() if value is not None}
        if not changes or self._answering is None:
            return self
        config = self._answering.config
        section = type(config.generate).model_validate(config.generate.model_dump() | changes)
        other = copy.copy(self)
        config = config.replace(generate=section)
        other._answering = replace(self._answering, config=config)
        return other

    def encode(self, prompts: Sequence[Example]) -> list[np.ndarray]:
        """Return the token ids of conversations, including everything before them."""
        return self._encoded(prompts, self._near(prompts))

    def close(self) -> None:
        """See `Predictor.close`."""
        self._answering = self._pairs = None

    def _near(self, prompts: Sequence[Example]) -> list[tuple[Neighbour, ...]]:
        return [() for _ in prompts] if self._pairs is None else self._pairs.near(prompts)

    def _encoded(
        self, prompts: Sequence[Example], near: Sequence[tuple[Neighbour, ...]]
    ) -> list[np.ndarray]:
        tokenizer = self.answering.tokenizer
        if self._pairs is not None and self._pairs.count:
            shots = [[Example(n.text, n.label) for n in pairs] for pairs in near]
            room = self.answering.limit - self.longest
            fitted = fit_shots(prompts, shots, tokenizer, room)
            prompts = [with_shots(e, s) for e, s in zip(prompts, fitted, strict=True)]
        if self.config.data.system is not None:
            lead = Message("system", self.config.data.system)
            prompts = [
                e if opens_with_system(e) else replace(e, messages=(lead, *e.messages))
                for e in prompts
            ]
        return encode_prompts(prompts, tokenizer)


def as_example(prompt: str | Example) -> Example:
    """Return a text prompt as a conversation of one turn; a conversation is unchanged.

    Raises:
        UserError: It is not valid UTF-8.
    """
    check_utf8(prompt, "the prompt")
    if isinstance(prompt, Example):
        return prompt
    return Example(prompt, messages=(Message("user", prompt),))


def open_untouched(config: Config) -> Answering:
    """Load the base model of these settings.

    Raises:
        UserError: It cannot be loaded, or cannot generate text.
    """
    base = make_base(config, choose(config.model.device, config.model.precision), None)
    limit = max_length(config, base, get_method("full"))
    return Answering(
        base.model.eval(), base.tokenizer, base.device, limit, config, tuple(base.notes)
    )


def open_tuned(folder: RunFolder, *, trust: bool) -> Answering:
    """Load the tuned model of a trained arm.

    Raises:
        UserError: The folder is incomplete or damaged, or the base model is missing.
    """
    config = run_config(folder, trust=trust)
    method = get_method(config.method.name)
    device = choose(config.model.device, config.model.precision)
    base = load_generative(config.model, device, generative_options(config, device, method))
    # The saved tokenizer has the chat template of the training.
    base.tokenizer = tokenizer_in(folder.file(MODEL), trust=trust)
    model = method.load(base, folder.file(MODEL))
    limit = max_length(config, base, method)
    return Answering(model.eval(), base.tokenizer, base.device, limit, config, tuple(base.notes))


def open_prompted(folder: RunFolder, *, trust: bool) -> GenerativePredictor:
    """Load an untrained generative arm."""
    config, prompted = run_config(folder, trust=trust), read_prompted(folder)
    path = folder.file(MODEL) / PROMPTED
    if prompted is None:
        raise damaged(path, "it is missing")
    pairs = None if prompted.kind == "base" else PairMemory.of(folder, config, prompted)
    if prompted.kind == "nearest":
        return GenerativePredictor(folder, config, None, pairs)
    if prompted.tuned is None:
        return GenerativePredictor(folder, config, open_untouched(config), pairs)
    tuned = RunFolder(inner(path, folder.path.parent, prompted.tuned))
    return GenerativePredictor(folder, config, open_tuned(tuned, trust=trust), pairs)


def open_generative(folder: RunFolder, *, trust: bool) -> GenerativePredictor:
    """Load a generative arm, trained or not."""
    if read_prompted(folder) is not None:
        return open_prompted(folder, trust=trust)
    return GenerativePredictor(
        folder, run_config(folder, trust=trust), open_tuned(folder, trust=trust)
    )


def save_pairs(job: ArmJob, vectors: SplitVectors, prompted: PromptedFile, **more: Any) -> None:
    """Write the training pairs of a few-shot or copying arm, and its settings."""
    job.folder.write(CONFIG, dump_config(job.config))
    embedder = without_place(vectors.embedder)
    plain = {"kind": prompted.kind, "k": prompted.k, "tuned": prompted.tuned} | more
    plain = {name: value for name, value in plain.items() if value is not None}
    with job.folder.new_folder(MODEL) as folder:
        save_examples(folder, vectors.train, job.split.train)
        (folder / PROMPTED).write_text(json.dumps(plain | {"embedder": embedder}, indent=2))


@lru_cache(maxsize=1)
def _embedder(model: str) -> Embedder:
    """Return the embedder of the settings in `model`, shared by the arms of a comparison."""
    config = ModelConfig.model_validate_json(model)
    return Embedder(config, choose(config.device, config.precision))


def with_shots(example: Example, shots: Sequence[Example]) -> Example:
    """Return the conversation with `shots`, given most similar first, as turns before it.

    Few-shot prompting (Brown et al. 2020, arXiv 2005.14165) with the most similar examples (Liu et
    al. 2022, arXiv 2101.06804), the most similar last, next to the question.
    """
    turns = [
        message
        for shot in reversed(shots)
        for message in (
            Message("user", shot.text),
            Message("assistant", str(shot.label), trained=False),
        )
    ]
    leads = example.messages[:1] if opens_with_system(example) else ()
    rest = example.messages[len(leads) :]
    return replace(example, messages=(*leads, *turns, *rest))


def fit_shots(
    examples: Sequence[Example], shots: Sequence[Sequence[Example]], tokenizer: Any, room: int
) -> list[list[Example]]:
    """Return each example's most similar shots, as many as keep its prompt within `room` tokens."""
    rest = [list(each) for each in shots]
    left = list(range(len(examples)))
    while left:
        longer = [with_shots(examples[i], rest[i]) for i in left]
        lengths = [len(ids) for ids in encode_prompts(longer, tokenizer)]
        left = [i for i, length in zip(left, lengths, strict=True) if length > room and rest[i]]
        for i in left:
            rest[i].pop()
    return rest


def opens_with_system(example: Example) -> bool:
    """Return whether a conversation begins with a system message."""
    return bool(example.messages) and example.messages[0].role == "system"
