"""Routes of knowledge bases: questions with checked citations, searches, documents."""

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from tailorbird.errors import UserError
from tailorbird.records import Answer, Passage
from tailorbird.serve.completion_responses import KEEP_ALIVE, begin, event, respond_text
from tailorbird.serve.error_responses import RequestFault, as_fault, refuse
from tailorbird.serve.model_registry import Entry, store_of
from tailorbird.serve.request_bodies import ChatBody
from tailorbird.serve.request_bodies_knowledge import AskBody, SearchBody
from tailorbird.serve.request_execution import in_queue, registry_of
from tailorbird.serve.served_knowledge_base import ServedStore, StoreQuery

router = APIRouter()
_MARK = re.compile(r"\[(\d+)\]")
_NAME = re.compile(r"[^\x00-\x1f\x7f\\]{1,300}")


def _pick(request: Request, name: str | None) -> tuple[Entry, ServedStore]:
    return registry_of(request).pick(name, store_of, "that is a knowledge base")


def _query(text: str, param: str = "question", **settings: Any) -> StoreQuery:
    if not text.strip():
        raise refuse("the question is empty", param, "empty")
    return StoreQuery(text, **settings)


# --- asking ----------------------------------------------------------------------------------


@router.post("/v1/ask")
async def ask(body: AskBody, request: Request) -> Response:
    """Answer a question from a knowledge base, with citations that are checked.

    Returns the answer's `text`, its sentences as `claims` with their `citations` (offsets in
    characters of the document's text), the `passages` that were retrieved, and `annotations` with
    the position of each mark `[1]`. If the documents do not answer the question, `refused` is true
    and `why` gives the reason. `history` holds earlier questions and answers, `k` is the number of
    passages, `where` a condition on the documents' metadata.

    With `stream`, server-sent events: `begun`, `piece` with text as the model generates it,
    `answer` with the checked answer or `fault` with an error, and `[DONE]`. Errors: 400 for an
    empty question or an invalid condition, 404 unknown knowledge base, 429 queue full, 504 no
    answer within `serve.deadline_seconds`.
    """
    entry, store = _pick(request, body.model)
    history = tuple((turn.question, turn.answer) for turn in body.history)
    query = _query(body.question, history=history, k=body.k, where=body.where)
    if body.stream:
        events = _events(entry, store, query, registry_of(request).limits.deadline_seconds)
        return StreamingResponse(await begin(events), media_type="text/event-stream")
    answer = await _answer(request, entry, store, query)
    return JSONResponse(answer_json(answer, entry.name))


async def _answer(request: Request, entry: Entry, store: ServedStore, query: StoreQuery) -> Answer:
    answer: Answer
    try:
        length = store.vectors.count(query.question)
        (answer,) = await in_queue(request, entry.asks, [query], [length])
    finally:
        query.withdrawal.set()
    return answer


async def _events(
    entry: Entry, store: ServedStore, query: StoreQuery, seconds: float
) -> AsyncGenerator[str, None]:
    """Yield the events of a stream; the first one follows admission."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[str | None] = asyncio.Queue()

    def on_piece(piece: str) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    query = replace(query, on_piece=on_piece)
    assert entry.asks is not None
    length = store.vectors.count(query.question)
    task = asyncio.ensure_future(entry.asks.run([query], [length], seconds))
    task.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        await asyncio.sleep(0)
        if task.done():
            task.result()
        yield event({"type": "begun"})
        while (piece := await pieces.get()) is not None:
            yield event({"type": "piece", "text": piece})
        try:
            (answer,) = task.result()
            yield event({"type": "answer", **answer_json(answer, entry.name)})
        except (RequestFault, UserError) as error:
            yield event({"type": "fault", **as_fault(error).body()})
        yield event("[DONE]")
    finally:
        query.withdrawal.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def answer_json(answer: Answer, store: str) -> dict[str, Any]:
    """Return an answer as plain values, with the URL of each document."""
    plain = asdict(answer)
    plain["model"] = store
    plain["dropped"] = [{"passage": p, "why": why} for p, why in plain["dropped"]]
    for row in (*plain["passages"], *(c for claim in plain["claims"] for c in claim["citations"])):
        row["url"] = _place(store, row["source"])
    plain["annotations"] = annotations_of(answer, store)
    return plain


def _place(store: str, source: str) -> str:
    return f"/v1/vector_stores/{quote(store, safe='')}/documents/{quote(source)}"


def annotations_of(answer: Answer, store: str) -> list[dict[str, Any]]:
    """Return the citations' positions, ``text[start_index:end_index]``, and sources."""
    cited = {c.number: c for claim in answer.claims for c in claim.citations}
    rows = []
    for mark in _MARK.finditer(answer.text):
        citation = cited.get(int(mark.group(1)))
        if citation is None:
            continue
        place = f"{_place(store, citation.source)}?start={citation.start}&end={citation.end}"
        about = {"title": citation.title or citation.source, "url": place}
        span = {"start_index": mark.start(), "end_index": mark.end()}
        rows.append({"type": "url_citation", "url_citation": span | about})
    return rows


async def chat_with_store(body: ChatBody, request: Request) -> Response:
    """Answer a conversation from a knowledge base, with citations as annotations."""
    entry, store = _pick(request, body.model)
    body.refuse_generation("a knowledge base answers with its own settings; leave this out")
    if body.stream_options is not None:
        raise refuse("a knowledge base gives no token counts", "stream_options")
    messages = body.conversation()
    roles = [message.role for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise refuse("a knowledge base accepts only user and assistant turns", "messages")
    words = [message.content for message in messages]
    history = tuple(zip(words[0:-1:2], words[1::2], strict=True))
    answer = await _answer(request, entry, store, _query(words[-1], history=history))
    return respond_text(body, answer.text, None, annotations_of(answer, entry.name))


# --- searching --------------------------------------------------------------------------------


@router.post("/v1/vector_stores/{store}/search")
async def search(store: str, body: SearchBody, request: Request) -> Response:
    """Return the passages that match a query best, best first.

    Each has its text, its document (`file_id`, `filename`), its score, and in `attributes` its
    offsets in the document's text (`start`, and `end`, exclusive) and its page (0: no pages).
    `max_num_results` is 10 by default. `filters` and `where` are conditions on the documents'
    metadata; if both are present, both apply. Errors: 400 for an empty query or an invalid
    condition, 404 unknown knowledge base, 429 queue full.
    """
    entry, base = _pick(request, store)
    text = body.query if isinstance(body.query, str) else body.query[0]
    query = _query(text, "query", k=body.max_num_results or 10, where=body.condition())
    passages: Sequence[Passage]
    (passages,) = await in_queue(request, entry.searches, [query], [base.vectors.count(text)])
    data = [
        {
            "file_id": p.source, "filename": p.title or p.source, "score": p.score,
            "attributes": {"start": p.start, "end": p.end, "page": p.page or 0},
            "content": [{"type": "text", "text": p.text}],
        }
        for p in passages
    ]  # fmt: skip
    page = {"object": "vector_store.search_results.page", "search_query": [text], "data": data}
    return JSONResponse(page | {"has_more": False, "next_page": None})


# --- documents --------------------------------------------------------------------------------


@router.get("/v1/vector_stores")
async def stores(request: Request) -> Response:
    """List the knowledge bases."""
    entries = [e for e in registry_of(request).entries.values() if store_of(e) is not None]
    data = [
        {"id": e.name, "object": "vector_store", "name": e.name, "created_at": e.created}
        for e in entries
    ]
    return JSONResponse({"object": "list", "data": data, "has_more": False})


@router.get("/v1/vector_stores/{store}/documents")
async def list_documents(store: str, request: Request) -> Response:
    """List the documents of a knowledge base: source, title, chunks and digest of each."""
    _, base = _pick(request, store)
    documents = await asyncio.to_thread(base.documents)
    return JSONResponse({"object": "list", "data": documents})


@router.get("/v1/vector_stores/{store}/documents/{source:path}")
async def read_document(store: str, source: str, request: Request) -> Response:
    """Return a document's plain text; the offsets of citations and passages refer to it.

    404 if the knowledge base or the document does not exist.
    """
    _, base = _pick(request, store)
    text = await asyncio.to_thread(base.text, source)
    if text is None:
        raise RequestFault(404, "there is no such document", "source", "no_document")
    return PlainTextResponse(text)


@router.put("/v1/vector_stores/{store}/documents/{source:path}")
async def put_document(store: str, source: str, request: Request) -> Response:
    """Add a file to a knowledge base under a name, or replace the one with this name.

    The body is the file's bytes. Returns the numbers of documents added, changed, unchanged and
    deleted, the chunks, the seconds, and the reader's `notes`. Answers use the old documents until
    the new ones are complete. A client that disconnects does not stop the upload. With the header
    `Accept: text/event-stream` the response reports the stages: `received`, `reading`, then
    `published` or `fault`. Errors: 400 invalid name or empty body, 413 file larger than
    `index.max_file_mb`, 422 unreadable file.
    """
    _, base = _pick(request, store)
    if not _NAME.fullmatch(source) or source.startswith("/") or ".." in source.split("/"):
        raise refuse("a document's name is a path without .. of at most 300 characters", "source")
    folder = tempfile.TemporaryDirectory(prefix="tailor-upload-")
    try:
        path = Path(folder.name) / Path(source).name
        size = await _save(request, path)
        if not size:
            raise refuse("the body is empty", "source", "empty")
    except BaseException:
        folder.cleanup()
        raise

    def work() -> dict[str, Any]:
        try:
            return base.put(path, source)
        finally:
            folder.cleanup()

    # A client that disconnects does not cancel its upload: it is published whole, or not at all.
    task = asyncio.ensure_future(asyncio.to_thread(work))
    if "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(_stages(task, source, size), media_type="text/event-stream")
    return JSONResponse(_put_outcome(await asyncio.shield(task), source))


async def _save(request: Request, path: Path) -> int:
    size = 0
    with path.open("wb") as file:
        async for piece in request.stream():
            size += len(piece)
            file.write(piece)
    return size


async def _stages(
    task: "asyncio.Future[dict[str, Any]]", source: str, size: int
) -> AsyncGenerator[str, None]:
    yield event({"type": "received", "bytes": size})
    yield event({"type": "reading"})
    while not task.done():
        done, _ = await asyncio.wait({task}, timeout=1.0)
        if not done:
            yield KEEP_ALIVE
    try:
        yield event({"type": "published", **_put_outcome(task.result(), source)})
    except (RequestFault, UserError) as error:
        yield event({"type": "fault", **as_fault(error).body()})
    except Exception:
        yield event({"type": "fault", **RequestFault(500, "the file was not indexed").body()})
    yield event("[DONE]")


def _put_outcome(outcome: dict[str, Any], source: str) -> dict[str, Any]:
    if outcome["skipped"]:
        why = next(iter(outcome["skipped"].values()))
        raise RequestFault(422, f"the file cannot be read: {why}", "source", "unreadable")
    names = ("added", "changed", "unchanged", "deleted", "chunks", "seconds")
    notes = [note for notes in outcome["notes"].values() for note in notes]
    counts = {name: outcome[name] for name in names}
    return {"id": source, "object": "vector_store.document", "notes": notes, **counts}


@router.delete("/v1/vector_stores/{store}/documents/{source:path}")
async def delete_document(store: str, source: str, request: Request) -> Response:
    """Delete a document, or all documents of a file; 404 if it does not exist."""
    _, base = _pick(request, store)
    try:
        await asyncio.to_thread(base.remove, source)
    except UserError:
        raise RequestFault(404, "there is no such document", "source", "no_document") from None
    return JSONResponse({"id": source, "object": "vector_store.document.deleted", "deleted": True})
