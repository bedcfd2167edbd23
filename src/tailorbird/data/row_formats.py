"""Detects the format of a file's rows: labels, conversations, prompts with answers, plain text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tailorbird.data.columns import LABEL_NAMES, TEXT_NAMES, by_name, check_named, choose_columns
from tailorbird.data.examples import ExampleOptions
from tailorbird.data.loss_masks import MARKS
from tailorbird.data.message_words import name_list
from tailorbird.data.raw_rows import Table
from tailorbird.errors import UserError
from tailorbird.records import TaskName

Kind = Literal["messages", "sharegpt", "alpaca", "pairs", "text", "words"]

CHAT_NAMES = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
PROMPT_NAMES = (
    *("prompt", "question", "query", "instruction", "problem", "input", "user", "source"),
    *("article", "document"),
)
ANSWER_NAMES = (
    *("completion", "answer", "response", "output", "solution", "chosen", "reply", "assistant"),
    *("summary", "translation"),
)
FORMATS: dict[Kind, tuple[TaskName, str]] = {
    "messages": ("generation", "messages (OpenAI)"),
    "sharegpt": ("generation", "conversations (ShareGPT)"),
    "alpaca": ("generation", "instruction, input, output (Alpaca)"),
    "pairs": ("generation", "prompt and completion"),
    "text": ("text", "plain text (continued pre-training)"),
    "words": ("tokens", ""),
}
"""Task and display name of each row format; empty for labels."""

_GENERATION = "--set data.task=generation"


@dataclass(frozen=True, slots=True)
class Form:
    """The format of a file's rows.

    Attributes:
        columns: The column of each role: ``{"messages": "chat", "tools": "tools"}``.
    """

    kind: Kind
    columns: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> TaskName:
        """The task for rows of this format."""
        return FORMATS[self.kind][0]

    @property
    def words(self) -> str:
        """The format's name for people."""
        return FORMATS[self.kind][1]


def find_form(table: Table, options: ExampleOptions) -> Form | None:
    """Return the format of the rows; None for texts with labels.

    Raises:
        UserError: A named column does not exist, or the columns are ambiguous.
    """
    if options.spec is not None and options.spec.head:
        return None
    check_named(table, options.text, options.label)
    if options.spec is not None and not options.spec.prompts:
        return _plain_text(table, options)
    form = None if options.label else _chat(table, options.text or options.like.get("messages"))
    if form is not None:
        return form
    if options.spec is not None:
        return _alpaca(table, options) or _pairs(table, options, options.like)
    return _by_columns(table, options)


def _by_columns(table: Table, options: ExampleOptions) -> Form | None:
    """Return the format by the columns, if no task is set."""
    if options.text or options.label:
        answers = options.label is not None and options.label.strip().casefold() in ANSWER_NAMES
        return _pairs(table, options, {}) if answers else None
    form = _alpaca(table, options) or _named_pair(table)
    label = by_name(table.columns, LABEL_NAMES)
    labelled = label is not None and by_name(table.columns, TEXT_NAMES) is not None
    if form is None:
        single = len(table.columns) == 1 and options.need_label and not labelled
        return _plain_text(table, replace(options, like={})) if single else None
    if not labelled:
        return form
    if label is not None and label.strip().casefold() in LABEL_NAMES[:2]:
        return None
    answer = form.columns.get("label") or form.columns.get("output")
    raise UserError(
        f"{table.path}: should {label!r} (a label) or {answer!r} (a written answer) be learned?",
        f"use --set data.task=classification or {_GENERATION}",
    )


def _chat(table: Table, named: str | None) -> Form | None:
    """Return the form of a file with a column of conversations."""
    names = (
        [named] if named in table.columns else [c for c in table.columns if _fold(c) in CHAT_NAMES]
    )
    turns = {name: first for name in names if (first := _first_turn(table, name)) is not None}
    if not turns:
        return None
    if len(turns) > 1:
        raise UserError(
            f"{table.path}: several columns hold conversations: {', '.join(map(repr, turns))}",
            "name the one to train on with --text",
        )
    name, first = next(iter(turns.items()))
    kind: Kind = "sharegpt" if "from" in first and "role" not in first else "messages"
    columns = {"messages": name} | _others(table, "system", "tools", "functions", "chosen")
    return _with_marks(table, Form(kind, columns))


def _with_marks(table: Table, form: Form) -> Form:
    """Return the form with the columns that mark trained turns, if there are any."""
    columns, notes = dict(form.columns), list(form.notes)
    for name in MARKS:
        column = table.named(name)
        if column is None or column in columns.values():
            continue
        cell = next((cell for cell in table.column(column) if cell not in (None, "")), None)
        if isinstance(cell, list) or (isinstance(cell, str) and cell.lstrip().startswith("[")):
            columns[name] = column
        else:
            notes.append(
                f"{table.path}: column {column!r} is ignored: every row has the same weight. To "
                "leave turns out of training, give a list with a mark for each turn, or "
                '"weight": 0 in the turn'
            )
    return Form(form.kind, columns, tuple(notes))


def _first_turn(table: Table, name: str) -> dict[str, Any] | None:
    """Return the first turn in a column, or None without conversations."""
    # In a column with such a name, anything but a turn is a fault, not another format.
    odd: dict[str, Any] | None = {} if _fold(name) in CHAT_NAMES else None
    for value in table.column(name):
        turns = value
        if isinstance(value, str) and value.lstrip().startswith("[{"):
            try:
                turns = json.loads(value)
            except (ValueError, RecursionError):
                return odd
        if isinstance(turns, list) and turns:
            return turns[0] if isinstance(turns[0], dict) else odd
        if isinstance(turns, str) and turns.strip():
            return None
        if isinstance(turns, dict):
            return odd
    return None


def _alpaca(table: Table, options: ExampleOptions) -> Form | None:
    if options.text or options.label:
        return None
    instruction, context = table.named("instruction"), table.named("input", "context")
    answer = table.named("output", "response", "completion", "answer")
    if instruction is None or (answer is None and (options.need_label or context is None)):
        return None
    if context is None and _fold(answer or "") != "output":
        return None  # instruction and response: prompt and answer
    columns = {"instruction": instruction} | ({"input": context} if context else {})
    columns |= {"output": answer} if answer else {}
    others = _others(table, "history", "system", "tools", "functions")
    return _with_marks(table, Form("alpaca", columns | others))


def _named_pair(table: Table) -> Form | None:
    """Return the form of a file with unambiguous names of prompt and answer."""
    answer = by_name(table.columns, ANSWER_NAMES)
    prompt = by_name([c for c in table.columns if c != answer], PROMPT_NAMES)
    if prompt is None or answer is None:
        return None
    return _pair(table, prompt, answer, guessed=True)


def _pairs(table: Table, options: ExampleOptions, like: Mapping[str, str]) -> Form:
    """Return the columns of prompts and answers."""
    other = {role: name for role, name in like.items() if name in table.columns}
    prompt, answer = options.text or other.get("text"), options.label or other.get("label")
    free = [name for name in table.columns if name not in (prompt, answer)]
    answer = answer or by_name(free, ANSWER_NAMES) or by_name(free, LABEL_NAMES)
    free = [name for name in free if name != answer]
    prompt = prompt or by_name(free, PROMPT_NAMES) or by_name(free, TEXT_NAMES)
    if prompt is None and len(free) == 1:
        prompt = free[0]
    if prompt is None or (answer is None and options.need_label):
        names = name_list(table.columns)
        lacking = "prompt" if prompt is None else "answer"
        raise UserError(
            f"{table.path}: which column is the {lacking}? The columns are: {names}",
            "set --text NAME for the prompts and --label NAME for the answers",
        )
    guessed = options.text is None or (options.label is None and answer is not None)
    return _pair(table, prompt, answer, guessed=guessed)


def _pair(table: Table, prompt: str, answer: str | None, *, guessed: bool) -> Form:
    columns = {"text": prompt} | ({"label": answer} if answer else {})
    note = (
        f"{table.path}: columns guessed: prompt={prompt!r}"
        f"{f', answer={answer!r}' if answer else ''}; set --text/--label for others"
    )
    others = _others(table, "system", "tools", "functions")
    columns |= {k: v for k, v in others.items() if v != prompt}
    return _with_marks(table, Form("pairs", columns, (note,) if guessed else ()))


def _plain_text(table: Table, options: ExampleOptions) -> Form:
    """Return the column of texts."""
    other = options.like.get("text")
    name = options.text or (other if other in table.columns else None)
    if name is not None:
        return Form("text", {"text": name})
    if len(table.columns) == 1:
        return Form("text", {"text": table.columns[0]})
    name = choose_columns(table, None, None, need_label=False).text
    note = f"{table.path}: column guessed: text={name!r}; set --text for another"
    return Form("text", {"text": name}, (note,))


def _others(table: Table, *names: str) -> dict[str, str]:
    return {name: column for name in names if (column := table.named(name)) is not None}


def _fold(name: str) -> str:
    return name.strip().casefold()
