"""The cross-encoder, against sentence-transformers' own."""

from pathlib import Path

import numpy as np
import pytest

from small_knowledge import SmallKnowledge
from tailorbird.config.knowledge import RetrieveConfig
from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.models.device import choose
from tailorbird.rag.rerank import Reranker
from tailorbird.rag.retrieve import Retriever, reranker_name

PAIRS = [
    ("what is a moon", "the moon is a rock"),
    ("soup", "word " * 300),
    ("a race", ""),
    ("what is a moon", "they talk about bread when they meet in the evening"),
]


def cross_encoder(base: Path, place: Path, outputs: int) -> Path:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=outputs)
    model.save_pretrained(place)
    AutoTokenizer.from_pretrained(base).save_pretrained(place)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 2])
def test_scores_are_those_of_sentence_transformers(
    tiny_encoder: Path, tmp_path: Path, outputs: int
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    folder = cross_encoder(tiny_encoder, tmp_path / "cross", outputs)
    theirs = CrossEncoder(str(folder), device="cpu", max_length=128)
    raw = theirs.predict(PAIRS, activation_fn=torch.nn.Identity())
    logits = torch.from_numpy(np.asarray(raw, dtype=np.float64))
    expected = logits.sigmoid() if outputs == 1 else logits.softmax(1)[:, 1]
    found = Reranker(ModelConfig(name=str(folder)), choose("cpu", "fp32")).score_pairs(PAIRS)
    np.testing.assert_allclose(found, expected.numpy().reshape(-1), atol=1e-5)


def test_the_order_and_the_batch_do_not_matter(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = cross_encoder(tiny_encoder, tmp_path / "cross", 1)
    ours = Reranker(ModelConfig(name=str(folder)), choose("cpu", "fp32"))
    together = ours.score_pairs(PAIRS)
    alone = [float(ours.score(question, [text])[0]) for question, text in PAIRS]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(ours.score("question", [])) == 0
    assert ((together > 0) & (together < 1)).all()


def test_a_model_that_is_no_cross_encoder_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a cross-encoder"):
        Reranker(ModelConfig(name=str(tiny_encoder)), choose("cpu", "fp32"))
    three = cross_encoder(tiny_encoder, tmp_path / "three", 3)
    with pytest.raises(UserError, match="3 outputs"):
        Reranker(ModelConfig(name=str(three)), choose("cpu", "fp32"))


def test_a_published_reranker_serves_from_where_the_folder_is(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = cross_encoder(tiny_encoder, tmp_path / "kb" / "rerankers" / "1", 1)
    kb = SmallKnowledge({"a.md": "One text.\n\nAnother text.", "b.md": "A third text."})
    assert Retriever(kb, RetrieveConfig()).reranker is None
    kb.folder = tmp_path / "kb"
    kb.kept["reranker"] = "rerankers/1"
    found = Retriever(kb, RetrieveConfig())
    assert isinstance(found.reranker, Reranker) and found.reranker.name == str(folder)
    assert all(hit.reranked is not None for hit in found.hits("text", k=3))
    assert Retriever(kb, RetrieveConfig(reranker="none")).reranker is None
    assert reranker_name(RetrieveConfig(reranker="asked"), kb) == "asked"
