"""A writer that is a real, trained, tiny Llama, and questions for it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tailorbird.config.schema import ModelConfig
from tailorbird.data.tokens import Tokens
from tailorbird.models.device import choose
from tailorbird.models.load import Base, load_generative
from tailorbird.records import Example
from tailorbird.tasks.prompt_set import PromptSet, prompt_set_of

Encode = Callable[[list[tuple[str, str]]], Tokens]


@pytest.fixture(scope="session")
def stories(models: Any) -> Base:
    base = load_generative(ModelConfig(name=str(models("stories260k"))), choose("cpu", "fp32"))
    base.model.eval()
    return base


@pytest.fixture(scope="session")
def encode(stories: Base) -> Encode:
    """Return an encoder of (prompt, answer) pairs: the words, and the end token after them."""

    def make(pairs: list[tuple[str, str]]) -> Tokens:
        ids, trained, prompts = [], [], []
        for prompt, answer in pairs:
            before = [1, *stories.tokenizer(prompt, add_special_tokens=False).input_ids]
            after = [*stories.tokenizer(answer, add_special_tokens=False).input_ids, 2]
            ids.append(np.asarray(before + after, dtype=np.int32))
            trained.append(np.arange(len(ids[-1])) >= len(before))
            prompts.append(np.asarray(before, dtype=np.int32))
        return Tokens(ids, trained, prompts, np.arange(len(pairs)))

    return make


@pytest.fixture(scope="session")
def ask(encode: Encode) -> Callable[[list[tuple[str, str]]], PromptSet]:
    """Return a maker of what is asked; the first row's number is 1."""

    def make(pairs: list[tuple[str, str]]) -> PromptSet:
        examples = [Example(p, a, row) for row, (p, a) in enumerate(pairs, 1)]
        return prompt_set_of(encode(pairs), examples)

    return make
