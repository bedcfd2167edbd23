"""Folders that an older version wrote load, predict the same, and are gone on with.

`tests/data/older.tar.xz` holds runs of every task and a knowledge base, made with models of a few
kilobytes before runs said what they are (`kind.json`), and what each predicted then; and reports on
questions, of a knowledge base and of a tuned retriever.
"""

import json
import tarfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import tailorbird
from tailorbird.runs.finished_run import read_report
from tailorbird.runs.folder import RunFolder

PACKED = Path(__file__).resolve().parents[1] / "data" / "older.tar.xz"
ASIDE = ("texts", "answers", "passages")
# The likeliest first two words of this untrained model's second answer have one score in bf16
# (2.0938), so rounding decides which of them is written.
TIES = {"generation/arms/lora": (1,)}


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
        now = json.loads(json.dumps(answers, default=float))
        for number in TIES.get(run, ()):
            now[number]["text"] = before[run][number]["text"]
        assert flat(now) == [pytest.approx(item, abs=1e-3) for item in flat(before[run])], run


def test_reports_are_read_and_written_as_they_were(older: Path) -> None:
    for name in ("classification", "generation", "multilabel", "regression", "tokens", "text"):
        report = read_report(RunFolder(older / name))
        before = json.loads((older / name / "report.json").read_text("utf-8"))
        now = json.loads(json.dumps(report.to_json()))
        assert before.keys() <= now.keys() and now["verdict"]["best"] == before["verdict"]["best"]
        assert now["data"].items() >= before["data"].items()


def lacks(before: Any, now: Any, place: str = "") -> list[str]:
    """Return the places where a value of before is missing, or is another one."""
    if isinstance(before, dict) and isinstance(now, dict):
        gone = [f"{place}.{name}" for name in before if name not in now]
        both = [name for name in before if name in now]
        return gone + [x for n in both for x in lacks(before[n], now[n], f"{place}.{n}")]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [x for i, (old, new) in pairs for x in lacks(old, new, f"{place}[{i}]")]
    return [] if before == now else [place]


@pytest.mark.parametrize(
    ("kind", "page", "words"),
    [
        ("questions", "questions_page.render_questions", ["nearest", "quote", "rag"]),
        ("rag", "retrieval_page.render_judged", ["hybrid", "dense", "54"]),
        (
            "retriever",
            "retriever_page.render_retriever",
            ["not shown to be better", "What do miners on Lethe dig for?"],
        ),
    ],
)
def test_reports_on_questions_are_read_and_drawn(
    older: Path, kind: str, page: str, words: list[str]
) -> None:
    report = read_report(RunFolder(older / "reports" / kind))
    before = json.loads((older / "reports" / kind / "report.json").read_text("utf-8"))
    assert report.kind == before["kind"] == kind
    assert lacks(before, json.loads(json.dumps(report.to_json()))) == []
    module, _, name = page.partition(".")
    drawn = getattr(import_module(f"tailorbird.report.{module}"), name)(report)
    assert [word for word in words if word not in drawn] == []


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
