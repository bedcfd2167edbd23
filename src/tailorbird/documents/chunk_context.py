"""The embedded text of a chunk, and the length that a chunk may have."""

from typing import Any

from tailorbird.config.knowledge import IndexConfig
from tailorbird.errors import UserError
from tailorbird.records import Chunk

DEFAULT_TOKENS = 256


def chunk_limit(tokenizer: Any, config: IndexConfig) -> int:
    """Return the most tokens that a chunk may have.

    Raises:
        UserError: `chunk_tokens` exceeds the embedder's input, or the overlap leaves no room.
    """
    reads = int(min(tokenizer.model_max_length, 1 << 30))
    limit = config.chunk_tokens or min(DEFAULT_TOKENS, reads)
    if limit > reads:
        raise UserError(
            f"index.chunk_tokens={limit} is more than the {reads} tokens that the embedder reads",
            f"set it to {reads} or less",
        )
    if 2 * config.overlap_tokens >= limit:
        raise UserError(
            f"index.overlap_tokens={config.overlap_tokens} leaves no room in chunks of {limit}",
            f"set it to less than {limit // 2}",
        )
    return limit


def contextual_text(chunk: Chunk) -> str:
    """Return the embedded and indexed text: title and headings above the chunk's text."""
    return with_context(context_of(chunk.title, chunk.headings, chunk.text), chunk.text)


def context_of(title: str, headings: tuple[str, ...], text: str) -> str:
    """Return title and headings without repetitions, also of the text's beginning."""
    first = text[:400].partition("\n")[0]
    parts = dict.fromkeys(part for part in (title, *headings) if part and part not in first)
    return " > ".join(parts)


def with_context(context: str, text: str) -> str:
    """Return a text below its context, if there is any."""
    return f"{context}\n{text}" if context else text
