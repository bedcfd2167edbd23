"""Keeps control tokens of the template apart from the same text in a message.

A message with ``<|im_end|><|im_start|>system`` would otherwise close its turn and open another.
Such text is replaced by stand-ins before the chat template runs, and tokenised separately as words.
transformers' `sanitize_control_tokens` does the same for prompts; here each token's characters are
known too, which training needs to locate answers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tailorbird.records import Message

_SHIFT = 0x100000
"""From a character to its private stand-in, in an unassigned plane of Unicode."""
_BATCH = 1000
_STRANGERS = ("user", "tool")


@dataclass(frozen=True)
class TextTokens:
    """A text's tokens, with the interface of the tokenizers library.

    Attributes:
        offsets: Start and end character of each; empty if unknown.
    """

    ids: list[int]
    offsets: list[tuple[int, int]] = field(default_factory=list)

    def char_to_token(self, place: int) -> int | None:
        """Return the index of a character's token, or None."""
        spans = enumerate(self.offsets)
        return next((k for k, (start, stop) in spans if start <= place < stop), None)

    def token_to_chars(self, token: int) -> tuple[int, int]:
        """Return start and end character of a token."""
        return self.offsets[token]


@dataclass(frozen=True)
class ControlTokens:
    """The control tokens of a tokenizer, which steer the model rather than stand for words.

    Attributes:
        special: Matches the tokenizer's special tokens; in messages they are words.
        template: Matches those and other tokens of the template, such as ``<tool_response>``. An
            assistant generates them; in messages of users and tools they are words.
        hidden: Matches the stand-ins of both.
    """

    special: re.Pattern[str]
    template: re.Pattern[str]
    hidden: re.Pattern[str]

    @classmethod
    def of(cls, tokenizer: Any, template: str) -> "ControlTokens":
        """Return the control tokens of a tokenizer with this chat template."""
        special = [token for token in special_tokens(tokenizer) if len(token) > 1]
        own = [
            token
            for token in tokenizer.added_tokens_encoder
            if len(token.strip()) > 1 and token in template
        ]
        every = list(dict.fromkeys([*special, *own]))
        return cls(any_of(special), any_of(every), any_of([_stand_in(token) for token in every]))

    def hide(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the turns with stand-ins for control tokens in their text."""
        return tuple(
            replace(
                m,
                content=_hide(m.content, self.template if m.role in _STRANGERS else self.special),
                extra=_hide(m.extra, self.special),
            )
            for m in messages
        )

    def hide_tools(self, tools: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        """Return tool definitions with stand-ins for control tokens in their text."""
        return tuple(_hide(tool, self.special) for tool in tools)

    def encode(self, texts: Sequence[str], tokenizer: Any) -> Iterator[Any]:
        """Yield the tokens of rendered conversations, stand-ins as the words that they stand for.

        Each result has ``ids`` and, with a fast tokenizer, `char_to_token` and `token_to_chars`.
        """
        for start in range(0, len(texts), _BATCH):
            part = texts[start : start + _BATCH]
            batch = tokenizer(list(part), add_special_tokens=False, verbose=False)
            whole = batch.encodings or [TextTokens(ids) for ids in batch["input_ids"]]
            for text, encoding in zip(part, whole, strict=True):
                stand_in = self.hidden.search(text)
                yield encoding if stand_in is None else self._by_pieces(text, tokenizer)

    def _by_pieces(self, text: str, tokenizer: Any) -> TextTokens:
        whole = TextTokens([], [])
        at = 0
        for match in self.hidden.finditer(text):
            _append(whole, at, _encode(text[at : match.start()], tokenizer, first=not at))
            token = "".join(chr(ord(c) - _SHIFT) if ord(c) >= _SHIFT else c for c in match.group())
            words = _encode(token, tokenizer, first=False, split_special_tokens=True)
            if tokenizer.convert_tokens_to_ids(token) in words.ids:
                # Not marked as special, or also in the vocabulary; neither half of it is.
                words = _encode(token[0], tokenizer, first=False)
                _append(words, 1, _encode(token[1:], tokenizer, first=False))
            _append(whole, match.start(), words)
            at = match.end()
        _append(whole, at, _encode(text[at:], tokenizer, first=False))
        return whole


def special_tokens(tokenizer: Any) -> list[str]:
    """Return the tokens that steer a model rather than stand for words."""
    added = tokenizer.added_tokens_decoder.values()
    return list(
        dict.fromkeys([*tokenizer.all_special_tokens, *(t.content for t in added if t.special)])
    )


def any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern that matches any of the tokens, the longest first."""
    longest = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest)) or "(?!)")


def _stand_in(token: str) -> str:
    # The last characters have no stand-in and stay; no token consists of them alone.
    return "".join(chr(ord(c) + _SHIFT) if ord(c) < 0xFFFE else c for c in token)


def _hide(value: Any, tokens: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return tokens.sub(lambda match: _stand_in(match.group()), value)
    if isinstance(value, dict):
        return {_hide(k, tokens): _hide(inner, tokens) for k, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_hide(inner, tokens) for inner in value]
    return value


def _append(whole: TextTokens, place: int, more: TextTokens) -> None:
    """Add the tokens of the text at a place."""
    whole.ids.extend(more.ids)
    whole.offsets.extend((place + start, place + stop) for start, stop in more.offsets)


def _encode(piece: str, tokenizer: Any, *, first: bool, **how: bool) -> TextTokens:
    """Return a part's tokens, without the space that some tokenizers insert before a text."""
    lead = "" if first or not piece else "\n"
    alone = _plain(lead, tokenizer).ids
    tokens = _plain(lead + piece, tokenizer, **how)
    if tokens.ids[: len(alone)] != alone:
        return _plain(piece, tokenizer, **how)
    offsets = [(a - len(lead), b - len(lead)) for a, b in tokens.offsets[len(alone) :]]
    return TextTokens(tokens.ids[len(alone) :], offsets)


def _plain(text: str, tokenizer: Any, **how: bool) -> TextTokens:
    output = tokenizer(text, add_special_tokens=False, verbose=False, **how)
    offsets = output.encodings[0].offsets if output.encodings else []
    return TextTokens(list(output["input_ids"]), list(offsets))
