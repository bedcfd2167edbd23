"""What a sentence-transformers folder says, against sentence-transformers itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.models.device import choose
from tailorbird.models.embed import Embedder
from tailorbird.models.sentence_modules import pool, read_modules

TEXTS = [text for text, _ in tiny.rows()[:9]] + ["", "word " * 300]
Write = Callable[..., Path]


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Write:
    """Return a function that makes a sentence-transformers folder of modules and settings."""

    def make(*modules: tuple[str, dict[str, Any]], **files: dict[str, Any]) -> Path:
        place = Path(shutil.copytree(tiny_encoder, tmp_path / "embedder"))
        listed = [("Transformer", "", {})]
        listed += [(kind, f"{i}_{kind}", own) for i, (kind, own) in enumerate(modules, start=1)]
        rows = []
        for i, (kind, path, own) in enumerate(listed):
            kinds = f"sentence_transformers.models.{kind}"
            rows.append({"idx": i, "name": str(i), "path": path, "type": kinds})
            if path:
                (place / path).mkdir()
                (place / path / "config.json").write_text(json.dumps(own))
        (place / "modules.json").write_text(json.dumps(rows))
        for name, content in files.items():
            (place / f"{name}.json").write_text(json.dumps(content))
        return place

    return make


def pooling(mode: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return "Pooling", {"embedding_dimension": tiny.HIDDEN, "pooling_mode": mode, **more}


def ours(place: Path) -> Embedder:
    return Embedder(ModelConfig(name=str(place)), choose("cpu", "fp32"))


def theirs(place: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(place), device="cpu", local_files_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode",
    ["cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ["cls", "mean"]],
)
def test_every_pooling_is_theirs(folder: Write, mode: Any) -> None:
    place = folder(pooling(mode))
    expected = theirs(place).encode(TEXTS, normalize_embeddings=True)
    found = ours(place).embed(TEXTS).vectors
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("include", [True, False])
def test_prompts_and_dense_layers_are_theirs(folder: Write, include: bool) -> None:
    import torch
    from safetensors.torch import save_file

    dense = {
        "in_features": tiny.HIDDEN,
        "out_features": 12,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    place = folder(
        pooling("mean", include_prompt=include),
        ("Dense", dense),
        config_sentence_transformers={"prompts": {"query": "ask: ", "document": "read this: "}},
        sentence_bert_config={"max_seq_length": 40},
    )
    weights = {"linear.weight": torch.randn(12, tiny.HIDDEN), "linear.bias": torch.randn(12)}
    save_file(weights, place / "2_Dense" / "model.safetensors")
    model, embedder = theirs(place), ours(place)
    assert (embedder.dimension, embedder.max_length) == (12, 40)
    for prompt, found in (
        ("query", embedder.embed_queries(TEXTS)),
        ("document", embedder.embed_documents(TEXTS)),
    ):
        expected = model.encode(TEXTS, prompt_name=prompt, normalize_embeddings=True)
        np.testing.assert_allclose(found.vectors, expected, atol=1e-5)
    plain = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(embedder.embed(TEXTS).vectors, plain, atol=1e-5)


def test_pooling_by_hand() -> None:
    import torch

    hidden = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    expected = {
        "cls": [1, 2],
        "lasttoken": [3, 0],
        "max": [3, 2],
        "mean": [2, 1],
        "mean_sqrt_len_tokens": [4 / 2**0.5, 2 / 2**0.5],
        "weightedmean": [(1 + 6) / 3, 2 / 3],
    }
    for mode, values in expected.items():
        np.testing.assert_allclose(pool(hidden, mask, (mode,))[0], values, rtol=1e-6)
    both = pool(hidden, mask, ("cls", "mean"))[0]
    np.testing.assert_allclose(both, [1, 2, 2, 1])
    np.testing.assert_allclose(pool(hidden, mask, ("mean",), skip=1)[0], [3, 0])


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("intfloat/multilingual-e5-small", "query: ", "passage: "),
        ("models/e5-base-v2", "query: ", "passage: "),
        ("intfloat/multilingual-e5-large-instruct", "", ""),
        ("BAAI/bge-small-en-v1.5", "Represent this sentence", ""),
        ("BAAI/bge-m3", "", ""),
        ("nomic-ai/nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("thenlper/gte-small", "", ""),
        ("builtin:minilm", "", ""),
    ],
)
def test_prompts_of_known_families(name: str, query: str, document: str, tmp_path: Path) -> None:
    found = read_modules(tmp_path, name)
    assert found.query.startswith(query) and bool(found.query) == bool(query)
    assert found.document == document


def test_the_models_own_prompts_win(folder: Write) -> None:
    own = {"prompts": {"query": "Q ", "passage": "P "}, "default_prompt_name": "query"}
    place = folder(pooling("mean"), config_sentence_transformers=own)
    found = read_modules(place, "intfloat/e5-small")
    assert (found.query, found.document, found.plain) == ("Q ", "P ", "Q ")


@pytest.mark.parametrize(
    ("module", "word"), [(("WordWeights", {}), "WordWeights"), (pooling("median"), "median")]
)
def test_what_is_not_known_is_refused(folder: Write, module: Any, word: str) -> None:
    with pytest.raises(UserError, match=word):
        read_modules(folder(module), "mine")


def test_a_dense_layer_without_weights_is_refused(folder: Write) -> None:
    place = folder(pooling("mean"), ("Dense", {"in_features": 32, "out_features": 3}))
    with pytest.raises(UserError, match=r"safetensors is missing"):
        ours(place)


def test_damaged_settings_are_named(folder: Write) -> None:
    place = folder(pooling("mean"))
    (place / "modules.json").write_text("[{")
    with pytest.raises(UserError, match="modules.json is damaged"):
        ours(place)


def test_threads_give_the_vectors_of_one(tiny_encoder: Path) -> None:
    import torch

    embedder, before = ours(tiny_encoder), torch.get_num_threads()
    texts = [f"{text} {i}" for i in range(40) for text in TEXTS]
    alone = embedder.embed(texts).vectors
    try:
        torch.set_num_threads(3)
        together = embedder.embed(texts).vectors
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(together, alone, atol=1e-5)
