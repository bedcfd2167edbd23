"""Routes that score and rerank texts for a query, in the formats of vLLM, Cohere and TEI."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tailorbird.serve.completion_responses import usage_of
from tailorbird.serve.error_responses import refuse
from tailorbird.serve.model_registry import Entry, head_of, vectors_of
from tailorbird.serve.request_bodies import RerankBody, ScoreBody, TeiRerankBody
from tailorbird.serve.request_execution import compute, in_queue, registry_of

router = APIRouter()
Pairs = Sequence[tuple[str, str]]
Scorer = Callable[[Request, Pairs, bool], Awaitable[tuple[list[float], int]]]
"""Maps pairs of query and text, and whether they may be truncated, to scores and their tokens."""


def _scorer_of(entry: Entry) -> Scorer | None:
    """Return how an entry scores pairs.

    A knowledge base by its cross-encoder, or else by the cosine of its vectors; a run that predicts
    one number for a pair of texts, by this number.
    """
    head = head_of(entry)
    if head is not None:
        one_number = head.pairs and head.task == "regression" and len(head.labels) == 1
        return partial(_by_head, entry) if one_number else None
    if entry.ranks is not None:
        return partial(_by_cross_encoder, entry)
    return partial(_by_vectors, entry) if vectors_of(entry) else None


async def _by_head(
    entry: Entry, request: Request, pairs: Pairs, cut: bool
) -> tuple[list[float], int]:
    head = head_of(entry)
    assert head is not None
    answers, lengths = await compute(request, entry.queue, pairs, head, "documents", cut=cut)
    return [answer.values[head.labels[0]] for answer in answers], sum(lengths)


async def _by_cross_encoder(
    entry: Entry, request: Request, pairs: Pairs, cut: bool
) -> tuple[list[float], int]:
    embedder = vectors_of(entry)
    assert embedder is not None
    lengths = [embedder[0].count(pair) for pair in pairs]
    scores = await in_queue(request, entry.ranks, pairs, lengths)
    return [float(score) for score in scores], sum(lengths)


async def _by_vectors(
    entry: Entry, request: Request, pairs: Pairs, cut: bool
) -> tuple[list[float], int]:
    embedder = vectors_of(entry)
    assert embedder is not None
    model, queue = embedder
    queries, texts = (list(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1))
    inputs = [*(("query", one) for one in queries), *(("document", one) for one in texts)]
    rows, lengths = await compute(
        request, queue, [*queries, *texts], model, "documents", cut=cut, inputs=inputs
    )
    vectors = dict(zip(inputs, rows, strict=True))
    scores = [float(np.dot(vectors["query", q], vectors["document", t])) for q, t in pairs]
    return scores, sum(lengths)


async def _scores(
    request: Request, name: str | None, pairs: Pairs, cut: bool = False
) -> tuple[str, list[float], int]:
    registry = registry_of(request)
    if len(pairs) > registry.limits.request_inputs:
        raise refuse(f"give at most {registry.limits.request_inputs} texts", "documents", "count")
    if not all(part.strip() for pair in pairs for part in pair):
        raise refuse("a text is empty", "documents", "empty")
    entry, score = registry.pick(name, _scorer_of, "that scores pairs of texts")
    scores, tokens = await score(request, pairs, cut)
    return entry.name, scores, tokens


@router.post("/rerank")
async def rerank_any(body: RerankBody | TeiRerankBody, request: Request) -> Response:
    """Rank documents by relevance to a query, in vLLM's format, or in TEI's if `texts` are sent.

    With `documents` (vLLM) the response is that of `/v1/rerank`. With `texts` (TEI) it is a list
    of `index` and `score`, best first, with the text if `return_text` is set; texts longer than
    the model reads are refused unless `truncate` is set, and errors have TEI's format and statuses
    (422 instead of 400).
    """
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
    """Rank documents by relevance to a query, in the format of vLLM and Jina.

    Returns the `top_n` best documents, or all, each with its `index` in the request and its
    `relevance_score`, best first, and the number of tokens. The score is that of the knowledge
    base's cross-encoder (0 to 1; longer documents are truncated); without one, the cosine
    similarity of query and document (-1 to 1); of a run that predicts one number for two texts,
    this number. Errors: 400 for an empty text, too many texts, or a text longer than the model
    reads; 404 unknown model; 429 queue full; 504 not done within `serve.deadline_seconds`.
    """
    results, name, tokens = await _ranked(body, request)
    if body.return_documents is not False:
        results = [row | {"document": {"text": body.texts[row["index"]]}} for row in results]
    identity = f"rerank-{uuid.uuid4().hex}"
    whole = {"id": identity, "model": name, "usage": usage_of(tokens), "results": results}
    return JSONResponse(whole)


@router.post("/v2/rerank")
async def rerank_cohere(body: RerankBody, request: Request) -> Response:
    """Rank documents by relevance to a query, in Cohere's format.

    Returns `results` as `/v1/rerank` does, without the documents' texts. The errors are the same.
    """
    results, _, _ = await _ranked(body, request)
    meta = {"api_version": {"version": "2"}}
    return JSONResponse({"id": str(uuid.uuid4()), "results": results, "meta": meta})


async def _ranked(body: RerankBody, request: Request) -> tuple[list[dict[str, Any]], str, int]:
    pairs = [(body.query, text) for text in body.texts]
    name, scores, tokens = await _scores(request, body.model, pairs)
    best = _order(scores)[: body.top_n]
    return [{"index": i, "relevance_score": scores[i]} for i in best], name, tokens


@router.post("/score")
@router.post("/v1/score")
async def score(body: ScoreBody, request: Request) -> Response:
    """Score one query against several documents, or as many queries as documents in pairs.

    Returns one `score` per pair, in order, and the number of tokens. The scores and the errors are
    those of `/v1/rerank`.
    """
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
    identity = f"score-{uuid.uuid4().hex}"
    return JSONResponse(
        {"id": identity, "object": "list", "model": name, "data": data, "usage": usage_of(tokens)}
    )


def _order(scores: Sequence[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: -scores[i])
