"""A server that gets too much, loses its clients, breaks or hangs: real requests over HTTP."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from small_serving import LABELS, count_labels, head_model, registry_of, running
from tailorbird.records import Target
from tailorbird.serve.api_keys import Keys
from tailorbird.serve.model_registry import ModelRegistry

ONE = Target(labels=LABELS)
CANARY = "zzcanaryzz"


class Gate:
    """A model that remembers its texts, takes its time, and does what a text says."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.texts: list[str] = []
        self.frozen = threading.Event()

    def __call__(self, texts: Sequence[Any]) -> np.ndarray:
        self.texts += texts
        time.sleep(self.seconds)
        for text in texts:
            if text.startswith("break"):
                raise RuntimeError(f"cannot read {text}")
            if text.startswith("exhaust"):
                raise RuntimeError(f"CUDA out of memory while reading {text}")
            if text.startswith("freeze"):
                self.frozen.wait(30)
        return count_labels(texts)


def served(gate: Gate, **settings: Any) -> ModelRegistry:
    return registry_of({"topic": head_model(ONE, gate)}, **settings)


@pytest.fixture
def gate() -> Iterator[Gate]:
    opened = Gate()
    yield opened
    opened.frozen.set()


def classify(http: httpx2.Client, text: str) -> httpx2.Response:
    return http.post("/classify", json={"model": "topic", "input": text})


def label(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"][0]["label"])


def until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


def test_too_many_clients_are_told_when_to_come_again_and_the_rest_is_answered(gate: Gate) -> None:
    gate.seconds = 0.01
    registry = served(gate, queue_inputs=4, batch_tokens=16)
    with running(registry) as address, httpx2.Client(base_url=address, timeout=30) as http:

        def ask(number: int) -> tuple[int, float]:
            began = time.perf_counter()
            answer = classify(http, "soup " * 8 + str(number))
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) >= 1
                assert 0 < int(answer.headers["retry-after-ms"]) <= 120_000
                assert answer.json()["error"]["type"] == "rate_limit_error"
            else:
                assert label(answer) == "food"
            return answer.status_code, time.perf_counter() - began

        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(ask, range(96)))
        statuses = [status for status, _ in answers]
        assert set(statuses) == {200, 429} and statuses.count(200) >= 10
        # Normal as soon as the crowd is gone.
        assert until(lambda: classify(http, "moon").status_code == 200)
        refused = f'tailor_rejected_total{{model="topic",reason="full"}} {statuses.count(429)}.0'
        assert refused in http.get("/metrics").text
        assert http.get("/livez").status_code == http.get("/readyz").status_code == 200


def test_two_hundred_clients_that_leave_cost_a_batch_and_no_place(gate: Gate) -> None:
    gate.seconds = 0.2
    registry = served(gate, batch_tokens=16)
    with running(registry) as address, httpx2.Client(base_url=address, timeout=30) as http:
        port = int(address.rpartition(":")[2])
        with ThreadPoolExecutor(1) as pool:
            busy = pool.submit(classify, http, "goal")
            assert until(lambda: "goal" in gate.texts)
            links = []
            for number in range(200):
                content = json.dumps({"model": "topic", "input": f"soup {number}"}).encode()
                head = (
                    f"POST /classify HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}"
                )
                link = socket.create_connection(("127.0.0.1", port))
                link.sendall(f"{head}\r\ncontent-type: application/json\r\n\r\n".encode() + content)
                links.append(link)
            queue = registry.entries["topic"].queue
            assert queue is not None
            until(lambda: queue.waiting > 20, 2)
            for link in links:
                link.close()
            assert label(busy.result()) == "sport"
        assert until(lambda: queue.waiting == 0)
        computed = len(gate.texts)
        # What was cut into batches already may still run; what waits does not.
        assert computed < 60
        assert label(classify(http, "comet")) == "space"
        time.sleep(0.3)
        assert len(gate.texts) == computed + 1
        assert 'tailor_queue_requests{model="topic"} 0.0' in http.get("/metrics").text


@pytest.mark.parametrize(("word", "status"), [("break", 500), ("exhaust", 503)])
def test_a_batch_that_fails_fails_alone(
    gate: Gate, capfd: pytest.CaptureFixture[str], word: str, status: int
) -> None:
    with running(served(gate)) as address, httpx2.Client(base_url=address, timeout=30) as http:
        failed = classify(http, f"{word} {CANARY}")
        assert failed.status_code == status
        assert ("retry-after" in failed.headers) == (status == 503)
        assert label(classify(http, "the moon")) == "space"
        assert http.get("/livez").status_code == 200
        assert CANARY not in failed.text + http.get("/metrics").text
    written = capfd.readouterr()
    assert "topic" in written.err  # a person can see that something failed
    assert CANARY not in written.err + written.out


def test_a_worker_that_hangs_is_replaced_and_livez_tells_until_one_succeeds(gate: Gate) -> None:
    registry = served(gate)
    with running(registry) as address, httpx2.Client(base_url=address, timeout=30) as http:
        assert label(classify(http, "bread")) == "food"
        queue = registry.entries["topic"].queue
        assert queue is not None
        with ThreadPoolExecutor(2) as pool:
            lost = pool.submit(classify, http, "freeze")
            assert until(lambda: "freeze" in gate.texts)
            behind = pool.submit(classify, http, "the race")
            assert until(lambda: queue.waiting == 2)
            (worker,) = queue._workers
            assert worker.beat is not None
            worker.beat -= 60  # a minute passes
            assert until(lambda: http.get("/livez").status_code == 503 or behind.done())
            assert lost.result().status_code == 503
            assert "retry-after" in lost.result().headers
            assert label(behind.result()) == "sport"
        assert until(lambda: http.get("/livez").status_code == 200)


def test_what_was_said_is_nowhere_to_be_found(
    gate: Gate, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A text and a key that could be met again: in answers to others, logs, counters, files."""
    keys = Keys(tmp_path / "keys.json")
    key = keys.add("laptop", ("admin",))
    canary = {"authorization": f"Bearer {key}"}
    bodies: list[Any] = [
        {"model": CANARY, "input": CANARY}, {"model": "topic", "input": CANARY, CANARY: 1},
        {"model": "topic", "input": [CANARY, 5]}, {"model": "topic", "input": f"break {CANARY}"},
        {"model": "topic", "inputs": [CANARY, CANARY]}, {"model": "topic", "query": CANARY},
        {"messages": CANARY, "model": "topic"}, {"question": CANARY}, [CANARY],
        {"lora_name": "x", "lora_path": CANARY},
        {"model": "topic", "text": CANARY, "label": CANARY},
    ]  # fmt: skip
    output = ""
    with (
        running(served(gate), keys.path) as address,
        httpx2.Client(base_url=address, headers=canary) as http,
    ):
        described = http.get("/openapi.json").json()["paths"]
        posts = [path.replace("{store}", CANARY) for path, m in described.items() if "post" in m]
        assert len(posts) > 12
        for path in posts:
            for body in bodies:
                answer = http.post(path, json=body)
                if answer.status_code != 200:
                    output += answer.text
            output += http.post(path, content=f'{{"model": "{CANARY}'.encode()).text
        output += http.get(f"/v1/models/{CANARY}").text + http.get(f"/{CANARY}").text
        output += http.get("/v1/models", headers={"authorization": f"Bearer {CANARY}"}).text
        output += http.get("/metrics").text
    written = capfd.readouterr()
    output += written.err + written.out + keys.path.read_text(encoding="utf-8")
    assert "error" in output
    assert CANARY not in output and key not in output


def test_a_thousand_requests_to_four_runs_get_the_answers_of_their_own() -> None:
    rows = np.eye(4)[:, None, :]
    names = tuple(f"run{n}" for n in range(4))
    target = Target(labels=("a", "b", "c", "d"))

    def constant(index: int) -> Callable[[Sequence[Any]], np.ndarray]:
        return lambda texts: np.repeat(rows[index], len(texts), axis=0)

    models = {name: head_model(target, constant(i)) for i, name in enumerate(names)}
    with (
        running(registry_of(models)) as address,
        httpx2.Client(base_url=address, timeout=60) as http,
        ThreadPoolExecutor(16) as pool,
    ):

        def ask(number: int) -> bool:
            which = (number * 7) % 4
            body = {"model": names[which], "input": [f"text {number}", "another"]}
            answer = http.post("/classify", json=body).json()
            labels = {row["label"] for row in answer["data"]}
            return labels == {target.labels[which]} and answer["model"] == names[which]

        assert all(pool.map(ask, range(1000)))
