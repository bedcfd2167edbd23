"""BERT by numpy, against transformers' and torch's own."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode import collate, encode
from tailorbird.models.device import choose
from tailorbird.models.embed import Embedder, open_embedder
from tailorbird.models.load import load_tokenizer
from tailorbird.models.numpy_bert import Bert, WordPieces, gelu, open_bert, read_weights

PAIRS = [("a comet", "our galaxy"), ("soup and rice " * 9, "the goal"), ("Ünïcödé — 漢字 🙂", "x")]
TEXTS = [text for text, _ in tiny.rows()[:9]] + ["", "word " * 700, "ÀÉ — 漢字 🙂 don't [SEP] ##s"]


def exact(folder: Path) -> ModelConfig:
    return ModelConfig(name=str(folder), device="cpu", precision="fp32")


def test_the_error_function_is_close_everywhere() -> None:
    x = np.concatenate([np.linspace(-12, 12, 4001), [-1e4, -0.0, 1e4]]).astype(np.float32)
    expected = torch.nn.functional.gelu(torch.from_numpy(x).double()).numpy()
    np.testing.assert_allclose(gelu(x), expected, atol=1e-6, rtol=3e-7)


@pytest.mark.parametrize("texts", [TEXTS, PAIRS], ids=["texts", "pairs"])
@pytest.mark.parametrize("length", [512, 16])
def test_tokens_are_transformers_own(tiny_encoder: Path, texts: list[Any], length: int) -> None:
    own, theirs = WordPieces(tiny_encoder), load_tokenizer(exact(tiny_encoder))
    found, expected = (encode(texts, each, length, segments=True) for each in (own, theirs))
    assert own.pad_token_id == theirs.pad_token_id
    assert own.model_max_length == theirs.model_max_length
    np.testing.assert_array_equal(found.full_lengths, expected.full_lengths)
    for name in ("ids", "segments"):
        pairs = zip(getattr(found, name), getattr(expected, name), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs), name


@pytest.mark.parametrize("texts", [TEXTS, PAIRS], ids=["texts", "pairs"])
def test_hidden_states_are_transformers_own(tiny_encoder: Path, texts: list[Any]) -> None:
    from transformers import AutoModel

    opened = open_bert(exact(tiny_encoder))
    assert opened is not None
    bert, tokenizer = opened
    encoded = encode(texts, tokenizer, 48, segments=True)
    arrays = collate(encoded, np.arange(len(texts)), tokenizer.pad_token_id)
    model = AutoModel.from_pretrained(tiny_encoder, dtype="float32").eval()
    with torch.inference_mode():
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        expected = model(**inputs).last_hidden_state.numpy()
    tokens = arrays["attention_mask"].astype(bool)
    np.testing.assert_allclose(bert.hidden(**arrays)[tokens], expected[tokens], atol=2e-5)


def test_vectors_are_those_of_the_usual_embedder(tiny_encoder: Path) -> None:
    few = open_embedder(exact(tiny_encoder), few=True)
    usual = Embedder(exact(tiny_encoder), choose("cpu", "fp32"))
    assert isinstance(few.model, Bert) and not isinstance(usual.model, Bert)
    assert (few.fingerprint, few.max_length) == (usual.fingerprint, usual.max_length)
    np.testing.assert_allclose(few.embed(TEXTS).vectors, usual.embed(TEXTS).vectors, atol=1e-5)


CHANGES: dict[str, dict[str, Any]] = {
    "another family": {"model_type": "roberta"},
    "another activation": {"hidden_act": "relu"},
    "left to right": {"is_decoder": True},
    "other positions": {"position_embedding_type": "relative_key"},
    "code of its own": {"auto_map": {"AutoModel": "a.B"}},
    "packed weights": {"quantization_config": {"bits": 4}},
    "more layers than weights": {"num_hidden_layers": tiny.LAYERS + 1},
    "another width": {"hidden_size": 2 * tiny.HIDDEN},
    "heads that do not fit": {"num_attention_heads": 5},
    "no number": {"num_hidden_layers": "two"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_not_plain_is_left_to_transformers(
    tiny_encoder: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    assert open_bert(exact(folder)) is not None
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert open_bert(exact(folder)) is None


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_is_damaged_is_left_to_transformers(
    tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    (folder / name).write_bytes((folder / name).read_bytes()[:200])
    assert open_bert(exact(folder)) is None


def test_other_tokenizers_formats_and_devices_are_left_to_transformers(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    for change in ({"device": "cuda:0"}, {"precision": "bf16"}):
        assert open_bert(exact(tiny_encoder).model_copy(update=change)) is None
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    settings = folder / "tokenizer_config.json"
    plain = settings.read_text()
    lower = json.loads(plain).get("do_lower_case", True)
    settings.write_text(json.dumps(json.loads(plain) | {"do_lower_case": not lower}))
    assert open_bert(exact(folder)) is None
    settings.write_text(plain)
    weights = {name: w.bfloat16() for name, w in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    assert open_bert(exact(folder)) is None


def test_a_tokenizer_of_more_tokens_is_refused_by_the_usual_way(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    weights = read_weights(folder / "model.safetensors")
    words = "embeddings.word_embeddings.weight"
    weights[words] = np.ascontiguousarray(weights[words][:-1])
    save_file(weights, folder / "model.safetensors")
    assert open_bert(exact(folder)) is None


def test_weights_of_a_run_are_asked_for_once(tiny_encoder: Path) -> None:
    """The base's weights are handed to the method, whose weights are read with."""

    def doubled(factor: int, base: Any) -> Any:
        return {name: factor * array for name, array in base.items()}

    opened, usual = (
        open_bert(exact(tiny_encoder), partial(doubled, 2)),
        open_bert(exact(tiny_encoder)),
    )
    assert opened is not None and usual is not None
    name = "encoder.layer.0.output.dense.weight"
    np.testing.assert_array_equal(opened[0].weights[name], 2 * usual[0].weights[name])
