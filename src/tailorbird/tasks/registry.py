"""Tasks by their names, which are those of their modules and of the table of plain facts."""

from functools import cache
from typing import TYPE_CHECKING, cast

from tailorbird.lazy_import import leaf
from tailorbird.records import TASKS, TaskName

if TYPE_CHECKING:
    from tailorbird.tasks.base import Task
    from tailorbird.tasks.generative_base import WritingTask
    from tailorbird.tasks.head_base import HeadTask


@cache
def get_task(name: TaskName) -> "Task":
    """Return a task by its name, which is that of its module."""
    task: Task = leaf("tailorbird.tasks", name, "TASK")
    return task


def head_task(name: TaskName) -> "HeadTask":
    """Return a task whose answers a head gives, by its name."""
    assert TASKS[name].head, name
    return cast("HeadTask", get_task(name))


def writing_task(name: TaskName) -> "WritingTask":
    """Return a task in which a model writes, by its name."""
    assert not TASKS[name].head, name
    return cast("WritingTask", get_task(name))
