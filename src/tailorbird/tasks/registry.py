"""Tasks by name, which is the name of their module and in the table of facts."""

from functools import cache
from typing import TYPE_CHECKING, cast

from tailorbird.lazy_import import leaf
from tailorbird.records import TASKS, TaskName

if TYPE_CHECKING:
    from tailorbird.tasks.base import Task
    from tailorbird.tasks.generative_base import GenerativeTask
    from tailorbird.tasks.head_base import HeadTask


@cache
def get_task(name: TaskName) -> "Task":
    """Return the task with this name."""
    task: Task = leaf("tailorbird.tasks", name, "TASK")
    return task


def head_task(name: TaskName) -> "HeadTask":
    """Return the head task with this name."""
    assert TASKS[name].head, name
    return cast("HeadTask", get_task(name))


def generative_task(name: TaskName) -> "GenerativeTask":
    """Return the generative task with this name."""
    assert not TASKS[name].head, name
    return cast("GenerativeTask", get_task(name))
