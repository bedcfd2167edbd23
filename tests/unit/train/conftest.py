"""Jobs for the loop on a two-layer BERT."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from tailorbird.config import Config
from tailorbird.data.encode import encode
from tailorbird.models.device import choose
from tailorbird.runs.folder import RunFolder


@pytest.fixture
def make_job(tiny_encoder: Path, tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
    """Return a function that makes a model with a method attached, and the job to train it."""

    def make(
        method: str = "lora",
        precision: str = "fp32",
        name: str = "run",
        validate: Any = lambda _: (1.0, 0.5),
        options: dict[str, Any] | None = None,
        **train: Any,
    ) -> tuple[Any, Any]:
        import torch

        from tailorbird.methods.registry import get_method
        from tailorbird.tasks.fit_head import make_model
        from tailorbird.train.loop import TrainJob
        from tailorbird.train.settings import resolve
        from tailorbird.train.workloads import LabelWork

        torch.manual_seed(99)  # whatever ran before must not matter
        config = Config.model_validate(
            {
                "model": {"name": str(tiny_encoder), "device": "cpu", "precision": precision},
                "method": {"name": method} | (options or {}),
                "train": {"epochs": 2, "batch_size": 16, "tensorboard": False} | train,
            }
        )
        device = choose("cpu", precision)
        found = get_method(method)
        model, base = make_model(config, tiny.TARGET, device, found)
        texts, labels = zip(*tiny.rows(), strict=True)
        targets = [tiny.LABELS.index(label) for label in labels]
        encoded = encode(texts, base.tokenizer, 64, targets)
        settings = resolve(config, found, len(texts))
        job = TrainJob(
            work=LabelWork(encoded, base.tokenizer.pad_token_id, device, settings.micro_batch_size),
            settings=settings,
            device=device,
            folder=RunFolder(tmp_path / name),
            validate=validate,
        )
        return model, job

    return make
