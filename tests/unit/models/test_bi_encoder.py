"""Pairs read one by one: sentence-transformers' vectors, and the same answers after loading."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.config.schema import METHODS, Config, ModelConfig
from tailorbird.data.encode import encode_apart
from tailorbird.errors import UserError
from tailorbird.evaluate.predict import predict
from tailorbird.flows.arm import HEADS, make_model
from tailorbird.flows.reading import trained_target
from tailorbird.methods import get_method
from tailorbird.models.bi_encoder import bi_encoder_class
from tailorbird.models.builtin import resolve
from tailorbird.models.device import choose
from tailorbird.models.load import is_sentence_model, load_classifier
from tailorbird.records import Example, Split, Target, Task

CPU = choose("cpu", "fp32")
TARGET = Target("regression", ("alike",), (0.0,), (1.0,), pairs=True, bi_encoder=True)
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
    assert is_sentence_model(ModelConfig(name=str(tmp_path)))
    # A head of this shape is no head for texts read together: refused, never drawn anew.
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
    assert (encoded.lengths.tolist(), encoded.full_lengths.tolist()) == ([9], [8])
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
    task: Task, name: str, asked: str, expected: bool, tiny_encoder: Path
) -> None:
    def split(*pair: str) -> Split:
        rows = tuple(Example("a / b", "x", row=i, pair=pair, values=(float(i),)) for i in (1, 2))
        return Split(rows, rows, rows, ("x",), "", task=task)

    model = {"name": name or str(tiny_encoder), "pairs": asked}
    config = Config.model_validate({"model": model})
    assert trained_target(config, split("a", "b")).bi_encoder is expected
    assert trained_target(config, split()).bi_encoder is False


def test_a_model_with_a_decoder_of_its_own_is_refused() -> None:
    from transformers import T5Config

    with pytest.raises(UserError, match="type t5 cannot read") as caught:
        bi_encoder_class(T5Config())
    assert "model.pairs=cross-encoder" in caught.value.fix
