"""What the kill tests run in processes of their own: a whole small training, to the saved weights.

Importable without side effects, so that a fork server loads torch once for all of them.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import tiny
from tailorbird.config import Config
from tailorbird.data.encode import encode
from tailorbird.data.tokens import Tokens
from tailorbird.methods.base import trained_parameters
from tailorbird.methods.registry import get_method
from tailorbird.models.device import choose
from tailorbird.models.packed import sequence_losses
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.base_model import make_base
from tailorbird.tasks.fit_head import make_model
from tailorbird.train.loop import TrainJob, train
from tailorbird.train.settings import resolve, resolve_generative
from tailorbird.train.workloads import GenerativeWork, LabelWork

DONE = "done.safetensors"
_OWN: dict[str, dict[str, Any]] = {
    "full": {},
    "adapter": {"bottleneck": 4, "dropout": 0.1},
    "lora": {"rank": 2, "dropout": 0.1},
    "qlora": {"rank": 2},
    "prompt": {"virtual_tokens": 4},
}


def run(folder: str, model: str, method: str, writes: bool, more: dict[str, Any]) -> None:
    """Train, or go on training, in `folder`, and leave the weights in ``done.safetensors``."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    torch.set_num_threads(1)
    options = {"epochs": 3, "batch_size": 9, "micro_batch_size": 4, "dropout": 0.1}
    options |= {"evaluate_every": 5, "patience": 5, "checkpoint_every": 3, "tensorboard": False}
    options |= {"learning_rate": 2e-3, "gradient_checkpointing": method == "full"}
    config = Config.model_validate(
        {
            "model": {"name": model, "device": "cpu", "precision": "bf16"},
            "method": {"name": method} | _OWN[method],
            "train": options | more,
        }
    )
    made, job = _writing(config, folder) if writes else _labels(config, folder)
    done = train(made, job)
    weights = {name: p.detach().clone() for name, p in trained_parameters(made)}
    weights["curve"] = torch.tensor([[p.train_loss, p.validation_loss] for p in done.curve])
    part = Path(folder) / "part"
    save_file(weights, part)
    part.rename(Path(folder) / DONE)


def _labels(config: Config, folder: str) -> tuple[Any, TrainJob]:
    from tailorbird.models.head_logits import loss_and_accuracy, predict

    method, device = get_method(config.method.name), choose("cpu", "bf16")
    model, base = make_model(config, tiny.TARGET, device, method)
    texts, labels = zip(*tiny.rows(), strict=True)
    encoded = encode(texts, base.tokenizer, 64, [tiny.LABELS.index(label) for label in labels])
    pad = base.tokenizer.pad_token_id
    settings = resolve(config, method, len(texts))
    work = LabelWork(encoded, pad, device, settings.micro_batch_size)
    assert encoded.targets is not None
    targets = encoded.targets

    def validate(current: Any) -> tuple[float, float]:
        return loss_and_accuracy(predict(current, encoded, pad, device).logits, targets)

    return model, _job(work, settings, device, folder, validate, "accuracy")


def _writing(config: Config, folder: str) -> tuple[Any, TrainJob]:
    method, device = get_method(config.method.name), choose("cpu", "bf16")
    base = make_base(config, device, method)
    rng = np.random.default_rng(8)
    ids = [rng.integers(200, 2000, n).astype(np.int32) for n in rng.integers(3, 60, 50)]
    trained = [np.arange(len(row)) >= int(rng.integers(1, len(row))) for row in ids]
    tokens = Tokens(ids, trained, [], np.arange(len(ids)))
    model = method.attach(base, config)
    settings = resolve_generative(config, method, len(tokens), 32)
    work = GenerativeWork(tokens, model, device, settings)

    def validate(_: Any) -> tuple[float, float]:
        found = sequence_losses(work.reader, tokens, device)
        return found.per_token, found.accuracy

    return model, _job(work, settings, device, folder, validate, "loss")


def _job(work: Any, settings: Any, device: Any, folder: str, validate: Any, keep: Any) -> TrainJob:
    place = RunFolder(folder)
    place.path.mkdir(parents=True, exist_ok=True)
    return TrainJob(work, settings, device, place, validate, keep=keep, resume=True)
