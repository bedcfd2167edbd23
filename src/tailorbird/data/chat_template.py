"""Chat templates: the model's own, or a named one saved with its tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailorbird.data.control_tokens import any_of, special_tokens
from tailorbird.data.template_sandbox import run_template
from tailorbird.errors import UserError, did_you_mean
from tailorbird.records import Message

TEMPLATES = {
    "plain": "titled turns (### User:), no new tokens",
    "alpaca": "the Stanford Alpaca format",
    "chatml": "<|im_start|>role ... <|im_end|>",
    "raw": "the text alone, no marks of turns",
}
"""The named templates, each a file in `templates/`."""

_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
_ANSWER = "Here is what I think."
_PROBE = (Message("user", "What do you think?"), Message("assistant", _ANSWER))


def install_template(tokenizer: Any, choice: str) -> str:
    """Set the tokenizer's chat template, which is saved with it, and describe it in words.

    Raises:
        UserError: There is no such template, this tokenizer cannot use it, or the model would never
            stop after it.
    """
    own = bool(tokenizer.chat_template)
    if choice == "auto" and own:
        end_of_turn(tokenizer)
        return "chat template: the model's own"
    name = "plain" if choice == "auto" else choice
    text = _read(name)
    _check_tokens(tokenizer, name, text)
    tokenizer.chat_template = text
    end_of_turn(tokenizer)
    why = ""
    if choice == "auto":
        why = "; the model has none of its own"
    elif own:
        why = "; it replaces the model's own template, which the model was trained with"
    about = f" ({TEMPLATES[name]})" if name in TEMPLATES else ""
    return f"chat template: {name}{about}{why}; saved with the tokenizer"


def render(
    tokenizer: Any,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]] = (),
    *,
    generation_prompt: bool = False,
) -> str:
    """Render a conversation with the tokenizer's chat template.

    Raises:
        UserError: The template refuses the conversation.
    """
    dialogue = as_dicts(messages)
    template, tokens = template_of(tokenizer, tools), tokenizer.special_tokens_map
    return run_template(template, dialogue, tools, tokens, generation_prompt=generation_prompt)[0]


def template_of(tokenizer: Any, tools: Sequence[dict[str, Any]] = ()) -> str:
    """Return the template to use; if there are several, that for tools if there are any.

    Raises:
        UserError: There are several, and none fits.
    """
    try:
        template: str = tokenizer.get_chat_template(None, list(tools) or None)
    except ValueError as error:
        raise UserError(
            f"the model's chat templates cannot be used: {error}",
            "use another, such as --set data.template=plain",
        ) from None
    return template


def as_dicts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the turns as templates expect them, without None values."""
    turns = ({"role": m.role, "content": m.content, **m.extra} for m in messages)
    return [{name: value for name, value in turn.items() if value is not None} for turn in turns]


def end_of_turn(tokenizer: Any) -> int:
    """Return the id of the token with which the template ends an answer.

    Raises:
        UserError: There is none, so a trained model would never stop.
    """
    token_id: int = tokenizer.convert_tokens_to_ids(tail(tokenizer)[0])
    return token_id


def tail(tokenizer: Any) -> tuple[str, str]:
    """Return the token that ends an answer, and the template's whole text after an answer.

    Raises:
        UserError: No token of the tokenizer ends an answer.
    """
    rendered = render(tokenizer, _PROBE)
    after = rendered[rendered.rfind(_ANSWER) + len(_ANSWER) :]
    # Added tokens may end an answer too, though not marked as special.
    added = [token for token in tokenizer.added_tokens_encoder if token.strip()]
    for tokens in (special_tokens(tokenizer), added):
        hit = any_of(tokens).search(after)
        if hit:
            return hit.group(), after
    what = f"{after.strip()!r}, no special token" if after.strip() else "nothing"
    raise UserError(
        f"the chat template ends an answer with {what}: a model trained on it would never stop",
        "use another template, such as --set data.template=plain, or a model whose template "
        "ends each turn with its own token",
    )


def _read(name: str) -> str:
    if name in TEMPLATES:
        file = Path(__file__).parent / "templates" / f"{name}.jinja"
    else:
        file = Path(name)
        if not file.is_file():
            raise UserError(
                f"data.template={name!r} is neither a template{did_you_mean(name, TEMPLATES)} nor "
                "a file",
                f"use auto, {', '.join(TEMPLATES)}, or a file with a Jinja template",
            )
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}", "give a Jinja template") from None


def _check_tokens(tokenizer: Any, name: str, text: str) -> None:
    """Refuse a template whose tokens the tokenizer lacks."""
    vocabulary = set(tokenizer.added_tokens_encoder) | set(tokenizer.all_special_tokens)
    if name == "chatml" and not vocabulary.issuperset(_CHATML_TOKENS):
        raise UserError(
            f"the chatml template needs the tokens {' and '.join(_CHATML_TOKENS)}, which this "
            "model's tokenizer does not have",
            "use --set data.template=plain, which needs no special tokens",
        )
    if "eos_token" in text and not tokenizer.eos_token:
        raise UserError(
            f"the {name} template ends an answer with the tokenizer's end-of-text token, and "
            "this tokenizer has none",
            "set eos_token in the model's tokenizer_config.json",
        )
