"""Losses and negatives of tuning, against closed forms and sentence-transformers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small_search
from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.models.device import choose
from tailorbird.rag.query_pairs import Corpus, Queries
from tailorbird.rag.retriever_training import (
    best_chunks,
    dense_ndcg,
    load_embedder,
    load_reranker,
    make_pool,
    mine,
)
from tailorbird.records import RankingPair as Pair
from tailorbird.train.ranking_workloads import EmbedderWork, RerankerWork

PAIRS = [
    Pair("dog price", "house animal: cost", "a", negatives=("road machine: cost",)),
    Pair("car law", "road machine: court", "b", negatives=("road machine: paint",)),
    Pair("snow size", "white weather: large", "c", negatives=("white weather: harm",)),
]


def work(folder: Path, pairs: list[Pair], **settings: Any) -> tuple[Any, EmbedderWork]:
    import torch

    torch.manual_seed(0)
    model = load_embedder(str(folder), choose("cpu", "fp32"), 64).eval()
    return model, EmbedderWork(model, pairs, RetrieverConfig(**settings))


def gradients(model: Any, loss: Any) -> dict[str, Any]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


ALL = np.arange(3)


@pytest.mark.parametrize("negatives", [0, 1])
def test_loss_is_the_softmax_over_all_texts_of_the_batch(
    negatives: int, tiny_encoder: Path
) -> None:
    batch = [replace(pair, negatives=pair.negatives[:negatives]) for pair in PAIRS]
    model, made = work(tiny_encoder, batch, temperature=0.1)
    texts = [p.positive for p in batch] + [n for p in batch for n in p.negatives]
    plain: dict[str, Any] = {"normalize_embeddings": True}
    asked = model.encode([p.query for p in batch], **plain).astype(np.float64)
    logits = asked @ model.encode(texts, **plain).astype(np.float64).T / 0.1
    expected = np.sum(np.log(np.exp(logits).sum(1)) - logits[range(3), range(3)])
    assert float(made.loss_sum(model, ALL).detach()) == pytest.approx(expected, rel=1e-4)


def test_cached_loss_and_gradients_are_those_of_the_plain_loss(tiny_encoder: Path) -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model, cached = work(tiny_encoder, PAIRS, micro_batch_size=1)
    ours = cached.loss_sum(model, ALL)
    columns = zip(*((p.query, p.positive, p.negatives[0]) for p in PAIRS), strict=True)
    features = [cached.features(texts) for texts in columns]
    theirs = MultipleNegativesRankingLoss(model, scale=20.0)(features, None)
    assert float(ours.detach()) == pytest.approx(3 * float(theirs.detach()), rel=1e-5)
    own, plain = gradients(model, ours / 3), gradients(model, theirs)
    assert own.keys() == plain.keys() and own
    for name, gradient in plain.items():
        np.testing.assert_allclose(own[name], gradient, rtol=2e-3, atol=2e-6, err_msg=name)


def test_a_rerankers_loss_is_that_of_sentence_transformers(tiny_encoder: Path) -> None:
    import torch
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    model = load_reranker(str(tiny_encoder), choose("cpu", "fp32"), 64).eval()
    pairs = [*PAIRS[:2], replace(PAIRS[2], negatives=("white weather: harm", "dog"))]
    made = RerankerWork(model, pairs, RetrieverConfig(micro_batch_size=2))
    rows = [(p.query, text) for p in pairs for text in (p.positive, *p.negatives)]
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    columns: Any = [[row[0] for row in rows], [row[1] for row in rows]]
    expected = float(BinaryCrossEntropyLoss(model)(columns, labels).detach())
    parts = made.micro_batches(ALL)
    assert len(parts) > 1 and made.weight(ALL) == 7
    loss = sum(float(made.loss_sum(model, part).detach()) for part in parts)
    assert loss / 7 == pytest.approx(expected, rel=1e-5)


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
    model.max_seq_length = 100
    model.save_pretrained(str(tmp_path))
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
