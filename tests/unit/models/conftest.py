"""Writers small enough to be asked many times, and the slowest way to ask them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.config import Config
from tailorbird.config.schema import ModelConfig
from tailorbird.methods.registry import get_method
from tailorbird.models.device import choose
from tailorbird.models.load import Base, load_generative

OWN: dict[str, dict[str, Any]] = {
    "full": {},
    "adapter": {"bottleneck": 4},
    "lora": {"rank": 2},
    "qlora": {"rank": 2},
    "prompt": {"virtual_tokens": 5},
}


@pytest.fixture(scope="session")
def writer(models: Any) -> Callable[..., tuple[Base, torch.nn.Module]]:
    """Return a maker of a base and what a method made of it, its trained weights stirred."""

    def make(shape: str, method: str = "", precision: str = "fp32") -> tuple[Base, torch.nn.Module]:
        device = choose("cpu", precision)
        named = ModelConfig(name=str(models(shape)))
        if not method:
            base = load_generative(named, device)
            return base, base.model.eval()
        config = Config.model_validate(
            {"model": named.model_dump(), "method": {"name": method} | OWN[method]}
        )
        how = get_method(method)
        options = how.load_options(config.method, ("lm_head",), device)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            base = load_generative(named, device, options)
            model = how.attach(base, config)
            if method != "full":
                with torch.no_grad():
                    for parameter in model.parameters():
                        if parameter.requires_grad:
                            parameter.add_(0.1 * torch.randn_like(parameter))
        return base, model.eval()

    return make


@pytest.fixture(scope="session")
def slowly() -> Callable[..., list[int]]:
    """Return greedy decoding by the book: the whole text again for each token, without a cache."""

    def write(model: torch.nn.Module, prompt: np.ndarray, steps: int, end: int = -1) -> list[int]:
        ids = [int(token) for token in prompt]
        for _ in range(steps):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits.argmax()))
            if ids[-1] == end:
                break
        return ids[len(prompt) :]

    return write
