"""Every store that there is, and one that a stranger added, for the tests that all must pass."""

import pytest

from tailorbird.knowledge.backends import BACKENDS
from toy_store import ToyBackend

STORES = [*BACKENDS, "toy"]
BACKENDS["toy"] = ToyBackend  # one file, one line


def place_of(request: pytest.FixtureRequest) -> str:
    """Return what ``knowledge.store`` names, a place of its own for each test."""
    return str(request.param)
