"""Routes of knowledge bases: questions with checked citations, searches, documents."""

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import Field, StrictBool, StrictFloat, StrictInt
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from tailorbird.errors import UserError
from tailorbird.records import Answer, Passage
from tailorbird.serve.app import event, registry_of, unless_disconnected
from tailorbird.serve.completions import AnswerForm, one_piece, respond_whole, stream_of
from tailorbird.serve.error_responses import RequestFault, of_user_error, refuse
from tailorbird.serve.generation_queue import AnswerState
from tailorbird.serve.knowledge_base import ServedStore, StoreQuery
from tailorbird.serve.model_registry import Entry, store_of
from tailorbird.serve.request_bodies import Body, ChatBody, Name, Words

router = APIRouter()
_MARK = re.compile(r"\[(\d+)\]")
_NAME = re.compile(r"[^\x00-\x1f\x7f\\]{1,300}")


class PastTurn(Body):
    """A question and its answer, before the one that is asked."""

    question: Words
    answer: Words


class AskBody(Body):
    """`POST /v1/ask`."""

    model: Name | None = None
    question: Words
    history: Annotated[list[PastTurn], Field(max_length=100)] = []
    k: Annotated[StrictInt, Field(ge=1, le=50)] | None = None
    where: Words | None = None
    stream: StrictBool | None = None


_SIGNS = {"eq": "=", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
Scalar = Words | StrictBool | StrictInt | StrictFloat


class MetadataFilter(Body):
    """A filter on one key of the documents' metadata, as OpenAI's clients send it."""

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: Annotated[Words, Field(min_length=1)]
    value: Scalar | Annotated[list[Scalar], Field(min_length=1, max_length=1000)]

    def words(self) -> str:
        """Return it in the syntax of `tailor ask`.

        Raises:
            RequestFault: One value where several are needed, or the other way round.
        """
        name = "`" + self.key.replace("`", "``") + "`"
        if isinstance(self.value, list) != (self.type in ("in", "nin")):
            raise refuse("in and nin need a list of values, other types one value", "filters")
        if isinstance(self.value, list):
            any_of = f"{name} in ({', '.join(map(_literal, self.value))})"
            return any_of if self.type == "in" else f"not ({any_of})"
        return f"{name} {_SIGNS[self.type]} {_literal(self.value)}"


class CompoundFilter(Body):
    """Filters of which all or any must hold."""

    type: Literal["and", "or"]
    filters: Annotated[list["MetadataFilter | CompoundFilter"], Field(min_length=1, max_length=100)]

    def words(self) -> str:
        """See `MetadataFilter.words`."""
        return f" {self.type} ".join(f"({part.words()})" for part in self.filters)


def _literal(value: str | bool | int | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()


class SearchBody(Body):
    """`POST /v1/vector_stores/{id}/search`; `where` is the condition of `tailor ask`."""

    query: Words | Annotated[list[Words], Field(min_length=1, max_length=1)]
    max_num_results: Annotated[StrictInt, Field(ge=1, le=50)] | None = None
    rewrite_query: Literal[False] | None = None
    filters: MetadataFilter | CompoundFilter | None = None
    where: Words | None = None

    def condition(self) -> str | None:
        """Return `filters` and `where` as one condition; None where neither is given."""
        parts = [] if self.where is None else [self.where]
        parts += [] if self.filters is None else [self.filters.words()]
        return " and ".join(f"({part})" for part in parts) or None


# --- asking ----------------------------------------------------------------------------------


@router.post("/v1/ask")
async def ask(body: AskBody, request: Request) -> Response:
    """Answer a question; every sentence with its checked citations, or why there is no answer.

    With `stream`, events: pieces as a model writes them, at last the checked answer.
    """
    registry = registry_of(request)
    entry, _ = registry.pick(body.model, store_of, "that is a knowledge base")
    history = tuple((turn.question, turn.answer) for turn in body.history)
    if body.stream:
        events = _ask_events(entry, body, history, registry.limits.deadline_seconds)
        first = await anext(events)
        return StreamingResponse(_after(first, events), media_type="text/event-stream")
    query = StoreQuery(body.question, history, body.k, body.where)
    answer = await unless_disconnected(request, _answer(entry, query, request))
    return JSONResponse(shown_answer(answer, entry.name))


async def _answer(entry: Entry, query: StoreQuery, request: Request) -> Answer:
    registry = registry_of(request)
    if not query.question.strip():
        raise refuse("the question is empty", "question", "empty")
    length = _length(entry, query.question)
    assert entry.asks is not None
    answer: Answer
    try:
        (answer,) = await entry.asks.run([query], [length], registry.limits.deadline_seconds)
    finally:
        query.withdrawal.set()
    return answer


def _length(entry: Entry, text: str) -> int:
    assert isinstance(entry.model, ServedStore)
    return entry.model.vectors.count(text)


async def _ask_events(
    entry: Entry, body: AskBody, history: tuple[tuple[str, str], ...], seconds: float
) -> AsyncGenerator[str, None]:
    """Yield the events of a stream; the first one follows admission."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[str | None] = asyncio.Queue()

    def on_piece(piece: str) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    if not body.question.strip():
        raise refuse("the question is empty", "question", "empty")
    query = StoreQuery(body.question, history, body.k, body.where, on_piece)
    length = _length(entry, body.question)
    assert entry.asks is not None
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
        except (RequestFault, UserError) as error:
            fault = of_user_error(error) if isinstance(error, UserError) else error
            yield event({"type": "fault", **fault.body()})
        else:
            yield event({"type": "answer", **shown_answer(answer, entry.name)})
        yield event("[DONE]")
    finally:
        query.withdrawal.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _after(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    try:
        yield first
        async for line in rest:
            yield line
    finally:
        await rest.aclose()


def shown_answer(answer: Answer, store: str) -> dict[str, Any]:
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
    from tailorbird.serve.routes_openai import conversation

    entry, _ = registry_of(request).pick(body.model, store_of, "that is a knowledge base")
    for name in ("temperature", "top_p", "stop", "seed", "max_tokens", "max_completion_tokens"):
        if getattr(body, name) is not None:
            raise refuse("a knowledge base answers with its own settings; leave this out", name)
    if body.logprobs:
        raise refuse("a knowledge base's answer has no logprobs", "logprobs")
    if body.n not in (None, 1) or body.stream_options is not None:
        name = "n" if body.n not in (None, 1) else "stream_options"
        raise refuse("a knowledge base gives one answer, without token counts", name)
    messages = conversation(body.messages)
    roles = [message.role for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise refuse("a knowledge base accepts only user and assistant turns", "messages")
    words = [message.content for message in messages]
    history = tuple(zip(words[0:-1:2], words[1::2], strict=True))
    answer = await unless_disconnected(
        request, _answer(entry, StoreQuery(words[-1], history), request)
    )
    whole = AnswerState(answer.text, 0, ended=True, done=True)
    notes = annotations_of(answer, entry.name)
    if body.stream:
        return stream_of(body, one_piece(whole), 0, AnswerForm(chat=True), notes)
    return respond_whole(body, AnswerForm(chat=True), [whole], None, notes)


# --- searching --------------------------------------------------------------------------------


@router.post("/v1/vector_stores/{store}/search")
async def search(store: str, body: SearchBody, request: Request) -> Response:
    """Return the passages that fit a question best."""
    registry = registry_of(request)
    entry, _ = registry.pick(store, store_of, "that is a knowledge base")
    text = body.query if isinstance(body.query, str) else body.query[0]
    if not text.strip():
        raise refuse("the question is empty", "query", "empty")
    assert entry.searches is not None
    query = StoreQuery(text, k=body.max_num_results or 10, where=body.condition())
    work = entry.searches.run([query], [_length(entry, text)], registry.limits.deadline_seconds)
    passages: Sequence[Passage]
    (passages,) = await unless_disconnected(request, work)
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


def _store(request: Request, name: str) -> ServedStore:
    _, store = registry_of(request).pick(name, store_of, "that is a knowledge base")
    return store


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
    """List the documents of a knowledge base."""
    documents = await asyncio.to_thread(_store(request, store).documents)
    return JSONResponse({"object": "list", "data": documents})


@router.get("/v1/vector_stores/{store}/documents/{source:path}")
async def read_document(store: str, source: str, request: Request) -> Response:
    """Return the text that citations' offsets count in."""
    text = await asyncio.to_thread(_store(request, store).text, source)
    if text is None:
        raise RequestFault(404, "there is no such document", "source", "no_document")
    return PlainTextResponse(text)


@router.put("/v1/vector_stores/{store}/documents/{source:path}")
async def put_document(store: str, source: str, request: Request) -> Response:
    """Put a file in under a name, in place of what had it; its bytes are the body.

    It is read by workers with limits of time and memory, and all of it is there at once. Who
    accepts `text/event-stream` hears of each stage.
    """
    base = _store(request, store)
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
            yield ": keep-alive\n\n"
    try:
        yield event({"type": "published", **_put_outcome(task.result(), source)})
    except (RequestFault, UserError) as error:
        fault = of_user_error(error) if isinstance(error, UserError) else error
        yield event({"type": "fault", **fault.body()})
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
    """Delete a document, or all those of a file."""
    base = _store(request, store)
    try:
        await asyncio.to_thread(base.remove, source)
    except UserError:
        raise RequestFault(404, "there is no such document", "source", "no_document") from None
    return JSONResponse({"id": source, "object": "vector_store.document.deleted", "deleted": True})
