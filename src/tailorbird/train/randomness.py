"""All random number generators of training: seeding, saving and restoring."""

import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch, so that two runs draw the same numbers."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_rank(seed: int, index: int) -> None:
    """Seed a rank differently from the others, so that their dropout masks differ."""
    if index:
        seed_all(seed + 7919 * index)


def random_state() -> dict[str, Any]:
    """Return the state of all generators, in types that torch saves and loads as plain data."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    assert name == "MT19937" and isinstance(keys, np.ndarray)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (keys.tolist(), int(position), int(has_gauss), float(gauss)),
    }


def restore_random(state: dict[str, Any]) -> None:
    """Restore all generators to a `random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    keys, position, has_gauss, spare = state["numpy"]
    np.random.set_state(("MT19937", np.asarray(keys, np.uint32), position, has_gauss, spare))
