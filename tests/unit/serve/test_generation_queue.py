"""Answers that are written together: who leaves, what breaks, what hangs."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from small_serving import registry_of, running
from tailorbird.config import load_config
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.served_models import WritingModel, open_model
from tailorbird.serve.shared_weights import SharedWeights


class Writer:
    """A writing model whose forward pass can be told to fail or to hang."""

    def __init__(self, folder: Path) -> None:
        config = load_config(flags={"model.precision": "fp32"})
        opened = open_model(str(folder), config, SharedWeights())
        assert isinstance(opened, WritingModel)
        self.model = opened
        self.trouble: Callable[[int, int], None] = lambda rows, width: None
        self.steps = 0
        opened.answering.model.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, module: Any, arguments: Any, more: dict[str, Any]) -> None:
        self.steps += 1
        self.trouble(*more["input_ids"].shape)


@pytest.fixture
def writer(tiny_decoder: Path) -> Writer:
    return Writer(tiny_decoder)


@pytest.fixture
def registry(writer: Writer) -> ModelRegistry:
    registry = registry_of({}, chats=4)
    registry.add("writer", writer.model)
    return registry


@pytest.fixture
def http(registry: ModelRegistry) -> Iterator[httpx2.Client]:
    with running(registry) as address, httpx2.Client(base_url=address, timeout=60) as client:
        yield client


def ask(http: httpx2.Client, words: str, **more: Any) -> httpx2.Response:
    messages = [{"role": "user", "content": words}]
    body = {"model": "writer", "messages": messages, "max_tokens": 16, "temperature": 0} | more
    return http.post("/v1/chat/completions", json=body)


def text(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("zzcanaryzz"), 500), (MemoryError(), 503)]
)
def test_a_prompt_that_cannot_be_read_costs_nobody_else(
    http: httpx2.Client, writer: Writer, error: Exception, status: int
) -> None:
    alone = text(ask(http, "tell of bread"))
    begun = threading.Event()

    def trouble(rows: int, width: int) -> None:
        begun.set()
        if width > 30:
            raise error

    writer.trouble = trouble
    with ThreadPoolExecutor(1) as pool:
        good = pool.submit(ask, http, "tell of bread")
        assert begun.wait(10)
        failed = ask(http, "a long story " * 12)
        assert failed.status_code == status and "zzcanaryzz" not in failed.text
        assert text(good.result()) == alone
    assert http.get("/livez").status_code == 200


def test_a_step_that_fails_costs_its_batch_and_the_next_is_right(
    http: httpx2.Client, writer: Writer
) -> None:
    alone = text(ask(http, "tell of the moon"))
    once = threading.Event()

    def trouble(rows: int, width: int) -> None:
        if width == 1 and not once.is_set():
            once.set()
            raise RuntimeError("CUDA out of memory")

    writer.trouble = trouble
    assert ask(http, "tell of the moon").status_code == 503
    assert text(ask(http, "tell of the moon")) == alone


def test_a_model_that_hangs_is_asked_again_by_a_new_worker(
    http: httpx2.Client, writer: Writer, registry: ModelRegistry
) -> None:
    queue = registry.entries["writer"].chats
    assert queue is not None
    alone = text(ask(http, "tell of a goal"))
    release, frozen = threading.Event(), threading.Event()

    def trouble(rows: int, width: int) -> None:
        if width == 1 and not frozen.is_set():
            frozen.set()
            release.wait(60)

    writer.trouble = trouble
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(ask, http, "tell of a goal")
        assert frozen.wait(10)
        (worker,) = queue._workers
        assert worker.beat is not None
        worker.beat -= 60  # a minute passes
        end = time.monotonic() + 20
        while http.get("/livez").status_code == 200 and time.monotonic() < end:
            time.sleep(0.02)
        assert lost.result().status_code == 503
        assert text(ask(http, "tell of a goal")) == alone
    assert http.get("/livez").status_code == 200
    release.set()
    time.sleep(0.05)  # the old worker wakes, and finds that it was replaced
    assert text(ask(http, "tell of a goal")) == alone


def test_who_leaves_is_written_no_further_and_neighbours_stay_the_same(
    http: httpx2.Client, writer: Writer, registry: ModelRegistry
) -> None:
    alone = text(ask(http, "the final race", max_tokens=40))
    queue = registry.entries["writer"].chats
    assert queue is not None
    writer.trouble = lambda rows, width: time.sleep(0.01)
    body = {
        "model": "writer", "messages": [{"role": "user", "content": "go on"}], "max_tokens": 60,
        "temperature": 1.0, "stream": True,
    }  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        staying = pool.submit(ask, http, "the final race", max_tokens=40)
        for _ in range(20):
            with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                next(answer.iter_lines())
        assert text(staying.result()) == alone
    end = time.monotonic() + 10
    while queue.waiting and time.monotonic() < end:
        time.sleep(0.01)
    assert queue.waiting == 0
    steps = writer.steps
    time.sleep(0.2)
    assert writer.steps == steps


def test_no_more_wait_than_there_is_room_for(tiny_decoder: Path) -> None:
    writer = Writer(tiny_decoder)
    registry = registry_of({}, queue_inputs=2, chats=1)
    registry.add("writer", writer.model)
    writer.trouble = lambda rows, width: time.sleep(0.01)
    with running(registry) as address, httpx2.Client(base_url=address, timeout=60) as http:
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda n: ask(http, f"text {n}"), range(12)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429} and statuses.count(200) >= 3
        assert all("retry-after" in a.headers for a in answers if a.status_code == 429)
        assert ask(http, "again").status_code == 200
        counted = [
            float(line.split()[-1])
            for line in http.get("/metrics").text.splitlines()
            if line.startswith("tailor_time_to_first_token_seconds_count")
        ]
        assert counted == [statuses.count(200) + 1]


def test_odds_of_tokens_are_the_models_own(http: httpx2.Client, writer: Writer) -> None:
    """Beside the distribution that one forward pass over prompt and answer gives."""
    import torch

    answering = writer.model.answering
    tokenizer = answering.tokenizer
    prompt = [int(token) for token in tokenizer("the moon is")["input_ids"]]
    body = {
        "model": "writer", "prompt": prompt, "max_tokens": 6, "temperature": 0.9, "seed": 4,
        "logprobs": 3,
    }  # fmt: skip
    choice = http.post("/v1/completions", json=body).json()["choices"][0]
    odds = choice["logprobs"]
    spelt = odds["tokens"]
    assert 0 < len(spelt) <= 6
    ids = [next(i for i in range(len(tokenizer)) if writer.model.token(i) == t) for t in spelt]
    with torch.no_grad():
        scores = answering.model(input_ids=torch.tensor([prompt + ids])).logits[0].float()
    logs = torch.log_softmax(scores, dim=-1)[len(prompt) - 1 : -1]
    for place, token in enumerate(ids):
        assert odds["token_logprobs"][place] == pytest.approx(float(logs[place, token]), abs=1e-4)
        likeliest = logs[place].topk(3)
        names = [writer.model.token(i) for i in likeliest.indices.tolist()]
        assert list(odds["top_logprobs"][place]) == names
        values = list(odds["top_logprobs"][place].values())
        assert values == pytest.approx(likeliest.values.tolist(), abs=1e-4)
    starts = [sum(map(len, spelt[:place])) for place in range(len(spelt))]
    assert odds["text_offset"] == starts


def test_odds_of_a_chat_come_with_its_words_and_with_its_stream(http: httpx2.Client) -> None:
    from openai import OpenAI

    client = OpenAI(base_url=str(http.base_url.join("/v1")), api_key="none", max_retries=0)
    request: Any = {
        "model": "writer", "messages": [{"role": "user", "content": "tell of a goal"}],
        "max_tokens": 10, "temperature": 0, "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    choice = client.chat.completions.create(**request).choices[0]
    assert choice.logprobs is not None and choice.logprobs.content is not None
    whole = [(one.token, one.logprob) for one in choice.logprobs.content]
    assert len(whole) == 10 or choice.finish_reason == "stop"
    for one in choice.logprobs.content:
        assert one.logprob <= 0 and len(one.top_logprobs) == 2
        # Without temperature the likeliest is written.
        assert one.token == one.top_logprobs[0].token
        assert bytes(one.bytes or []).decode() == one.token
    pieces: list[tuple[str, float]] = []
    for chunk in client.chat.completions.create(**request, stream=True):
        odds = chunk.choices[0].logprobs
        pieces += [(one.token, one.logprob) for one in (odds and odds.content) or []]
    assert [token for token, _ in pieces] == [token for token, _ in whole]
    assert [log for _, log in pieces] == pytest.approx([log for _, log in whole], abs=1e-5)
    plain = ask(http, "tell of a goal").json()["choices"][0]
    assert plain["logprobs"] is None
    for change in ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 21}, {"logprobs": 1}):
        assert ask(http, "x", **change).status_code == 400


def test_a_setting_of_writing_that_is_none_is_refused_by_its_name(http: httpx2.Client) -> None:
    wrong: list[tuple[str, Any]] = [
        ("stream_options", {"include_usage": True}),  # without a stream
        ("temperature", "0.7"), ("temperature", True), ("top_p", "1"), ("stream", "true"),
        ("stop", list("abcde")), ("n", 0), ("max_tokens", 0), ("seed", 1.5),
    ]  # fmt: skip
    for field, value in wrong:
        refused = ask(http, "tell of a goal", **{field: value})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == field


def test_seeds_below_zero_and_penalties_of_nothing_are_taken(http: httpx2.Client) -> None:
    settings: dict[str, Any] = {"seed": -5, "temperature": 1, "presence_penalty": 0.0, "stop": ""}
    first, again = (ask(http, "tell of a goal", **settings).json()["choices"] for _ in range(2))
    assert first == again


def test_a_stream_shows_signs_of_life_while_nothing_is_written(
    http: httpx2.Client, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailorbird.serve.completion_responses._KEEP_ALIVE_SECONDS", 0.05)
    slow = threading.Event()

    def trouble(rows: int, width: int) -> None:
        if width == 1 and not slow.is_set():
            slow.set()
            time.sleep(0.4)

    writer.trouble = trouble
    body = {
        "model": "writer", "stream": True, "max_tokens": 8, "temperature": 0.0,
        "messages": [{"role": "user", "content": "tell of a goal"}],
    }  # fmt: skip
    lines = http.post("/v1/chat/completions", json=body).text.split("\n\n")
    assert 2 <= lines.count(": keep-alive") <= 8
    assert lines[0].startswith("data: {") and lines[-2] == "data: [DONE]"
