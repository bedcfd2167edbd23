"""Pairs read one by one: sentence-transformers' vectors, and the same answers after loading."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Gemma3TextConfig, T5Config

from tailorbird.config import METHODS, Config
from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode import collate, encode_apart, token_batches
from tailorbird.errors import UserError
from tailorbird.methods.registry import get_method
from tailorbird.models.bi_encoder import bi_encoder_class, vector_pooling
from tailorbird.models.builtin import resolve
from tailorbird.models.classifier import load_classifier
from tailorbird.models.device import choose
from tailorbird.models.head_logits import predict
from tailorbird.records import Example, Split, Target, TaskName
from tailorbird.tasks.base_model import HEADS
from tailorbird.tasks.fit_head import make_model, trained_target
from tailorbird.tasks.registry import head_task

CPU = choose("cpu", "fp32")
TARGET = Target("regression", ("alike",), (0.0,), (1.0,), pairs=True, pooling=("mean",))
PAIRS = [
    ("the moon", "a comet"),
    ("soup", "bread and butter with a long list of other things to eat for lunch today"),
    ("a goal in the final race", "their coach"),
]


def base_of(folder: Path | str) -> Any:
    torch.manual_seed(3)
    base = load_classifier(ModelConfig(name=str(folder)), TARGET, CPU)
    base.model.eval()
    return base


def logits_of(model: Any, tokenizer: Any, pairs: list[tuple[str, str]]) -> np.ndarray:
    encoded = encode_apart(pairs, tokenizer, 32)
    return predict(model, encoded, tokenizer.pad_token_id, CPU).logits


def test_the_cosine_is_sentence_transformers_own() -> None:
    from sentence_transformers import SentenceTransformer

    base = base_of("builtin:minilm")
    with torch.no_grad():
        base.model.classifier.weight.zero_()[0, -1] = 0.5
        base.model.classifier.bias.zero_()
    ours = logits_of(base.model, base.tokenizer, PAIRS)[:, 0]
    theirs = SentenceTransformer(resolve("builtin:minilm"), device="cpu")
    first, second = (theirs.encode([p[i] for p in PAIRS], convert_to_tensor=True) for i in (0, 1))
    expected = torch.nn.functional.cosine_similarity(first, second).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_pair_is_answered_alike_alone_and_among_others(tiny_encoder: Path) -> None:
    base = base_of(tiny_encoder)
    together = logits_of(base.model, base.tokenizer, PAIRS)
    alone = np.concatenate([logits_of(base.model, base.tokenizer, [pair]) for pair in PAIRS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together) > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_every_method_starts_from_the_base_and_loads_again(
    method: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    config = Config.model_validate(
        {"model": {"name": str(tiny_encoder), "device": "cpu"}, "method": {"name": method}}
    )
    how = get_method(config.method.name)
    options = how.load_options(config.method, HEADS, CPU)
    model, base = make_model(config, TARGET, CPU, how)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any("classifier" in name for name in trained)
    with torch.no_grad():
        for _, p in model.named_parameters():
            if p.requires_grad and method != "full":
                p.add_(0.05 * torch.randn_like(p))
    before = logits_of(model.eval(), base.tokenizer, PAIRS)
    how.save(model, tmp_path)
    again = how.load(load_classifier(config.model, TARGET, CPU, options), tmp_path)
    np.testing.assert_array_equal(logits_of(again, base.tokenizer, PAIRS), before)


def test_a_gradient_reaches_both_texts(tiny_encoder: Path) -> None:
    base = base_of(tiny_encoder)
    tokens = base.tokenizer(list(PAIRS[0]), padding=True, return_tensors="pt")
    words = base.model.get_input_embeddings()(tokens["input_ids"]).detach().requires_grad_(True)
    mask = tokens["attention_mask"]
    base.model(inputs_embeds=words, attention_mask=mask).logits.sum().backward()
    assert words.grad is not None
    assert (words.grad.abs().amax(dim=(1, 2)) > 0).all()


def test_its_folder_is_the_encoder_to_other_programs(tiny_encoder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoModelForSequenceClassification

    base = base_of(tiny_encoder)
    with torch.no_grad():
        for weights in base.model.parameters():
            weights.mul_(1.1)
    base.model.save_pretrained(tmp_path)
    plain = AutoModel.from_pretrained(tmp_path).eval()
    tokens = base.tokenizer(PAIRS[1][1], return_tensors="pt")
    with torch.no_grad():
        theirs, ours = (m(**tokens).last_hidden_state for m in (plain, base.model.base_model))
    assert torch.equal(theirs, ours)
    base.tokenizer.save_pretrained(tmp_path)
    vectors = SentenceTransformer(str(tmp_path), device="cpu").encode([PAIRS[1][1]])
    mean = torch.nn.functional.normalize(ours.mean(dim=1), dim=1)
    np.testing.assert_allclose(vectors, mean.numpy(), atol=1e-5)
    assert vector_pooling(ModelConfig(name=str(tmp_path))) == ("mean",)
    # A head of this shape is no head of BERT's for texts read together.
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_a_checkpoint_with_another_head_and_a_decoder_are_read_too(
    tiny_encoder: Path, tiny_decoder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    headed = AutoModelForSequenceClassification.from_pretrained(tiny_encoder, num_labels=5)
    headed.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    for folder in (tmp_path, tiny_decoder):
        base = base_of(folder)
        assert base.head == ("classifier",)
        assert logits_of(base.model, base.tokenizer, PAIRS).shape == (3, 1)


def test_texts_are_cut_one_by_one(tiny_encoder: Path) -> None:
    base = base_of(tiny_encoder)
    encoded = encode_apart([("one two three four five six", "seven")], base.tokenizer, 6, [4])
    assert base.tokenizer.decode(encoded.ids[0]) == "[CLS] one two three four [SEP]"
    assert encoded.seconds is not None
    assert base.tokenizer.decode(encoded.seconds[0]) == "[CLS] seven [SEP]"
    assert (encoded.lengths.tolist(), encoded.full_lengths.tolist()) == ([12], [8])
    assert encoded.first(1).seconds is not None


@pytest.mark.parametrize(
    ("task", "name", "asked", "expected"),
    [
        ("regression", "builtin:minilm", "auto", True),
        ("classification", "builtin:minilm", "auto", False),
        ("classification", "builtin:minilm", "bi-encoder", True),
        ("regression", "builtin:minilm", "cross-encoder", False),
        ("regression", "", "auto", False),
        ("regression", "", "bi-encoder", True),
    ],
)
def test_numbers_of_pairs_go_to_sentence_vectors(
    task: TaskName, name: str, asked: str, expected: bool, tiny_encoder: Path
) -> None:
    def split(*pair: str) -> Split:
        rows = tuple(Example("a / b", "x", row=i, pair=pair, values=(float(i),)) for i in (1, 2))
        return Split(rows, rows, rows, ("x",), "", task=task)

    model = {"name": name or str(tiny_encoder), "pairs": asked}
    config = Config.model_validate({"model": model})
    assert trained_target(head_task(task), config, split("a", "b")).bi_encoder is expected
    assert trained_target(head_task(task), config, split()).bi_encoder is False


def test_a_model_with_a_decoder_of_its_own_is_refused() -> None:
    with pytest.raises(UserError, match="type t5 cannot encode") as caught:
        bi_encoder_class(T5Config())
    assert "model.pairs=cross-encoder" in caught.value.fix


def _sentence_folder(folder: Path, *kinds: str, **files: Any) -> ModelConfig:
    """Lay the description of a sentence-transformers model of these modules into a model folder."""
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"x.models.{kind}"}
        for i, kind in enumerate(("Transformer", *kinds))
    ]
    for name, content in {"modules": modules, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return ModelConfig(name=str(folder))


def test_auto_takes_what_a_bi_encoder_can_repeat(tiny_encoder: Path, tmp_path: Path) -> None:
    copytree(tiny_encoder, tmp_path / "model")
    folder = tmp_path / "model"
    assert vector_pooling(ModelConfig(name=str(folder))) is None
    assert vector_pooling(_sentence_folder(folder, "Pooling", "Normalize")) == ("mean",)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    assert vector_pooling(_sentence_folder(folder, "Pooling")) == ("cls",)
    for kinds in ((), ("Pooling", "Dense"), ("SpladePooling",)):
        assert vector_pooling(_sentence_folder(folder, *kinds)) is None, kinds
    prompted = {"prompts": {"x": "query: "}, "default_prompt_name": "x"}
    for own in ({"model_type": "CrossEncoder"}, prompted):
        told = _sentence_folder(folder, "Pooling", config_sentence_transformers=own)
        assert vector_pooling(told) is None, own
    (folder / "config_sentence_transformers.json").unlink()
    T5Config(d_model=8, num_layers=1, vocab_size=9).save_pretrained(folder)
    assert vector_pooling(_sentence_folder(folder, "Pooling")) is None


def test_a_family_of_several_kinds_loads_again(tmp_path: Path) -> None:
    shape = Gemma3TextConfig(
        vocab_size=40, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, num_labels=2,
    )  # fmt: skip
    shape.pair_pooling = ["mean"]
    kind = bi_encoder_class(shape)
    model = kind(shape).eval()
    model.save_pretrained(tmp_path)
    ids = torch.arange(1, 21).reshape(4, 5)
    with torch.no_grad():
        first, again = (
            m(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            for m in (model, kind.from_pretrained(tmp_path).eval())
        )
    assert first.shape == (2, 2)
    assert torch.equal(first, again)


@pytest.mark.parametrize("change", [{"intermediate_size": 48}, {"num_hidden_layers": 4}])
def test_weights_that_do_not_fit_are_told(
    change: dict[str, int], tiny_encoder: Path, tmp_path: Path
) -> None:
    copytree(tiny_encoder, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="weights do not fit, e.g. bert.encoder"):
        base_of(tmp_path / "model")


def test_virtual_tokens_are_read_and_not_pooled(tiny_encoder: Path) -> None:
    config = Config.model_validate(
        {"model": {"name": str(tiny_encoder), "device": "cpu"}, "method": {"name": "prompt"}}
    )
    model, base = make_model(config, TARGET, CPU, get_method("prompt"))
    inner: Any = base.model
    with torch.no_grad():
        inner.classifier.modules_to_save["default"].weight.zero_()[0, -1] = 0.5
        inner.classifier.modules_to_save["default"].bias.zero_()
    ours = logits_of(model.eval(), base.tokenizer, [PAIRS[0]])[0, 0]
    prompt: Any = model.get_prompt(batch_size=1)  # type: ignore[operator]
    vectors = []
    with torch.no_grad():
        for text in PAIRS[0]:
            words = inner.get_input_embeddings()(
                base.tokenizer(text, return_tensors="pt").input_ids
            )
            hidden = inner.base_model(inputs_embeds=torch.cat([prompt, words], 1))[0]
            vectors.append(hidden[0, prompt.shape[1] :].mean(0))
        expected = torch.nn.functional.cosine_similarity(*vectors, dim=0)
    assert ours == pytest.approx(expected.item(), abs=1e-5)


def test_batches_keep_to_their_tokens(tiny_encoder: Path) -> None:
    pairs = [("moon " * (i % 30 + 1), "soup " * (29 - i % 30 + 1)) for i in range(200)]
    encoded = encode_apart(pairs, base_of(tiny_encoder).tokenizer, 64)
    for indices in token_batches(encoded.lengths, 512):
        assert collate(encoded, indices, 0)["input_ids"].size <= 512 + 8 * len(indices)


def test_order_counts_for_labels_and_not_for_numbers(tiny_encoder: Path) -> None:
    swapped = [(second, first) for first, second in PAIRS]
    for task in ("regression", "classification"):
        torch.manual_seed(3)
        target = replace(TARGET, task=task, labels=("a", "b"))
        base = load_classifier(ModelConfig(name=str(tiny_encoder)), target, CPU)
        model = base.model.eval()
        one, other = (logits_of(model, base.tokenizer, pairs) for pairs in (PAIRS, swapped))
        assert np.allclose(one, other, atol=1e-6) is (task == "regression")
