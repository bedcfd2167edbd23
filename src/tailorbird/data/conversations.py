"""Converts rows of several formats to conversations, and reports invalid ones."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from tailorbird.data.loss_masks import MARKS, Unusable, is_trained, with_marks
from tailorbird.data.raw_rows import HALF, cell_text, is_whole, kind_of_value
from tailorbird.errors import did_you_mean
from tailorbird.records import THOUGHTS, Example, Message

ROLES = {
    name: role
    for role, names in (
        ("system", "system developer"),
        ("user", "user human prompter"),
        ("assistant", "assistant gpt model bot chatgpt"),
        ("tool", "tool function ipython observation tool_response"),
        ("call", "function_call tool_call"),
    )
    for name in names.split()
}
"""Maps the formats' roles to those of chat templates; ``call`` is an assistant's."""

FIXES = {
    "prompt": "fill in the prompts, or drop these rows with --drop-missing",
    "answer": "fill in the answers (assistant turns), or drop these rows with --drop-missing",
    "turns": "write a list of messages such as "
    '[{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]',
    "role": f"roles are: {', '.join(ROLES)}",
    "content": 'write the content as a text or as [{"type": "text", "text": "..."}]',
    "order": "put one system message at the beginning, if any",
    "tools": "write tools and arguments as JSON, in the form of the OpenAI API",
    "weights": "give one assistant turn a weight above 0, or remove these conversations",
    "marks": 'set "weight": 0 in turns to leave out of training and no weight in the others; '
    "remove marks that mean something else",
}
"""The fix of each kind of fault."""

_TEXT = "text"
_THOUGHTS = (*THOUGHTS, "reasoning")
_READ = frozenset(
    ("role", "from", "content", "value", "name", "tool_call_id", "tool_calls", "function_call")
    + _THOUGHTS
    + MARKS
)


def row_messages(kind: str, row: Mapping[str, Any]) -> list[Message]:
    """Return the turns of a row.

    Raises:
        Unusable: The cells contain no conversation.
    """
    if kind in ("messages", "sharegpt"):
        messages = [_message(turn) for turn in _turns(row["messages"])]
        better = row.get("chosen") or []
        messages += map(_message, better if isinstance(better, list) else [better])
    elif kind == "alpaca":
        context = _text(row.get("input"), "prompt")
        instruction = _text(row["instruction"], "prompt")
        messages = [*_history(row.get("history"))]
        messages.append(Message("user", "\n\n".join(filter(None, (instruction, context)))))
        messages += _answer(row.get("output"))
    else:
        if isinstance(cell := row["text"], list):
            messages = [_message(turn) for turn in cell]
        else:
            messages = [Message("user", _text(cell, "prompt"))]
        answer = _answer(row.get("label"))
        # A preference pair's chosen answer may repeat the whole conversation.
        messages = answer if answer and answer[0].role != "assistant" else messages + answer
    messages = with_marks(messages, row)
    system = _text(row.get("system"), "content")
    if system.strip() and (not messages or messages[0].role != "system"):
        messages.insert(0, Message("system", system))
    return messages


def row_tools(row: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return a row's tool definitions; the older ``functions`` are converted.

    Raises:
        Unusable: They are not a list of objects.
    """
    tools = _definitions(row.get("tools"))
    functions = _definitions(row.get("functions"))
    return (*tools, *({"type": "function", "function": function} for function in functions))


def _definitions(cell: Any) -> list[dict[str, Any]]:
    read = _json(cell, "tools", "tools") if isinstance(cell, str) and cell.strip() else cell
    if not read:
        return []
    if not isinstance(read, list) or not all(isinstance(tool, dict) for tool in read):
        raise Unusable("tools", "tools that are not a list of objects")
    _check_whole(read)
    return read


def unread_fields(row: Mapping[str, Any]) -> set[str]:
    """Return the names of unused fields in a row's turns."""
    turns: list[Any] = []
    for cell in row.values():
        if isinstance(cell, str) and cell.lstrip().startswith("[{"):
            with suppress(ValueError, RecursionError):  # a text that only looks like JSON
                cell = json.loads(cell)
        turns += cell if isinstance(cell, list) else [cell]
    return {
        str(name)
        for turn in turns
        if isinstance(turn, Mapping) and ("role" in turn or "from" in turn)
        for name, value in turn.items()
        if name not in _READ and value not in (None, "", [], {}, False)
    }


def checked(messages: list[Message], *, need_label: bool) -> tuple[list[Message], int]:
    """Return a conversation for training or prediction, and the number of turns dropped at its end.

    Raises:
        Unusable: It has no question, no answer, or no trained turn.
    """
    if not messages:
        raise Unusable("turns", "no message")
    if any(m.role == "system" for m in messages[1:]):
        raise Unusable("order", "a system message that is not the first")
    answers = [k for k, m in enumerate(messages) if m.role == "assistant"]
    if not any(m.content.strip() for m in messages if m.role != "assistant"):
        raise Unusable("prompt", "no prompt")
    if not need_label:
        blank = answers[-1:] == [len(messages) - 1] and not _words(messages[-1]).strip()
        return (messages[:-1] if blank else messages), 0
    if not answers:
        raise Unusable("answer", "no answer")
    upto = messages[: answers[-1] + 1]
    turns = [m for m in upto if m.role == "assistant" and m.trained]
    if not turns:
        raise Unusable("weights", "no assistant turn with a weight above 0")
    if any(not m.content.strip() and not m.extra.get("tool_calls") for m in turns):
        raise Unusable("answer", "an answer without words")
    return upto, len(messages) - len(upto)


def as_example(messages: list[Message], tools: tuple[dict[str, Any], ...], row: int) -> Example:
    """Return the example of a conversation.

    Its text is the question without the system message, which many rows share, so that two rows
    with the same question are recognised.
    """
    answered = messages[-1].role == "assistant"
    turns = messages[:-1] if answered else messages
    dialogue = [m for m in turns if m.role != "system"]
    lines = [f"{m.role}: {_words(m)}" for m in dialogue]
    text = dialogue[0].content if len(dialogue) == 1 else "\n".join(lines)
    label = _words(messages[-1]) if answered else None
    return Example(text, label, row, tuple(messages), tools)


def _words(message: Message) -> str:
    calls = [call.get("function", call) for call in message.extra.get("tool_calls", ())]
    lines = [json.dumps(call, ensure_ascii=False) for call in calls]
    return "\n".join([message.content] * bool(message.content) + lines)


def _turns(cell: Any) -> list[Any]:
    turns = _json(cell, "turns", "a conversation") if isinstance(cell, str) else cell
    if cell is None or (isinstance(cell, str) and not cell.strip()) or turns == []:
        raise Unusable("turns", "no message")
    if not isinstance(turns, list):
        raise Unusable("turns", f"{kind_of_value(turns)} instead of a list of messages")
    return turns


def _message(turn: Any) -> Message:
    if not isinstance(turn, Mapping):
        raise Unusable("turns", f"{kind_of_value(turn)} instead of a message with role and content")
    named = turn.get("role", turn.get("from"))
    if not isinstance(named, str):
        raise Unusable("turns", "a message without role")
    role = ROLES.get(named.strip().casefold())
    if role is None:
        raise Unusable("role", f"the unknown role {named!r}{did_you_mean(named, ROLES)}")
    content = _content(turn.get("content", turn.get("value")))
    calls = turn.get("tool_calls") or _older_call(turn.get("function_call"))
    if role == "call":
        role, content, calls = "assistant", "", _json(content, "tools", "a call of a tool")
    extra = {k: turn[k] for k in ("name", "tool_call_id") if turn.get(k) is not None}
    if role == "assistant":
        extra |= _thoughts(turn)
    if calls:
        every = calls if isinstance(calls, list) else [calls]
        extra["tool_calls"] = [_call(call) for call in every]
    _check_whole(extra)
    return Message(role, content, is_trained(turn), extra)


def _thoughts(turn: Mapping[str, Any]) -> dict[str, str]:
    """Return an assistant's reasoning, under the names that chat templates use."""
    for name in _THOUGHTS:
        if thoughts := turn.get(name):
            if not isinstance(thoughts, str):
                raise Unusable("content", f"{kind_of_value(thoughts)} as {name!r} of a message")
            return dict.fromkeys(THOUGHTS, thoughts)
    return {}


def _older_call(call: Any) -> Any:
    """Return a message's single call in the older format, or None."""
    if isinstance(call, str):
        if call.strip().casefold() in ("", "none", "auto"):
            return None
        return _json(call, "tools", "a call of a tool")
    return call or None


def _check_whole(value: Any) -> None:
    if not is_whole(json.dumps(value, ensure_ascii=False, default=str)):
        raise Unusable("content", f"a message that {HALF}")


def _content(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(map(_part, value))
    if not isinstance(value, str):
        raise Unusable("content", f"{kind_of_value(value)} as the content of a message")
    return _text(value, "content")


def _part(part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type", _TEXT) == _TEXT:
        if not is_trained(part):
            raise Unusable("marks", "a part of a message left out of training while others are not")
        text = part.get("text", part.get("value"))
        if isinstance(text, str):
            return _text(text, "content")
    what = (
        f"a part of type {part.get('type')!r}" if isinstance(part, Mapping) else kind_of_value(part)
    )
    raise Unusable("content", f"{what} in a message, where only text can be trained on")


def _call(call: Any) -> dict[str, Any]:
    """Return a tool call with its arguments as an object, since templates print them as JSON."""
    if not isinstance(call, Mapping):
        raise Unusable("tools", f"{kind_of_value(call)} as a call of a tool")
    inner = call.get("function", call)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise Unusable("tools", "a call of a tool without the tool's name")
    arguments = inner.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = (
            _json(arguments, "tools", "the arguments of a call") if arguments.strip() else {}
        )
    plain = {"type": "function", "function": {"name": inner["name"], "arguments": arguments}}
    return plain | ({"id": call["id"]} if isinstance(call.get("id"), str) else {})


def _history(cell: Any) -> Iterable[Message]:
    pairs = _json(cell, "turns", "a history") if isinstance(cell, str) and cell.strip() else cell
    if pairs and not isinstance(pairs, list):
        raise Unusable(
            "turns", f"{kind_of_value(pairs)} instead of a history of [question, answer]"
        )
    for pair in pairs or ():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Unusable("turns", "a history that is not a list of [question, answer]")
        yield Message("user", _text(pair[0], "prompt"))
        yield Message("assistant", _text(pair[1], "answer"))


def _answer(cell: Any) -> list[Message]:
    if isinstance(cell, Mapping):
        return [_message(cell)]
    if isinstance(cell, list):
        return [_message(turn) for turn in cell]
    text = _text(cell, "answer")
    return [Message("assistant", text)] if text.strip() else []


def _text(cell: Any, kind: str) -> str:
    """Return a cell as text, empty if it is missing."""
    text, fault = cell_text(cell)
    if fault:
        raise Unusable(kind, f"a cell that {fault}")
    return text or ""


def _json(text: Any, kind: str, what: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(kind, f"{what} in broken JSON ({error})") from None


def with_system(messages: list[Message], system: str | None) -> list[Message]:
    """Return the conversation with this system message, unless it has its own."""
    if system is None or (messages and messages[0].role == "system"):
        return messages
    return [Message("system", system), *messages]
