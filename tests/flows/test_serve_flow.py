"""`tailor serve` as people run it: real runs, a writer and a knowledge base, in a process."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from terminal import PATIENCE, Tailor, command, environment

PAGES = {
    "invoices.md": "# Invoices\n\nInvoices are due in 30 days. Late payers pay a fee of 5 euros.\n",
    "travel.md": "# Travel\n\nTrains are booked by the office. A hotel may cost 120 euros.\n",
}


class Server:
    """A `tailor serve` in a process of its own."""

    def __init__(self, *arguments: Any) -> None:
        self.process = subprocess.Popen(
            command("serve", *arguments, "--port", "0"),
            env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("listening on "):
                break
        else:
            raise AssertionError("".join(self.lines))
        self.address = self.lines[-1].split()[-1]
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += self.process.stderr

    def end(self) -> int:
        """Stop it as an orchestrator does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60 * PATIENCE)


@pytest.fixture(scope="module")
def store(inside: Tailor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pages")
    for name, text in PAGES.items():
        (place / name).write_text(text, encoding="utf-8")
    made = inside("index", *(place / name for name in PAGES), "--store", place / "kb")
    assert made.returncode == 0, made.stderr
    return place / "kb"


@pytest.fixture(scope="module")
def server(
    tuned: tuple[Path, Any], store: Path, tiny_decoder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:  # fmt: skip
    run, _ = tuned
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    served = Server(
        "--name", f"topic={run}", "--store", store, "--model", tiny_decoder,
        "--set", f"serve.keys={keys}", "--set", "model.precision=fp32",
        "--set", f"serve.adapters={run.parent}",
    )  # fmt: skip
    yield served
    if served.process.poll() is None:
        assert served.end() == 0


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.address, timeout=60 * PATIENCE) as client:
        yield client


@pytest.fixture(scope="module")
def openai(server: Server) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0)


def test_a_run_answers_as_it_does_alone(http: httpx2.Client, tuned: tuple[Path, Any]) -> None:
    import tailorbird
    from tiny import rows

    texts = [text for text, _ in rows()]
    predictor = tailorbird.load(tuned[0])
    alone = [answer.probabilities for answer in predictor.predict(texts)]

    def ask(text: str) -> dict[str, float]:
        answer = http.post("/predict", json={"model": "topic", "inputs": text}).json()
        return {row["label"]: row["score"] for row in answer}

    with ThreadPoolExecutor(12) as pool:
        served = list(pool.map(ask, texts))
    assert [max(p, key=p.__getitem__) for p in served] == [max(p, key=p.__getitem__) for p in alone]
    for one, other in zip(served, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_run_is_loaded_and_unloaded_while_others_answer(
    http: httpx2.Client, tuned: tuple[Path, Any]
) -> None:
    def ask(model: str) -> httpx2.Response:
        return http.post("/predict", json={"model": model, "inputs": "the moon again"})

    body = {"lora_name": "second", "lora_path": tuned[0].name}
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(ask, "topic") for _ in range(40)]
        assert "added successfully" in http.post("/v1/load_lora_adapter", json=body).text
        assert {one.result().status_code for one in others} == {200}
    assert http.post("/v1/load_lora_adapter", json=body).status_code == 400
    assert ask("second").json() == ask("topic").json()
    names = [row["id"] for row in http.get("/v1/models").json()["data"]]
    assert "second" in names
    gone = http.post("/v1/unload_lora_adapter", json={"lora_name": "second"})
    assert "removed successfully" in gone.text
    assert ask("second").status_code == 404 and ask("topic").status_code == 200


def test_chats_stream_what_they_answer_whole(openai: Any) -> None:
    ask = {
        "model": "llama",
        "messages": [{"role": "user", "content": "tell of the moon"}],
        "max_tokens": 12, "temperature": 0.9, "seed": 3,
    }  # fmt: skip
    whole = openai.chat.completions.create(**ask)
    assert whole.choices[0].finish_reason in ("length", "stop")
    assert 0 < whole.usage.completion_tokens <= 12
    chunks = list(
        openai.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    several = openai.chat.completions.create(**ask, n=3)
    texts = [choice.message.content for choice in several.choices]
    assert texts[0] == text and len(set(texts)) == 3
    end = text[3:6]
    stopped = openai.chat.completions.create(**ask, stop=[end]).choices[0]
    assert stopped.message.content == text[: text.index(end)]
    assert stopped.finish_reason == "stop"


def test_the_stream_as_it_is_on_the_wire(http: httpx2.Client) -> None:
    body = {
        "model": "llama", "prompt": "the moon", "max_tokens": 4, "stream": True,
    }  # fmt: skip
    answer = http.post("/v1/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    parsed = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert {part["object"] for part in parsed} == {"text_completion"}
    assert parsed[-1]["choices"][0]["finish_reason"] in ("length", "stop")


def test_answers_written_together_are_those_written_alone(openai: Any) -> None:
    def ask(words: str) -> str:
        answer = openai.chat.completions.create(
            model="llama", messages=[{"role": "user", "content": words}],
            max_tokens=20, temperature=0,
        )  # fmt: skip
        return str(answer.choices[0].message.content)

    words = [f"tell of {thing} {n}" for n in range(4) for thing in ("bread", "a comet", "goals")]
    alone = [ask(text) for text in words]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, words)) == alone


@pytest.mark.parametrize(
    "change",
    [
        {"tools": [{"type": "function"}]}, {"top_logprobs": 2}, {"response_format": {"type": "x"}},
        {"frequency_penalty": 0.5}, {"logit_bias": {"5": 1}}, {"max_tokens": 10**6}, {"n": 99},
        {"messages": [{"role": "assistant", "content": "hm"}]}, {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [{"role": "user", "content": "long " * 500}]},
    ],
)  # fmt: skip
def test_what_a_chat_cannot_do_is_refused(http: httpx2.Client, change: dict[str, Any]) -> None:
    ask = {"model": "llama", "messages": [{"role": "user", "content": "hm"}]}
    for stream in (False, True):
        refused = http.post("/v1/chat/completions", json=ask | change | {"stream": stream})
        assert refused.status_code == 400, refused.text
        assert refused.json()["error"]["type"] == "invalid_request_error"


def test_embeddings_in_both_forms_are_the_embedders(openai: Any) -> None:
    from tailorbird.config.schema import ModelConfig
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder

    texts = ["a hotel", "an invoice that is late"]
    model = ModelConfig(name="builtin:minilm")
    own = Embedder(model, choose()).embed(texts).vectors
    packed = openai.embeddings.create(model="kb", input=texts)  # asks for base64
    plain = openai.embeddings.create(model="kb", input=texts, encoding_format="float")
    for given in (packed, plain):
        vectors = np.asarray([row.embedding for row in given.data])
        assert np.allclose(vectors, own, atol=0.02)
    assert np.allclose(packed.data[0].embedding, plain.data[0].embedding, atol=1e-7)
    with pytest.raises(Exception, match="384"):
        openai.embeddings.create(model="kb", input="x", dimensions=10)


def test_a_knowledge_base_answers_with_exact_citations(openai: Any, http: httpx2.Client) -> None:
    answer = http.post("/v1/ask", json={"question": "When are invoices due?"}).json()
    assert "30 days" in answer["text"] and not answer["refused"]
    for claim in answer["claims"]:
        for citation in claim["citations"]:
            text = http.get(citation["url"]).text
            assert text[citation["start"] : citation["end"]] == citation["quote"]
    refused = http.post("/v1/ask", json={"question": "Who won the chess tournament?"}).json()
    assert refused["refused"] and refused["why"]
    ask = {"model": "kb", "messages": [{"role": "user", "content": "When are invoices due?"}]}
    message = openai.chat.completions.create(**ask).choices[0].message
    assert message.content == answer["text"]
    for note in message.annotations:
        place = note.url_citation
        assert message.content[place.start_index : place.end_index] == "[1]"
        assert "invoices" in http.get(place.url).text.lower()
    chunks = list(openai.chat.completions.create(**ask, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == message.content
    assert chunks[-1].choices[0].delta.annotations
    with pytest.raises(Exception, match="leave this out"):
        openai.chat.completions.create(**ask, temperature=1.0)


def test_search_and_rerank_by_a_knowledge_base(openai: Any, http: httpx2.Client) -> None:
    page = openai.vector_stores.search("kb", query="price of a hotel", max_num_results=1)
    assert [hit.filename for hit in page.data] == ["Travel"]
    assert "120 euros" in page.data[0].content[0].text
    texts = ["an invoice", "a hotel room"]
    ranked = http.post(
        "/v1/rerank", json={"model": "kb", "query": "where to sleep", "documents": texts}
    )
    assert ranked.json()["results"][0]["index"] == 1


def test_a_document_is_replaced_whole_while_questions_are_asked(http: httpx2.Client) -> None:
    place = "/v1/vector_stores/kb/documents/notes/pets.md"
    ages = [
        f"# Pets\n\nThe office cat is {n} years old. The cat is called Cat{n}.\n" for n in (3, 9)
    ]
    assert http.put(place, content=ages[0]).json()["added"] == 1
    seen: set[tuple[bool, bool]] = set()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = http.post("/v1/ask", json={"question": "How old is the office cat?"}).json()
            words = answer["passages"][0]["text"] if answer["passages"] else ""
            seen.add(
                ("3 years" in words and "Cat3" in words, "9 years" in words and "Cat9" in words)
            )

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        time.sleep(0.3)
        stages = http.put(place, content=ages[1], headers={"accept": "text/event-stream"}).text
        time.sleep(0.5)
        stop.set()
        for one in asking:
            one.result()
    assert [json.loads(e[6:])["type"] for e in stages.split("\n\n") if e.startswith("data: {")] == [
        "received", "reading", "published",
    ]  # fmt: skip
    assert seen == {(True, False), (False, True)}
    assert "9 years" in http.get(place).text
    assert http.delete(place).json()["deleted"]
    assert http.get(place).status_code == 404


@pytest.mark.parametrize("name", ["../../etc/passwd", "%2e%2e/b.md", "%00.md", "a.exe"])
def test_documents_that_cannot_be_put_in(http: httpx2.Client, name: str) -> None:
    url = http.base_url.copy_with(raw_path=f"/v1/vector_stores/kb/documents/{name}".encode())
    refused = http.put(url, content=b"\x00MZ\x01")
    assert refused.status_code in (400, 404, 405, 422), refused.text


def test_clients_that_leave_leave_nothing_behind(http: httpx2.Client, server: Server) -> None:
    import socket

    host, port = server.address.removeprefix("http://").split(":")
    body = json.dumps(
        {"model": "llama", "messages": [{"role": "user", "content": "go on"}],
         "max_tokens": 100, "stream": True, "temperature": 1.0}
    ).encode()  # fmt: skip
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(30):
        with socket.create_connection((host, int(port))) as link:
            link.sendall(head.encode() + body)
            link.recv(20)
    end = time.monotonic() + 10 * PATIENCE
    while time.monotonic() < end:
        waiting = [
            float(line.split()[-1])
            for line in http.get("/metrics").text.splitlines()
            if line.startswith("tailor_queue_requests{")
        ]
        if not any(waiting):
            break
        time.sleep(0.1)
    assert not any(waiting)
    assert http.get("/livez").status_code == 200


def test_nothing_taken_is_lost_at_the_end(server: Server, http: httpx2.Client) -> None:
    """Runs last: what was begun before SIGTERM is answered, then the server is gone."""
    body = {
        "model": "llama", "messages": [{"role": "user", "content": "go on and on"}],
        "max_tokens": 100, "stream": True,
    }  # fmt: skip
    begun, working = threading.Barrier(5), threading.Barrier(5)

    def ask() -> str:
        url = f"{server.address}/v1/chat/completions"
        with httpx2.stream("POST", url, json=body, timeout=60 * PATIENCE) as answer:
            lines = answer.iter_lines()
            first = next(lines)
            begun.wait(60 * PATIENCE)
            return "\n".join([first, *lines])

    def classify() -> list[int | None]:
        """Ask for labels until nobody answers; return what each request came to."""
        statuses: list[int | None] = []
        with httpx2.Client(base_url=server.address, timeout=60 * PATIENCE) as client:
            while not statuses or statuses[-1] is not None:
                try:
                    body = {"model": "topic", "input": "the moon"}
                    answer = client.post("/classify", json=body)
                except httpx2.TransportError:
                    statuses.append(None)
                    continue
                assert answer.status_code == 200 or "retry-after" in answer.headers
                if not statuses:
                    working.wait(60 * PATIENCE)
                statuses.append(answer.status_code)
        return statuses

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        begun.wait(60 * PATIENCE)
        classifying = [pool.submit(classify) for _ in range(4)]
        working.wait(60 * PATIENCE)
        server.process.send_signal(signal.SIGTERM)
        texts = [one.result() for one in asking]
        labels = [one.result() for one in classifying]
    # Until the last moment: answered, refused with the time to come again, or nobody there.
    assert {status for statuses in labels for status in statuses} <= {200, 503, None}
    assert all(200 in statuses for statuses in labels)
    assert all(text.rstrip().endswith("data: [DONE]") for text in texts)
    assert all('"finish_reason":"length"' in text or '"stop"' in text for text in texts)
    assert not any('"error"' in text for text in texts)
    assert server.process.wait(60 * PATIENCE) == 0
    with pytest.raises(httpx2.TransportError):
        http.get("/readyz")
    server.reading.join(5)
    told = "".join(server.lines)
    assert "go on" not in told and "moon" not in told and os.sep + "etc" not in told


def test_a_key_is_needed_for_others(inside: Tailor, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    refused = inside("serve", "--host", "0.0.0.0", "--keys", keys, "--model", "builtin:minilm")
    assert refused.returncode == 2
    assert "tailor serve keys add" in refused.stderr
    made = inside("serve", "keys", "add", "laptop", "--keys", keys, "--scope", "admin")
    assert made.returncode == 0 and made.stdout.startswith("tb-")
    listed = inside("serve", "keys", "list", "--keys", keys)
    assert listed.stdout == "laptop\tadmin\tno limit\n"
    assert inside("serve", "keys", "revoke", "laptop", "--keys", keys).returncode == 0
    assert inside("serve", "keys", "list", "--keys", keys).stdout == ""


def test_faults_are_all_told_before_anything_listens(inside: Tailor, tmp_path: Path) -> None:
    refused = inside("serve", tmp_path / "one", tmp_path / "two", "--port", "0",
                     "--keys", tmp_path / "keys.json")  # fmt: skip
    assert refused.returncode == 2
    assert "one" in refused.stderr and "two" in refused.stderr


@pytest.mark.slow
def test_with_nothing_named_the_bundled_example_is_made_and_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    served = Server()
    try:
        models = httpx2.get(f"{served.address}/v1/models").json()["data"]
        assert {"probe", "rag", "pages"} <= {model["id"] for model in models}
        body = {"model": "probe", "input": "for i in range(3) print(i)"}
        answer = httpx2.post(f"{served.address}/classify", json=body, timeout=60 * PATIENCE)
        assert answer.json()["data"][0]["num_classes"] > 2
    finally:
        assert served.end() == 0
    assert served.process.stdout is not None
    assert served.process.stdout.read() == ""  # the comparison's table is not the server's
