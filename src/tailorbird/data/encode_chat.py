"""Encodes conversations and texts as token ids, with a mask of the trained tokens."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from tailorbird.data.answer_spans import (
    Rendering,
    TemplateShape,
    fit_system,
    render_example,
    render_prompt,
    try_template,
)
from tailorbird.data.control_tokens import any_of, special_tokens
from tailorbird.data.disk_rows import blocks, rows_for
from tailorbird.data.encoding_report import (
    EncodingCounts,
    Event,
    TooLong,
    findings_of,
    refuse,
    word_findings,
)
from tailorbird.data.message_words import rows
from tailorbird.data.template_sandbox import Overrun
from tailorbird.data.tokens import Tokens, sample_pieces
from tailorbird.errors import Faults, UserError
from tailorbird.records import THOUGHTS, Example, Finding

T = TypeVar("T")

_BATCH = 1000
_MOST_FAULTS = 5


def encode_conversations(
    examples: Sequence[Example], tokenizer: Any, limit: int, too_long: TooLong = "cut"
) -> Tokens:
    """Tokenise conversations that end with an answer, and mark the trained tokens.

    Trained are the answers, each with its end token: what the chat template writes after its
    generation prompt. Each conversation is tokenised once as a whole; the tokenizer's offsets map
    characters to tokens. A token that spans the end of a prompt and the beginning of an answer is
    not trained, and such rows are counted.

    Raises:
        UserError: The template refuses conversations, nothing is left to train on, or answers have
            no end token.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer {type(tokenizer).__name__} gives no character positions of tokens, "
            "so answers cannot be separated from prompts",
            "use a model with a tokenizer.json (a fast tokenizer)",
        )
    shape = try_template(tokenizer)
    counts = EncodingCounts(conversations=len(examples))
    ends = set(tokenizer.convert_tokens_to_ids([shape.end, *special_tokens(tokenizer)]))
    tokens = _empty(examples)
    kept_rows: list[int] = []
    renderings = _rendered(examples, tokenizer, shape, counts)
    for i, (row, rendering, encoding, prompt) in enumerate(renderings):
        ids = np.asarray(encoding.ids, dtype=np.int32)
        counts.longest = max(counts.longest, len(ids))
        if _begins_twice(ids, tokenizer):
            counts.note("doubled", row)
        trained, merged = _training_mask(ids, encoding, rendering, prompt)
        if merged and not rendering.odd:
            counts.note("merged_tokens", row)
        if not trained.any():
            counts.note("untrained", row)
        elif int(ids[np.flatnonzero(trained)[-1]]) not in ends:
            counts.note("no_end", row)
        length = _keep(trained, limit, too_long, row, counts)
        if length:
            tokens.ids.append(ids[:length])
            tokens.trained.append(trained[:length])
            tokens.prompts.append(prompt)
            kept_rows.append(i)
    refuse(counts, shape, too_long, limit)
    return Tokens(
        ids=tokens.ids,
        trained=tokens.trained,
        prompts=tokens.prompts,
        rows=np.asarray(kept_rows, dtype=np.int64),
        samples=sample_pieces(tokens.ids, tokens.trained, tokenizer),
        findings=tuple(findings_of(counts, shape, tokenizer, too_long, limit)),
    )


def encode_prompts(examples: Sequence[Example], tokenizer: Any) -> list[np.ndarray]:
    """Return the model's prompt for each conversation, as int32 ids.

    A final answer is left off.

    Raises:
        UserError: The template refuses conversations.
    """
    shape = try_template(tokenizer)
    texts = _each(examples, lambda e: render_prompt(e, tokenizer, shape))
    return [
        np.asarray(encoding.ids, dtype=np.int32)
        for encoding in shape.control.encode(texts, tokenizer)
    ]


def encode_texts(examples: Sequence[Example], tokenizer: Any, limit: int) -> Tokens:
    """Tokenise plain texts to continue pre-training: every token but a sequence's first is trained.

    A text begins as the tokenizer begins texts and ends with its end-of-text token. A text longer
    than `limit` becomes several sequences; each begins with the last token of the one before, so
    that every token of a text but its first is trained exactly once.

    Raises:
        UserError: The tokenizer has no end-of-text token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise UserError(
            "the tokenizer has no end-of-text token, so the model would never stop",
            "set eos_token in the model's tokenizer_config.json",
        )
    tokens = _empty(examples)
    counts = EncodingCounts(conversations=len(examples))
    places: list[int] = []
    several = 0
    special = any_of(special_tokens(tokenizer))
    for i, (example, row) in enumerate(_text_ids(examples, tokenizer)):
        if special.search(example.text):
            counts.note("special_tokens", example.row)
        ids = np.asarray(row if row and row[-1] == end else [*row, end], dtype=np.int32)
        several += len(ids) > limit
        for start in range(0, max(len(ids) - 1, 1), limit - 1):
            piece = ids[start : start + limit]
            trained = np.ones(len(piece), dtype=bool)
            trained[0] = False
            tokens.ids.append(piece)
            tokens.trained.append(trained)
            places.append(i)
    findings = list(word_findings(counts))
    if several:
        message = (
            f"{rows(several)} of {len(examples):,} longer than {limit:,} tokens "
            f"(data.max_length) and split; no tokens are left out: {len(places):,} sequences in "
            "all."
        )
        findings.insert(0, Finding("split_texts", "info", message, several))
    return Tokens(
        ids=tokens.ids,
        trained=tokens.trained,
        prompts=[],
        rows=np.asarray(places, dtype=np.int64),
        samples=sample_pieces(tokens.ids, tokens.trained, tokenizer),
        findings=tuple(findings),
    )


def _each(examples: Sequence[Example], make: Callable[[Example], T]) -> list[T]:
    """Apply `make` to each example, and report all that the template refuses."""
    results: list[T] = []
    refused: dict[tuple[str, str], list[int]] = {}
    for example in examples:
        try:
            results.append(make(example))
        except Overrun:
            raise
        except UserError as error:
            refused.setdefault((error.problem, error.fix), []).append(example.row)
    faults = Faults()
    for (problem, fix), places in list(refused.items())[:_MOST_FAULTS]:
        faults.add(f"{rows(len(places))}, the first of them row {places[0]}: {problem}", fix)
    faults.raise_if_any()
    return results


def _look_through(
    examples: Sequence[Example],
    renderings: Sequence[Rendering],
    shape: TemplateShape,
    counts: EncodingCounts,
) -> None:
    """Count the template's changes to the conversations."""
    for example, rendering in zip(examples, renderings, strict=True):
        messages = example.messages
        counts.system_messages += fit_system(messages, shape) != messages
        calls = any(m.extra.get("tool_calls") for m in messages)
        thoughts = any(m.extra.get(THOUGHTS[0]) for m in messages)
        happened: dict[Event, bool] = {
            "lost_calls": calls and not shape.takes_calls,
            "lost_tools": bool(example.tools) and not shape.takes_tools,
            "lost_thoughts": thoughts and not shape.takes_thoughts,
            "special_tokens": shape.control.hide(messages) != messages,
            "rewritten_turns": bool(rendering.rewritten),
            "generation_prompt": rendering.odd,
        }
        for event in (event for event, so in happened.items() if so):
            counts.note(event, example.row)


def _empty(examples: Sequence[Example]) -> Tokens:
    ids, prompts = rows_for(examples, np.int32), rows_for(examples, np.int32)
    return Tokens(ids, rows_for(examples, np.bool_), prompts, np.zeros(0, dtype=np.int64))


def _rendered(
    examples: Sequence[Example], tokenizer: Any, shape: TemplateShape, counts: EncodingCounts
) -> Iterator[tuple[int, Rendering, Any, np.ndarray]]:
    """Yield each conversation's row, rendering, encoding and prompt ids.

    An encoding maps ids to characters.
    """
    for block in blocks(examples):
        renderings = _each(block, lambda e: render_example(e, tokenizer, shape))
        _look_through(block, renderings, shape, counts)
        whole = shape.control.encode([each.text for each in renderings], tokenizer)
        prompts = shape.control.encode([each.prompt for each in renderings], tokenizer)
        for example, rendering, encoding, prompt in zip(
            block, renderings, whole, prompts, strict=True
        ):
            yield example.row, rendering, encoding, np.asarray(prompt.ids, dtype=np.int32)


def _text_ids(examples: Sequence[Example], tokenizer: Any) -> Iterator[tuple[Example, list[int]]]:
    """Yield each text's ids, begun as the tokenizer does; special tokens in it are words."""
    rest = iter(examples)
    while part := list(islice(rest, _BATCH)):
        ids = tokenizer(
            [example.text for example in part],
            add_special_tokens=True,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        yield from zip(part, ids, strict=True)


def _training_mask(
    ids: np.ndarray, encoding: Any, rendering: Rendering, prompt: np.ndarray
) -> tuple[np.ndarray, bool]:
    """Return the mask of trained tokens, and whether a prompt and its answer share a token.

    A token belongs to an answer if its first character does: the end token may include the
    whitespace after it, as some tokenizers' special tokens do.
    """
    trained = np.zeros(len(ids), dtype=bool)
    size = len(prompt)
    same = size < len(ids) and bool((ids[:size] == prompt).all())
    merged = not same
    for start, stop in rendering.spans:
        last = encoding.char_to_token(stop - 1)
        tokens = map(encoding.char_to_token, range(start, stop))
        first = next((token for token in tokens if token is not None), None)
        if first is None or last is None:
            continue
        if encoding.token_to_chars(first)[0] < start:
            merged = True
            first += 1
        if same and start == len(rendering.prompt):
            # Generation starts here, whatever the tokenizer does with a leading space.
            first = size
        trained[first : last + 1] = True
    return trained, merged


def _begins_twice(ids: np.ndarray, tokenizer: Any) -> bool:
    begin = tokenizer.bos_token_id
    return begin is not None and len(ids) > 1 and int(ids[0]) == int(ids[1]) == begin


def _keep(
    trained: np.ndarray, limit: int, too_long: TooLong, row: int, counts: EncodingCounts
) -> int:
    """Return the number of tokens kept of a conversation, 0 if it is dropped."""
    if len(trained) <= limit:
        return len(trained)
    counts.note("long", row)
    if too_long != "cut":
        return 0
    cut_count = int(trained[limit:].sum())
    if cut_count:
        counts.note("cut", row)
        counts.lost_tokens += cut_count
    if not trained[:limit].any():
        counts.note("emptied", row)
        return 0
    return limit
