"""Folders that an older version wrote load, predict the same, and are gone on with.

`tests/data/older.tar.xz` holds runs of every task and a knowledge base, made with models of a few
kilobytes before runs said what they are (`kind.json`), and what each predicted then.
"""

import json
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import tailorbird
from tailorbird.arms.load import read_report
from tailorbird.runs.folder import RunFolder

PACKED = Path(__file__).resolve().parents[1] / "data" / "older.tar.xz"
ASIDE = ("texts", "answers", "passages")


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("older")
    with tarfile.open(PACKED) as packed:
        packed.extractall(place, filter="data")
    return place


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for name in sorted(value) for item in flat(value[name])]
    return [i for part in value for i in flat(part)] if isinstance(value, list) else [value]


def test_runs_predict_as_they_did(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(older)
    before = json.loads(Path("expected.json").read_text("utf-8"))
    runs = [name for name in before if name not in ASIDE]
    assert len(runs) == 15
    for run in runs:
        inputs = [text.split() if run == "tokens" else text for text in before["texts"]]
        answers = [asdict(answer) for answer in tailorbird.load(run).predict(inputs)]
        now = flat(json.loads(json.dumps(answers, default=float)))
        assert now == [pytest.approx(item, abs=1e-3) for item in flat(before[run])], run


def test_reports_are_read_and_written_as_they_were(older: Path) -> None:
    for name in ("classification", "generation", "multilabel", "regression", "tokens", "text"):
        report = read_report(RunFolder(older / name))
        before = json.loads((older / name / "report.json").read_text("utf-8"))
        now = json.loads(json.dumps(report.to_json()))
        assert before.keys() <= now.keys() and now["verdict"]["best"] == before["verdict"]["best"]
        assert now["data"].items() >= before["data"].items()


def test_a_stopped_run_goes_on(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(older)
    report = tailorbird.tune("labels.csv", output="stopped", resume=True)
    assert report.arms[0].status == "ok" and report.arms[0].curve[-1].step > 3
    assert tailorbird.load("stopped").predict(["the old soup"])[0].label in report.data.labels


def test_a_knowledge_base_answers_and_takes_more(
    older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(older)
    before = json.loads(Path("expected.json").read_text("utf-8"))
    with tailorbird.KnowledgeBase("KB") as kb:
        answers = [kb.ask(f"what colour is {thing} ?").text for thing in ("soup", "goal")]
        assert answers == [answer["text"] for answer in before["answers"]]
        assert kb.add({"text": "the moon is green .", "source": "new"}).added == 1
        assert not kb.verify().problems
