"""The training workload, as memory and time planning need it."""

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.records import TASKS, Example, ExamplesOnDisk, Split, Target, has_head

if TYPE_CHECKING:
    from tailorbird.methods.base import Method
    from tailorbird.planning.model_shape import Shape
    from tailorbird.train.settings import Settings

STATES = {"adamw": 8.0, "adam": 8.0, "adamw8bit": 2.0 + 8 / 256, "sgd": 4.0, "adagrad": 4.0}
"""Bytes of optimizer state per trained parameter."""
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight: half a byte, an 8-bit scale for 64 weights, a 32-bit one for 256 of these
(QLoRA, arXiv 2305.14314, section 3)."""


@dataclass(frozen=True)
class Work:
    """The training workload.

    Attributes:
        target: The target of a head; None: generation.
        length: Tokens of the longest text.
        rows: Training examples.
        answer: Tokens of the longest answer generated after training.
        answers: The number of answers generated then.
        halves: Mean tokens of the shorter and of the longer half of the texts; None: all are as
            long as the longest.
        validation: Validation examples.
    """

    target: Target | None
    length: int
    rows: int = 1000
    answer: int = 256
    answers: int = 300
    halves: tuple[float, float] | None = None
    validation: int = 0

    @property
    def mean_length(self) -> float:
        """Mean tokens of a text."""
        return self.length if self.halves is None else sum(self.halves) / 2

    @property
    def task(self) -> str:
        """The task's name."""
        return "generation" if self.target is None else self.target.task


def settings_for(shape: "Shape", config: Config, method: "Method", work: Work) -> "Settings":
    """Return the training settings, with defaults filled in as in a run."""
    from tailorbird.train.settings import resolve, resolve_generative

    target = work.target
    if target is not None:
        classes = 2 if TASKS[target.task].per_word else len(target.labels)
        return resolve(config, method, work.rows, classes, bi_encoder=target.bi_encoder)
    hidden = shape.size("hidden_size", 768)
    return resolve_generative(config, method, work.rows, hidden, work.validation)


_USUAL, _USUAL_WRITING = 512, 2048
_SAMPLE, _LONGEST = 500, 50
_MOST_ON_DISK = 50_000
# Characters per token in English, fewer in code; used without a tokenizer.
_CHARACTERS = 4


def work_without_data(shape: "Shape", config: Config) -> tuple[Work, list[str]]:
    """Return the workload of texts at the maximum length, and notes.

    Raises:
        UserError: `data.max_length` exceeds the model's limit.
    """
    task = config.data.task
    if task == "auto":
        names = shape.plain.get("architectures") or []
        writes = any("CausalLM" in name or "ConditionalGeneration" in name for name in names)
        task = "generation" if writes else "classification"
    writing = not has_head(task)
    length = _longest(shape, config, _USUAL_WRITING if writing else _USUAL)
    target = None if writing else Target(task, ("0", "1"))
    notes = [f"no data was given: {task}, every text as long as {length:,} tokens"]
    return Work(target, length), notes


def work_of(
    split: Split, shape: "Shape", config: Config, *, tokens: bool = True
) -> tuple[Work, list[str]]:
    """Return the workload of checked data, and notes.

    Args:
        split: The data.
        shape: The model.
        config: The settings.
        tokens: Use the tokenizer; else assume twice as many tokens as in English.

    Raises:
        UserError: `data.max_length` exceeds the model's limit.
    """
    writing = not has_head(split.task)
    usual = _longest(shape, config, _USUAL_WRITING if writing else _USUAL)
    target = None
    if not writing:
        from tailorbird.tasks.fit_head import trained_target
        from tailorbird.tasks.registry import head_task

        target = trained_target(head_task(split.task), config, split)
    top, sample = _samples(split)
    examples, note = [*top, *sample], ""
    try:
        owners, lengths = (
            _encoded(examples, split, target, config, usual) if tokens else _guessed(examples, 2)
        )
    except UserError as error:
        note = f"{error.problem}: {_CHARACTERS} characters were counted as a token"
        owners, lengths = _guessed(examples, 1)
    lengths = np.minimum(lengths, usual)
    longest = int(lengths.max(initial=0)) or usual
    lengths = np.sort(lengths[owners >= len(top)])
    each = len(lengths) / max(1, len(sample))
    middle = max(1, len(lengths) // 2)
    halves = float(lengths[:middle].mean()), float(lengths[-middle:].mean())
    answers = min(len(split.test), config.evaluate.examples or 300)
    answer = config.generate.max_new_tokens or min(512, max(16, longest // 2))
    rows, validation = (round(len(part) * each) for part in (split.train, split.validation))
    work = Work(target, longest, rows, answer, max(1, answers), halves, validation)
    return work, [note] if note else []


def _longest(shape: "Shape", config: Config, usual: int) -> int:
    limit = shape.size("max_position_embeddings") or usual
    length = config.data.max_length
    if length is not None and length > limit:
        raise UserError(
            f"data.max_length is {length}, but {config.model.name} reads at most {limit} tokens",
            f"set it to {limit} or less",
        )
    return min(limit, length or usual)


def _samples(split: Split) -> tuple[list[Example], list[Example]]:
    """Return the longest training examples, and some of all; on disk, of the first ones."""
    on_disk = isinstance(split.train, ExamplesOnDisk)
    examples = list(islice(split.train, _MOST_ON_DISK) if on_disk else split.train)
    top = sorted(examples, key=lambda example: len(_whole(example)), reverse=True)[:_LONGEST]
    return top, examples[:: max(1, len(examples) // _SAMPLE)]


Lengths = tuple[np.ndarray, np.ndarray]
"""The index of each sequence's example, and its tokens; both ``[n]``."""


def _guessed(examples: list[Example], factor: int) -> Lengths:
    """Return lengths without a tokenizer, times `factor`."""
    counts = [2 + factor * len(_whole(example)) // _CHARACTERS for example in examples]
    return np.arange(len(counts)), np.asarray(counts)


def _encoded(
    examples: list[Example], split: Split, target: Target | None, config: Config, limit: int
) -> Lengths:
    """Return lengths by the model's tokenizer, encoded as in a run.

    Plain texts longer than `limit` are divided.

    Raises:
        UserError: There is no tokenizer, or it cannot read these examples.
    """
    from tailorbird.data.chat_template import install_template
    from tailorbird.data.encode import as_read, encode, encode_apart
    from tailorbird.models.load import load_tokenizer
    from tailorbird.tasks.registry import generative_task

    tokenizer = load_tokenizer(config.model)
    if target is None:
        install_template(tokenizer, config.data.template)
        task = generative_task(split.task)
        tokens = task.encode(examples, tokenizer, limit, config.data.too_long)
        return tokens.rows, tokens.lengths
    words = TASKS[target.task].per_word
    texts = [" ".join(each.words) if words else as_read(each) for each in examples]
    if target.bi_encoder:
        lengths = encode_apart(texts, tokenizer, limit).lengths // 2
    else:
        lengths = encode(texts, tokenizer, limit).lengths
    return np.arange(len(texts)), lengths


def _whole(example: Example) -> str:
    """Return the whole text of an example, including the answer."""
    if example.messages:
        return "\n".join(message.content for message in example.messages)
    return " ".join(example.words) or " ".join(example.pair) or example.text
