"""Bodies that nobody would send: refused in words, never a fault of the server."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from small_serving import LABELS, head_model, registry_of, running
from tailorbird.records import Target

NAMES = ("topic", "topics", "nothing")
VALID: dict[str, dict[str, Any]] = {
    "/classify": {"model": "topic", "input": ["soup"]},
    "/predict": {"model": "topic", "inputs": "soup", "truncate": True},
    "/v1/decisions": {"model": "topic", "input": "soup", "questions": [
        {"type": "choice", "instructions": "?", "choices": [{"value": "food"}, {"value": "space"}]}
    ]},
    "/v1/explain": {"model": "topic", "input": "soup and moon", "max_words": 3},
    "/v1/chat/completions": {"model": "topic", "messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"model": "topic", "prompt": "x"},
    "/v1/embeddings": {"model": "topic", "input": [[1, 2]]},
    "/score": {"model": "topic", "queries": "a", "documents": ["b"]},
    "/rerank": {"model": "topic", "query": "a", "documents": ["b"]},
    "/v2/rerank": {"model": "topic", "query": "a", "documents": ["b"], "top_n": 1},
    "/v1/ask": {"model": "topic", "question": "x"},
    "/v1/vector_stores/topic/search": {"query": "x"},
    "/v1/corrections": {"model": "topics", "text": "x", "label": "nothing"},
    "/v1/load_lora_adapter": {"lora_name": "x", "lora_path": "y"},
    "/v1/unload_lora_adapter": {"lora_name": "x"},
}  # fmt: skip

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20), st.sampled_from([*NAMES, *LABELS, "", " ", "\ud83e", "\x00"]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["type", "text", "value"]), inner, max_size=4
        )
    ),  # fmt: skip
    max_leaves=8,
)


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    several = Target("multilabel", LABELS, thresholds=(0.3, 0.3, 0.3))
    models = {"topic": head_model(Target(labels=LABELS)), "topics": head_model(several)}
    registry = registry_of(models)
    with running(registry) as address, httpx2.Client(base_url=address) as client:
        yield client


@settings(
    max_examples=200, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.sampled_from(sorted(VALID)), st.data())
def test_any_body_is_answered_or_refused(http: httpx2.Client, route: str, data: Any) -> None:
    body = dict(VALID[route])
    for name in data.draw(st.lists(st.sampled_from(sorted(body)), max_size=2)):
        body[name] = data.draw(values)
    if data.draw(st.booleans()):
        body[data.draw(st.text(max_size=8))] = data.draw(values)
    whole = body if data.draw(st.integers(0, 9)) else data.draw(values)
    # Escaped, so that half a character can be sent too.
    content = json.dumps(whole).encode()
    answer = http.post(route, content=content, headers={"content-type": "application/json"})
    assert answer.status_code < 500, (route, whole, answer.text)
    if answer.status_code >= 400:
        assert answer.json().keys() <= {"error", "error_type"}
