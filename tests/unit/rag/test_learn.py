"""The loop: batches without false negatives, the best weights kept, nothing lost by Ctrl-C."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tailorbird.config.knowledge import RetrieverConfig
from tailorbird.errors import Interrupted, TrainingDiverged, UserError
from tailorbird.rag.learn import distinct_batches, learn
from tailorbird.rag.pairs import Pair
from tailorbird.runs.folder import RunFolder

PAIRS = [Pair(f"q{n}", f"t{n}", f"d{n}") for n in range(20)]
SETTINGS = RetrieverConfig(batch_size=5, epochs=3, averages=(1.0,), patience=9, evaluate_every=1)


class Line(torch.nn.Module):
    """One weight that a loss draws to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))


class Drawn:
    """A learner whose validation is told; each batch pulls the weight by its own amount."""

    def __init__(self, scores: Sequence[float] = (), stop_at: int = 0) -> None:
        self.model: torch.nn.Module = Line()
        self.scores, self.stop_at = list(scores), stop_at
        self.steps = 0
        self.seen: list[float] = []

    def loss(self, batch: Sequence[Pair]) -> torch.Tensor:
        self.steps += 1
        if self.steps == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        target = 1 + sum(int(pair.query[1:]) for pair in batch) / 100
        noise = torch.rand(3)
        weight: Any = self.model.weight
        found: torch.Tensor = ((weight - target - noise) ** 2).mean()
        return found

    def validate(self) -> float:
        weight: Any = self.model.weight
        self.seen.append(float(weight.detach().mean()))
        return self.scores.pop(0) if self.scores else float(weight.detach().mean())


def run(learner: Any, folder: Path, settings: RetrieverConfig = SETTINGS, **more: Any) -> Any:
    return learn(learner, PAIRS, settings, 0.1, RunFolder(folder), **more)


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
    settings = RetrieverConfig(batch_size=20, epochs=1, averages=(0.5,))
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
    other.model = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="damaged or of another model"):
        run(other, tmp_path, resume=True)


def test_a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    learner = Drawn()
    learner.loss = lambda batch: torch.tensor(float("nan"))  # type: ignore
    with pytest.raises(TrainingDiverged, match=r"retriever\.learning_rate"):
        run(learner, tmp_path)
