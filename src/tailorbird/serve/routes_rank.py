"""Routes that score and rerank texts for a question, in the formats of vLLM, Cohere and TEI."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import Field, StrictBool, StrictInt
from starlette.responses import JSONResponse, Response

from tailorbird.serve.app import registry_of, unless_disconnected
from tailorbird.serve.error_responses import refuse
from tailorbird.serve.model_registry import Entry, ModelRegistry, head_of, store_of, vectors_of
from tailorbird.serve.request_bodies import Body, Name, Words
from tailorbird.serve.routes_openai import measure

router = APIRouter()
Texts = Words | Annotated[list[Words], Field(min_length=1)]
Top = Annotated[StrictInt, Field(ge=1)]


class TextDocument(Body):
    """A document given as an object."""

    text: Words


class RerankBody(Body):
    """`POST /rerank`, `/v1/rerank`, `/v2/rerank`."""

    model: Name | None = None
    query: Words
    documents: Annotated[list[Words | TextDocument], Field(min_length=1)]
    top_n: Top | None = None
    return_documents: StrictBool | None = None


class TeiRerankBody(Body):
    """`POST /rerank` of text-embeddings-inference."""

    model: Name | None = None
    query: Words
    texts: Annotated[list[Words], Field(min_length=1)]
    return_text: StrictBool | None = None
    raw_scores: Literal[False] | None = None
    truncate: StrictBool | None = None
    truncation_direction: Literal["Right", "right"] | None = None


class ScoreBody(Body):
    """`POST /score`: one against many, or as many against as many, under any of four names."""

    model: Name | None = None
    queries: Texts | None = None
    documents: Texts | None = None
    items: Texts | None = None
    text_1: Texts | None = None
    text_2: Texts | None = None
    data_1: Texts | None = None
    data_2: Texts | None = None


Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Ranker:
    """Scores pairs of a question and a text.

    Attributes:
        score: Maps pairs, and whether they may be truncated, to scores and the number of tokens.
    """

    score: Callable[[Pairs, bool], Awaitable[tuple[list[float], int]]]


def _ranker_of(registry: ModelRegistry) -> Callable[[Entry], Ranker | None]:
    """Return the function that creates an entry's ranker.

    It is a knowledge base's cross-encoder, or else the cosine of its vectors; for a regression run
    on pairs, its number.
    """
    seconds = registry.limits.deadline_seconds

    def of(entry: Entry) -> Ranker | None:
        head, store, vectors = head_of(entry), store_of(entry), vectors_of(entry)
        if head is not None:
            if not (head.pairs and head.task == "regression" and len(head.labels) == 1):
                return None
            texts_queue = entry.queue
            assert texts_queue is not None

            async def by_head(pairs: Pairs, cut: bool) -> tuple[list[float], int]:
                lengths = measure(pairs, head, registry, "documents", cut)
                answers = await texts_queue.run(pairs, lengths, seconds)
                return [answer.values[head.labels[0]] for answer in answers], sum(lengths)

            return Ranker(by_head)
        if vectors is None:
            return None
        model, queue = vectors

        async def by_vectors(pairs: Pairs, cut: bool) -> tuple[list[float], int]:
            sides = [list(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1)]
            texts = [*sides[0], *sides[1]]
            lengths = measure(texts, model, registry, "documents", cut)
            purposes = ["query"] * len(sides[0]) + ["document"] * len(sides[1])
            rows = await queue.run(list(zip(purposes, texts, strict=True)), lengths, seconds)
            of_query = dict(zip(sides[0], rows, strict=False))
            of_text = dict(zip(sides[1], rows[len(sides[0]) :], strict=True))
            return [float(np.dot(of_query[q], of_text[t])) for q, t in pairs], sum(lengths)

        async def by_cross_encoder(pairs: Pairs, cut: bool) -> tuple[list[float], int]:
            assert entry.ranks is not None
            lengths = [model.count(pair) for pair in pairs]
            scores = await entry.ranks.run(pairs, lengths, seconds)
            return [float(score) for score in scores], sum(lengths)

        return Ranker(by_vectors if store is None or entry.ranks is None else by_cross_encoder)

    return of


async def _scores(
    request: Request, name: str | None, pairs: Pairs, cut: bool = False
) -> tuple[str, list[float], int]:
    registry = registry_of(request)
    if len(pairs) > registry.limits.request_inputs:
        raise refuse(f"give at most {registry.limits.request_inputs} texts", "documents", "count")
    if not all(part.strip() for pair in pairs for part in pair):
        raise refuse("a text is empty", "documents", "empty")
    entry, ranker = registry.pick(name, _ranker_of(registry), "that scores pairs of texts")
    scores, tokens = await unless_disconnected(request, ranker.score(pairs, cut))
    return entry.name, scores, tokens


@router.post("/rerank")
async def rerank_any(body: RerankBody | TeiRerankBody, request: Request) -> Response:
    """Order documents by how well they answer, as vLLM (`documents`) or TEI (`texts`)."""
    if isinstance(body, RerankBody):
        return await rerank(body, request)
    request.state.tei = True
    pairs = [(body.query, text) for text in body.texts]
    _, scores, _ = await _scores(request, body.model, pairs, cut=bool(body.truncate))
    rows: list[dict[str, Any]] = [{"index": i, "score": scores[i]} for i in _order(scores)]
    if body.return_text:
        rows = [row | {"text": body.texts[row["index"]]} for row in rows]
    return JSONResponse(rows)


@router.post("/v1/rerank")
async def rerank(body: RerankBody, request: Request) -> Response:
    """Order documents by how well they answer, as vLLM and Jina shape it."""
    texts = _texts(body)
    name, scores, tokens = await _scores(request, body.model, [(body.query, t) for t in texts])
    results: list[dict[str, Any]] = [
        {"index": i, "relevance_score": scores[i]} for i in _order(scores)[: body.top_n]
    ]
    if body.return_documents is not False:
        results = [row | {"document": {"text": texts[row["index"]]}} for row in results]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    identity = f"rerank-{uuid.uuid4().hex}"
    return JSONResponse({"id": identity, "model": name, "usage": usage, "results": results})


@router.post("/v2/rerank")
async def rerank_cohere(body: RerankBody, request: Request) -> Response:
    """Order documents by how well they answer, as Cohere's client reads it."""
    pairs = [(body.query, text) for text in _texts(body)]
    _, scores, _ = await _scores(request, body.model, pairs)
    results = [{"index": i, "relevance_score": scores[i]} for i in _order(scores)[: body.top_n]]
    meta = {"api_version": {"version": "2"}}
    return JSONResponse({"id": str(uuid.uuid4()), "results": results, "meta": meta})


@router.post("/score")
@router.post("/v1/score")
async def score(body: ScoreBody, request: Request) -> Response:
    """Score texts against texts."""
    first = [x for x in (body.queries, body.text_1, body.data_1) if x is not None]
    second = [x for x in (body.documents, body.items, body.text_2, body.data_2) if x is not None]
    if len(first) != 1 or len(second) != 1:
        raise refuse("give queries and documents, once each", "queries")
    left, right = ([x] if isinstance(x, str) else list(x) for x in (first[0], second[0]))
    if len(left) == 1:
        left *= len(right)
    if len(left) != len(right):
        raise refuse("give one query, or as many as documents", "queries")
    name, scores, tokens = await _scores(request, body.model, list(zip(left, right, strict=True)))
    data = [{"index": i, "object": "score", "score": value} for i, value in enumerate(scores)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    identity = f"score-{uuid.uuid4().hex}"
    return JSONResponse(
        {"id": identity, "object": "list", "model": name, "data": data, "usage": usage}
    )


def _texts(body: RerankBody) -> list[str]:
    return [doc if isinstance(doc, str) else doc.text for doc in body.documents]


def _order(scores: Sequence[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: -scores[i])
