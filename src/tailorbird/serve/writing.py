"""Written answers as OpenAI's clients read them: whole, or as a stream of events."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tailorbird.errors import UserError
from tailorbird.models.generate import Sampling
from tailorbird.serve.app import event, unless_gone
from tailorbird.serve.catalogue import Catalogue, Entry
from tailorbird.serve.chats import Written
from tailorbird.serve.faults import RequestFault, of_user_error
from tailorbird.serve.shapes import Writing

_KEEP_ALIVE_SECONDS = 10.0


class Answers:
    """The answers of one request: `n` of each of its prompts."""

    def __init__(
        self, catalogue: Catalogue, entry: Entry, body: Writing, prompts: Sequence[np.ndarray],
        sampling: Sampling,
    ) -> None:  # fmt: skip
        assert entry.chats is not None
        self.body, self.lane, self.prompts = body, entry.chats, prompts
        self.seconds = catalogue.limits.deadline_seconds
        many = range(body.n or 1)
        self.work = [
            (prompt, replace(sampling, seed=(sampling.seed + i) % 2**63))
            for prompt in prompts
            for i in many
        ]

    async def respond(self, request: Request, form: str) -> Response:
        """Return all of them, or a stream."""
        total = sum(map(len, self.prompts))
        if self.body.stream:
            return await begin_stream(self.body, self._pieces(), total, form)
        whole = asyncio.gather(
            *(self.lane.whole(prompt, sampling, self.seconds) for prompt, sampling in self.work)
        )
        return respond_whole(self.body, form, await unless_gone(request, whole), total)

    async def _pieces(self) -> AsyncGenerator[tuple[int, Written], None]:
        """Yield which answer grew and how it stands."""
        queue: asyncio.Queue[tuple[int, Written | BaseException]] = asyncio.Queue()

        async def follow(index: int) -> None:
            prompt, sampling = self.work[index]
            try:
                async with aclosing(self.lane.write(prompt, sampling, self.seconds)) as pieces:
                    async for piece in pieces:
                        queue.put_nowait((index, piece))
            except Exception as error:
                queue.put_nowait((index, error))

        tasks = [asyncio.create_task(follow(i)) for i in range(len(self.work))]
        try:
            left = len(tasks)
            while left:
                index, piece = await queue.get()
                if isinstance(piece, BaseException):
                    raise piece
                left -= piece.done
                yield index, piece
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _head(body: Writing, form: str, chunk: bool = False) -> dict[str, Any]:
    prefix, kind = (
        ("chatcmpl", "chat.completion") if form == "chat" else ("cmpl", "text_completion")
    )
    if chunk and form == "chat":
        kind = "chat.completion.chunk"
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()),
        "model": body.model,
    }  # fmt: skip


def usage_of(prompt: int, written: int) -> dict[str, int]:
    """Return OpenAI's count of tokens."""
    return {
        "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written,
    }  # fmt: skip


def _reason(answer: Written) -> str:
    return "stop" if answer.ended else "length"


def respond_whole(
    body: Writing, form: str, answers: Sequence[Written], prompt_tokens: int | None,
    annotations: Sequence[Any] = (),
) -> Response:  # fmt: skip
    """Return finished answers as one body.

    Args:
        body: What was asked.
        form: ``chat`` or ``text``.
        answers: Its answers.
        prompt_tokens: Of the prompts; None: nobody counted.
        annotations: Citations.
    """
    choices: list[dict[str, Any]] = []
    for index, answer in enumerate(answers):
        common = {"index": index, "finish_reason": _reason(answer), "logprobs": None}
        if form == "chat":
            message = {"role": "assistant", "content": answer.text, "refusal": None}
            choices.append({**common, "message": message | {"annotations": list(annotations)}})
        else:
            choices.append({**common, "text": answer.text})
    whole = {**_head(body, form), "choices": choices}
    if prompt_tokens is not None:
        whole["usage"] = usage_of(prompt_tokens, sum(answer.tokens for answer in answers))
    return JSONResponse(whole)


async def begin_stream(
    body: Writing, pieces: AsyncGenerator[tuple[int, Written], None], prompt_tokens: int, form: str
) -> Response:
    """Return a stream once its first piece is there: what is refused has its status until then."""
    try:
        first = await anext(pieces)
    except BaseException:
        await pieces.aclose()
        raise

    async def all_pieces() -> AsyncGenerator[tuple[int, Written], None]:
        try:
            yield first
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    return stream_of(body, all_pieces(), prompt_tokens, form)


def stream_of(
    body: Writing, pieces: AsyncGenerator[tuple[int, Written], None], prompt_tokens: int,
    form: str = "chat", annotations: Sequence[Any] = (),
) -> Response:  # fmt: skip
    """Return a stream of events, as OpenAI's clients read it."""
    lines = _lines(body, pieces, prompt_tokens, form, annotations)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_kept_alive(lines), headers=headers, media_type="text/event-stream")


async def one_piece(answer: Written) -> AsyncGenerator[tuple[int, Written], None]:
    """Yield an answer that is there already, as `stream_of` takes it."""
    yield 0, answer


async def _lines(
    body: Writing, pieces: AsyncGenerator[tuple[int, Written], None], prompt_tokens: int,
    form: str, annotations: Sequence[Any],
) -> AsyncGenerator[str, None]:  # fmt: skip
    head = _head(body, form, chunk=True)
    shown: dict[int, int] = {}
    written: dict[int, int] = {}
    with_usage = bool(body.stream_options and body.stream_options.include_usage)

    def choice(index: int, text: str | None, reason: str | None = None, **first: Any) -> str:
        part: dict[str, Any] = {"index": index, "finish_reason": reason, "logprobs": None}
        if form == "chat":
            part["delta"] = first if text is None else {**first, "content": text}
        else:
            part["text"] = text or ""
        return event({**head, "choices": [part]} | ({"usage": None} if with_usage else {}))

    try:
        async for index, piece in pieces:
            if index not in shown and form == "chat":
                yield choice(index, "", role="assistant")
            start = shown.setdefault(index, 0)
            written[index] = piece.tokens
            if len(piece.text) > start:
                yield choice(index, piece.text[start:])
                shown[index] = len(piece.text)
            if piece.done:
                notes = {"annotations": list(annotations)} if annotations else {}
                yield choice(index, None, _reason(piece), **notes)
        if with_usage:
            usage = usage_of(prompt_tokens, sum(written.values()))
            yield event({**head, "choices": [], "usage": usage})
    except (RequestFault, UserError) as error:
        fault = of_user_error(error) if isinstance(error, UserError) else error
        yield event(fault.body())
    finally:
        await pieces.aclose()
    yield event("[DONE]")


async def _kept_alive(lines: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield the lines, and a comment now and then while there are none."""
    waiting = asyncio.ensure_future(anext(lines, None))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=_KEEP_ALIVE_SECONDS)
            if not done:
                yield ": keep-alive\n\n"
                continue
            line = waiting.result()
            if line is None:
                return
            yield line
            waiting = asyncio.ensure_future(anext(lines, None))
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await lines.aclose()
