"""A run folder that somebody else made runs none of its code: the caller says what may run."""

from pathlib import Path

import pytest

from tailorbird.arms.hyperparameter_search import _with_code_of, config_of
from tailorbird.config import Config, dump_config, load_config
from tailorbird.errors import UserError
from tailorbird.flows.evaluate import check_metric
from tailorbird.flows.start_or_resume import saved_config
from tailorbird.runs.finished_run import run_config
from tailorbird.runs.folder import CONFIG, RunFolder

TRUSTING = "model.trust_remote_code=true"
METRIC = "evaluate.metric={}:count"


def _run(place: Path, *settings: str) -> RunFolder:
    folder = RunFolder(place)
    folder.path.mkdir()
    folder.write(CONFIG, dump_config(load_config(settings=settings)))
    return folder


def _metric(place: Path) -> tuple[Path, Path]:
    """Return a Python file that leaves another, which is returned too, when it is run."""
    ran = place / "ran"
    file = place / "m.py"
    file.write_text(f"open({str(ran)!r}, 'w')\ndef count(o, r, p): return 1.0\n")
    return file, ran


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize("saved", [[TRUSTING], []], ids=["trusting", "plain"])
def test_of_a_finished_run_only_the_caller_decides(
    tmp_path: Path, saved: list[str], trust: bool
) -> None:
    folder = _run(tmp_path / "run", *saved, "model.name=of-somebody/else")
    config = run_config(folder, trust=trust)
    assert config.model.name == "of-somebody/else"
    assert config.model.trust_remote_code is trust


def test_a_resumed_run_asks_for_its_code_again(tmp_path: Path) -> None:
    file, ran = _metric(tmp_path)
    metric = METRIC.format(file)
    folder = _run(tmp_path / "run", TRUSTING, metric)
    with pytest.raises(UserError) as caught:
        saved_config(folder, Config())
    for words in (str(folder.file(CONFIG)), f"--set {TRUSTING}", f"--set {metric}", "2 problems"):
        assert words in str(caught.value)
    with pytest.raises(UserError, match="trust_remote_code"):
        saved_config(folder, load_config(settings=[metric]))
    again = saved_config(folder, load_config(settings=[metric, TRUSTING]))
    assert again.model.trust_remote_code
    assert again.evaluate.metric == f"{file}:count"
    assert not ran.exists()


def test_a_resumed_run_without_code_needs_no_word(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", "train.epochs=2", "evaluate.metric=rouge_l")
    assert saved_config(folder, Config()).train.epochs == 2


@pytest.mark.parametrize("metric", [None, "auto"])
def test_the_metric_of_a_run_is_not_run_unless_it_is_named(
    tmp_path: Path, metric: str | None
) -> None:
    file, ran = _metric(tmp_path)
    folder = _run(tmp_path / "run", METRIC.format(file))
    with pytest.raises(UserError) as caught:
        check_metric(folder, metric)
    assert f"--metric {file}:count" in caught.value.fix
    assert not ran.exists()
    for named in ("token_f1", f"{file}:count"):
        check_metric(folder, named)
    check_metric(_run(tmp_path / "other", "evaluate.metric=rouge_l"), metric)


@pytest.mark.parametrize("name", ["model.trust_remote_code", "evaluate.metric"])
def test_no_search_and_no_study_of_another_chooses_what_code_runs(name: str) -> None:
    with pytest.raises(UserError, match=name):
        config_of(Config(), {"train.epochs": 1, name: "m.py:count"})


def test_the_plan_of_a_search_chooses_it_neither(tmp_path: Path) -> None:
    file, _ = _metric(tmp_path)
    saved = load_config(settings=[TRUSTING, METRIC.format(file), "train.epochs=2"])
    config = _with_code_of(Config(), saved)
    assert config.train.epochs == 2
    assert (config.model.trust_remote_code, config.evaluate.metric) == (False, "auto")
