"""Prometheus metrics of the server; no text, key or path is a label."""

from collections.abc import Sequence
from typing import Any

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 64, 256, 1024, 4096, 16_384, 65_536)
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)


class PrometheusCounters:
    """The metrics of one server, in a registry of their own, so that tests can have several."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()

        def make(kind: Any, name: str, help_: str, *labels: str, **more: Any) -> Any:
            labels = labels or ("model",)
            return kind(f"tailor_{name}", help_, labels, registry=self._registry, **more)

        def histogram(name: str, help_: str, buckets: Sequence[float], *labels: str) -> Any:
            return make(Histogram, name, help_, *labels, buckets=buckets)

        self._requests = histogram(
            "request_duration_seconds", "Time from request to answer.", _SECONDS, "route", "status"
        )
        self._queue = histogram("queue_seconds", "Time a text waits for its batch.", _SECONDS)
        self._sizes = histogram("batch_size", "Texts of a batch.", _SIZES)
        self._tokens = histogram("batch_tokens", "Tokens of a batch, padding included.", _TOKENS)
        self._padding = histogram("padding_ratio", "Share of a batch that is padding.", _SHARES)
        self.first_token_seconds = histogram(
            "time_to_first_token_seconds", "Until an answer begins.", _SECONDS
        )
        self.waiting = make(Gauge, "queue_requests", "Texts or chats that wait.")
        self.rejected = make(Counter, "rejected", "Requests that were refused.", "model", "reason")
        self.written_tokens = make(Counter, "written_tokens", "Tokens of answers.")

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

    def text(self) -> bytes:
        """Return all metrics in Prometheus' format."""
        from prometheus_client import generate_latest

        page: bytes = generate_latest(self._registry)
        return page
