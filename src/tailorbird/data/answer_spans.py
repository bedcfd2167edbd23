"""Where the answers stand in a rendered conversation, found from the chat template itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from tailorbird.data.control_tokens import ControlTokens
from tailorbird.data.template import as_dicts, render, tail, template_of
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
    """What a tokenizer's chat template does, found by trying it.

    Attributes:
        end: The token that ends an answer.
        tail: All that stands after an answer at the end of a conversation.
        header: What stands between a user's turn and the answer.
        between: What the template writes between the generation prompt and the answer's words.
        takes_system: Whether a system message finds its place.
        takes_calls: Whether calls of tools do.
        takes_tools: Whether definitions of tools do.
        takes_thoughts: Whether what an assistant thought before its last answer does.
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

    def stop(self, rendered: str) -> tuple[int, bool]:
        """Return where the last answer of a rendering ends, its end token included.

        Also whether it ends with such a token; the white space after it is not the answer's.
        """
        if rendered.endswith(self.tail):
            length = self.tail.index(self.end) + len(self.end)
            return len(rendered) - len(self.tail) + length, True
        # Templates may end a call of a tool with another token than an answer in words.
        stripped = rendered.rstrip()
        near = stripped[-64:]
        last = [m for m in self.control.special.finditer(near) if m.end() == len(near)]
        return len(stripped), bool(last)


_SHAPES: WeakKeyDictionary[Any, tuple[str, TemplateShape]] = WeakKeyDictionary()
"""What each tokenizer's template does, with the state of the tokenizer when it was tried."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A conversation as the template writes it, with stand-ins for control tokens in its words.

    Attributes:
        spans: The trained answers in it, each with its end token.
        prompt: What the model is given to write the last answer.
        endless: How many of the spans end without an end token.
        rewritten: Answers left out as they stand otherwise in the whole than when last.
        odd: The prompt is not how the whole conversation begins.
    """

    text: str
    spans: tuple[Span, ...]
    prompt: str
    endless: int = 0
    rewritten: int = 0
    odd: bool = False


def try_template(tokenizer: Any) -> TemplateShape:
    """Return what the tokenizer's template does: tried once, and again when it is another.

    Raises:
        UserError: It ends answers with no token.
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
            # Some templates drop it as soon as the conversation ends with an answer.
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
    """Return the conversation, its system message in the first user's turn if need be.

    Templates without a place for system messages (Gemma, older Mistral) refuse or lose them; to
    write them into the first question is what those models' makers advise.
    """
    if shape.takes_system or not messages or messages[0].role != "system":
        return messages
    system, *rest = messages
    if not rest or rest[0].role != "user":
        return messages
    first = replace(rest[0], content=f"{system.content}\n\n{rest[0].content}")
    return (first, *rest[1:])


def question(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the conversation without the answer it ends with, if it does."""
    return messages[:-1] if messages and messages[-1].role == "assistant" else messages


def render_prompt(example: Example, tokenizer: Any, shape: TemplateShape) -> str:
    """Return what the model is given to write the example's last answer, see `Rendering`.

    Raises:
        UserError: The template refuses the conversation.
    """
    messages, tools = _hide(example, shape)
    return render(tokenizer, question(messages), tools, generation_prompt=True)


def _hide(
    example: Example, shape: TemplateShape
) -> tuple[tuple[Message, ...], tuple[dict[str, Any], ...]]:
    """Return what the template is given: no control tokens are in anyone's words."""
    check_utf8([[m.content, m.extra] for m in example.messages], "a message")
    messages = shape.control.hide(fit_system(example.messages, shape))
    return messages, shape.control.hide_tools(example.tools)


def render_example(example: Example, tokenizer: Any, shape: TemplateShape) -> Rendering:
    """Return a conversation that ends with an answer, and where its trained answers stand.

    The conversation is rendered up to each answer with the generation prompt, and up to and
    including it. What the second has more than the first is what the model must write; it is
    trained if the whole conversation begins in the same way.

    Raises:
        UserError: The template refuses the conversation.
    """
    messages, tools = _hide(example, shape)
    *earlier, last = [k for k, m in enumerate(messages) if m.role == "assistant"]
    assert last == len(messages) - 1, "conversations to train on end with an answer"
    whole = render(tokenizer, messages, tools)
    prompt = render(tokenizer, messages[:last], tools, generation_prompt=True)
    start = _start(tokenizer, messages[:last], tools, prompt, whole, shape)
    stop, ended = shape.stop(whole)
    answers: dict[int, tuple[Span, bool]] = {}
    if start is not None:
        answers[last] = ((start, stop), ended)
    marked = _generation_spans(tokenizer, messages, tools) if earlier and start is not None else []
    if len(marked) == len(earlier) + 1 and marked[-1] == (start, stop):
        answers |= {k: (span, True) for k, span in zip(earlier, marked[:-1], strict=True)}
        earlier = []
    for k in earlier:
        if not messages[k].trained:
            continue
        upto = render(tokenizer, messages[: k + 1], tools)
        before = render(tokenizer, messages[:k], tools, generation_prompt=True)
        start = _start(tokenizer, messages[:k], tools, before, upto, shape)
        stop, ended = shape.stop(upto)
        if start is not None and whole.startswith(upto[:stop]):
            answers[k] = ((start, stop), ended)
    trained = [k for k, m in enumerate(messages) if m.role == "assistant" and m.trained]
    spans = [answers[k] for k in trained if k in answers]
    return Rendering(
        text=whole,
        spans=tuple(span for span, _ in spans),
        prompt=prompt,
        endless=sum(not ended for _, ended in spans),
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
    """Return where an answer begins in the rendering up to it, None if that cannot be told."""
    if upto.startswith(prompt):
        return len(prompt)
    # The generation prompt may say more than the template does before an answer it knows, as
    # DeepSeek-R1's does: "<think>".
    opened = render(tokenizer, before, tools) + shape.header
    return len(opened) if shape.header and upto.startswith(opened) else None


def _generation_spans(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[dict[str, Any]]
) -> list[Span]:
    """Return the answers that the template itself marks with ``{% generation %}``, if it does."""
    template = template_of(tokenizer, tools)
    if not _MARKED.search(template):
        return []
    tokens = tokenizer.special_tokens_map
    text, spans = run_template(template, as_dicts(messages), tools, tokens, marks=True)
    return [(start, start + len(text[start:stop].rstrip())) for start, stop in spans]
