"""The study: what is drawn, what survives a kill, what two processes do with one search."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tailorbird.config.hyperparameter_search import Range, SearchConfig, combinations
from tailorbird.errors import Hopeless, Interrupted
from tailorbird.runs.folder import RunFolder
from tailorbird.train.hyperparameter_study import Study

RATE = "train.learning_rate"
SPACE: dict[str, Any] = {RATE: Range(low=1e-4, high=1e-1, log=True), "method.rank": (4, 8, 16)}
DEFAULTS = {RATE: 1e-3, "method.rank": 8}

# A process that does trials and, asked to, dies within one by SIGKILL.
WORKER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_hyperparameter_study import make, score
study, die_in = make(Path(sys.argv[1])), int(sys.argv[2])
while study.unfinished():
    with study.claim() as draw:
        if draw is None:
            time.sleep(0.05)
            continue
        with open(Path(sys.argv[1]) / "begun.txt", "a") as file:
            file.write(f"{draw.number}\\n")
        if draw.number == die_in:
            os.kill(os.getpid(), 9)
        time.sleep(0.2)
        study.tell(draw, score(draw.values), 1.0)
"""


def make(place: Path, **asked: Any) -> Study:
    config = SearchConfig.model_validate({"trials": 6, "pruner": "none"} | asked)
    study = Study(RunFolder(place / "search"), config, SPACE, {"method.rank"}, "accuracy")
    study.begin(DEFAULTS)
    return study


def score(values: dict[str, Any]) -> float:
    """Best at a rate of 1e-2 and rank 16."""
    return 1 - 0.1 * abs(math.log10(values[RATE]) + 2) - 0.01 * (16 - values["method.rank"])


def do_all(study: Study) -> None:
    while study.unfinished():
        with study.claim() as draw:
            assert draw is not None
            study.tell(draw, score(draw.values), 1.0)


def worker(place: Path, die_in: int = -1) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORKER, str(place), str(die_in), str(Path(__file__).parent)]
    return subprocess.Popen(command, env=os.environ)


def test_the_first_trial_is_as_asked_and_the_best_is_found(tmp_path: Path) -> None:
    study = make(tmp_path, trials=15)
    do_all(study)
    trials = study.trials()
    assert len(trials) == 15
    assert trials[0].asked and trials[0].values == DEFAULTS
    assert not any(trial.asked for trial in trials[1:])
    best = study.best()
    assert best is not None
    assert best.score == max(t.score or 0 for t in trials) > score(DEFAULTS)
    assert set(study.importance()) == set(SPACE)
    assert sum(study.importance().values()) == pytest.approx(1)
    with study.claim() as draw:
        assert draw is None, "all are done"


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_draws_depend_on_the_seed_and_the_number_only(tmp_path: Path, sampler: str) -> None:
    whole = make(tmp_path / "whole", sampler=sampler)
    do_all(whole)
    for number in range(6):  # each trial by a study opened anew, as after a kill
        again = make(tmp_path / "again", sampler=sampler)
        with again.claim() as draw:
            assert draw is not None and draw.number == number
            again.tell(draw, score(draw.values), 1.0)
    assert [t.values for t in again.trials()] == [t.values for t in whole.trials()]
    assert len({str(t.values) for t in whole.trials()}) > 3


def test_a_trial_left_in_the_middle_is_taken_up_again_with_its_values(tmp_path: Path) -> None:
    study = make(tmp_path)
    do_one = [0, 1]
    for _ in do_one:
        with study.claim() as draw:
            assert draw is not None
            study.tell(draw, 0.5, 1.0)
    with pytest.raises(Interrupted), study.claim() as draw:
        assert draw is not None
        left = dict(draw.values)
        raise KeyboardInterrupt
    with make(tmp_path).claim() as draw:
        assert draw is not None
        assert (draw.number, draw.values) == (2, left)


def test_a_killed_search_does_the_remaining_trials_only(tmp_path: Path) -> None:
    make(tmp_path)
    killed = worker(tmp_path, die_in=3)
    assert killed.wait(120) == -9
    assert worker(tmp_path).wait(120) == 0
    begun = (tmp_path / "begun.txt").read_text().split()
    assert begun == ["0", "1", "2", "3", "3", "4", "5"], "only the one that was cut off is redone"
    assert [t.number for t in make(tmp_path).trials()] == list(range(6))


def test_two_processes_share_a_search(tmp_path: Path) -> None:
    make(tmp_path)
    both = [worker(tmp_path), worker(tmp_path)]
    assert [process.wait(120) for process in both] == [0, 0]
    begun = sorted((tmp_path / "begun.txt").read_text().split(), key=int)
    assert begun == [str(n) for n in range(6)], "each trial once"
    assert {t.state for t in make(tmp_path).trials()} == {"ok"}


def test_hopeless_trials_are_given_up_and_the_one_as_asked_never(tmp_path: Path) -> None:
    study = make(tmp_path, trials=8, pruner="median")
    for number in range(5):
        with study.claim() as draw:
            assert draw is not None
            for validation in (1, 2, 3):
                # The settings as asked are the worst of all, and are not given up.
                draw.observe(validation, 0.1 if number == 0 else 0.5 + 0.01 * number)
            study.tell(draw, 0.5, 1.0)
    with study.claim() as draw:
        assert draw is not None
        draw.observe(1, 0.2)
        with pytest.raises(Hopeless, match="validation 2"):
            for validation in (2, 3):
                draw.observe(validation, 0.2)
        study.tell(draw, None, 1.0, pruned=True)
    assert study.trials()[5].state == "pruned"


def test_a_grid_holds_every_combination_once(tmp_path: Path) -> None:
    space: dict[str, Any] = {"method.rank": (4, 8), "train.epochs": Range(low=1, high=3, step=1)}
    assert combinations(space) == 6
    config = SearchConfig.model_validate({"trials": 50, "sampler": "grid", "space": space})
    study = Study(RunFolder(tmp_path), config, space, {"method.rank"}, "loss")
    study.begin({"method.rank": 16, "train.epochs": 2})  # outside of the space
    while study.unfinished():
        with study.claim() as draw:
            assert draw is not None
            study.tell(draw, -float(draw.number), 1.0)
    trials = study.trials()
    assert trials[0].values == {}
    drawn = {(t.values["method.rank"], t.values["train.epochs"]) for t in trials[1:]}
    assert drawn == {(r, e) for r in (4, 8) for e in (1, 2, 3)}
    assert len(trials) == 7
    assert trials[3].score == 3.0, "a loss is told as a loss"
    best = study.best()
    assert best is not None and best.number == 0


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"data.split_seed": [1, 2]}, "cannot be searched"),
        ({"compare.seeds": [1, 2]}, "cannot be searched"),
        ({"train.epochs": {"low": 5, "high": 1}}, "is above"),
        ({"train.epochs": {"low": 0, "high": 1, "log": True}}, "begins above 0"),
        ({"train.epochs": []}, "has no values"),
    ],
)
def test_spaces_that_make_no_sense(space: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SearchConfig.model_validate({"space": space})


def test_ends_of_a_space_are_tried_against_the_settings() -> None:
    from tailorbird.arms.hyperparameter_search import (
        check_space,
        config_of,
        default_space,
        is_whole,
    )
    from tailorbird.config import Config
    from tailorbird.errors import UserError

    base = Config()
    with pytest.raises(UserError) as caught:
        check_space(
            base,
            {
                "train.lerning_rate": (1e-4,),
                "train.warmup": Range(low=0, high=2),
                "method.bottleneck": (8,),
            },
        )
    told = str(caught.value)
    assert "did you mean 'train.learning_rate'" in told
    assert "train.warmup" in told
    assert "no method searched has method.bottleneck" in told
    assert is_whole("method.rank") and not is_whole("train.learning_rate")
    found = config_of(base, {"method.name": "adapter", "method.rank": 4, "train.epochs": 2})
    assert (found.method.name, found.method.rank, found.train.epochs) == ("adapter", None, 2)
    for method in ("full", "adapter", "lora", "qlora", "prompt"):
        asked = base.model_copy(update={"method": type(base.method)(name=method)})
        values = {RATE: 1e-3, "train.batch_size": 16, "train.epochs": 3.0}
        space = default_space(method, values | {"train.weight_decay": 0.01})
        check_space(asked, space)
        assert isinstance(space[RATE], Range) and space[RATE].holds(1e-3)


def test_words_of_yaml_are_numbers() -> None:
    import yaml

    plain = yaml.safe_load("space: {train.learning_rate: [1e-4, 3e-4], model.name: [one, two]}")
    space = SearchConfig.model_validate(plain).space
    assert space == {RATE: (1e-4, 3e-4), "model.name": ("one", "two")}
    assert json.loads(SearchConfig.model_validate(plain).model_dump_json())["space"][RATE]
