"""A knowledge base behind HTTP: filters as OpenAI's clients send them, answers by a model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from small_serving import LABELS, head_model, running
from tailorbird.config import load_config
from tailorbird.records import Target
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.prometheus import PrometheusCounters


@pytest.fixture(scope="module")
def http(store: Path, tiny_decoder: Path) -> Iterator[httpx2.Client]:
    flags = {
        "ask.model": str(tiny_decoder), "ask.answer_tokens": 12, "model.precision": "fp32",
        "retrieve.k": 1, "ask.threshold": -1.0,
    }  # fmt: skip
    registry = ModelRegistry(load_config(flags=flags), PrometheusCounters())
    registry.add_store("kb", store)
    registry.add_model("writer", str(tiny_decoder))
    registry.add("topic", head_model(Target(labels=LABELS)))
    with running(registry) as address, httpx2.Client(base_url=address, timeout=120) as client:
        yield client


def eq(key: str, value: Any, kind: str = "eq") -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (eq("team", "office"), {"Trains", "Hotels"}),
        (eq("team", "office", "ne"), {"Fees"}),
        (eq("year", 2025, "gte"), {"Hotels", "Fees"}),
        (eq("year", 2025, "lt"), {"Trains"}),
        (eq("team", ["money", "none"], "in"), {"Fees"}),
        (eq("team", ["money"], "nin"), {"Trains", "Hotels"}),
        ({"type": "and", "filters": [eq("team", "office"), eq("year", 2024, "gt")]}, {"Hotels"}),
        (
            {"type": "or", "filters": [eq("team", "money"), {"type": "and", "filters": [
                eq("year", 2024), eq("team", "office")]}]},
            {"Fees", "Trains"},
        ),
    ],
)  # fmt: skip
def test_filters_choose_documents(
    http: httpx2.Client, filters: dict[str, Any], names: set[str]
) -> None:
    body = {"query": "what does it cost", "filters": filters, "max_num_results": 9}
    page = http.post("/v1/vector_stores/kb/search", json=body).json()
    assert {row["filename"] for row in page["data"]} == names
    both = body | {"where": "year = 2024"}
    page = http.post("/v1/vector_stores/kb/search", json=both).json()
    assert {row["filename"] for row in page["data"]} == names & {"Trains"}


@pytest.mark.parametrize(
    "change",
    [
        {"filters": eq("zzcanaryzz", 1)}, {"where": "zzcanaryzz = = 1"},
        {"filters": eq("team", ["a"])}, {"filters": eq("team", "a", "in")},
        {"filters": {"type": "and", "filters": []}}, {"filters": eq("team", "a", "like")},
        {"ranking_options": {"ranker": "auto"}}, {"rewrite_query": True},
        {"filters": {"type": "not", "filters": [eq("a", 1)]}},
    ],
)  # fmt: skip
def test_conditions_that_cannot_be_met_are_refused(
    http: httpx2.Client, change: dict[str, Any]
) -> None:
    refused = http.post("/v1/vector_stores/kb/search", json={"query": "cost"} | change)
    assert refused.status_code == 400
    assert "zzcanaryzz" not in refused.text


def test_quotes_in_a_value_are_part_of_it(http: httpx2.Client) -> None:
    body = {"query": "cost", "filters": eq("team", "office' or 'a' = 'a")}
    page = http.post("/v1/vector_stores/kb/search", json=body).json()
    assert page["data"] == []


def test_answers_to_several_questions_are_written_together_as_alone(http: httpx2.Client) -> None:
    questions = [f"What may a hotel cost in {town}?" for town in ("Rome", "Oslo", "Lima", "Bonn")]

    def ask(question: str) -> dict[str, Any]:
        answer = http.post("/v1/ask", json={"question": question})
        assert answer.status_code == 200, answer.text
        whole: dict[str, Any] = answer.json()
        return {name: whole[name] for name in ("text", "refused", "claims")}

    alone = [ask(question) for question in questions]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, questions)) == alone
    counted = {
        line.split("{")[0]: float(line.split()[-1])
        for line in http.get("/metrics").text.splitlines()
        if 'model="kb/write"' in line
    }
    assert counted["tailor_time_to_first_token_seconds_count"] == 2 * len(questions)
    assert counted["tailor_queue_requests"] == 0


@pytest.mark.slow
def test_no_request_that_fits_the_description_breaks_the_server(http: httpx2.Client) -> None:
    """What schemathesis makes of the OpenAPI description: answers and refusals only."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings

    schema = schemathesis.openapi.from_url(str(http.base_url.join("/openapi.json")))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 25
    for operation in operations:

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            response = case.call(timeout=60)
            assert response.status_code < 500, (case.method, case.path, case.body, response.text)

        answers()


@pytest.mark.slow
def test_a_document_is_replaced_during_five_hundred_asks(store: Path, tmp_path: Path) -> None:
    """Each answer is wholly of one version, and its citations are what they say they are."""
    import re
    import shutil

    shutil.copytree(store, tmp_path / "kb")
    registry = ModelRegistry(load_config(), PrometheusCounters())
    registry.add_store("kb", tmp_path / "kb")
    page = "# Pets\n\nThe office cat is {n} years old. The cat is called Cat{n}.\n"
    place = "/v1/vector_stores/kb/documents/pets.md"
    with running(registry) as address, httpx2.Client(base_url=address, timeout=120) as http:
        assert http.put(place, content=page.format(n=10)).status_code == 200
        versions = set()

        def ask(number: int) -> None:
            answer = http.post("/v1/ask", json={"question": "How old is the office cat?"}).json()
            for passage in answer["passages"]:
                if passage["source"] == "pets.md":
                    numbers = set(re.findall(r"\d+", passage["text"]))
                    assert len(numbers) == 1, passage["text"]
                    versions.update(numbers)
            for claim in answer["claims"]:
                for citation in claim["citations"]:
                    of = next(p for p in answer["passages"] if p["number"] == citation["number"])
                    start, end = (citation[name] - of["start"] for name in ("start", "end"))
                    assert of["text"][start:end] == citation["quote"]

        with ThreadPoolExecutor(4) as pool:
            asks = [pool.submit(ask, number) for number in range(500)]
            version = 10
            while not all(one.done() for one in asks):
                version += 1
                assert http.put(place, content=page.format(n=version)).status_code == 200
            for one in asks:
                one.result()
    assert len(versions) > 2
