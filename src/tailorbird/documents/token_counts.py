"""Exact token counts of words, without tokenizing a text twice.

Tokenizers never join across whitespace, so a text's count is the sum over its words, most of which
were counted before. Where that is not exact (byte-level tokenizers, words too long for WordPiece),
chunks are counted again as a whole.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

# Longer words are cut: tables of numbers, base64, addresses, scripts without spaces.
LONG_WORD = 32
_MOST_KNOWN = 500_000
_BATCH = 4096
# WordPiece splits here by itself, so cutting here changes no count.
_PARTS = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]"
    f"|[^\\W_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]{{1,{LONG_WORD}}}|[\\W_]"
)


class TokenCounter:
    """Counts the tokens of words with one tokenizer, and caches the counts.

    Attributes:
        additive: Whether the words' counts always add up to the text's.
        special: Number of special tokens around every text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._fast = tokenizer.backend_tokenizer
        self._counts: dict[str, int] = {}
        self.special = tokenizer.num_special_tokens_to_add(pair=False)
        settings = json.loads(self._fast.to_str())
        steps = settings.get("pre_tokenizer") or {}
        wordpiece = (settings.get("model") or {}).get("type") == "WordPiece"
        self.additive = wordpiece and steps.get("type") == "BertPreTokenizer"
        # Byte-level tokenizers include the space before a word in its count.
        self._before = " " if '"ByteLevel"' in json.dumps(steps) else ""

    def of_text(self, text: str) -> int:
        """Return a text's count, including special tokens."""
        return len(self._encode_whole([text], special=True)[0])

    def of_words(self, words: Sequence[str]) -> list[int]:
        """Return each word's count, without special tokens."""
        counts = self._counts
        try:
            return list(map(counts.__getitem__, words))
        except KeyError:
            new = list(set(words).difference(counts))
        if len(counts) > _MOST_KNOWN:
            counts.clear()
            new = list(set(words))
        for at in range(0, len(new), _BATCH):
            batch = new[at : at + _BATCH]
            encoded = self._encode_whole([self._before + word for word in batch], special=False)
            counts.update(zip(batch, map(len, encoded), strict=True))
        return list(map(counts.__getitem__, words))

    def _encode_whole(self, texts: list[str], *, special: bool) -> list[Any]:
        """Encode without truncation and padding, which are restored afterwards."""
        truncation, padding = self._fast.truncation, self._fast.padding
        self._fast.no_truncation()
        self._fast.no_padding()
        try:
            encodings: list[Any] = self._fast.encode_batch_fast(texts, add_special_tokens=special)
            return encodings
        finally:
            if truncation is not None:
                self._fast.enable_truncation(**truncation)
            if padding is not None:
                self._fast.enable_padding(**padding)


@lru_cache(maxsize=4)
def counter(tokenizer: Any) -> TokenCounter:
    """Return the counter of a fast tokenizer, shared by all documents."""
    return TokenCounter(tokenizer)


class WordSpans:
    """The words of a text window, with offsets and token counts.

    Attributes:
        starts: Offset of each word's first character ``[n]``.
        ends: Offset after each word's last character ``[n]``.
        total: Cumulative token counts before each word, and of all ``[n + 1]``.
        cut: Whether a word was cut where the tokenizer does not split, so counts may not add up.
    """

    def __init__(self, text: str, offset: int, counter: TokenCounter, most: int) -> None:
        starts, ends = _spans(text)
        words = text.split()
        assert len(words) == len(starts)
        lengths = ends - starts
        long = bool((lengths > LONG_WORD).any())
        counts = counter.of_words([w for w in words if len(w) <= LONG_WORD] if long else words)
        self.cut = False
        if long or max(counts, default=0) > most:
            spans = zip(starts.tolist(), ends.tolist(), strict=True)
            places, counts, self.cut = _with_parts(text, spans, counts, counter, most)
            starts, ends = np.asarray(places, dtype=np.int64).reshape(-1, 2).T
        self.starts, self.ends = starts + offset, ends + offset
        self.total = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(counts, out=self.total[1:])

    def __len__(self) -> int:
        return len(self.starts)


def _spans(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and ends of the words of `str.split` ``[n]``, ``[n]``."""
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    inside = np.zeros(len(letters) + 2, dtype=bool)
    inside[1:-1] = _LETTERS[np.minimum(letters, len(_LETTERS) - 1)]
    turns = (inside[1:] != inside[:-1]).nonzero()[0]
    return turns[0::2], turns[1::2]


# There is no whitespace above U+3000.
_LETTERS = np.array([not chr(code).isspace() for code in range(0x3002)])


def _with_parts(
    text: str, spans: Iterable[tuple[int, int]], counts: list[int], counter: TokenCounter, most: int
) -> tuple[list[tuple[int, int]], list[int], bool]:
    """Split words that are too long to be cut around into parts.

    Returns:
        Spans, counts, and whether any cut differs from the tokenizer's own splits.
    """
    places: list[tuple[int, int]] = []
    numbers: list[int] = []
    cut = False
    short = iter(counts)
    for start, end in spans:
        count = next(short) if end - start <= LONG_WORD else None
        if count is not None and count <= most:
            places.append((start, end))
            numbers.append(count)
            continue
        parts = [m.span() for m in _PARTS.finditer(text, start, end)]
        sizes = counter.of_words([text[a:b] for a, b in parts])
        # WordPiece splits words at ASCII punctuation, but not at every symbol.
        cut = cut or not text[start:end].isascii() or max(b - a for a, b in parts) >= LONG_WORD
        cut = cut or max(sizes) > most
        for (a, b), size in zip(parts, sizes, strict=True):
            if size <= most:
                places.append((a, b))
                numbers.append(size)
                continue
            letters = [(i, i + 1) for i in range(a, b)]
            places += letters
            numbers += counter.of_words([text[i:j] for i, j in letters])
    return places, numbers, cut
