"""Ranking in the loop: no false negatives, the best weights back, nothing lost by Ctrl-C."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.errors import Interrupted, OutOfMemory, TrainingDiverged, UserError
from tailorbird.models.device import choose
from tailorbird.records import RankingPair as Pair
from tailorbird.runs.folder import RunFolder
from tailorbird.train.ranking_workloads import RankingWork, distinct_batches, fit_ranking

PAIRS = [Pair(f"q{n}", f"t{n}", f"d{n}") for n in range(20)]
SETTINGS = RetrieverConfig(
    batch_size=5, epochs=3, averages=(1.0,), patience=9, evaluate_every=1, learning_rate=0.1
)


class Line(torch.nn.Module):
    """One weight that a loss draws to 1."""

    device = torch.device("cpu")
    prompts: Any = None
    preprocess = None

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))


class Drawn(RankingWork):
    """Work whose validation is told; each batch pulls the weight by its own amount."""

    def __init__(self, scores: Sequence[float] = (), stop_at: int = 0) -> None:
        self.model: torch.nn.Module = Line()
        super().__init__(self.model, PAIRS, SETTINGS)
        self.scores, self.stop_at = list(scores), stop_at
        self.steps = 0
        self.seen: list[float] = []

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        return [indices]

    def loss_sum(self, model: Any, indices: np.ndarray) -> torch.Tensor:
        assert model is self.model, "the work uses the model that it is handed"
        self.steps += 1
        if self.steps == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        target = 1 + sum(int(PAIRS[i].query[1:]) for i in indices) / 100
        loss: torch.Tensor = ((model.weight - target - torch.rand(3)) ** 2).mean()
        return loss * len(indices)

    def validate(self, model: Any) -> float:
        self.seen.append(float(model.weight.detach().mean()))
        return self.scores.pop(0) if self.scores else self.seen[-1]


def run(work: Any, folder: Path, settings: RetrieverConfig = SETTINGS, **more: Any) -> Any:
    return fit_ranking(
        work.model, work, work.validate, settings, choose("cpu", "fp32"), RunFolder(folder), **more
    )


def test_no_text_is_a_negative_of_a_query_it_is_right_for() -> None:
    pairs = [
        Pair("a", "", "1", others=frozenset({"2"})),
        Pair("b", "", "2"),
        Pair("c", "", "3", negative_sources=("1",)),
        Pair("d", "", "1"),
        Pair("e", "", "4"),
        Pair("e", "", "5"),
    ]
    for seed in range(20):
        batches = distinct_batches(pairs, 4, seed, 0)
        assert {i for batch in batches for i in batch} <= set(range(6))
        for batch in batches:
            for i in batch:
                right = {pairs[i].source, *pairs[i].others}
                held = [{pairs[j].source, *pairs[j].negative_sources} for j in batch if j != i]
                assert not right & set().union(*held)
            assert len({pairs[i].query for i in batch}) == len(batch)


def test_batches_are_full_and_an_epoch_has_every_pair_once() -> None:
    batches = distinct_batches(PAIRS, 5, 1, 0)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5]
    assert sorted(i for batch in batches for i in batch) == list(range(20))
    assert distinct_batches(PAIRS, 5, 1, 0) == batches != distinct_batches(PAIRS, 5, 1, 1)


def test_the_best_weights_come_back_and_training_stops(tmp_path: Path) -> None:
    learner = Drawn([0.9, 0.1, 0.5, 0.3, 0.2, 0.5])
    settings = SETTINGS.model_copy(update={"patience": 2})
    found = run(learner, tmp_path, settings)
    # The untouched model's 0.9 is not a reason to stop: the gate compares with it.
    assert (found.steps, found.best_step) == (4, 2)
    assert [point.ndcg for point in found.curve] == [0.9, 0.1, 0.5, 0.3, 0.2]
    assert float(learner.model.weight.detach().mean()) == pytest.approx(learner.seen[2])  # type: ignore


def test_the_mean_with_the_old_weights_is_chosen_on_validation(tmp_path: Path) -> None:
    settings = RetrieverConfig(batch_size=20, epochs=1, averages=(0.5,), learning_rate=0.1)
    learner = Drawn([0.0, 0.4, 0.8, 0.4])
    found = run(learner, tmp_path, settings)
    assert found.averages == {0.5: 0.8, 1.0: 0.4} and found.share == 0.5
    tuned = learner.seen[1]
    assert float(learner.model.weight.detach().mean()) == pytest.approx(tuned / 2)  # type: ignore


@pytest.mark.parametrize("stop_at", [1, 4, 11])
def test_interrupted_and_resumed_ends_with_the_same_weights(stop_at: int, tmp_path: Path) -> None:
    whole = Drawn()
    expected = run(whole, tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"after step {stop_at} of 12"):
        run(Drawn(stop_at=stop_at), tmp_path / "parts")
    resumed = Drawn()
    torch.manual_seed(99)
    found = run(resumed, tmp_path / "parts", resume=True)
    assert resumed.steps == 12 - stop_at
    assert torch.equal(resumed.model.weight, whole.model.weight)  # type: ignore
    assert [p.ndcg for p in found.curve] == [p.ndcg for p in expected.curve]


def test_a_checkpoint_of_another_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(Drawn(stop_at=1), tmp_path)
    other = Drawn()
    other.model.extra = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="is of another model"):
        run(other, tmp_path, resume=True)


def test_a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    learner = Drawn()
    learner.loss_sum = lambda model, indices: model.weight.sum() * float("nan")  # type: ignore
    with pytest.raises(TrainingDiverged, match=r"retriever\.learning_rate"):
        run(learner, tmp_path)


def test_a_batch_that_cannot_be_divided_is_not(tmp_path: Path) -> None:
    work = Drawn()
    work.divisible = False

    def too_large(model: Any, indices: np.ndarray) -> torch.Tensor:
        raise MemoryError

    work.loss_sum = too_large  # type: ignore[method-assign]
    with pytest.raises(OutOfMemory, match=r"retriever\.micro_batch_size"):
        run(work, tmp_path)
