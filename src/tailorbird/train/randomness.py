"""Every source of random numbers that training may draw from, as one thing to seed and to keep."""

import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch: whatever a model draws from, two runs draw the same."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_rank(seed: int, index: int) -> None:
    """Let a rank draw its own numbers: equal dropout on all would be less of it."""
    if index:
        seed_all(seed + 7919 * index)


def random_state() -> dict[str, Any]:
    """Return where all generators stand, in types that torch saves and loads as plain data."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    assert name == "MT19937" and isinstance(keys, np.ndarray)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (keys.tolist(), int(position), int(has_gauss), float(gauss)),
    }


def restore_random(state: dict[str, Any]) -> None:
    """Put all generators where `random_state` found them."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    keys, position, has_gauss, spare = state["numpy"]
    np.random.set_state(("MT19937", np.asarray(keys, np.uint32), position, has_gauss, spare))
