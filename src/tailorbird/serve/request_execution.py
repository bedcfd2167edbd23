"""Runs a request's work: measures its texts, waits for a queue, and cancels it on disconnect."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from fastapi import Request

from tailorbird.serve.batch_queue import BatchQueue
from tailorbird.serve.error_responses import RequestFault, refuse
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.served_models import HeadModel, VectorModel

Outcome = TypeVar("Outcome")


def registry_of(request: Request) -> ModelRegistry:
    """Return the served models and knowledge bases."""
    registry: ModelRegistry = request.app.state.registry
    return registry


async def compute(
    request: Request, queue: BatchQueue | None, texts: Sequence[Any],
    model: HeadModel | VectorModel, param: str, *, cut: bool = False,
    inputs: Sequence[Any] | None = None,
) -> tuple[list[Any], list[int]]:  # fmt: skip
    """Return a model's outputs for texts or pairs, and their lengths in tokens.

    Args:
        request: The request.
        queue: The model's.
        texts: Texts or pairs.
        model: The model, for its tokenizer.
        param: The field of the request that holds the texts.
        cut: Whether texts longer than the model's input may be truncated.
        inputs: What the queue computes, if it is not the texts themselves.

    Raises:
        RequestFault: There are no texts or too many, one is empty or too long, or the queue failed.
    """
    assert queue is not None
    queue.check_capacity(len(texts))
    lengths = _measure(texts, model, registry_of(request).limits.request_inputs, param, cut)
    return await in_queue(request, queue, texts if inputs is None else inputs, lengths), lengths


def _measure(
    texts: Sequence[Any], model: HeadModel | VectorModel, most: int, param: str, cut: bool
) -> list[int]:
    if not 0 < len(texts) <= most:
        raise refuse(f"give 1 to {most} texts", param, "count" if texts else "empty")
    lengths = []
    for number, text in enumerate(texts):
        parts = (text,) if isinstance(text, str) else text
        if not all(part.strip() for part in parts):
            raise refuse(f"text {number} is empty", param, "empty")
        length = model.count(text)
        if length > model.longest and not cut:
            why = f"text {number} has {length:,} tokens and the model reads {model.longest:,}"
            raise refuse(f"{why}: shorten it", param, "too_long")
        lengths.append(min(length, model.longest))
    return lengths


async def in_queue(
    request: Request, queue: BatchQueue | None, inputs: Sequence[Any], tokens: Sequence[int]
) -> list[Any]:
    """Return a queue's outputs within the deadline; see `BatchQueue.run`."""
    assert queue is not None
    seconds = registry_of(request).limits.deadline_seconds
    return await unless_disconnected(request, queue.run(inputs, tokens, seconds))


async def unless_disconnected(request: Request, work: Awaitable[Outcome]) -> Outcome:
    """Return the result of `work`, which is cancelled if the client disconnects.

    The body must have been read.
    """
    task = asyncio.ensure_future(work)
    departure = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, departure}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise RequestFault(499, "the client disconnected", code="client_left")
        return task.result()
    finally:
        for one in (task, departure):
            one.cancel()
        await asyncio.gather(task, departure, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
