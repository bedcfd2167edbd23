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
from tailorbird.serve.completion_responses import (
    AnswerForm,
    respond_generated,
    respond_text,
    usage_of,
)
from tailorbird.serve.error_responses import no_model, refuse
from tailorbird.serve.model_registry import Entry, vectors_of, writer_of
from tailorbird.serve.request_bodies import ChatBody, CompletionBody, EmbeddingBody, Writing
from tailorbird.serve.request_execution import compute, registry_of, unless_disconnected
from tailorbird.serve.routes_knowledge import chat_with_store
from tailorbird.serve.served_knowledge_base import ServedStore
from tailorbird.serve.served_models import HeadModel, VectorModel, WritingModel

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    """List everything that is served: runs, base models and knowledge bases.

    Beside OpenAI's fields, each has its `task`, and a classifier its `labels` and whether it reads
    `pairs` of texts. `max_model_len` is the longest input in tokens; of a model that generates, of
    prompt and answer together.
    """
    entries = registry_of(request).entries.values()
    return JSONResponse({"object": "list", "data": [_listed(entry) for entry in entries]})


@router.get("/v1/models/{name:path}")
async def one_model(name: str, request: Request) -> Response:
    """Describe one model with the fields of the list; 404 if it is not served."""
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
    """Generate the next message of a conversation that ends with a user's message.

    Returns one choice for each of `n`, with the counts of tokens; with `stream`, server-sent
    events that end with `data: [DONE]`. `finish_reason` is `stop`, or `length` if the answer
    reached its limit of tokens, the end of the context or the deadline. A knowledge base answers
    from its documents, with citations in `annotations`. Settings that are not supported are
    refused (400). Other errors: 404 unknown model, 429 queue full, 503 worker or memory failed,
    504 no token within `serve.deadline_seconds`.
    """
    registry = registry_of(request)
    if isinstance(getattr(registry.entries.get(body.model), "model", None), ServedStore):
        return await chat_with_store(body, request)
    entry, model = registry.pick(body.model, writer_of, "that writes")
    _check_stream(body)
    if body.top_logprobs is not None and not body.logprobs:
        raise refuse("top_logprobs needs logprobs", "top_logprobs")
    if body.max_tokens and body.max_completion_tokens:
        raise refuse("give max_tokens or max_completion_tokens, not both", "max_tokens")
    messages = body.conversation()
    if model.copy is not None:
        body.refuse_generation("this run looks up its answers: leave this out", ones=True)
        text = await unless_disconnected(request, asyncio.to_thread(model.copy, messages))
        return respond_text(body, text, 0)
    prompt = await asyncio.to_thread(model.encode, messages)
    most = body.max_completion_tokens or body.max_tokens
    sampling = _sampling(model, body, most, registry.limits.answer_tokens)
    form = AnswerForm(chat=True, decode=model.token)
    return await respond_generated(request, entry, body, [prompt], sampling, form)


def _check_stream(body: Writing) -> None:
    """Refuse stream options without a stream, as OpenAI and vLLM do."""
    if body.stream_options is not None and not body.stream:
        raise refuse("stream_options needs stream", "stream_options")


@router.post("/v1/completions")
async def complete(body: CompletionBody, request: Request) -> Response:
    """Continue one or several prompts, given as text or as token ids, without a chat template.

    Generates at most `max_tokens` tokens (16 by default). Returns `n` choices for each prompt, or
    server-sent events with `stream`. Errors are those of `/v1/chat/completions`.
    """
    registry = registry_of(request)
    entry, model = registry.pick(body.model, writer_of, "that writes")
    _check_stream(body)
    if model.copy is not None:
        raise refuse("this run looks up its answers and cannot complete a text", "model")
    items = body.prompts
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
    sampling = _sampling(model, body, body.max_tokens or 16, registry.limits.answer_tokens)
    form = AnswerForm(chat=False, decode=model.token)
    return await respond_generated(request, entry, body, arrays, sampling, form)


def _checked_ids(ids: Sequence[int], size: int, param: str) -> Sequence[int]:
    if any(not 0 <= token < size for token in ids):
        raise refuse("a token is not in the model's vocabulary", param)
    return ids


def _sampling(model: WritingModel, body: Writing, most: int | None, limit: int) -> Sampling:
    if most is not None and most > limit:
        raise refuse(f"at most {limit:,} tokens can be generated", "max_tokens")
    return model.sampling(
        temperature=body.temperature, top_p=body.top_p, stop=body.stops, max_new_tokens=most,
        # Without a seed, each answer has a new one.
        seed=secrets.randbelow(2**31) if body.seed is None else body.seed % 2**63,
    )  # fmt: skip


# --- embeddings -------------------------------------------------------------------------------


@router.post("/v1/embeddings")
async def embed(body: EmbeddingBody, request: Request) -> Response:
    """Embed texts, or texts given as token ids.

    Returns one unit vector per text, as numbers or as base64 of little-endian float32, and the
    number of tokens. A knowledge base embeds with its own model. Errors: 400 for an empty text, a
    text longer than the model reads, or other `dimensions` than the model's; 429, 503 and 504 as
    for chats.
    """
    registry = registry_of(request)
    entry, (model, queue) = registry.pick(body.model, vectors_of, "that embeds")
    if body.dimensions not in (None, model.dimension):
        why = f"its vectors have {model.dimension} dimensions and cannot be truncated"
        raise refuse(why, "dimensions")
    texts = [
        part
        if isinstance(part, str)
        else model.decode(_checked_ids(part, model.vocabulary, "input"))
        for part in body.texts
    ]
    plain = [("", text) for text in texts]
    vectors, lengths = await compute(request, queue, texts, model, "input", inputs=plain)

    def formatted(vector: np.ndarray) -> Any:
        if body.encoding_format == "base64":
            return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
        return [float(x) for x in vector]

    data = [
        {"object": "embedding", "index": i, "embedding": formatted(v)}
        for i, v in enumerate(vectors)
    ]
    whole = {"object": "list", "data": data, "model": entry.name, "usage": usage_of(sum(lengths))}
    return JSONResponse(whole)
