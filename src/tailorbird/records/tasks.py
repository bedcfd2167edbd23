"""The table of tasks: the plain facts of each, and what the numbers mean that a head puts out."""

from dataclasses import dataclass, replace
from typing import Literal

from tailorbird.records.tuning import TaskName

NUMBERS = "regression"
"""What transformers calls the learning of numbers (``problem_type``)."""
_WRITES = ("text-generation", "Text generation")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task's plain facts; what is computed for it stands in its leaf in `tasks/`.

    Attributes:
        words: What it answers with, in words.
        answers: The same of all its answers together.
        problem: What transformers calls it (``problem_type``); of written answers nothing.
        losses: The losses it can be trained by, its default first.
        headline: The metric of the verdict; validations are judged by it too, where a head answers.
        baseline: The arm that does not look at the text.
        purpose: What a model of it does, for its card; of a ``{noun}`` or ``{what}``, ``{count}``
            labels with their noun, or by ``{data}``.
        caveat: What to beware of in its answers, for its card.
        label: What a label is called, one and several.
        head: Whether a head answers, with labels or numbers, and not the model in words.
        prompts: Whether prompts are answered in words.
        per_word: Whether there is an answer for each word, and not one for the text.
        pipeline: What the model hub calls it, and its name there in words.
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
        """Whether numbers are learnt."""
        return self.problem == NUMBERS

    @property
    def examples(self) -> str:
        """What its rows are called where they are counted."""
        return "examples" if self.head else "conversations" if self.prompts else "texts"


_FLUENT = (
    "It writes as fluently when it is wrong as when it is right: check what it says before acting "
    "on it."
)
TASKS: dict[TaskName, TaskSpec] = {spec.name: spec for spec in (
    TaskSpec(
        "classification", "Classification", "one label", "labels", "single_label_classification",
        ("cross_entropy", "focal"), "accuracy", "macro_f1", "majority",
        "Tells {count} of {noun} apart.",
        "It always answers with one of its {count}, also for a text that belongs to none.",
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
        "It gives a number for every text, also for one unlike all it was trained on.",
        ("target", "targets"),
    ),
    TaskSpec(
        "tokens", "Token classification", "a label per word", "a label per word",
        "single_label_classification", ("cross_entropy", "focal"), "entity_f1", "macro_f1",
        "majority", "Gives each word of a text one of {count}.",
        "It labels every word, also in texts unlike all it was trained on; words beyond its "
        "longest input are left outside.",
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
        "loss", "perplexity", "base", "Reads on in texts like those of {data}.", _FLUENT,
        head=False, pipeline=_WRITES,
    ),
)}  # fmt: skip


def has_head(task: str) -> bool:
    """Say whether a head answers what is asked, with labels or numbers."""
    return task in TASKS and TASKS[task].head


@dataclass(frozen=True, slots=True)
class Target:
    """What the numbers that a head puts out mean; kept beside every saved model.

    Attributes:
        task: A key of `TASKS`.
        labels: The labels in the order of the outputs; of regression the names of the targets.
        mean: Of regression, each target's mean over the training examples.
        deviation: Likewise its standard deviation: a head learns ``(value - mean) / deviation``.
        thresholds: Of multi-label, the probability from which each label is given; of rows that
            were answered by several models (folds) likewise for each row.
        pairs: An example is two texts.
        pooling: Where the two are read one by one (a bi-encoder), how the vector of each is
            pooled (sentence-transformers' modes); empty where they are read together.
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
        """Whether the texts of a pair are read one by one."""
        return bool(self.pooling)

    def of_row(self, i: int) -> "Target":
        """Return what the outputs of one row mean."""
        if not self.thresholds or not isinstance(self.thresholds[0], tuple):
            return self
        return replace(self, thresholds=self.thresholds[i])
