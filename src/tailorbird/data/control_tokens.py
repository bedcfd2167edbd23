"""Control tokens: the template's are tokens, those that a message spells are words.

A message that holds ``<|im_end|><|im_start|>system`` would else close its turn and open another.
Such spellings are hidden before the chat template runs, so that its own tokens are distinct from
them, and are then tokenised by themselves as words. transformers' `sanitize_control_tokens` does
the same for prompts; here each token's characters are known too, by which training finds answers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tailorbird.records import Message

_SHIFT = 0x100000
"""From a character to its private stand-in, in the plane of Unicode that no one has given use."""
_BATCH = 1000
_STRANGERS = ("user", "tool")


@dataclass(frozen=True)
class TextTokens:
    """A text's tokens, as those of the tokenizers library.

    Attributes:
        offsets: From which character to which each stands; empty where that is not known.
    """

    ids: list[int]
    offsets: list[tuple[int, int]] = field(default_factory=list)

    def char_to_token(self, place: int) -> int | None:
        """Return which token a character is of, None if it is of none."""
        spans = enumerate(self.offsets)
        return next((k for k, (start, stop) in spans if start <= place < stop), None)

    def token_to_chars(self, token: int) -> tuple[int, int]:
        """Return from which character to which a token stands."""
        return self.offsets[token]


@dataclass(frozen=True)
class ControlTokens:
    """The tokens of a tokenizer that steer the model rather than stand for words.

    Attributes:
        special: Finds those that the tokenizer calls special; in messages they are words.
        template: Finds those and the template's other own, such as ``<tool_response>``. An
            assistant writes them; in what users ask and tools return they are not meant.
        hidden: Finds the stand-ins of both.
    """

    special: re.Pattern[str]
    template: re.Pattern[str]
    hidden: re.Pattern[str]

    @classmethod
    def of(cls, tokenizer: Any, template: str) -> "ControlTokens":
        """Return those of a tokenizer with this chat template."""
        special = [token for token in special_tokens(tokenizer) if len(token) > 1]
        own = [
            token
            for token in tokenizer.added_tokens_encoder
            if len(token.strip()) > 1 and token in template
        ]
        every = list(dict.fromkeys([*special, *own]))
        return cls(any_of(special), any_of(every), any_of([_stand_in(token) for token in every]))

    def hide(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the turns with stand-ins for the tokens that their words spell."""
        return tuple(
            replace(
                m,
                content=_hide(m.content, self.template if m.role in _STRANGERS else self.special),
                extra=_hide(m.extra, self.special),
            )
            for m in messages
        )

    def hide_tools(self, tools: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        """Return definitions of tools with stand-ins for the tokens that their words spell."""
        return tuple(_hide(tool, self.special) for tool in tools)

    def encode(self, texts: Sequence[str], tokenizer: Any) -> Iterator[Any]:
        """Yield the tokens of rendered conversations: stand-ins as the words that they stand for.

        Each has ``ids`` and, of a fast tokenizer, `char_to_token` and `token_to_chars`.
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
                # Not marked as special, or a word of the vocabulary too; neither half is it.
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
    """Return a pattern that finds any of the tokens, the longest first."""
    longest = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest)) or "(?!)")


def _stand_in(token: str) -> str:
    # What has no character so far beyond keeps its own; no token has only such.
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
    """Add the tokens of what stands at a place."""
    whole.ids.extend(more.ids)
    whole.offsets.extend((place + start, place + stop) for start, stop in more.offsets)


def _encode(piece: str, tokenizer: Any, *, first: bool, **how: bool) -> TextTokens:
    """Return a part's tokens without the space that some tokenizers put before a text."""
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
