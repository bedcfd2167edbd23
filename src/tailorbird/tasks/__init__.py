"""What is asked: one leaf file per task, and the table of them."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from tailorbird.records import TaskName

if TYPE_CHECKING:
    from tailorbird.tasks.heads import HeadTask

# Modules are named, not imported: who asks about labels need not load what counts entities.
TABLE: dict[TaskName, tuple[str, str]] = {
    "classification": ("classification", "Classification"),
    "multilabel": ("multilabel", "Multilabel"),
    "regression": ("regression", "Regression"),
    "tokens": ("tokens", "TokenClassification"),
}
"""The tasks whose answers a head gives: module and class of each."""


@cache
def head_task(name: TaskName) -> "HeadTask":
    """Return a task whose answers a head gives, by its name."""
    module, leaf = TABLE[name]
    task: HeadTask = getattr(import_module(f"tailorbird.tasks.{module}"), leaf)()
    return task
