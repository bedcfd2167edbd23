"""What is asked: one leaf file per task, and the table of them."""

from functools import cache
from typing import TYPE_CHECKING, cast

from tailorbird.leaves import leaf
from tailorbird.records import TASKS, TaskName

if TYPE_CHECKING:
    from tailorbird.tasks.base import Task
    from tailorbird.tasks.heads import HeadTask
    from tailorbird.tasks.writing import WritingTask

# Modules are named, not imported: who asks about labels need not load what counts entities.
TABLE: dict[TaskName, str] = {
    "classification": "classification.Classification",
    "multilabel": "multilabel.Multilabel",
    "regression": "regression.Regression",
    "tokens": "tokens.TokenClassification",
    "generation": "generation.TextGeneration",
    "text": "text.PlainText",
}
"""Module and class of each task."""


@cache
def get_task(name: TaskName) -> "Task":
    """Return a task by its name."""
    task: Task = leaf("tailorbird.tasks", *TABLE[name].split("."))()
    return task


def head_task(name: TaskName) -> "HeadTask":
    """Return a task whose answers a head gives, by its name."""
    assert TASKS[name].head, name
    return cast("HeadTask", get_task(name))


def writing_task(name: TaskName) -> "WritingTask":
    """Return a task in which a model writes, by its name."""
    assert not TASKS[name].head, name
    return cast("WritingTask", get_task(name))
