"""Prometheus metrics of the server; no text, key or path is a label."""

from collections.abc import Sequence
from typing import Any

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 64, 256, 1024, 4096, 16_384, 65_536)


class PrometheusCounters:
    """The metrics of one server, in a registry of their own, so that tests can have several."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        model = ["model"]

        def make(kind: Any, name: str, words: str, labels: list[str], **more: Any) -> Any:
            return kind(f"tailor_{name}", words, labels, registry=self._registry, **more)

        self._requests = make(
            Histogram, "request_duration_seconds", "Time from request to answer.",
            ["route", "status"], buckets=_SECONDS,
        )  # fmt: skip
        self._queue = make(
            Histogram, "queue_seconds", "Time a text waits for its batch.", model, buckets=_SECONDS
        )
        self._sizes = make(Histogram, "batch_size", "Texts of a batch.", model, buckets=_SIZES)
        self._tokens = make(
            Histogram, "batch_tokens", "Tokens of a batch, padding included.", model,
            buckets=_TOKENS,
        )  # fmt: skip
        self._padding = make(
            Histogram, "padding_ratio", "Share of a batch that is padding.", model,
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75),
        )  # fmt: skip
        self._waiting = make(Gauge, "queue_requests", "Texts or chats that wait.", model)
        self._rejected = make(
            Counter, "rejected", "Requests that were refused.", ["model", "reason"]
        )
        self._first = make(
            Histogram, "time_to_first_token_seconds", "Until an answer begins.", model,
            buckets=_SECONDS,
        )  # fmt: skip
        self._answer_tokens = make(Counter, "written_tokens", "Tokens of answers.", model)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request by its route's pattern."""
        self._requests.labels(route, str(status)).observe(seconds)

    def batch(self, model: str, lengths: Sequence[int], waits: Sequence[float]) -> None:
        """Count a batch by the lengths of its texts and their waiting times."""
        if not lengths:
            return
        padded = len(lengths) * max(lengths)
        self._sizes.labels(model).observe(len(lengths))
        self._tokens.labels(model).observe(padded)
        self._padding.labels(model).observe(1 - sum(lengths) / max(1, padded))
        for wait in waits:
            self._queue.labels(model).observe(wait)

    def waiting(self, model: str, count: int) -> None:
        """Record the length of a model's queue."""
        self._waiting.labels(model).set(count)

    def reject(self, model: str, reason: str) -> None:
        """Count a refusal."""
        self._rejected.labels(model, reason).inc()

    def first_token(self, model: str, seconds: float) -> None:
        """Record the time to an answer's first token."""
        self._first.labels(model).observe(seconds)

    def tokens(self, model: str, count: int) -> None:
        """Count generated tokens."""
        self._answer_tokens.labels(model).inc(count)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' format."""
        from prometheus_client import generate_latest

        page: bytes = generate_latest(self._registry)
        return page
