"""Trials that run side by side: the same study as one after the other, and none twice."""

import math
from pathlib import Path
from typing import Any, cast

import pytest

from tailorbird.arms.parallel_arms import Scheduler
from tailorbird.arms.trials import RESULT, TRIAL, do_trials
from tailorbird.config import Config
from tailorbird.config.hyperparameter_search import Range, SearchConfig
from tailorbird.errors import Hopeless, Interrupted, UserError
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.arm_job import JOB, ArmJob
from tailorbird.train.hyperparameter_study import Draw, Study

RATE = "train.learning_rate"
SPACE: dict[str, Any] = {RATE: Range(low=1e-4, high=1e-1, log=True), "train.batch_size": (8, 16)}
DEFAULTS = {RATE: 1e-3, "train.batch_size": 8}


def study(place: Path, **options: Any) -> Study:
    config = SearchConfig.model_validate({"trials": 10, "sampler": "random"} | options)
    space = SPACE | ({RATE: (1e-4, 1e-3, 1e-2)} if config.sampler == "grid" else {})
    result = Study(RunFolder(place / "search"), config, space, {"train.batch_size"}, "accuracy")
    result.begin(DEFAULTS)
    return result


def curve(values: dict[str, Any]) -> list[float]:
    """Return four validations; best at a rate of 1e-2 in the end, others lead at first."""
    last = 1 - 0.1 * abs(math.log10(values[RATE]) + 2) - 0.001 * values["train.batch_size"]
    return [last * share for share in (0.5, 0.7, 0.9, 1.0)]


def one_by_one(search: Study) -> None:
    while search.unfinished():
        with search.claim() as draw:
            assert draw is not None
            scores = curve(draw.values)
            try:
                for number, score in enumerate(scores, 1):
                    draw.observe(number, score)
            except Hopeless as error:
                search.tell(draw, None, 1.0, str(error), pruned=True)
            else:
                search.tell(draw, max(scores), 1.0)


class Nodes:
    """Runs jobs as a cluster of so many nodes would, the last of a batch first."""

    def __init__(self, jobs: int = 4, fault: str = "", stop_at: int = -1) -> None:
        self.jobs, self.fault, self.stop_at = jobs, fault, stop_at
        self.batches: list[list[int]] = []
        self.begun: list[int] = []

    def map(self, work: Any, items: list[Draw]) -> None:
        self.batches.append([draw.number for draw in items])
        for draw in reversed(items):
            work(draw)

    def run(self, module: str, run: str, place: str) -> int:
        assert module == TRIAL
        folder, number = RunFolder(place), int(Path(place).name)
        if number == self.stop_at:
            return Interrupted.exit_code
        self.begun.append(number)
        train = folder.read_json(JOB)["config"]["train"]
        scores = curve({RATE: train["learning_rate"], "train.batch_size": train["batch_size"]})
        result: dict[str, Any] = {"state": "ok", "seconds": 1.0, "score": max(scores)}
        if self.fault:
            result = {"state": "failed", "seconds": 1.0, "problem": self.fault, "common": True}
        folder.write_json(RESULT, result | {"validations": list(enumerate(scores, 1))})
        return 0


def side_by_side(search: Study, nodes: Nodes) -> None:
    def job(draw: Draw) -> ArmJob:
        train = {name.partition(".")[2]: value for name, value in draw.values.items()}
        config = Config.model_validate({"train": train})
        return ArmJob("lora", config, cast(Any, None), draw.folder)

    do_trials("lora", job, search, cast(Scheduler, nodes))


@pytest.mark.parametrize("sampler", ["random", "grid"])
@pytest.mark.parametrize("pruner", ["median", "none"])
def test_a_study_is_the_same_wherever_its_trials_run(
    tmp_path: Path, sampler: str, pruner: str
) -> None:
    here = study(tmp_path / "here", sampler=sampler, pruner=pruner)
    one_by_one(here)
    there, nodes = study(tmp_path / "there", sampler=sampler, pruner=pruner), Nodes()
    side_by_side(there, nodes)
    assert there.trials() == here.trials()
    assert there.best() == here.best()
    assert len(nodes.batches) == 1, "all at once"
    if (sampler, pruner) == ("random", "median"):
        assert "pruned" in {trial.state for trial in here.trials()}, "else this shows nothing"


def test_tpe_draws_as_many_at_once_as_there_are_nodes(tmp_path: Path) -> None:
    search, nodes = study(tmp_path, sampler="tpe", trials=12), Nodes(jobs=5)
    side_by_side(search, nodes)
    assert nodes.batches == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    rates = [trial.values[RATE] for trial in search.trials()]
    assert len(set(rates)) == 12, "trials of a batch are drawn apart"


def test_after_a_stop_only_what_has_no_result_is_done(tmp_path: Path) -> None:
    nodes = Nodes(stop_at=2)
    with pytest.raises(Interrupted, match="trial 3|was stopped"):
        side_by_side(study(tmp_path), nodes)
    assert nodes.begun == [9, 8, 7, 6, 5, 4, 3]
    again = Nodes()
    side_by_side(study(tmp_path), again)
    assert sorted(again.begun) == [0, 1, 2], "each trial once"
    assert [trial.number for trial in study(tmp_path).trials()] == list(range(10))


def test_a_fault_of_all_settings_ends_the_search_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such layer"):
        side_by_side(study(tmp_path), Nodes(fault="there is no such layer"))


def test_a_node_that_ends_without_a_word_fails_its_trial_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Nodes):
        def run(self, module: str, run: str, place: str) -> int:
            return -9 if place.endswith("0001") else super().run(module, run, place)

    search = study(tmp_path, pruner="none")
    side_by_side(search, Broken())
    states = {trial.number: trial.state for trial in search.trials()}
    assert [number for number, state in states.items() if state == "failed"] == [1]
    assert "lack of memory" in search.trials()[1].why


def test_trials_in_processes_of_their_own_choose_the_model_that_one_process_does(
    tmp_path: Path, tiny_csv: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tailorbird.arms import ray_cluster
    from tailorbird.flows.tune import tune

    # Processes of this machine in the place of nodes.
    monkeypatch.setattr(ray_cluster, "Cluster", lambda address: Scheduler(1))
    plain: dict[str, Any] = {
        "data": {"train": str(tiny_csv)},
        "model": {"name": str(tiny_encoder)},
        "method": {"name": "lora"},
        "train": {"epochs": 2},
        "search": {"trials": 2, "sampler": "random", "space": {RATE: [1e-4, 1e-2]}},
        "evaluate": {"label_errors": False},
    }
    here = tune(Config.model_validate(plain), RunFolder(tmp_path / "here"))
    plain["compare"] = {"ray": "nodes:1"}
    there = tune(Config.model_validate(plain), RunFolder(tmp_path / "there"))
    searches = [report.arms[0].search for report in (here, there)]
    assert searches[0] is not None and searches[1] is not None
    assert searches[0].best == searches[1].best
    assert [(t.values, t.seen) for t in searches[0].trials] == [
        (t.values, t.seen) for t in searches[1].trials
    ]
    assert here.arms[0].test == there.arms[0].test
    assert (tmp_path / "there/search/trials/0001" / RESULT).is_file()


def test_a_cluster_is_for_a_search(tmp_path: Path, tiny_csv: Path) -> None:
    from tailorbird.flows.tune import tune

    config = Config.model_validate({"data": {"train": str(tiny_csv)}, "compare": {"ray": "a:1"}})
    with pytest.raises(UserError, match="--ray runs the trials of a search"):
        tune(config, RunFolder(tmp_path / "run"))


def test_a_run_goes_on_without_its_cluster(tmp_path: Path) -> None:
    from tailorbird.config import dump_config
    from tailorbird.flows.start_or_resume import saved_config

    begun = Config.model_validate({"compare": {"ray": "gone:1", "jobs": 2}})
    (tmp_path / "config.yaml").write_text(dump_config(begun))
    again = saved_config(RunFolder(tmp_path), Config())
    assert (again.compare.ray, again.compare.jobs) == (None, 2)
    other = Config.model_validate({"compare": {"ray": "new:1"}})
    assert saved_config(RunFolder(tmp_path), other).compare.ray == "new:1"
