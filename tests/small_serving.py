"""A real server on a port of its own, over models so small that nothing waits for them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from tailorbird.config import load_config
from tailorbird.data.encode import words_of
from tailorbird.records import Target
from tailorbird.serve.api_keys import Keys
from tailorbird.serve.fastapi_app import make_app
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.prometheus import PrometheusCounters
from tailorbird.serve.served_models import HeadModel
from tailorbird.tasks.registry import head_task

LABELS = ("food", "space", "sport")
_WORDS = {"soup": 0, "bread": 0, "moon": 1, "comet": 1, "goal": 2, "race": 2}


def count_labels(texts: Sequence[Any]) -> np.ndarray:
    """Return ``[n, 3]`` shares of each label's words, one of each added (Laplace)."""
    counts = np.ones((len(texts), 3))
    for row, text in zip(counts, texts, strict=True):
        for word in " ".join(words_of(text)).lower().split():
            if word in _WORDS:
                row[_WORDS[word]] += 1
    return counts / counts.sum(axis=1, keepdims=True)


def head_model(
    target: Target,
    outputs: Callable[[Sequence[Any]], np.ndarray] = count_labels,
    heard: Callable[[Sequence[Any]], None] = lambda texts: None,
    longest: int = 64,
) -> HeadModel:
    """Return a model of a task whose outputs are what a function says."""
    task = head_task(target.task)

    def predict(texts: Sequence[Any]) -> list[Any]:
        heard(texts)
        rows = task.by_text(outputs(texts), [words_of(text) for text in texts])
        return [
            task.prediction(row, target, (), text) for row, text in zip(rows, texts, strict=True)
        ]

    def count(text: Any) -> int:
        return sum(len(part.split()) for part in ((text,) if isinstance(text, str) else text))

    return HeadModel(
        task=target.task, labels=target.labels, pairs=target.pairs, folder=Path("small"),
        predict=predict, count=count, longest=longest, base="small",
    )  # fmt: skip


def registry_of(models: dict[str, HeadModel], **settings: Any) -> ModelRegistry:
    """Return a registry of models that are there already."""
    flags = {f"serve.{name}": value for name, value in settings.items()}
    registry = ModelRegistry(load_config(flags=flags), PrometheusCounters())
    for name, model in models.items():
        registry.add(name, model)
    return registry


@contextlib.contextmanager
def running(registry: ModelRegistry, keys: Path | None = None) -> Iterator[str]:
    """Serve a registry by uvicorn in a thread; yield its address."""
    app = make_app(registry, Keys(keys or Path("no-such-file.json")))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
