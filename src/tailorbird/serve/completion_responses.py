"""Answers in OpenAI's format: a whole body, or a stream of events (server-sent events)."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tailorbird.errors import UserError
from tailorbird.models.generate import Sampling
from tailorbird.models.stopping_and_sampling import TokenOdds
from tailorbird.serve.error_responses import RequestFault, as_fault
from tailorbird.serve.generation_queue import AnswerState
from tailorbird.serve.model_registry import Entry
from tailorbird.serve.request_bodies import ChatBody, Writing
from tailorbird.serve.request_execution import registry_of, unless_disconnected

Item = TypeVar("Item")
_KEEP_ALIVE_SECONDS = 10.0
KEEP_ALIVE = ": keep-alive\n\n"
"""A comment in a stream of events, so that proxies do not close an idle connection."""

Piece = tuple[int, AnswerState | None]
"""Index of the answer that grew, and its state; None: a keep-alive."""


@dataclass(frozen=True)
class AnswerForm:
    """The format of an answer.

    Attributes:
        chat: As a chat message; else as a completion's text.
        decode: Maps a token id to its text, for log-probabilities.
    """

    chat: bool
    decode: Callable[[int], str] = str

    def odds(self, odds: Sequence[TokenOdds], top: int | None, start: int = 0) -> Any:
        """Return log-probabilities in OpenAI's format; None if not requested.

        Args:
            odds: The tokens' log-probabilities.
            top: How many of the most likely tokens to list; None: not requested.
            start: Characters before the first token.
        """
        if top is None:
            return None
        texts = [self.decode(one.token) for one in odds]
        if self.chat:
            return {
                "content": [
                    self._token(one.token, one.log)
                    | {"top_logprobs": [self._token(*pair) for pair in one.best]}
                    for one in odds
                ],
                "refusal": None,
            }
        ends = accumulate(map(len, texts), initial=start)
        return {
            "tokens": texts, "token_logprobs": [one.log for one in odds],
            "top_logprobs": [{self.decode(t): log for t, log in one.best} for one in odds],
            "text_offset": list(ends)[:-1],
        }  # fmt: skip

    def _token(self, token: int, log: float) -> dict[str, Any]:
        text = self.decode(token)
        return {"token": text, "logprob": log, "bytes": list(text.encode("utf-8", "replace"))}


async def respond_generated(
    request: Request, entry: Entry, body: Writing, prompts: Sequence[np.ndarray],
    sampling: Sampling, form: AnswerForm,
) -> Response:  # fmt: skip
    """Return `n` generated answers to each prompt, or a stream of them."""
    assert entry.chats is not None
    queue, seconds = entry.chats, registry_of(request).limits.deadline_seconds
    work = [
        (prompt, replace(sampling, seed=(sampling.seed + i) % 2**63), seconds, body.top)
        for prompt in prompts
        for i in range(body.n or 1)
    ]
    total = sum(map(len, prompts))
    if body.stream:
        pieces = await begin(_merged([queue.write(*one) for one in work]))
        return respond_stream(body, pieces, total, form)
    whole = asyncio.gather(*(queue.whole(*one) for one in work))
    return respond_whole(body, form, await unless_disconnected(request, whole), total)


async def _merged(
    streams: Sequence[AsyncGenerator[AnswerState, None]],
) -> AsyncGenerator[Piece, None]:
    """Yield the states of several answers as they grow, and keep-alives after the first one."""
    queue: asyncio.Queue[tuple[int, AnswerState | Exception]] = asyncio.Queue()

    async def follow(index: int) -> None:
        try:
            async with aclosing(streams[index]) as states:
                async for state in states:
                    queue.put_nowait((index, state))
        except Exception as error:
            queue.put_nowait((index, error))

    tasks = [asyncio.create_task(follow(i)) for i in range(len(streams))]
    try:
        rest, begun = len(tasks), False
        while rest:
            try:
                async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                    index, state = await queue.get()
            except TimeoutError:
                if begun:
                    yield 0, None
                continue
            if isinstance(state, Exception):
                raise state
            rest, begun = rest - state.done, True
            yield index, state
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def begin(stream: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Return a stream once its first item exists, so that an early failure has a status."""
    first = await anext(stream)

    async def whole() -> AsyncGenerator[Item, None]:
        async with aclosing(stream):
            yield first
            async for item in stream:
                yield item

    return whole()


def respond_text(
    body: ChatBody, text: str, prompt_tokens: int | None, annotations: Sequence[Any] = ()
) -> Response:
    """Return a chat answer that no model generated, whole or as a stream of one piece."""
    answer, form = AnswerState(text, 0, ended=True, done=True), AnswerForm(chat=True)
    if not body.stream:
        return respond_whole(body, form, [answer], prompt_tokens, annotations)

    async def pieces() -> AsyncGenerator[Piece, None]:
        yield 0, answer

    return respond_stream(body, pieces(), 0, form, annotations)


def _head(body: Writing, form: AnswerForm, chunk: bool = False) -> dict[str, Any]:
    prefix, kind = ("chatcmpl", "chat.completion") if form.chat else ("cmpl", "text_completion")
    if chunk and form.chat:
        kind = "chat.completion.chunk"
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()),
        "model": body.model,
    }  # fmt: skip


def usage_of(prompt: int, completion: int | None = None) -> dict[str, int]:
    """Return OpenAI's token counts; without a completion, those of the input alone."""
    generated = {} if completion is None else {"completion_tokens": completion}
    return {"prompt_tokens": prompt, **generated, "total_tokens": prompt + (completion or 0)}


def _reason(answer: AnswerState) -> str:
    return "stop" if answer.ended else "length"


def respond_whole(
    body: Writing, form: AnswerForm, answers: Sequence[AnswerState], prompt_tokens: int | None,
    annotations: Sequence[Any] = (),
) -> Response:  # fmt: skip
    """Return finished answers as one body.

    Args:
        body: The request.
        form: The answers' format.
        answers: The answers.
        prompt_tokens: Number of prompt tokens; None: unknown.
        annotations: Citations.
    """
    choices: list[dict[str, Any]] = []
    for index, answer in enumerate(answers):
        choice = {"index": index, "finish_reason": _reason(answer)}
        choice["logprobs"] = form.odds(answer.odds, body.top)
        if form.chat:
            message = {"role": "assistant", "content": answer.text, "refusal": None}
            choice["message"] = message | {"annotations": list(annotations)}
        else:
            choice["text"] = answer.text
        choices.append(choice)
    whole = {**_head(body, form), "choices": choices}
    if prompt_tokens is not None:
        whole["usage"] = usage_of(prompt_tokens, sum(answer.tokens for answer in answers))
    return JSONResponse(whole)


def respond_stream(
    body: Writing, pieces: AsyncGenerator[Piece, None], prompt_tokens: int,
    form: AnswerForm, annotations: Sequence[Any] = (),
) -> Response:  # fmt: skip
    """Return growing answers as a stream of events in OpenAI's format."""
    lines = _lines(body, pieces, prompt_tokens, form, annotations)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(lines, headers=headers, media_type="text/event-stream")


async def _lines(
    body: Writing, pieces: AsyncGenerator[Piece, None], prompt_tokens: int,
    form: AnswerForm, annotations: Sequence[Any],
) -> AsyncGenerator[str, None]:  # fmt: skip
    head = _head(body, form, chunk=True)
    events: dict[int, AnswerState] = {}  # each answer as of its last event with text
    counts: dict[int, int] = {}
    with_usage = bool(body.stream_options and body.stream_options.include_usage)

    def choice(
        index: int, text: str | None, reason: str | None = None, odds: Any = None, **first: Any
    ) -> str:
        part: dict[str, Any] = {"index": index, "finish_reason": reason, "logprobs": odds}
        if form.chat:
            part["delta"] = first if text is None else {**first, "content": text}
        else:
            part["text"] = text or ""
        return event({**head, "choices": [part]} | ({"usage": None} if with_usage else {}))

    try:
        async for index, piece in pieces:
            if piece is None:
                yield KEEP_ALIVE
                continue
            if index not in events and form.chat:
                yield choice(index, "", role="assistant")
            before = events.setdefault(index, AnswerState("", 0))
            counts[index], start = piece.tokens, len(before.text)
            fresh = piece.odds[len(before.odds) :]
            if len(piece.text) > start:
                yield choice(index, piece.text[start:], odds=form.odds(fresh, body.top, start))
                events[index], fresh = piece, ()
            if piece.done:
                notes = {"annotations": list(annotations)} if annotations else {}
                odds = form.odds(fresh, body.top, start) if fresh else None
                yield choice(index, None, _reason(piece), odds, **notes)
        if with_usage:
            usage = usage_of(prompt_tokens, sum(counts.values()))
            yield event({**head, "choices": [], "usage": usage})
    except (RequestFault, UserError) as error:
        yield event(as_fault(error).body())
    finally:
        await pieces.aclose()
    yield event("[DONE]")


def event(data: Any) -> str:
    """Return one event of a stream: JSON, or a plain word."""
    if not isinstance(data, str):
        data = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {data}\n\n"
