"""What only a GPU can show: packed reading, QLoRA and writing on CUDA in bf16."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

LENGTHS = (70, 33, 64, 12, 68, 30)


def _tokens(vocabulary: int) -> Any:
    from tailorbird.data.tokens import Tokens

    rng = np.random.default_rng(5)
    ids = [rng.integers(5, vocabulary, n).astype(np.int32) for n in LENGTHS]
    trained = [np.arange(len(row)) >= len(row) // 2 for row in ids]
    return Tokens(ids, trained, [row[: len(row) // 2] for row in ids], np.arange(len(ids)))


def _attached(folder: Path, method: str) -> Any:
    """Return the configuration, base, tokens and wrapped model, as a run makes them."""
    from tailorbird.config import load_config
    from tailorbird.methods.registry import get_method
    from tailorbird.models.device import choose
    from tailorbird.tasks.base_model import make_base

    config = load_config(
        flags={"model.name": str(folder), "method.name": method, "train.epochs": 8}
    )
    how = get_method(method)
    device = choose("cuda", "bf16")
    base = make_base(config, device, how)
    tokens = _tokens(base.model.config.vocab_size)
    return config, base, tokens, how.attach(base, config)


@pytest.mark.parametrize("shape", ["stories260k", "qwen2"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_packed_and_padded_losses_agree_in_bf16(models: Any, shape: str, method: str) -> None:
    from tailorbird.models.packed import sequence_losses

    _, base, tokens, model = _attached(models(shape), method)
    model.eval()
    packed = sequence_losses(model, tokens, base.device)
    padded = sequence_losses(model, tokens, base.device, packing=False)
    per_token = packed.loss_sums / packed.counts
    np.testing.assert_allclose(per_token, padded.loss_sums / padded.counts, atol=0.05)


@pytest.mark.parametrize("shape", ["stories260k", "qwen2"])
def test_packed_gradients_agree_with_one_by_one_in_bf16(models: Any, shape: str) -> None:
    from tailorbird.methods.base import trained_parameters
    from tailorbird.models.packed import Reader

    _, base, tokens, model = _attached(models(shape), "lora")
    model.train()
    torch.manual_seed(3)
    for name, parameter in trained_parameters(model):
        if "lora_B" in name:  # zeros: the other factor would have no gradient
            torch.nn.init.normal_(parameter, std=0.1)
    reader = Reader(model, base.device, tokens)
    assert reader.way == "packed", reader.notes

    def gradient(parts: list[list[int]]) -> torch.Tensor:
        model.zero_grad()
        with reader.reading():
            for part in parts:
                with base.device.autocast():
                    loss = reader.loss_sum(tokens, np.asarray(part))
                loss.backward()
        return torch.cat([p.grad.flatten() for _, p in trained_parameters(model)])

    every = list(range(len(tokens)))
    together, alone = gradient([every]), gradient([[i] for i in every])
    assert torch.isfinite(together).all()
    likeness = torch.nn.functional.cosine_similarity(together, alone, dim=0)
    assert likeness > 0.995


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_training_lowers_the_loss(models: Any, method: str, tmp_path: Path) -> None:
    from dataclasses import replace

    from tailorbird.models.packed import sequence_losses
    from tailorbird.runs.folder import RunFolder
    from tailorbird.train.loop import TrainJob, train
    from tailorbird.train.settings import resolve_generative
    from tailorbird.train.workloads import GenerativeWork

    config, base, tokens, model = _attached(models("qwen2"), method)
    settings = resolve_generative(config, _method(method), len(tokens), 32)
    settings = replace(settings, batch_size=3, patience=100, learning_rate=1e-2)
    before = sequence_losses(model, tokens, base.device).per_token
    work = GenerativeWork(tokens, model, base.device, settings)

    def validate(_: Any) -> tuple[float, float]:
        found = sequence_losses(work.reader, tokens, base.device)
        return found.per_token, found.accuracy

    train(model, TrainJob(work, settings, base.device, RunFolder(tmp_path), validate, keep="loss"))
    after = sequence_losses(model, tokens, base.device).per_token
    assert after < before - 0.1


def _method(name: str) -> Any:
    from tailorbird.methods.registry import get_method

    return get_method(name)


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_writing_runs(models: Any, method: str) -> None:
    from tailorbird.models.generate import Sampling, generate

    _, base, tokens, model = _attached(models("qwen2"), method)
    model.eval()
    sampling = Sampling(max_new_tokens=6, temperature=0.7)
    written = generate(model, base.tokenizer, tokens.prompts, sampling, base.device)
    assert [answer.tokens for answer in written] == [6] * len(LENGTHS)
