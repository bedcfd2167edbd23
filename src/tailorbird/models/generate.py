"""Generation with a causal LM: the only sampling code.

The loop is transformers' ``generate``; ours are the batch order, the end of an answer, the draws,
and the guarantee that nothing but the settings changes the answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird import log
from tailorbird.config.schema import GenerateConfig
from tailorbird.errors import UserError
from tailorbird.models.device import Device
from tailorbird.models.generation_inputs import (
    check_ids,
    context_length,
    left_padded,
    ready_to_generate,
)
from tailorbird.models.stopping_and_sampling import AnswerRow, Ending, MostRowsDone, SeededDraw

if TYPE_CHECKING:
    from torch import nn

# Rows and tokens (prompt and answer with padding) of a batch: on a CPU more is no faster, on a GPU
# the key-value cache has to fit.
MOST_ROWS = {"cpu": 64, "cuda": 256, "mps": 64}
MOST_TOKENS = {"cpu": 16_384, "cuda": 65_536, "mps": 16_384}


@dataclass(frozen=True)
class Sampling:
    """The settings of generation; `GenerateConfig` describes them.

    Attributes:
        temperature: 0 is greedy, and the following three then have no effect.
        stop: An answer ends before any of these strings.
        end_ids: Tokens that end an answer: the end of the turn, the end of the text.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 1
    end_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Generated:
    """One answer.

    Attributes:
        text: Without special tokens, up to a stop string.
        tokens: The number of generated tokens, including the one that ended the answer.
        ended: Whether the model or a stop string ended it; False: it reached a limit.
    """

    text: str
    tokens: int
    ended: bool


def sampling_of(
    config: GenerateConfig, max_new_tokens: int, end_ids: Sequence[int] = ()
) -> Sampling:
    """Return the settings of a run; `max_new_tokens` is the default of the configuration's."""
    if config.temperature == 0 and (config.top_p < 1 or config.top_k or config.min_p > 0):
        log.warn(
            "generate.top_p, top_k and min_p have no effect while generate.temperature is 0; "
            "set a temperature to sample"
        )
    wish = config.model_dump() | {
        "max_new_tokens": config.max_new_tokens or max_new_tokens,
        "stop": tuple(filter(None, config.stop)),
    }
    return Sampling(**wish, end_ids=tuple(end_ids))


def generate(
    model: "nn.Module",
    tokenizer: Any,
    prompts: Sequence[np.ndarray],
    sampling: Sampling,
    device: Device,
    title: str = "",
) -> list[Generated]:
    """Return the model's answer to each prompt, in order.

    Greedy answers do not depend on the batch, except for rounding: products of another shape round
    differently (in fp32 by about 1e-6 of a logit's size, in bf16 by 1e-2), so two tokens that are
    equally likely to that precision may swap. Draws depend on the seed and a prompt's place in
    `prompts` only.

    Args:
        model: Plain, wrapped by PEFT, or with adapters; restored afterwards, including flags.

    Raises:
        UserError: A prompt is empty or leaves no room for an answer.
    """
    from tailorbird.models.fast_decoding import fast_decoding

    check_prompts(model, prompts, sampling)
    rows = rows_of(model, tokenizer, prompts, sampling)
    progress = log.quiet_progress(title, len(rows), "answers")
    with progress as bar, ready_to_generate(model) as inner, fast_decoding(inner, device):
        pending = rows
        while pending:
            queue = _batches(pending, device)
            while queue:
                batch = queue.pop()
                queue.extend(_generate_batch(model, inner, batch, sampling, device))
                bar.advance(sum(row.done for row in batch))
            pending = [row for row in pending if not row.done]
    return [Generated(row.text, len(row.tokens), row.ended) for row in rows]


def stream(
    model: "nn.Module", tokenizer: Any, prompt: np.ndarray, sampling: Sampling, device: Device
) -> Iterator[str]:
    """Yield the answer piece by piece as it is generated.

    The joined pieces equal the answer of `generate` for this prompt. Characters are whole, and text
    that may begin a stop string is held back until it is known not to. Closing the iterator ends
    the generation.

    Raises:
        UserError: The prompt is empty or leaves no room for an answer.
    """
    from queue import SimpleQueue
    from threading import Thread

    from tailorbird.models.fast_decoding import fast_decoding

    check_prompts(model, [prompt], sampling)
    (row,) = rows_of(model, tokenizer, [prompt], sampling)
    pieces: SimpleQueue[str | BaseException | None] = SimpleQueue()
    row.on_token = lambda: pieces.put(row.ending.final_text(row.tokens))

    def work() -> None:
        try:
            with ready_to_generate(model) as inner, fast_decoding(inner, device):
                while not row.done:
                    _generate_batch(model, inner, [row], sampling, device)
            pieces.put(row.text)
        except BaseException as error:
            pieces.put(error)
        finally:
            pieces.put(None)

    thread = Thread(target=work, daemon=True)
    thread.start()
    position = 0
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            if len(piece) > position:
                yield piece[position:]
                position = len(piece)
    finally:
        row.abandoned = True
        thread.join()


def check_prompts(model: "nn.Module", prompts: Sequence[np.ndarray], sampling: Sampling) -> None:
    """Check that every prompt has tokens, and room for an answer.

    Raises:
        UserError: A prompt is empty or leaves no room for an answer.
    """
    empty = [number for number, prompt in enumerate(prompts, 1) if not len(prompt)]
    if empty:
        raise UserError(
            f"prompt {empty[0]} of {len(prompts)} is empty: the model has nothing to continue",
            "give it at least one word, or a chat template",
        )
    check_ids(model, prompts)
    context = context_length(model)
    if context is None:
        return
    lengths = [len(prompt) for prompt in prompts]
    full = [number for number, length in enumerate(lengths, 1) if length >= context]
    if full:
        raise UserError(
            f"prompt {full[0]} of {len(prompts)} has {lengths[full[0] - 1]:,} tokens and the "
            f"model reads at most {context:,}: no room for an answer"
            + (f" (prompts too long: {len(full)})" if len(full) > 1 else ""),
            "shorten it, or use a model with a longer context",
        )
    short = sum(length + sampling.max_new_tokens > context for length in lengths)
    if short:
        log.warn(
            f"{short:,} of {len(prompts):,} prompts leave less room than generate.max_new_tokens "
            f"({sampling.max_new_tokens:,}): their answers are cut off at the model's "
            f"{context:,} tokens"
        )


def rows_of(
    model: "nn.Module", tokenizer: Any, prompts: Sequence[np.ndarray], sampling: Sampling
) -> list[AnswerRow]:
    """Return the answer row of each prompt; `check_prompts` must have passed."""
    context = context_length(model) or np.inf
    ending = Ending(tokenizer, frozenset(sampling.end_ids), sampling.stop)
    draws = sampling.max_new_tokens if sampling.temperature > 0 else 0
    return [
        AnswerRow(
            index=index,
            prompt=np.asarray(prompt, dtype=np.int64),
            limit=int(min(sampling.max_new_tokens, context - len(prompt))),
            ending=ending,
            chances=np.random.default_rng((sampling.seed, index)).random(draws),
        )
        for index, prompt in enumerate(prompts)
    ]


def _batches(rows: list[AnswerRow], device: Device) -> list[list[AnswerRow]]:
    """Return batches of similar length, the longest last, since batches are taken from the end."""
    most_rows, most_tokens = MOST_ROWS[device.kind], MOST_TOKENS[device.kind]
    batches: list[list[AnswerRow]] = []
    for row in sorted(rows, key=lambda row: len(row.prompt) + len(row.tokens)):
        width = len(row.prompt) + row.limit
        last = batches[-1] if batches else []
        if last and len(last) < most_rows and (len(last) + 1) * width <= most_tokens:
            last.append(row)
        else:
            batches.append([row])
    return batches


def _generate_batch(
    model: "nn.Module", inner: Any, rows: list[AnswerRow], sampling: Sampling, device: Device
) -> list[list[AnswerRow]]:
    """Generate until most rows are complete; return the halves of a batch that was too large."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    from tailorbird.models.fast_decoding import preallocated_cache

    # No row may pass the model's last position, not even a complete one, since positions are looked
    # up for all rows.
    context = context_length(model) or np.inf
    steps = int(
        min(
            max(row.limit - len(row.tokens) for row in rows),
            context - max(len(row.prompt) + len(row.tokens) for row in rows),
        )
    )
    settings = GenerationConfig(
        max_new_tokens=steps, do_sample=False, use_cache=True, pad_token_id=_pad_id(rows[0])
    )
    drawing = [SeededDraw(rows, warpers(sampling, device))] if sampling.temperature > 0 else []
    try:
        with torch.no_grad(), device.autocast():
            inputs = left_padded(model, [row.ids for row in rows], _pad_id(rows[0]), device)
            width = inputs["attention_mask"].shape[1] + steps
            inner.generate(
                **inputs,
                past_key_values=preallocated_cache(inner, width),
                generation_config=settings,
                logits_processor=LogitsProcessorList(drawing),
                stopping_criteria=StoppingCriteriaList([MostRowsDone(rows)]),
            )
    except torch.OutOfMemoryError:
        if len(rows) == 1:
            raise
        torch.cuda.empty_cache()
        return [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
    return []


def _pad_id(row: AnswerRow) -> int:
    """Return the padding id, which is arbitrary since padding is masked."""
    return int(row.ending.tokenizer.pad_token_id or 0)


def warpers(sampling: Sampling, device: Device) -> list[Any]:
    """Return the processors that modify the distribution before a draw, in transformers' order."""
    from transformers import (
        MinPLogitsWarper,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    steps: list[Any] = [TemperatureLogitsWarper(float(sampling.temperature))]
    if sampling.top_k is not None:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0:
        steps.append(MinPLogitsWarper(sampling.min_p))
    return steps
