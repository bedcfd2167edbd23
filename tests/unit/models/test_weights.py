"""The one door to weights: strangers' code does not run, quantised weights stay as they are."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from tailorbird.config.schema import Config, MethodConfig, ModelConfig
from tailorbird.errors import UserError
from tailorbird.methods.registry import get_method
from tailorbird.models.classifier import load_classifier
from tailorbird.models.device import choose
from tailorbird.models.embed import Embedder
from tailorbird.models.load import hidden_size, load_generative, load_tokenizer, tokenizer_in
from tailorbird.models.weights import explained
from tailorbird.rag.rerank import Reranker
from tailorbird.rag.retriever_training import load_embedder, load_reranker

# --- code that came with a model -------------------------------------------------------------

CPU = choose("cpu", "fp32")
_FOREIGN = {
    "AutoConfig": "foreign.Foreign",
    "AutoModel": "foreign.Foreign",
    "AutoModelForCausalLM": "foreign.Foreign",
    "AutoModelForSequenceClassification": "foreign.Foreign",
    "AutoTokenizer": ["foreign.Foreign", "foreign.Foreign"],
}


def _foreign(model: Path, place: Path, ran: Path, *, tokenizer_only: bool = False) -> Path:
    """Copy a model and have it ask for code that leaves the file `ran`."""
    copy = Path(shutil.copytree(model, place))
    (copy / "foreign.py").write_text(f"open({str(ran)!r}, 'w')\nclass Foreign: pass\n")
    (copy / "custom_generate").mkdir()
    (copy / "custom_generate" / "generate.py").write_text(f"open({str(ran)!r}, 'w')\n")
    more = {"tokenizer_class": "Foreign"}
    files = {"tokenizer_config.json": more}
    if not tokenizer_only:
        files["config.json"] = {"model_type": "foreign"}
    for name, values in files.items():
        settings = json.loads((copy / name).read_text())
        (copy / name).write_text(json.dumps(settings | values | {"auto_map": _FOREIGN}))
    return copy


_LOADERS: dict[str, Callable[[Path], Any]] = {
    "tokenizer": lambda p: load_tokenizer(ModelConfig(name=str(p))),
    "saved tokenizer": tokenizer_in,
    "classifier": lambda p: load_classifier(ModelConfig(name=str(p)), tiny.TARGET, CPU),
    "writer": lambda p: load_generative(ModelConfig(name=str(p)), CPU),
    "width": lambda p: hidden_size(ModelConfig(name=str(p))),
    "embedder": lambda p: Embedder(ModelConfig(name=str(p)), CPU),
    "reranker": lambda p: Reranker(ModelConfig(name=str(p)), CPU),
    "tuned embedder": lambda p: load_embedder(str(p), CPU, 64),
    "tuned reranker": lambda p: load_reranker(str(p), CPU, 64),
}


@pytest.mark.parametrize("loader", _LOADERS)
@pytest.mark.parametrize("tokenizer_only", [True, False], ids=["tokenizer's", "model's"])
def test_code_of_a_model_does_not_run_and_nobody_is_asked(
    loader: str,
    tokenizer_only: bool,
    tiny_decoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda words="": asked.append(words) or "y")
    ran = tmp_path / "ran"
    model = _foreign(tiny_decoder, tmp_path / "model", ran, tokenizer_only=tokenizer_only)
    if loader == "width" and tokenizer_only:
        pytest.skip("reads no tokenizer")
    with pytest.raises(UserError) as caught:
        _LOADERS[loader](model)
    if not loader.startswith("tuned"):  # sentence-transformers has words of its own
        assert caught.value.problem == f"model {model} comes with its own Python code"
        assert "trust_remote_code=true" in caught.value.fix
    assert not ran.exists()
    assert asked == []


def test_code_of_a_saved_full_model_does_not_run(
    tiny_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    base = load_generative(ModelConfig(name=str(tiny_decoder)), CPU)
    saved = _foreign(tiny_decoder, tmp_path / "model", tmp_path / "ran")
    get_method("full").load(base, saved)
    assert not (tmp_path / "ran").exists()


def test_code_runs_where_the_person_says_so(tiny_decoder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    model = _foreign(tiny_decoder, tmp_path / "model", ran)
    with pytest.raises(UserError):  # it is no tokenizer, but it ran
        load_tokenizer(ModelConfig(name=str(model), trust_remote_code=True))
    assert ran.exists()


@pytest.mark.parametrize("kind", ["os.path.join", "colorsys.Pooling", "foreign.Pooling"])
def test_modules_of_an_embedder_name_no_other_code(
    kind: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    (copy / "foreign.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Pooling: ...\n")
    listed = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "", "type": kind},
    ]
    (copy / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(UserError):
        load_embedder(str(copy), CPU, 64)
    assert not (tmp_path / "ran").exists()


# --- quantised weights -----------------------------------------------------------------------


def _quantised(model: Any) -> dict[str, torch.Tensor]:
    """Return the packed matrices by name, and check that none was repacked."""
    from bitsandbytes.nn import Linear4bit

    layers = {n: m for n, m in model.named_modules() if isinstance(m, Linear4bit)}
    assert layers
    for layer in layers.values():
        assert not getattr(layer.weight.quant_state, "packing_format_for_cpu", False)
    return {name: layer.weight.data.clone() for name, layer in layers.items()}


def _narrow(models: Any, place: Path) -> Path:
    """Save a Llama whose widths bitsandbytes' packed format cannot hold."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(models("bert"))
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=40, intermediate_size=44, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def _saved_in_four_bits(models: Any, shape: str, place: Path, head: str) -> Path:
    """Save a checkpoint whose own configuration says that it is quantised."""
    import transformers

    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    source = models("bert") if shape == "bert" else _narrow(models, place.parent / "narrow")
    kind = getattr(transformers, head)
    kind.from_pretrained(source, quantization_config=config).save_pretrained(place)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(place)
    return place


QLORA = Config(method=MethodConfig(name="qlora"))


def _options() -> Any:
    return get_method("qlora").load_options(QLORA.method, ("score", "lm_head", "classifier"), CPU)


def _own_quantisation(name: str, models: Any, place: Path) -> Any:
    """Load a model that we quantise, or one that was saved so, by each way there is."""
    if name == "classifier":
        config = ModelConfig(name=str(_narrow(models, place)))
        return load_classifier(config, tiny.TARGET, CPU, _options()).model
    if name == "writer":
        return load_generative(ModelConfig(name=str(_narrow(models, place))), CPU, _options()).model
    if name == "saved writer":
        saved = _saved_in_four_bits(models, "narrow", place, "AutoModelForCausalLM")
        return load_generative(ModelConfig(name=str(saved)), CPU).model
    head = "AutoModel" if "embedder" in name else "AutoModelForSequenceClassification"
    saved = _saved_in_four_bits(models, "bert", place, head)
    if name == "saved embedder":
        return Embedder(ModelConfig(name=str(saved)), CPU).model
    return load_embedder(str(saved), CPU, 64)


@pytest.mark.parametrize(
    "way", ["classifier", "writer", "saved writer", "saved embedder", "tuned embedder"]
)
def test_four_bit_weights_are_what_they_were_after_an_evaluation(
    way: str, processor: str, models: Any, tmp_path: Path
) -> None:
    """Also of widths (40, 44) that bitsandbytes' packed format cannot hold."""
    model = _own_quantisation(way, models, tmp_path / "model").eval()
    before = _quantised(model)
    ids = torch.arange(1, 9)[None]
    with torch.inference_mode():
        if way == "tuned embedder":
            model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        else:
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    after = _quantised(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_processor_of_either_kind_is_pretended(processor: str) -> None:
    assert choose("cpu").precision == ("bf16" if processor == "fast" else "fp32")


# --- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "key", "value"),
    [
        ("bert", "num_hidden_layers", 10**7),
        ("bert", "vocab_size", 10**8),
        ("bert", "intermediate_size", 10**7),
        ("bert", "max_position_embeddings", 10**9),
        ("bert", "num_labels", 10**9),
        ("bert", "hidden_size", 10**30),
        ("llama", "num_hidden_layers", 10**5),
        ("llama", "intermediate_size", 10**7),
    ],
)
def test_a_model_larger_than_its_weights_is_not_made(
    shape: str, key: str, value: int, models: Any, tmp_path: Path
) -> None:
    """Within a moment, and before any of it is in memory."""
    copy = Path(shutil.copytree(models(shape), tmp_path / "model"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {key: value}))
    loader = "writer" if shape == "llama" else "classifier"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="damaged or incomplete"):
        _LOADERS[loader](copy)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_tokenizer_of_another_model_is_told(tiny_encoder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    config = json.loads((copy / "tokenizer_config.json").read_text())
    config["cls_token"] = "unheard"
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(
        UserError, match=r"has a vocabulary of 30,522 tokens, but its tokenizer gives token id"
    ):
        Embedder(ModelConfig(name=str(copy)), CPU).embed(["a text"])


def test_a_relative_folder_that_is_not_here_is_not_called_damaged() -> None:
    from huggingface_hub import try_to_load_from_cache

    # A run keeps its base model's relative path, which is none from another working folder.
    with (
        pytest.raises(UserError, match=r"(?s)is not on this machine.*the working folder"),
        explained("my model/bert"),
    ):
        try_to_load_from_cache("my model/bert", "config.json")
