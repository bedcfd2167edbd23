"""Runs of labels and numbers over HTTP: every shape by its own client, faults and security."""

import gzip
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from small_serving import LABELS, count_labels, head_model, registry_of, running
from tailorbird.records import Neighbour, Target
from tailorbird.serve.api_keys import Keys

CANARY = "canary7f3a"
ONE = Target(labels=LABELS)
MANY = Target("multilabel", LABELS, thresholds=(0.3, 0.3, 0.9))
NUMBER = Target("regression", ("length",))
ALIKE = Target("regression", ("alike",), pairs=True)
TAGS = Target("tokens", ("O", "B-PER", "I-PER"))


def lengths(texts: Sequence[Any]) -> np.ndarray:
    return np.asarray([[float(len(text))] for text in texts])


def overlaps(pairs: Sequence[Any]) -> np.ndarray:
    """Return the share of words that two texts have in common (Jaccard)."""
    sets = [(set(a.split()), set(b.split())) for a, b in pairs]
    return np.asarray([[len(a & b) / len(a | b)] for a, b in sets])


def names(texts: Sequence[Any]) -> np.ndarray:
    """Return a row per word: a capital begins a name, and goes on after another capital."""
    rows = []
    for text in texts:
        before = False
        for word in text.split():
            capital = word[0].isupper()
            rows.append([0.1, 0.2, 0.7] if capital and before else
                        [0.1, 0.8, 0.1] if capital else [0.9, 0.05, 0.05])  # fmt: skip
            before = capital
    return np.asarray(rows)


BATCHES: list[int] = []


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    models = {
        "topic": head_model(ONE, heard=lambda texts: BATCHES.append(len(texts))),
        "topics": head_model(MANY),
        "length": head_model(NUMBER, lengths),
        "alike": head_model(ALIKE, overlaps),
        "names": head_model(TAGS, names),
    }
    with running(registry_of(models, request_inputs=32, request_mb=0.05)) as address:
        yield address


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def openai(address: str) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def test_models_are_listed(openai: Any) -> None:
    listed = {model.id: model for model in openai.models.list()}
    assert set(listed) == {"topic", "topics", "length", "alike", "names"}
    assert listed["topic"].labels == list(LABELS)
    assert openai.models.retrieve("names").task == "tokens"
    import openai as package

    with pytest.raises(package.NotFoundError) as missing:
        openai.models.retrieve("nothing")
    assert missing.value.code == "model_not_found"
    assert missing.value.request_id.startswith("req-")


def test_decisions_by_the_official_client(openai: Any) -> None:
    decision = openai.decisions.create(
        model="topic",
        input="the moon and a comet and soup",
        questions=[
            {"type": "choice", "instructions": "?", "choices": [{"value": x} for x in LABELS]},
            {"type": "choice", "name": "two", "instructions": "?",
             "choices": [{"value": "food"}, {"value": "sport"}]},
            {"type": "predicate", "instructions": "?", "name": "space"},
            {"type": "score", "instructions": "?",
             "levels": [{"label": "sport"}, {"label": "food"}, {"label": "space"}]},
        ],
    )  # fmt: skip
    # Words: food 1, space 2, sport 0; with one each: 2, 3, 1 of 6.
    every, two, space, scale = decision.answers
    assert (every.choice, every.confidence) == ("space", pytest.approx(3 / 6))
    assert {p.value: p.probability for p in every.probabilities} == pytest.approx(
        {"food": 2 / 6, "space": 3 / 6, "sport": 1 / 6}
    )
    assert (two.name, two.choice, two.confidence) == ("two", "food", pytest.approx(2 / 3))
    assert space.probability == pytest.approx(3 / 6)
    assert scale.score == pytest.approx(0 * 1 / 6 + 1 * 2 / 6 + 2 * 3 / 6)
    assert decision.usage.input_tokens == 7


@pytest.mark.parametrize(
    "question",
    [
        {"type": "choice", "choices": [{"value": "food"}, {"value": "music"}]},
        {"type": "choice", "choices": [{"value": "food"}, {"value": "food"}]},
        {"type": "choice", "choices": [{"value": "food"}, {"value": True}]},
        {"type": "predicate", "name": "music"},
        {"type": "predicate"},
    ],
)
def test_a_head_decides_about_its_own_labels_only(
    http: httpx2.Client, question: dict[str, Any]
) -> None:
    body = {"model": "topic", "input": "soup", "questions": [{"instructions": "?", **question}]}
    refused = http.post("/v1/decisions", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "questions"


def test_classify_as_vllm(http: httpx2.Client) -> None:
    answer = http.post("/classify", json={"model": "topic", "input": ["soup", "the goal"]}).json()
    assert [row["label"] for row in answer["data"]] == ["food", "sport"]
    assert answer["data"][0]["probs"] == pytest.approx([0.5, 0.25, 0.25])
    assert answer["data"][0]["num_classes"] == 3
    assert answer["usage"]["prompt_tokens"] == 3
    several = http.post("/classify", json={"model": "topics", "input": "soup moon"}).json()
    assert several["data"][0]["labels"] == ["food", "space"]  # 0.4 each, from 0.3 on


def test_predict_as_tei(http: httpx2.Client) -> None:
    one = http.post("/predict", json={"model": "topic", "inputs": "soup"})
    assert [(row["label"], row["score"]) for row in one.json()] == [
        ("food", 0.5), ("space", 0.25), ("sport", 0.25),
    ]  # fmt: skip
    assert one.headers["x-compute-tokens"] == "1"
    batch = http.post("/predict", json={"model": "topic", "inputs": [["soup"], ["goal"]]}).json()
    assert [rows[0]["label"] for rows in batch] == ["food", "sport"]
    pair = http.post("/predict", json={"model": "alike", "inputs": ["a b", "b c"]}).json()
    assert pair == [{"label": "alike", "score": pytest.approx(1 / 3)}]
    number = http.post("/predict", json={"model": "length", "inputs": "four"}).json()
    assert number == [{"label": "length", "score": 4.0}]


def test_faults_are_told_as_tei_tells_them(http: httpx2.Client) -> None:
    cases = ((["a", "b"], 422), ("", 400), ([], 400), (3, 422), ([["a"]] * 33, 422))
    for inputs, status in cases:
        refused = http.post("/predict", json={"model": "topic", "inputs": inputs})
        assert refused.status_code == status, refused.text
        kind = "empty" if status == 400 else "validation"
        assert refused.json()["error_type"] == kind
    empty = http.post("/rerank", json={"model": "alike", "query": "a", "texts": []})
    assert (empty.status_code, empty.json()["error_type"]) == (422, "validation")
    long = {"model": "topic", "inputs": "soup " * 65}
    assert http.post("/predict", json=long).status_code == 422
    assert http.post("/predict", json=long | {"truncate": True}).status_code == 200


@pytest.mark.parametrize("route", ["/classify", "/predict"])
def test_entities_have_exact_offsets(http: httpx2.Client, route: str) -> None:
    text = "then  Ada Lovelace met\tBabbage"
    entities = http.post(route, json={"model": "names", "inputs": text}).json()
    assert [(e["entity_group"], e["word"]) for e in entities] == [
        ("PER", "Ada Lovelace"), ("PER", "Babbage"),
    ]  # fmt: skip
    assert all(text[e["start"] : e["end"]] == e["word"] for e in entities)
    assert entities[0]["score"] == pytest.approx((0.8 + 0.7) / 2)


def test_score_and_rerank_in_every_dialect(http: httpx2.Client) -> None:
    texts = ["the sea", "the red sea", "a red car"]
    ask = {"model": "alike", "query": "the red sea"}
    right = [1, 0, 2]  # 3/3, 2/3, 1/5 of the words in common
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        answer = http.post(path, json=ask | {"documents": texts, "top_n": 2}).json()
        assert [row["index"] for row in answer["results"]] == right[:2]
        assert answer["results"][1]["relevance_score"] == pytest.approx(2 / 3)
    assert "meta" in answer and "document" not in answer["results"][0]
    tei = http.post("/rerank", json=ask | {"texts": texts, "return_text": True}).json()
    assert [(row["index"], row["text"]) for row in tei] == [(i, texts[i]) for i in right]
    for names in (("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2")):
        body = {"model": "alike", names[0]: "the red sea", names[1]: texts}
        answer = http.post("/score", json=body).json()
        assert [row["score"] for row in answer["data"]] == pytest.approx([2 / 3, 1, 1 / 5])
    twice = {"model": "alike", "queries": ["a", "b"], "documents": texts}
    assert http.post("/v1/score", json=twice).status_code == 400


def test_rerank_by_cohere(address: str) -> None:
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="none", base_url=address)
    answer = client.rerank(model="alike", query="red sea", documents=["a car", "sea"], top_n=1)
    assert [(row.index, row.relevance_score) for row in answer.results] == [(1, 0.5)]


def test_words_that_matter(http: httpx2.Client) -> None:
    text = "the soup and moon moon"
    answer = http.post("/v1/explain", json={"model": "topic", "input": text}).json()
    assert answer["label"] == "space"
    effects = {word["text"]: word["effect"] for word in answer["words"]}
    # 3/6 with all; without soup 3/5; without one moon 2/5.
    assert effects["soup"] == pytest.approx(3 / 6 - 3 / 5)
    assert effects["moon"] == pytest.approx(3 / 6 - 2 / 5)
    assert effects["the"] == 0
    assert all(text[w["start"] : w["end"]] == w["text"] for w in answer["words"])
    capped = http.post(
        "/v1/explain", json={"model": "topic", "input": text, "max_words": 2, "label": "food"}
    ).json()
    assert [word["text"] for word in capped["words"]] == ["the soup and", "moon moon"]


def test_training_examples_near_a_text_come_from_the_arm_that_retrieves() -> None:
    model = head_model(ONE)
    model.near = lambda texts: [(Neighbour(f"like {text}", "food", 0.9),) for text in texts]
    with running(registry_of({"topic": model})) as address:
        body = {"model": "topic", "input": "soup"}
        answer = httpx2.post(f"{address}/v1/explain", json=body).json()
        assert answer["neighbours"] == [{"text": "like soup", "label": "food", "similarity": 0.9}]
        assert 'model="topic/near"' in httpx2.get(f"{address}/metrics").text


def test_many_clients_get_their_own_answers_and_share_batches(http: httpx2.Client) -> None:
    texts = ["soup " * (i % 7) + "moon " * (i % 5) + "goal" for i in range(200)]
    BATCHES.clear()

    def ask(text: str) -> list[float]:
        body = {"model": "topic", "input": text}
        return list(http.post("/classify", json=body).json()["data"][0]["probs"])

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, texts))
    assert np.allclose(answers, count_labels(texts), atol=1e-12)
    assert sum(BATCHES) == 200 and max(BATCHES) > 1


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": "x"}, "model", "name a model"),
        ({"model": "topic", "input": []}, None, "least 1"),
        ({"model": "topic", "input": ["x"] * 33}, "input", "1 to 32"),
        ({"model": "topic", "input": "x " * 65}, "input", "the model reads 64"),
        ({"model": "topic", "input": "x", "use_activation": False}, "use_activation", "True"),
        ({"model": "alike", "input": "x"}, "model", "pairs"),
        ({"model": "length", "input": "x"}, "model", "regression"),
        ({"model": "topic", "input": "x", "top_k": 3}, "top_k", "not supported"),
        ({"model": "topic", "input": "x", "mode": 3}, None, "did you mean 'model'"),
    ],
)
def test_what_is_not_done_is_refused(
    http: httpx2.Client, body: dict[str, Any], param: str | None, words: str
) -> None:
    refused = http.post("/classify", json=body)
    error = refused.json()["error"]
    assert refused.status_code == 400
    assert words in error["message"]
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{nothing", "application/json"), (b'"text"', "application/json"), (b"a=b", "text/plain"),
        (b'{"model": "topic", "input": "\xff"}', "application/json"),
        (b'{"model": "topic", "input": ' + b"[" * 20_000 + b"}", "application/json"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_object(http: httpx2.Client, content: bytes, kind: str) -> None:
    refused = http.post("/classify", content=content, headers={"content-type": kind})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "invalid_json"


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/classify", b'{"model": "topic", "input": "moon \\ud83e"}'),
        ("/v1/decisions", b'{"model": "topics", "input": "moon", "questions": '
         b'[{"type": "predicate", "name": "\\udc00"}]}'),
        ("/v1/corrections", b'{"model": "topic", "text": "\\ud83e\\ud83e", "label": "food"}'),
    ],
)  # fmt: skip
def test_half_a_character_is_refused(http: httpx2.Client, route: str, body: bytes) -> None:
    refused = http.post(route, content=body, headers={"content-type": "application/json"})
    assert refused.status_code == 400
    assert "half of a surrogate pair" in refused.json()["error"]["message"]


def test_a_compressed_body_is_refused_rather_than_misread(http: httpx2.Client) -> None:
    body = gzip.compress(b'{"model": "topic", "input": "moon"}')
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    refused = http.post("/classify", content=body, headers=headers)
    assert refused.status_code == 415
    assert refused.json()["error"]["type"] == "invalid_request_error"
    document = "/v1/vector_stores/topic/documents/a.md"
    assert http.put(document, content=body, headers=headers).status_code == 415


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/v1/models/topic", "/nowhere"])
def test_head_is_get_without_its_body(http: httpx2.Client, path: str) -> None:
    whole, head = http.get(path), http.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    names = ("content-type", "content-length", "content-security-policy")
    assert [head.headers.get(name) for name in names] == [whole.headers.get(name) for name in names]


def test_a_slash_after_the_list_of_models(http: httpx2.Client) -> None:
    assert http.get("/v1/models/").json() == http.get("/v1/models").json()


def test_a_body_that_is_too_large(http: httpx2.Client) -> None:
    refused = http.post("/classify", json={"model": "topic", "input": "x" * 60_000})
    assert refused.status_code == 413
    assert "larger" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {CANARY: 1, "model": "topic", "input": "x"},
        {"model": CANARY, "input": "x"},
        {"model": "topic", "input": {CANARY: CANARY}},
        {"model": "topic", "input": [CANARY, 5]},
        {"model": "topic", "input": CANARY, "use_activation": CANARY},
        {"model": "topic", "input": (CANARY + " ") * 70},
        {"model": "alike", "input": CANARY},
    ],
)
def test_faults_repeat_nothing_that_was_sent(
    http: httpx2.Client, body: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    refused = http.post("/classify", json=body, headers={"x-request-id": CANARY})
    assert refused.status_code in (400, 404)
    told = refused.text + str(refused.headers) + "".join(capfd.readouterr())
    assert CANARY not in told
    assert CANARY not in http.get("/metrics").text


def test_other_sites_and_other_names_are_refused(http: httpx2.Client) -> None:
    ask = {"model": "topic", "input": "x"}
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        refused = http.post("/classify", json=ask, headers=headers)
        assert refused.status_code == 403
    own = {"origin": str(http.base_url).rstrip("/")}
    answer = http.post("/classify", json=ask, headers=own)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_every_route_needs_a_key_once_there_is_one(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    ask, admin, health = (keys.add(s, (s,)) for s in ("ask", "admin", "health"))
    registry = registry_of({"topic": head_model(ONE)})
    with running(registry, keys.path) as address, httpx2.Client(base_url=address) as http:
        routes = http.get("/openapi.json", headers={"authorization": f"Bearer {ask}"}).json()
        paths = [
            (method, path.replace("{store}", "kb").replace("{name}", "x"))
            for path, methods in routes["paths"].items()
            for method in methods
        ]
        assert len(paths) > 20
        extra = [("get", p) for p in ("/", "/openapi.json", "/nowhere", "/docs", "//v1/models")]
        for method, path in (*paths, *extra):
            for headers in ({}, {"authorization": "Bearer tb-wrong"}):
                refused = http.request(method, path, headers=headers)
                assert refused.status_code == 401, (method, path)
                assert "a valid key is needed" in refused.text
        assert http.get("/livez", headers={"x-api-key": health}).status_code == 200
        body = {"model": "topic", "input": "soup"}
        for key, status in ((health, 403), (ask, 200), (admin, 200)):
            answer = http.post("/classify", json=body, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
        put = "/v1/vector_stores/kb/documents/a.md"
        for key, status in ((ask, 403), (admin, 404)):
            headers = {"authorization": f"Bearer {key}"}
            assert http.put(put, content=b"x", headers=headers).status_code == status
        page = http.get("/", headers={"accept": "text/html"})
        assert page.headers["www-authenticate"].startswith("Basic")


def test_a_server_for_others_without_keys_answers_nobody() -> None:
    registry = registry_of({"topic": head_model(ONE)}, host="0.0.0.0")
    with running(registry) as address:
        assert httpx2.get(f"{address}/livez").status_code == 401


def test_runs_come_and_go_from_the_allowed_folder_only(tmp_path: Path) -> None:
    registry = registry_of({"topic": head_model(ONE)}, adapters=str(tmp_path / "runs"))
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "outside")
    with running(registry) as address, httpx2.Client(base_url=address) as http:

        def load(name: str, path: str, **more: Any) -> httpx2.Response:
            body = {"lora_name": name, "lora_path": path, **more}
            return http.post("/v1/load_lora_adapter", json=body)

        places = ("../outside", "link", "nothing", ".", str(tmp_path / "outside"), "a\x00b")
        for path in (*places, "broken"):
            refused = load("new", path)
            assert refused.status_code == 400, path
            assert str(tmp_path / "outside") not in refused.text
        assert load("topic", "broken").json()["error"]["code"] == "InvalidUserInput"
        assert load("topic", "broken", load_inplace=True).status_code == 400
        ask = {"model": "topic", "input": "soup"}
        assert http.post("/classify", json=ask).status_code == 200
        missing = http.post("/v1/unload_lora_adapter", json={"lora_name": "none"})
        assert missing.status_code == 404
        gone = http.post("/v1/unload_lora_adapter", json={"lora_name": "topic"})
        assert "removed successfully" in gone.text
        assert http.post("/classify", json=ask).status_code == 404
    with running(registry_of({"topic": head_model(ONE)})) as address:
        body = {"lora_name": "topic"}
        assert httpx2.post(f"{address}/v1/unload_lora_adapter", json=body).status_code == 403


def test_a_model_is_replaced_under_load_without_a_fault(http: httpx2.Client) -> None:
    """Each answer is the one model's or the other's, never of both."""

    def constant(index: int) -> Any:
        return lambda texts: np.eye(3)[[index] * len(texts)]

    registry = registry_of({"topic": head_model(ONE, constant(0))})
    with running(registry) as address, httpx2.Client(base_url=address) as client:

        def ask(number: int) -> set[str]:
            body = {"model": "topic", "input": ["a", "b", "c"]}
            answer = client.post("/classify", json=body)
            assert answer.status_code == 200, answer.text
            return {row["label"] for row in answer.json()["data"]}

        with ThreadPoolExecutor(8) as pool:
            before = [pool.submit(ask, n) for n in range(60)]
            registry.add("topic", head_model(ONE, constant(2)))
            after = [pool.submit(ask, n) for n in range(60)]
            answers = [one.result() for one in (*before, *after)]
    assert {frozenset(a) for a in answers} <= {frozenset({"food"}), frozenset({"sport"})}
    assert answers[-1] == {"sport"}


def test_routes_and_their_bodies_are_described(http: httpx2.Client) -> None:
    described = json.dumps(http.get("/openapi.json").json())
    assert "/v1/decisions" in described and "ClassifyBody" in described
