"""The training workload, as memory and time planning need it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.records import Example, ExamplesOnDisk, Split, Target, has_head

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
        length: Tokens of the longest text, including virtual ones.
        rows: Training examples.
        answer: Tokens of the longest answer generated after training.
        answers: The number of answers generated then.
        mean_length: Mean tokens of a text; None: the longest.
        validation: Validation examples.
    """

    target: Target | None
    length: int
    rows: int = 1000
    answer: int = 256
    answers: int = 300
    mean_length: float | None = None
    validation: int = 0

    @property
    def task(self) -> str:
        """The task's name."""
        return "generation" if self.target is None else self.target.task


def settings_for(shape: "Shape", config: Config, method: "Method", work: Work) -> "Settings":
    """Return the training settings, with defaults filled in as in a run."""
    from tailorbird.train.settings import resolve, resolve_writing

    if work.target is not None:
        classes = len(work.target.labels)
        apart = work.target.bi_encoder
        return resolve(config, method, work.rows, classes, bi_encoder=apart)
    return resolve_writing(config, method, work.rows, shape.size("hidden_size", 768))


_USUAL, _USUAL_WRITING = 512, 2048
_SAMPLE = 500
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
    lengths, note = _lengths(split, config) if tokens else (_bounds(split), "")
    usual = _longest(shape, config, _USUAL_WRITING if writing else _USUAL)
    longest = min(usual, max(lengths, default=usual))
    target = None
    if not writing:
        from tailorbird.tasks.fit_head import trained_target
        from tailorbird.tasks.registry import head_task

        target = trained_target(head_task(split.task), config, split)
    mean = sum(min(length, usual) for length in lengths) / max(1, len(lengths))
    answers = min(len(split.test), config.evaluate.examples or 300)
    answer = config.generate.max_new_tokens or min(512, max(16, longest // 2))
    rows = len(split.train), answer, max(1, answers)
    work = Work(target, longest, *rows, mean_length=mean, validation=len(split.validation))
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


def _lengths(split: Split, config: Config) -> tuple[list[int], str]:
    """Return the token counts of some training examples, including the longest."""
    texts = [_whole(example) for example in _some(split)]
    longest = sorted(texts, key=len, reverse=True)[:_SAMPLE]
    step = max(1, len(texts) // _SAMPLE)
    texts = [*longest[:50], *texts[::step]]
    try:
        from tailorbird.models.load import load_tokenizer

        tokenizer = load_tokenizer(config.model)
    except UserError:
        note = f"no tokenizer is there: {_CHARACTERS} characters were counted as a token"
        return [2 + len(text) // _CHARACTERS for text in texts], note
    return [len(ids) for ids in tokenizer(texts)["input_ids"]], ""


def _bounds(split: Split) -> list[int]:
    return [2 + 2 * len(_whole(example)) // _CHARACTERS for example in _some(split)]


def _some(split: Split) -> Iterable[Example]:
    """Return the training examples; if on disk, the first ones."""
    on_disk = isinstance(split.train, ExamplesOnDisk)
    return islice(split.train, _MOST_ON_DISK) if on_disk else split.train


def _whole(example: Example) -> str:
    """Return the whole text of an example, including the answer."""
    if example.messages:
        return "\n".join(message.content for message in example.messages)
    return " ".join(example.words) or " ".join(example.pair) or example.text
