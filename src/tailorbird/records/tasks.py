"""The table of tasks: the plain facts of each, and the meaning of a head's outputs."""

from dataclasses import dataclass, replace
from typing import Literal

from tailorbird.records.tuning import TaskName

NUMBERS = "regression"
"""transformers' ``problem_type`` of regression."""
_WRITES = ("text-generation", "Text generation")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task's plain facts; its computations are in its module in `tasks/`.

    Attributes:
        words: The kind of its answer, in words.
        answers: The same in the plural.
        problem: transformers' ``problem_type``; empty for generation.
        losses: The possible training losses, the default first.
        headline: The metric of the verdict, and of validation for tasks with a head.
        baseline: The arm that ignores the text.
        purpose: What a model of it does, for its card; of a ``{noun}`` or ``{what}``, ``{count}``
            labels with their noun, or by ``{data}``.
        caveat: A warning about its answers, for its card.
        label: The word for a label, singular and plural.
        head: Whether a head predicts labels or numbers, instead of generating text.
        prompts: Whether prompts are answered in words.
        per_word: Whether there is an answer for each word, instead of one for the text.
        pipeline: The model hub's name of the task, and its name there in words.
    """

    name: TaskName
    title: str
    words: str
    answers: str
    problem: Literal["single_label_classification", "multi_label_classification", "regression", ""]
    losses: tuple[str, ...]
    headline: str
    second: str
    baseline: str
    purpose: str
    caveat: str
    label: tuple[str, str] = ("label", "labels")
    head: bool = True
    prompts: bool = False
    per_word: bool = False
    pipeline: tuple[str, str] = ("text-classification", "Text classification")

    @property
    def one_label(self) -> bool:
        """Whether each text has one label."""
        return self.problem == "single_label_classification" and not self.per_word

    @property
    def several_labels(self) -> bool:
        """Whether each text has any number of labels."""
        return self.problem == "multi_label_classification"

    @property
    def numbers(self) -> bool:
        """Whether it is regression."""
        return self.problem == NUMBERS

    @property
    def examples(self) -> str:
        """The word for its rows in counts."""
        return "examples" if self.head else "conversations" if self.prompts else "texts"


_FLUENT = "It writes just as fluently when it is wrong: check its answers before acting on them."
TASKS: dict[TaskName, TaskSpec] = {spec.name: spec for spec in (
    TaskSpec(
        "classification", "Classification", "one label", "labels", "single_label_classification",
        ("cross_entropy", "focal"), "accuracy", "macro_f1", "majority",
        "Classifies {noun} into {count}.",
        "It always answers with one of its {count}, even for a text that belongs to none.",
        ("class", "classes"),
    ),
    TaskSpec(
        "multilabel", "Multi-label classification", "any number of labels", "several labels",
        "multi_label_classification", ("bce",), "macro_f1", "micro_f1", "majority",
        "Gives {what} any number of {count}.",
        "It gives the labels whose probability reaches their threshold (`target.json`, chosen on "
        "validation), which may be none.",
    ),
    TaskSpec(
        "regression", "Regression", "numbers", "numbers", "regression",
        ("mse", "mae", "huber"), "r2", "spearman", "mean",
        "Gives {what} {numbers}.",
        "It gives a number for every text, even for one unlike all its training texts.",
        ("target", "targets"),
    ),
    TaskSpec(
        "tokens", "Token classification", "a label per word", "a label per word",
        "single_label_classification", ("cross_entropy", "focal"), "entity_f1", "macro_f1",
        "majority", "Gives each word of a text one of {count}.",
        "It labels every word, even in texts unlike all its training texts; words "
        "beyond its longest input get the label O (outside).",
        per_word=True, pipeline=("token-classification", "Token classification"),
    ),
    TaskSpec(
        "generation", "Instructions and chats", "written answers", "written answers", "", (),
        "token_f1", "perplexity", "nearest",
        "Writes answers to prompts like those of {data}.", _FLUENT,
        head=False, prompts=True, pipeline=_WRITES,
    ),
    TaskSpec(
        "text", "Language modelling", "plain text", "plain text", "", (),
        "loss", "perplexity", "base", "Continues texts like those of {data}.", _FLUENT,
        head=False, pipeline=_WRITES,
    ),
)}  # fmt: skip


def has_head(task: str) -> bool:
    """Return whether a head predicts labels or numbers."""
    return task in TASKS and TASKS[task].head


@dataclass(frozen=True, slots=True)
class Target:
    """The meaning of a head's outputs; saved beside every model.

    Attributes:
        task: A key of `TASKS`.
        labels: The labels in the order of the outputs; for regression the names of the targets.
        mean: For regression, each target's mean over the training examples.
        deviation: Likewise its standard deviation: a head learns ``(value - mean) / deviation``.
        thresholds: For multilabel, the probability from which each label is predicted; for rows
            predicted by several models (folds) one per row.
        pairs: An example is two texts.
        pooling: For separately encoded pairs (a bi-encoder), the pooling of each vector
            (sentence-transformers' modes); empty if the two are read together.
    """

    task: TaskName = "classification"
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    thresholds: tuple[float, ...] | tuple[tuple[float, ...], ...] = ()
    pairs: bool = False
    pooling: tuple[str, ...] = ()

    @property
    def bi_encoder(self) -> bool:
        """Whether the texts of a pair are encoded separately."""
        return bool(self.pooling)

    def of_row(self, i: int) -> "Target":
        """Return the meaning of one row's outputs."""
        if not self.thresholds or not isinstance(self.thresholds[0], tuple):
            return self
        return replace(self, thresholds=self.thresholds[i])
