"""Routes of OpenAI's API: models, chats, completions and embeddings."""

import asyncio
import base64
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tailorbird.models.generate import Sampling
from tailorbird.records import Message
from tailorbird.serve.app import registry_of, unless_disconnected
from tailorbird.serve.completions import (
    AnswerBatch,
    AnswerForm,
    one_piece,
    respond_whole,
    stream_of,
)
from tailorbird.serve.error_responses import no_model, refuse
from tailorbird.serve.generation_queue import AnswerState
from tailorbird.serve.knowledge_base import ServedStore
from tailorbird.serve.model_registry import Entry, ModelRegistry, vectors_of, writer_of
from tailorbird.serve.models import HeadModel, VectorModel, WritingModel
from tailorbird.serve.request_bodies import ChatBody, CompletionBody, EmbeddingBody, Turn, Writing

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    """List what is served."""
    entries = registry_of(request).entries.values()
    return JSONResponse({"object": "list", "data": [_listed(entry) for entry in entries]})


@router.get("/v1/models/{name:path}")
async def one_model(name: str, request: Request) -> Response:
    """Describe one model."""
    entries = registry_of(request).entries
    if not name:  # /v1/models/
        return await list_models(request)
    if name not in entries:
        raise no_model(entries)
    return JSONResponse(_listed(entries[name]))


def _listed(entry: Entry) -> dict[str, Any]:
    model = entry.model
    base = None if isinstance(model, ServedStore) else model.base or None
    about: dict[str, Any] = {"task": "answering" if isinstance(model, ServedStore) else "embedding"}
    longest: int | None = None
    if isinstance(model, HeadModel):
        about = {"task": model.task, "labels": list(model.labels), "pairs": model.pairs}
        longest = model.longest
    elif isinstance(model, WritingModel):
        about = {"task": "generation"}
        longest = model.context if model.answering is not None else None
    elif isinstance(model, VectorModel):
        longest = model.longest
    parent = base if base != entry.name and isinstance(model, HeadModel | WritingModel) else None
    return {
        "id": entry.name, "object": "model", "created": entry.created, "owned_by": "tailorbird",
        "root": base.rpartition("/")[2] if base else entry.name,
        "parent": parent.rpartition("/")[2] if parent else None,
        "max_model_len": longest, **about,
    }  # fmt: skip


# --- chats ------------------------------------------------------------------------------------


@router.post("/v1/chat/completions")
async def chat(body: ChatBody, request: Request) -> Response:
    """Answer a conversation; with `stream` as it is written."""
    from tailorbird.serve.routes_knowledge import chat_with_store

    registry = registry_of(request)
    if isinstance(getattr(registry.entries.get(body.model), "model", None), ServedStore):
        return await chat_with_store(body, request)
    entry, model = registry.pick(body.model, writer_of, "that writes")
    _check_stream(body)
    if body.top_logprobs is not None and not body.logprobs:
        raise refuse("top_logprobs needs logprobs", "top_logprobs")
    if body.max_tokens and body.max_completion_tokens:
        raise refuse("give max_tokens or max_completion_tokens, not both", "max_tokens")
    most = body.max_completion_tokens or body.max_tokens
    messages = conversation(body.messages)
    if model.copy is not None:
        return await _copied(model, messages, body, request)
    prompt = await asyncio.to_thread(model.encode, messages)
    sampling = _sampling(model, body, most, registry)
    answers = AnswerBatch(
        registry, entry, body, [prompt], sampling, AnswerForm(chat=True, decode=model.token)
    )
    return await answers.respond(request)


def _check_stream(body: Writing) -> None:
    """Refuse stream options without a stream, as OpenAI and vLLM do."""
    if body.stream_options is not None and not body.stream:
        raise refuse("stream_options needs stream", "stream_options")


def conversation(turns: Sequence[Turn]) -> list[Message]:
    """Return a conversation that ends with a user's message.

    Raises:
        RequestFault: It ends otherwise.
    """
    messages = [
        Message("system" if turn.role == "developer" else turn.role, turn.words) for turn in turns
    ]
    if messages[-1].role != "user":
        raise refuse("the last message must be the user's", "messages")
    return messages


@router.post("/v1/completions")
async def complete(body: CompletionBody, request: Request) -> Response:
    """Write on after texts."""
    registry = registry_of(request)
    entry, model = registry.pick(body.model, writer_of, "that writes")
    _check_stream(body)
    if model.copy is not None:
        raise refuse("this run looks up its answers and cannot complete a text", "model")
    items: Any = body.prompt if isinstance(body.prompt, list) else [body.prompt]
    if items and isinstance(items[0], int):
        items = [items]
    if not 0 < len(items) <= registry.limits.request_inputs:
        raise refuse(f"give 1 to {registry.limits.request_inputs} prompts", "prompt")
    tokenizer = model.answering.tokenizer
    size = model.answering.model.get_input_embeddings().weight.shape[0]
    arrays = [
        np.asarray(
            tokenizer(p)["input_ids"] if isinstance(p, str) else _checked_ids(p, size, "prompt")
        )
        for p in items
    ]
    sampling = _sampling(model, body, body.max_tokens or 16, registry)
    answers = AnswerBatch(
        registry, entry, body, arrays, sampling, AnswerForm(chat=False, decode=model.token)
    )
    return await answers.respond(request)


def _checked_ids(ids: Sequence[int], size: int, param: str) -> Sequence[int]:
    if any(not 0 <= token < size for token in ids):
        raise refuse("a token is not in the model's vocabulary", param)
    return ids


def _sampling(
    model: WritingModel, body: Writing, most: int | None, registry: ModelRegistry
) -> Sampling:
    limit = registry.limits.answer_tokens
    if most is not None and most > limit:
        raise refuse(f"at most {limit:,} tokens can be generated", "max_tokens")
    return model.sampling(
        temperature=body.temperature, top_p=body.top_p, stop=body.stops, max_new_tokens=most,
        # Without a seed, each answer has a new one.
        seed=secrets.randbelow(2**31) if body.seed is None else body.seed % 2**63,
    )  # fmt: skip


async def _copied(
    model: WritingModel, messages: list[Message], body: ChatBody, request: Request
) -> Response:
    """Answer with the nearest training example, without generation."""
    settings = ("temperature", "top_p", "stop", "seed", "max_tokens", "max_completion_tokens")
    for name in (*settings, "n"):
        if getattr(body, name) not in (None, 1):
            raise refuse("this run looks up its answers: sampling settings do not apply", name)
    if body.logprobs:
        raise refuse("this run looks up its answers: its tokens have no logprobs", "logprobs")
    assert model.copy is not None
    text = await unless_disconnected(request, asyncio.to_thread(model.copy, messages))
    answer = AnswerState(text, 0, True, True)
    if body.stream:
        return stream_of(body, one_piece(answer), 0, AnswerForm(chat=True))
    return respond_whole(body, AnswerForm(chat=True), [answer], 0)


# --- embeddings -------------------------------------------------------------------------------


@router.post("/v1/embeddings")
async def embed(body: EmbeddingBody, request: Request) -> Response:
    """Return the vectors of texts."""
    registry = registry_of(request)
    entry, (model, queue) = registry.pick(body.model, vectors_of, "that embeds")
    if body.dimensions not in (None, model.dimension):
        why = f"its vectors have {model.dimension} dimensions and cannot be truncated"
        raise refuse(why, "dimensions")
    items: Any = body.input if isinstance(body.input, list) else [body.input]
    if items and isinstance(items[0], int):
        items = [items]
    texts = [
        part
        if isinstance(part, str)
        else model.decode(_checked_ids(part, model.vocabulary, "input"))
        for part in items
    ]
    queue.check_capacity(len(texts))
    lengths = measure(texts, model, registry, "input")
    plain = [("", text) for text in texts]
    seconds = registry.limits.deadline_seconds
    vectors = await unless_disconnected(request, queue.run(plain, lengths, seconds))

    def formatted(vector: np.ndarray) -> Any:
        if body.encoding_format == "base64":
            return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
        return [float(x) for x in vector]

    data = [
        {"object": "embedding", "index": i, "embedding": formatted(v)}
        for i, v in enumerate(vectors)
    ]
    total = sum(lengths)
    usage = {"prompt_tokens": total, "total_tokens": total}
    return JSONResponse({"object": "list", "data": data, "model": entry.name, "usage": usage})


def measure(
    texts: Sequence[Any], model: VectorModel | HeadModel, registry: ModelRegistry, param: str,
    cut: bool = False,
) -> list[int]:  # fmt: skip
    """Return the lengths of texts in tokens.

    Args:
        texts: Texts or pairs.
        model: The model, for its tokenizer.
        registry: The registry, for its limits.
        param: The field of the request.
        cut: Whether texts longer than the model's input may be truncated.

    Raises:
        RequestFault: There are none, too many, or one is empty or too long.
    """
    most = registry.limits.request_inputs
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
