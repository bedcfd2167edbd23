"""Tuning a retriever as a person meets it: learnt, judged, published or not, and reported."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small_search
from tailorbird.config import Config
from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.flows.tune_embedder import Tuned
from tailorbird.flows.tune_retriever import publish, tune_store
from tailorbird.knowledge.ledger import text_hash
from tailorbird.models.device import PROCESSOR_SWITCH, choose
from tailorbird.models.embed import Embedder
from tailorbird.records import Chunk, Hit, RetrieverReport

LEARNS = {"pairs": "given", "epochs": 12, "batch_size": 16, "patience": 9, "evaluate_every": 20}


class Store:
    """A knowledge base in memory, with generations; `fails` dies while one is built."""

    def __init__(self, path: Path, embedder: Path, *, fails: bool = False) -> None:
        self.folder, self.fails = path, fails
        self.corpus = small_search.corpus()
        self.kept: dict[str, Any] = {}
        self.generations: dict[int, Embedder] = {0: self._load(str(embedder))}
        self.current = 0
        parts = zip(self.corpus.sources, self.corpus.texts, strict=True)
        self.all = [Chunk(f"{n}", s, 0, t, 0, len(t)) for n, (s, t) in enumerate(parts)]
        self.words = small_search.word_side(self.corpus.texts)

    @staticmethod
    def _load(name: str) -> Embedder:
        return Embedder(ModelConfig(name=name), choose("cpu", "fp32"))

    @property
    def embedder(self) -> Embedder:
        return self.generations[self.current]

    @contextmanager
    def reading(self) -> Iterator["Store"]:
        yield self

    waits = False

    def whole(self) -> bool:
        return True

    def sources(self) -> list[str]:
        return self.corpus.sources

    def chunks(self, source: str) -> list[Chunk]:
        return [chunk for chunk in self.all if chunk.source == source]

    def matching(self, question: str, k: int, where: str | None = None) -> list[Hit]:
        found = self.words(question, k)
        return [Hit(self.all[place], score, words=score) for place, score in found.items()]

    def vectors(self, hits: Any) -> np.ndarray:
        return self.embedder.embed_documents([hit.chunk.text for hit in hits]).vectors

    def get_setting(self, name: str) -> Any:
        return self.kept.get(name)

    def set_setting(self, name: str, value: Any) -> None:
        self.kept[name] = value

    def build_generation(self, embedder: str, title: str = "", vectors: Any = None) -> int:
        if self.fails:
            raise KeyboardInterrupt
        self.given = vectors
        self.generations[len(self.generations)] = self._load(embedder)
        return len(self.generations) - 1

    def switch(self, number: int, weight: float | None = None) -> None:
        self.current = number
        self.kept["weight"] = weight


@pytest.fixture(scope="module", autouse=True)
def in_fp32() -> Iterator[None]:
    """Compute as a processor without fast bf16: vectors are compared to rounding."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PROCESSOR_SWITCH, "slow")
        yield


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return BEIR files of the small search's queries."""
    folder = tmp_path_factory.mktemp("beir")
    queries = small_search.queries()
    rows = [json.dumps({"_id": q, "text": text}) for q, text in queries.texts.items()]
    (folder / "queries.jsonl").write_text("\n".join(rows))
    lines = [f"{q}\t{doc}\t1" for q, right in queries.grades.items() for doc in right]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    return folder / "queries.jsonl", folder / "qrels.tsv"


def tuned(store: Store, judged: Any, output: Path, **settings: Any) -> RetrieverReport:
    asked = RetrieverConfig(**LEARNS | settings)
    config = Config(retriever=asked, output=str(output), model=ModelConfig(device="cpu"))
    return tune_store(store, config, *judged, command="tailor tune --retriever")


@pytest.fixture(scope="module")
def better(
    judged: Any, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, RetrieverReport, Path]:
    """Return a store whose embedder was tuned, the report, and the run's folder."""
    folder = tmp_path_factory.mktemp("better")
    store = Store(folder / "kb", tiny_encoder)
    report = tuned(store, judged, folder / "run", learning_rate=3e-3)
    return store, report, folder / "run"


def test_a_better_embedder_is_published(better: tuple[Store, RetrieverReport, Path]) -> None:
    store, report, run = better
    assert report.sections.published and report.comparisons[0].p_holm < 0.05
    assert report.sections.after["dense"].value > report.sections.before["dense"].value + 0.1
    assert report.sections.queries == {"train": 58, "validation": 14, "held out": 24}
    # The model in use lies in the knowledge base: the run may be thrown away.
    assert store.current == 1 and Path(store.embedder.name).parent == store.folder / "embedders"
    assert store.kept["weight"] == report.sections.weights[1]  # type: ignore[index]
    # What the gate embedded is the shadow index: nothing is embedded twice.
    wanted = store.vectors([Hit(chunk, 0.0) for chunk in store.all])
    given = [store.given[text_hash(text)] for text in store.corpus.texts]
    np.testing.assert_allclose(np.stack(given), wanted, atol=1e-6)
    written = json.loads((run / "report.json").read_text())
    assert written["kind"] == "retriever" and written["published"] is True
    page = (run / "report.html").read_text()
    assert "<h1>Published</h1>" in page and report.sections.changes[0].text in page
    assert not (run / "checkpoints").exists()


def test_a_ruined_embedder_is_not(
    judged: Any, tiny_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "kb", tiny_encoder)
    report = tuned(store, judged, tmp_path / "run", learning_rate=10.0, epochs=1, averages=(1.0,))
    assert not report.sections.published and store.current == 0 and store.kept == {}
    assert "not shown to be better" in report.sections.words and "nDCG@10" in report.sections.words
    assert "it is not published" in capsys.readouterr().err
    assert "<h1>Not published</h1>" in (tmp_path / "run" / "report.html").read_text()


def test_killed_while_the_shadow_is_built_leaves_the_old_one(
    better: tuple[Store, RetrieverReport, Path], tiny_encoder: Path, tmp_path: Path
) -> None:
    _, report, run = better
    store = Store(tmp_path / "kb", tiny_encoder, fails=True)
    before = store.vectors([Hit(store.all[0], 0.0)])
    with pytest.raises(KeyboardInterrupt):
        publish(store, Tuned(report, run / "model", before, 0.3), store.corpus.texts[:1])
    assert store.current == 0 and store.kept == {}
    np.testing.assert_array_equal(store.vectors([Hit(store.all[0], 0.0)]), before)


@pytest.mark.slow
def test_lora_is_merged_into_a_plain_folder(
    judged: Any, tiny_encoder: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "kb", tiny_encoder)
    report = tuned(store, judged, tmp_path / "run", method="lora", learning_rate=3e-3, epochs=2)
    names = {path.name for path in (tmp_path / "run" / "model").iterdir()}
    assert "modules.json" in names and not any("adapter" in name for name in names)
    assert report.sections.steps > 0


@pytest.mark.slow
def test_a_reranker_is_tuned_and_judged(judged: Any, tiny_encoder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "kb", tiny_encoder)
    asked = RetrieverConfig(**LEARNS | {"learning_rate": 1e-3, "epochs": 3})
    config = Config(
        retriever=asked, output=str(tmp_path / "run"), model=ModelConfig(name=str(tiny_encoder))
    )
    report = tune_store(store, config, *judged, reranker=True)
    assert report.sections.tuned == "reranker" and set(report.sections.before) == {"none"}
    assert (tmp_path / "run" / "report.html").is_file()
    from tailorbird.rag.retriever_training import load_reranker

    model = load_reranker(str(tmp_path / "run" / "model"), choose("cpu", "fp32"), 64)
    assert np.isfinite(model.predict([("dog price", "house animal")])).all()
    assert report.sections.published == ("reranker" in store.kept)


def test_faults_are_told_before_anything_is_learnt(tiny_encoder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "kb", tiny_encoder)
    few = tmp_path / "few.csv"
    few.write_text("question,source\nwhat is it,dog-price.md\n")
    with pytest.raises(UserError, match="1 judged queries are too few"):
        tuned(store, (few, None), tmp_path / "a")
    with pytest.raises(UserError, match="no judged queries were given"):
        tuned(store, (None, None), tmp_path / "b")
    with pytest.raises(UserError, match="only 0 pairs can be made"):
        tuned(store, (None, None), tmp_path / "c", pairs="auto")
