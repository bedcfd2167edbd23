"""The embedder, against sentence-transformers' own."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from tailorbird.config.schema import ModelConfig
from tailorbird.models.builtin import resolve
from tailorbird.models.device import choose
from tailorbird.models.embed import Embedder, VectorCache, choose_embedder

TEXTS = [text for text, _ in tiny.rows()[:20]] + ["", "word " * 700, "Ünïcödé — 漢字 🙂"]


def _theirs(folder: str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu", local_files_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("bf16", 0.999)])
def test_vectors_are_those_of_sentence_transformers(precision: str, least: float) -> None:
    folder = resolve("builtin:minilm")
    ours = Embedder(ModelConfig(name="builtin:minilm"), choose("cpu", precision))
    theirs = _theirs(folder)
    theirs.max_seq_length = ours.max_length
    expected = theirs.encode(TEXTS, normalize_embeddings=True)
    found = ours.embed(TEXTS).vectors
    assert found.shape == (len(TEXTS), 384)
    assert (found * expected).sum(axis=1).min() > least


@pytest.mark.slow
@pytest.mark.parametrize("first_token", [False, True])
def test_pooling_follows_the_models_own_settings(
    tiny_encoder: Path, tmp_path: Path, first_token: bool
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "embedder"))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {
        "word_embedding_dimension": tiny.HIDDEN,
        "pooling_mode_cls_token": first_token,
        "pooling_mode_mean_tokens": not first_token,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    expected = _theirs(str(folder)).encode(TEXTS, normalize_embeddings=True)
    found = Embedder(ModelConfig(name=str(folder)), choose("cpu", "fp32")).embed(TEXTS).vectors
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_vectors_are_of_length_one_and_do_not_depend_on_the_batch(tiny_encoder: Path) -> None:
    embedder = Embedder(ModelConfig(name=str(tiny_encoder)), choose("cpu", "fp32"))
    together = embedder.embed(TEXTS).vectors
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.embed([text]).vectors for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert embedder.embed([]).vectors.shape == (0, tiny.HIDDEN)


def test_the_base_model_embeds_only_when_it_was_made_for_it(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    plain = ModelConfig(name=str(tiny_encoder), precision="fp32")
    assert choose_embedder(None, plain).name == "builtin:minilm"
    assert choose_embedder(None, plain).precision == "fp32"
    assert choose_embedder("some/embedder", plain).name == "some/embedder"
    for name in ("config.json", "modules.json"):
        (tmp_path / name).write_text("[]")
    made_for_it = ModelConfig(name=str(tmp_path))
    assert choose_embedder(None, made_for_it) == made_for_it
    assert choose_embedder(None, ModelConfig()).name == "builtin:minilm"


def test_what_is_met_again_is_embedded_once() -> None:
    asked: list[list[str]] = []

    def lengths(texts: Any) -> np.ndarray:
        asked.append(list(texts))
        return np.asarray([[len(text)] for text in texts], dtype=np.float32)

    read = VectorCache(lengths, most=4)
    assert read(["a", "bbb", "a"]).ravel().tolist() == [1, 3, 1]
    assert read(["bbb", "cc"]).ravel().tolist() == [3, 2]
    assert asked == [["a", "bbb"], ["cc"]]
    assert read(["a", "dddd"]).ravel().tolist() == [1, 4], "full: begun anew"
    assert asked[-1] == ["a", "dddd"]
