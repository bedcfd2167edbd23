"""Runs chat templates, which are programs that come with a model, in a separate process.

Jinja's sandbox protects files and attributes, but not time and memory: a nested loop, a recursive
macro, a letter ten billion times. The process limits both, and the length of its output by that of
its input.
"""

import json
import os
from collections.abc import Sequence
from threading import Lock
from typing import Any

from tailorbird.errors import UserError
from tailorbird.processes import Worker, answer_questions, cap_memory

SECONDS = 5.0
"""Time limit for one conversation."""
MEMORY_BYTES = 1 << 30
"""Limit of the process's address space."""
LONGEST_TEMPLATE = 1 << 20
"""The most characters of a template."""
_START_SECONDS = 30.0
# A template renders each turn and the tools once; some repeat a system message in every turn.
_MOST_TIMES, _SPARE = 10, 1 << 20

_LONGEST_PROBLEM = 500

Span = tuple[int, int]
"""Start and end character."""

_worker: Worker | None = None
_owner = 0
_guard = Lock()


class Overrun(UserError):
    """A template exceeded a limit; it is not tried on other conversations."""


def run_template(
    template: str,
    messages: Sequence[dict[str, Any]],
    tools: Sequence[dict[str, Any]],
    tokens: dict[str, Any],
    *,
    generation_prompt: bool = False,
    marks: bool = False,
) -> tuple[str, list[Span]]:
    """Return a template's output, and the spans it marks as generated if `marks` is set.

    Raises:
        UserError: It refuses the conversation or fails.
        Overrun: It exceeds its limits.
    """
    question = {
        "template": template,
        "messages": messages,
        "tools": tools,
        "tokens": tokens,
        "generation_prompt": generation_prompt,
        "marks": marks,
    }
    if len(template) > LONGEST_TEMPLATE:
        what = f"it has {len(template):,} characters, more than {LONGEST_TEMPLATE:,}"
        raise _refusal(what, Overrun)
    # Values without a JSON form, such as a date from Parquet, become their type's name, as in
    # transformers.
    line = json.dumps(question, default=lambda value: f"<{type(value).__name__}>")
    answer = _ask(line.encode())
    if problem := answer.get("problem"):
        raise _refusal(problem, Overrun if answer["limit"] else UserError)
    return answer["text"], [(start, stop) for start, stop in answer["spans"]]


def _refusal(problem: str, kind: type[UserError]) -> UserError:
    return kind(
        f"the chat template refuses it: {problem}",
        "correct the conversation as the template requires, or use another template, such as "
        "--set data.template=plain",
    )


def _ask(question: bytes) -> dict[str, Any]:
    """Return the process's answer; after an exit or a time-out it is restarted at the next call."""
    global _worker
    with _guard:
        try:
            return _running().ask(question, SECONDS)
        except TimeoutError:
            problem = f"it has not ended within {SECONDS:g} s"
        except EOFError:
            problem = "it crashed its process"
        if _worker is not None:
            _worker.end()
            _worker = None
    return {"problem": problem, "limit": True}


def _renew_lock() -> None:
    """Give a forked process a new lock, since a thread of its parent may hold the old one."""
    global _guard
    _guard = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _running() -> Worker:
    global _worker, _owner
    if _worker is None or _owner != os.getpid():  # a fork must not use its parent's worker
        _owner = os.getpid()
        _worker = Worker("tailorbird.data.template_sandbox", OPENBLAS_NUM_THREADS="1")
        _worker.ask(b"{}", _START_SECONDS)
    return _worker


def main() -> None:
    """Process requests until stdin ends."""
    import transformers.utils.chat_template_utils  # noqa: F401 - before memory is short

    cap_memory(MEMORY_BYTES)
    answer_questions(_answer)


def _answer(line: bytes) -> bytes:
    from transformers.utils.chat_template_utils import render_jinja_template

    question = json.loads(line)
    if not question:
        return b"{}"
    limit = True
    try:
        texts, spans = render_jinja_template(
            conversations=[question["messages"]],
            tools=question["tools"] or None,
            chat_template=question["template"],
            return_assistant_tokens_mask=question["marks"],
            add_generation_prompt=question["generation_prompt"],
            **question["tokens"],
        )
        if len(texts[0]) <= _MOST_TIMES * len(line) + _SPARE:
            return json.dumps({"text": texts[0], "spans": spans[0] if spans else []}).encode()
        problem = f"it writes {len(texts[0]):,} characters"
    except MemoryError:
        problem = f"it needs more than {MEMORY_BYTES >> 20:,} MB of memory"
    except RecursionError:
        problem = "it calls itself endlessly"
    except Exception as error:  # a template's code can raise anything
        problem, limit = str(error)[:_LONGEST_PROBLEM] or type(error).__name__, False
    return json.dumps({"problem": problem, "limit": limit}).encode()


if __name__ == "__main__":
    main()
