"""Locates the answers in a rendered conversation, by probing the chat template."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from tailorbird.data.chat_template import as_dicts, render, tail, template_of
from tailorbird.data.control_tokens import ControlTokens
from tailorbird.data.template_sandbox import Span, run_template
from tailorbird.errors import UserError, check_utf8
from tailorbird.records import THOUGHTS, Example, Message

_SYSTEM, _PROMPT, _ANSWER = "Speak plainly.", "What is the weather?", "It is sunny."
_THOUGHT = "They ask how it is outside."
_CALL = {
    "id": "callabcde",
    "type": "function",
    "function": {"name": "look_outside", "arguments": {"direction": "north"}},
}
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_outside",
        "description": "Look out of the window.",
        "parameters": {"type": "object", "properties": {"direction": {"type": "string"}}},
    },
}
_MARKED = re.compile(r"{%-?\s*generation\s*-?%}")


@dataclass(frozen=True)
class TemplateShape:
    """The behaviour of a tokenizer's chat template, found by probing it.

    Attributes:
        end: The token that ends an answer.
        tail: The text after an answer at the end of a conversation.
        header: The text between a user's turn and the answer.
        between: The text between the generation prompt and the answer.
        takes_system: Whether it renders a system message.
        takes_calls: Whether it renders tool calls.
        takes_tools: Whether it renders tool definitions.
        takes_thoughts: Whether it renders an assistant's reasoning before its last answer.
    """

    end: str
    tail: str
    header: str
    between: str
    takes_system: bool
    takes_calls: bool
    takes_tools: bool
    takes_thoughts: bool
    control: ControlTokens

    def stop(self, rendered: str) -> int:
        """Return the end of a rendering's last answer with its end token, without whitespace."""
        if rendered.endswith(self.tail):
            return len(rendered) - len(self.tail) + self.tail.index(self.end) + len(self.end)
        # Templates may end a tool call with another token than a text answer.
        return len(rendered.rstrip())


_SHAPES: WeakKeyDictionary[Any, tuple[str, TemplateShape]] = WeakKeyDictionary()
"""The behaviour of each tokenizer's template, with the tokenizer's state at the time."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered conversation, with stand-ins for control tokens in its messages.

    Attributes:
        spans: The trained answers in it, each with its end token.
        prompt: The model's prompt for the last answer.
        rewritten: Answers left out because the template renders them differently when not last.
        odd: The whole conversation does not begin with the prompt.
    """

    text: str
    spans: tuple[Span, ...]
    prompt: str
    rewritten: int = 0
    odd: bool = False


def try_template(tokenizer: Any) -> TemplateShape:
    """Return the behaviour of the tokenizer's template, probed once per template.

    Raises:
        UserError: It ends answers without a token.
    """
    state = repr((tokenizer.chat_template, tokenizer.special_tokens_map, len(tokenizer)))
    before, shape = _SHAPES.get(tokenizer, ("", None))
    if shape is None or before != state:
        shape = _shape_of(tokenizer)
        _SHAPES[tokenizer] = state, shape
    return shape


def _shape_of(tokenizer: Any) -> TemplateShape:
    end, after = tail(tokenizer)
    question = (Message("user", _PROMPT),)
    plain = render(tokenizer, question)
    opened = render(tokenizer, question, generation_prompt=True)
    answer = Message("assistant", _ANSWER)
    whole = render(tokenizer, (*question, answer))
    at = whole.rfind(_ANSWER)
    header = whole[len(plain) : at] if whole.startswith(plain) else ""
    call = Message("assistant", "", extra={"tool_calls": [_CALL]})
    name = "look_outside"
    thoughtful = replace(answer, extra=dict.fromkeys(THOUGHTS, _THOUGHT))
    return TemplateShape(
        end=end,
        tail=after,
        header=header,
        between=whole[len(opened) : at] if whole.startswith(opened) else "",
        takes_system=all(
            _SYSTEM in _try_render(tokenizer, (Message("system", _SYSTEM), *turns))
            # Some templates drop it if the conversation ends with an answer.
            for turns in (question, (*question, answer))
        ),
        takes_calls=name in _try_render(tokenizer, (*question, call)),
        takes_tools=name in _try_render(tokenizer, question, (_TOOL,)),
        takes_thoughts=_THOUGHT in _try_render(tokenizer, (*question, thoughtful)),
        control=ControlTokens.of(tokenizer, template_of(tokenizer)),
    )


def _try_render(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()
) -> str:
    try:
        return render(tokenizer, messages, tools)
    except UserError:
        return ""


def fit_system(messages: tuple[Message, ...], shape: TemplateShape) -> tuple[Message, ...]:
    """Return the conversation, with its system message moved to the first user turn if necessary.

    Templates without system messages (Gemma, older Mistral) reject or drop them; the makers of
    those models advise to put them into the first question.
    """
    if shape.takes_system or not messages or messages[0].role != "system":
        return messages
    system, *rest = messages
    if not rest or rest[0].role != "user":
        return messages
    first = replace(rest[0], content=f"{system.content}\n\n{rest[0].content}")
    return (first, *rest[1:])


def question(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the conversation without its final answer, if it has one."""
    return messages[:-1] if messages and messages[-1].role == "assistant" else messages


def render_prompt(example: Example, tokenizer: Any, shape: TemplateShape) -> str:
    """Return the model's prompt for the example's last answer, see `Rendering`.

    Raises:
        UserError: The template refuses the conversation.
    """
    messages, tools = _hide(example, shape)
    return render(tokenizer, question(messages), tools, generation_prompt=True)


def _hide(
    example: Example, shape: TemplateShape
) -> tuple[tuple[Message, ...], tuple[dict[str, Any], ...]]:
    """Return the template's input, in which messages contain no control tokens."""
    check_utf8([[m.content, m.extra] for m in example.messages], "a message")
    messages = shape.control.hide(fit_system(example.messages, shape))
    return messages, shape.control.hide_tools(example.tools)


def render_example(example: Example, tokenizer: Any, shape: TemplateShape) -> Rendering:
    """Return the rendering of a conversation that ends with an answer, and its trained spans.

    The conversation is rendered up to each answer with the generation prompt, and up to and
    including the answer. The difference is what the model must generate; it is trained if the whole
    conversation begins in the same way.

    Raises:
        UserError: The template refuses the conversation.
    """
    messages, tools = _hide(example, shape)
    *earlier, last = [k for k, m in enumerate(messages) if m.role == "assistant"]
    assert last == len(messages) - 1, "conversations to train on end with an answer"
    whole = render(tokenizer, messages, tools)
    prompt = render(tokenizer, messages[:last], tools, generation_prompt=True)
    start = _start(tokenizer, messages[:last], tools, prompt, whole, shape)
    stop = shape.stop(whole)
    answers: dict[int, Span] = {} if start is None else {last: (start, stop)}
    marked = _generation_spans(tokenizer, messages, tools) if earlier and start is not None else []
    if len(marked) == len(earlier) + 1 and marked[-1] == (start, stop):
        answers |= dict(zip(earlier, marked[:-1], strict=True))
        earlier = []
    for k in earlier:
        if not messages[k].trained:
            continue
        upto = render(tokenizer, messages[: k + 1], tools)
        before = render(tokenizer, messages[:k], tools, generation_prompt=True)
        start = _start(tokenizer, messages[:k], tools, before, upto, shape)
        stop = shape.stop(upto)
        if start is not None and whole.startswith(upto[:stop]):
            answers[k] = start, stop
    trained = [k for k, m in enumerate(messages) if m.role == "assistant" and m.trained]
    spans = [answers[k] for k in trained if k in answers]
    return Rendering(
        text=whole,
        spans=tuple(spans),
        prompt=prompt,
        rewritten=len(trained) - len(spans),
        odd=not whole.startswith(prompt),
    )


def _start(
    tokenizer: Any,
    before: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    prompt: str,
    upto: str,
    shape: TemplateShape,
) -> int | None:
    """Return the start of an answer in the rendering up to it, or None if it is ambiguous."""
    if upto.startswith(prompt):
        return len(prompt)
    # The generation prompt may contain more than the template's text before an answer, as
    # DeepSeek-R1's "<think>".
    opened = render(tokenizer, before, tools) + shape.header
    return len(opened) if shape.header and upto.startswith(opened) else None


def _generation_spans(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[dict[str, Any]]
) -> list[Span]:
    """Return the answers that the template marks with ``{% generation %}``, if any."""
    template = template_of(tokenizer, tools)
    if not _MARKED.search(template):
        return []
    tokens = tokenizer.special_tokens_map
    text, spans = run_template(template, as_dicts(messages), tools, tokens, marks=True)
    return [(start, start + len(text[start:stop].rstrip())) for start, stop in spans]
