"""Losses and negatives of tuning, against closed forms and sentence-transformers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small_search
from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.models.device import choose
from tailorbird.rag.pairs import Corpus, Pair, Queries
from tailorbird.rag.tune import (
    EmbedderLearner,
    Pool,
    best_chunks,
    dense_ndcg,
    load_embedder,
    make_pool,
    mine,
    save_embedder,
)

PAIRS = [
    Pair("dog price", "house animal: cost", "a", negatives=("road machine: cost",)),
    Pair("car law", "road machine: court", "b", negatives=("road machine: paint",)),
    Pair("snow size", "white weather: large", "c", negatives=("white weather: harm",)),
]
NONE = Pool(Queries({}, {}), [])


def learner(folder: Path, **settings: Any) -> EmbedderLearner:
    import torch

    torch.manual_seed(0)
    device = choose("cpu", "fp32")
    model = load_embedder(str(folder), device, 64)
    asked = RetrieverConfig(**settings)
    return EmbedderLearner(model.eval(), asked, NONE, Corpus([], []), device)


def gradients(made: EmbedderLearner, batch: list[Pair]) -> tuple[float, dict[str, Any]]:
    made.model.zero_grad()
    loss = made.loss(batch)
    loss.backward()  # type: ignore[no-untyped-call]
    found = {n: p.grad.clone() for n, p in made.model.named_parameters() if p.grad is not None}
    return float(loss.detach()), found


@pytest.mark.parametrize("negatives", [0, 1])
def test_loss_is_the_softmax_over_all_texts_of_the_batch(
    negatives: int, tiny_encoder: Path
) -> None:
    made = learner(tiny_encoder, temperature=0.1)
    batch = [replace(pair, negatives=pair.negatives[:negatives]) for pair in PAIRS]
    texts = [p.positive for p in batch] + [n for p in batch for n in p.negatives]
    plain: dict[str, Any] = {"normalize_embeddings": True}
    asked = made.model.encode([p.query for p in batch], **plain).astype(np.float64)
    logits = asked @ made.model.encode(texts, **plain).astype(np.float64).T / 0.1
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[range(3), range(3)])
    assert float(made.loss(batch).detach()) == pytest.approx(expected, rel=1e-4)


def test_cached_loss_and_gradients_are_those_of_the_plain_loss(tiny_encoder: Path) -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    cached = learner(tiny_encoder, micro_batch_size=1)
    plain = learner(tiny_encoder)
    plain._loss = MultipleNegativesRankingLoss(plain.model, scale=20.0)
    ours, theirs = gradients(cached, PAIRS), gradients(plain, PAIRS)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1].keys() == theirs[1].keys() and ours[1]
    for name, gradient in theirs[1].items():
        np.testing.assert_allclose(ours[1][name], gradient, rtol=2e-3, atol=2e-6, err_msg=name)


def unit(*rows: tuple[float, float]) -> np.ndarray:
    found = np.asarray(rows, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def at(cosine: float) -> tuple[float, float]:
    return cosine, float(np.sqrt(1 - cosine**2))


def test_false_negatives_are_filtered() -> None:
    # Of the query (1, 0): the positive at 0.8; 0.79 is above 95 % of it, 0.75 is not.
    corpus = Corpus(["right", "also", "twin", "hard", "easy"], ["r", "a", "t", "h", "e"])
    vectors = unit(at(0.8), at(0.7), at(0.79), at(0.75), at(0.1))
    pair = Pair("ask", "r", "right", others=frozenset({"also"}))
    settings = RetrieverConfig(hard_negatives=2)
    found = mine([pair], corpus, unit((1, 0)), vectors, None, settings)
    assert found[0].negative_sources == ("hard", "easy")
    assert found[0].negatives == ("h", "e")
    loose = settings.model_copy(update={"false_negative": 1.0, "hard_negatives": 1})
    assert mine([pair], corpus, unit((1, 0)), vectors, None, loose)[0].negatives == ("t",)


def test_words_find_negatives_too() -> None:
    corpus = Corpus(["right", "near", "named"], ["r", "n", "w"])
    vectors = unit(at(0.9), at(0.5), at(0.2))
    settings = RetrieverConfig(hard_negatives=2, mining_depth=2)
    found = mine(
        [Pair("ask", "r", "right")],
        corpus,
        unit((1, 0)),
        vectors,
        lambda question, k: {2: 3.0, 0: 1.0},
        settings,
    )
    assert set(found[0].negative_sources) == {"near", "named"}


def test_the_positive_is_the_chunk_nearest_to_the_query() -> None:
    corpus = Corpus(["a", "a", "b"], ["0", "1", "2"])
    queries = Queries({"q": "ask"}, {"q": {"a": 1, "gone": 1}})
    found = best_chunks(queries, corpus, unit((1, 0)), unit(at(0.1), at(0.6), at(0.9)))
    assert found == {("q", "a"): 1}


def test_a_document_counts_as_its_best_chunk() -> None:
    queries = Queries({"q": "ask"}, {"q": {"b": 1}})
    vectors = unit(at(0.9), at(0.8), at(0.7))
    found = dense_ndcg(unit((1, 0)), vectors, queries, ["a", "a", "b"])
    assert found[0] == pytest.approx(1 / np.log2(3))  # second document, third chunk


def test_the_pool_holds_right_texts_and_the_hardest_others() -> None:
    corpus = Corpus(list("abcdef"), list("abcdef"))
    queries = Queries({"1": "x", "2": "y"}, {"1": {"a": 1}, "2": {"b": 1}})
    pool = make_pool(queries, corpus, {"1": [5, 2], "2": [0, 3]}, 4)
    assert set(pool.places) == {0, 1, 5, 2}


def test_saved_folder_is_sentence_transformers_own(tiny_encoder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from tailorbird.config.schema import ModelConfig
    from tailorbird.models.embed import Embedder

    device = choose("cpu", "fp32")
    model = load_embedder(str(tiny_encoder), device, 16)
    save_embedder(model, tmp_path, 100)
    assert {"modules.json", "config.json", "model.safetensors"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert (tmp_path / "1_Pooling" / "config.json").is_file()
    texts = small_search.corpus().texts[:4]
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    assert theirs.max_seq_length == 100  # as long as before: training cuts, serving does not
    ours = Embedder(ModelConfig(name=str(tmp_path)), device).embed_documents(texts).vectors
    expected = theirs.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
