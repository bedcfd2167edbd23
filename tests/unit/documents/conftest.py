"""Files of every kind and the builtin embedder's tokenizer."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """Return the module that makes files."""
    spec = importlib.util.spec_from_file_location("made", Path(__file__).with_name("made.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def wordpiece() -> Any:
    """Return the tokenizer of builtin:minilm."""
    from tailorbird.config.schema import ModelConfig
    from tailorbird.models.load import load_tokenizer

    return load_tokenizer(ModelConfig(name="builtin:minilm"))
