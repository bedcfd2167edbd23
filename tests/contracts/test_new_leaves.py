"""A new task, method or arm is a leaf and a line in its table: help, docs and comparisons have it.

A copy of the package is given one of each, and everything else is asked of the copy.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tiny

SRC = Path(__file__).resolve().parents[2] / "src" / "tailorbird"

METHOD = '''
"""Biases alone are trained (BitFit, Ben Zaken et al. 2022, arXiv 2106.10199): what can be set."""

from tailorbird.config.method import Defaults, MethodSpec, Options


class BiasOptions(Options):
    """Which biases."""

    queries_only: bool = False
    """train the biases of queries alone."""


SPEC = MethodSpec("BitFit", BiasOptions, Defaults(learning_rate=1e-2, epochs=1, cost=0.5))
'''
ATTACH = '''
"""BitFit."""

from tailorbird.methods.base import Method, freeze_all_but, trained_parameters


class BitFit(Method):
    def attach(self, base, config):
        freeze_all_but(base.model, ("bias", *base.head))
        if self.options(config.method)["queries_only"]:
            for name, parameter in base.model.named_parameters():
                parameter.requires_grad_("query" in name or name.startswith(base.head))
        return base.model

    def save(self, model, folder):
        from safetensors.torch import save_file

        save_file({n: p.detach().clone() for n, p in trained_parameters(model)}, folder / "biases")

    def load(self, base, folder):
        from safetensors.torch import load_file

        base.model.load_state_dict(load_file(folder / "biases"), strict=False)
        return base.model.eval()

    def merge(self, model):
        return model


METHOD = BitFit("bitfit")
'''
TASK = '''
"""The topic of a text: one label of a set, judged by macro-F1."""

from tailorbird.records import TASKS
from tailorbird.tasks.classification import Classification


class Topic(Classification):
    spec = TASKS["topic"]

    def quality(self, outputs, truth, target):
        score = self.scores([outputs], truth, [target])["macro_f1"]
        return score.value, super().quality(outputs, truth, target)[1]


TASK = Topic()
'''
# The lines of the tables: file, what is replaced, and by what.
LINES = {
    "config/method.py": ('"prompt")\n', '"prompt", "bitfit")\n'),
    "arms/registry.py": (
        '    "nearest": ArmRow(',
        '    "length": ArmRow("length.LengthArm", "the text\'s length decides", '
        'lambda task: ("length",) if task.head and not task.per_word else ()),\n'
        '    "nearest": ArmRow(',
    ),
    "records/tasks.py": (
        '    TaskSpec(\n        "multilabel"',
        '    TaskSpec("topic", "Topics", "the topic", "topics", "single_label_classification", '
        '("cross_entropy",), "macro_f1", "accuracy", "majority", "Tells topics apart.", ""),\n'
        '    TaskSpec(\n        "multilabel"',
    ),
}
ASK = """
import json, sys

import tailorbird
from typer.testing import CliRunner
from tailorbird.cli.main import app
from tailorbird.report.model_card_code import library_of

root, data, model, run = sys.argv[1:]
sys.path.insert(0, root)
from tools import docs_config

wide = {"COLUMNS": "400", "TERM": "dumb"}
helps = {v: CliRunner(env=wide).invoke(app, [v, "--help"]).output for v in ("tune", "compare")}
report = tailorbird.compare(
    data, model=model, task="topic", methods=["length", "bitfit", "majority"], output=run,
    epochs=1, seed=1, model__precision="fp32", train__tensorboard=False,
    evaluate__label_errors=False,
)
answers = {}
for arm in report.arms:
    with tailorbird.load(f"{run}/arms/{arm.name}") as predictor:
        answers[arm.name] = [p.label for p in predictor.predict(["soup", "the moon again"])]
faults = []
for settings in ({"method__queries_onli": True}, {"method": "bitfitt"}, {"task": "topik"}):
    try:
        tailorbird.tune(data, model=model, **settings)
    except tailorbird.UserError as error:
        faults.append(str(error))
print(json.dumps({
    "helps": helps,
    "config": docs_config.config_page(),
    "defaults": docs_config._defaults(),
    "arms": docs_config._arms(),
    "headline": report.headline,
    "statuses": {arm.name: arm.status for arm in report.arms},
    "reloads": {arm.name: bool(arm.reload and arm.reload.identical) for arm in report.arms},
    "trained": {arm.name: arm.cost.trainable_parameters for arm in report.arms},
    "libraries": {arm.name: library_of(arm) for arm in report.arms},
    "answers": answers,
    "faults": faults,
}))
"""


@pytest.fixture(scope="module")
def copy(models: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a copy of the package with three more leaves says and does."""
    place = tmp_path_factory.mktemp("copy")
    own = place / "tailorbird"
    shutil.copytree(SRC, own, ignore=shutil.ignore_patterns("__pycache__"))
    (own / "methods" / "bitfit").mkdir()
    (own / "methods" / "bitfit" / "__init__.py").write_text(METHOD)
    (own / "methods" / "bitfit" / "method.py").write_text(ATTACH)
    shutil.copy(SRC.parents[1] / "tests" / "toy_arm.py", own / "arms" / "length.py")
    (own / "tasks" / "topic.py").write_text(TASK)
    for name, (before, after) in LINES.items():
        text = (own / name).read_text()
        assert text.count(before) == 1, name
        (own / name).write_text(text.replace(before, after))
    script = place / "ask.py"
    script.write_text(ASK)
    data = tiny.write_csv(place / "topics.csv")
    words = [str(SRC.parents[1]), str(data), str(models("bert")), str(place / "run")]
    ran = subprocess.run(
        [sys.executable, str(script), *words],
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return said


def test_help_and_docs_have_the_leaves(copy: dict[str, Any]) -> None:
    for verb, names in {
        "tune": ("bitfit", "topic (the topic)"),
        "compare": ("bitfit", "length", "topic (the topic)"),
    }.items():
        text = " ".join(copy["helps"][verb].split())
        assert [name for name in names if name not in text] == [], verb
    assert "| `method.queries_only` | yes or no | by method | BitFit: train the" in copy["config"]
    assert "`topic`" in copy["config"]
    assert "| `bitfit` | 0.01 |" in copy["defaults"]
    assert "| `length` | labels, topics, several labels, numbers | the text's" in copy["arms"]
    assert "`bitfit`" in copy["arms"]


def test_a_comparison_runs_them_and_loads_them_again(copy: dict[str, Any]) -> None:
    names = {"majority", "length", "bitfit"}
    assert copy["statuses"] == dict.fromkeys(names, "ok")
    assert copy["reloads"] == dict.fromkeys(names, True)
    assert copy["headline"] == "macro_f1"
    # Of the tiny BERT: biases of two layers and the norms, the pooler and the head.
    assert 0 < copy["trained"]["bitfit"] < 10_000 and copy["trained"]["length"] is None
    assert copy["answers"]["length"] == [tiny.LABELS[0]] * 2
    assert set(copy["answers"]["bitfit"]) <= set(tiny.LABELS)
    assert set(copy["libraries"].values()) == {"tailorbird"}


def test_faults_name_them(copy: dict[str, Any]) -> None:
    option, method, task = copy["faults"]
    assert "did you mean 'method.queries_only'?" in option
    assert "did you mean 'bitfit'?" in method and "did you mean 'topic'?" in task
