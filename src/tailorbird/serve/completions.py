"""Generated answers in OpenAI's format, whole or as a stream of events."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tailorbird.errors import UserError
from tailorbird.models.generate import Sampling
from tailorbird.models.text_stream import TokenOdds
from tailorbird.serve.app import event, unless_disconnected
from tailorbird.serve.error_responses import RequestFault, of_user_error
from tailorbird.serve.generation_queue import AnswerState
from tailorbird.serve.model_registry import Entry, ModelRegistry
from tailorbird.serve.request_bodies import Writing

_KEEP_ALIVE_SECONDS = 10.0

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


class AnswerBatch:
    """The answers of one request: `n` for each of its prompts."""

    def __init__(
        self, registry: ModelRegistry, entry: Entry, body: Writing, prompts: Sequence[np.ndarray],
        sampling: Sampling, form: AnswerForm,
    ) -> None:  # fmt: skip
        assert entry.chats is not None
        self.body, self.queue, self.prompts = body, entry.chats, prompts
        self.form = form
        self.seconds = registry.limits.deadline_seconds
        many = range(body.n or 1)
        self.work = [
            (prompt, replace(sampling, seed=(sampling.seed + i) % 2**63))
            for prompt in prompts
            for i in many
        ]

    async def respond(self, request: Request) -> Response:
        """Return all answers, or a stream."""
        total = sum(map(len, self.prompts))
        if self.body.stream:
            return await begin_stream(self.body, self._pieces(), total, self.form)
        top, seconds = self.body.top, self.seconds
        whole = asyncio.gather(
            *(self.queue.whole(prompt, sampling, seconds, top) for prompt, sampling in self.work)
        )
        return respond_whole(self.body, self.form, await unless_disconnected(request, whole), total)

    async def _pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield the answers as they grow, and keep-alives in between."""
        queue: asyncio.Queue[tuple[int, AnswerState | BaseException]] = asyncio.Queue()

        async def follow(index: int) -> None:
            prompt, sampling = self.work[index]
            stream = self.queue.write(prompt, sampling, self.seconds, self.body.top)
            try:
                async with aclosing(stream) as pieces:
                    async for piece in pieces:
                        queue.put_nowait((index, piece))
            except Exception as error:
                queue.put_nowait((index, error))

        tasks = [asyncio.create_task(follow(i)) for i in range(len(self.work))]
        try:
            rest = len(tasks)
            while rest:
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                        index, piece = await queue.get()
                except TimeoutError:
                    yield 0, None
                    continue
                if isinstance(piece, BaseException):
                    raise piece
                rest -= piece.done
                yield index, piece
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _head(body: Writing, form: AnswerForm, chunk: bool = False) -> dict[str, Any]:
    prefix, kind = ("chatcmpl", "chat.completion") if form.chat else ("cmpl", "text_completion")
    if chunk and form.chat:
        kind = "chat.completion.chunk"
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()),
        "model": body.model,
    }  # fmt: skip


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    """Return OpenAI's token counts."""
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


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
        common = {"index": index, "finish_reason": _reason(answer)}
        common["logprobs"] = form.odds(answer.odds, body.top)
        if form.chat:
            message = {"role": "assistant", "content": answer.text, "refusal": None}
            choices.append({**common, "message": message | {"annotations": list(annotations)}})
        else:
            choices.append({**common, "text": answer.text})
    whole = {**_head(body, form), "choices": choices}
    if prompt_tokens is not None:
        whole["usage"] = usage_of(prompt_tokens, sum(answer.tokens for answer in answers))
    return JSONResponse(whole)


async def begin_stream(
    body: Writing,
    pieces: AsyncGenerator[Piece, None],
    prompt_tokens: int,
    form: AnswerForm,
) -> Response:
    """Return a stream once its first piece exists, so that early failures have a status."""
    try:
        while (first := await anext(pieces))[1] is None:
            pass
    except BaseException:
        await pieces.aclose()
        raise

    async def all_pieces() -> AsyncGenerator[Piece, None]:
        try:
            yield first
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    return stream_of(body, all_pieces(), prompt_tokens, form)


def stream_of(
    body: Writing, pieces: AsyncGenerator[Piece, None], prompt_tokens: int,
    form: AnswerForm, annotations: Sequence[Any] = (),
) -> Response:  # fmt: skip
    """Return a stream of events in OpenAI's format."""
    lines = _lines(body, pieces, prompt_tokens, form, annotations)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(lines, headers=headers, media_type="text/event-stream")


async def one_piece(answer: AnswerState) -> AsyncGenerator[Piece, None]:
    """Yield a finished answer in the form that `stream_of` takes."""
    yield 0, answer


async def _lines(
    body: Writing, pieces: AsyncGenerator[Piece, None], prompt_tokens: int,
    form: AnswerForm, annotations: Sequence[Any],
) -> AsyncGenerator[str, None]:  # fmt: skip
    head = _head(body, form, chunk=True)
    lengths: dict[int, int] = {}
    odds_counts: dict[int, int] = {}
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
                yield ": keep-alive\n\n"
                continue
            if index not in lengths and form.chat:
                yield choice(index, "", role="assistant")
            start = lengths.setdefault(index, 0)
            counts[index] = piece.tokens
            fresh = piece.odds[odds_counts.get(index, 0) :]
            if len(piece.text) > start:
                yield choice(index, piece.text[start:], odds=form.odds(fresh, body.top, start))
                lengths[index], odds_counts[index], fresh = len(piece.text), len(piece.odds), ()
            if piece.done:
                notes = {"annotations": list(annotations)} if annotations else {}
                odds = form.odds(fresh, body.top, start) if fresh else None
                yield choice(index, None, _reason(piece), odds, **notes)
        if with_usage:
            usage = usage_of(prompt_tokens, sum(counts.values()))
            yield event({**head, "choices": [], "usage": usage})
    except (RequestFault, UserError) as error:
        fault = of_user_error(error) if isinstance(error, UserError) else error
        yield event(fault.body())
    finally:
        await pieces.aclose()
    yield event("[DONE]")
