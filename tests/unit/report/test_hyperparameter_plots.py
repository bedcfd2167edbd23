"""What the report shows of a search."""

from xml.etree import ElementTree

import pytest

from tailorbird.records import Search, Trial
from tailorbird.report import hyperparameter_plots as looks

SPACE = {"train.learning_rate": "1e-4 to 1e-2, logarithmic", "model.name": "one, two"}
TRIALS = (
    Trial(0, "ok", {"train.learning_rate": 1e-3, "model.name": "one"}, 0.80, 1.0, asked=True),
    Trial(1, "ok", {"train.learning_rate": 1e-4, "model.name": "two"}, 0.75, 1.0),
    Trial(2, "pruned", {"train.learning_rate": 1e-2, "model.name": "two"}, 0.60, 1.0),
    Trial(3, "ok", {"train.learning_rate": 2e-3, "model.name": "one"}, 0.90, 1.0),
    Trial(4, "failed", {"train.learning_rate": 9e-3, "model.name": "<b>"}, None, why="diverged"),
)
SHARES = {"train.learning_rate": 0.9, "model.name": 0.1}
FOUND = Search("tpe", "median", "accuracy", 3, SPACE, TRIALS, SHARES)


def test_the_pictures_are_whole_and_show_every_scored_trial() -> None:
    drawn = ElementTree.fromstring(looks.history(FOUND))
    assert len(drawn.findall("circle")) == 4
    assert len([c for c in drawn.findall("circle") if "pick" in c.attrib["class"]]) == 1
    bars = ElementTree.fromstring(looks.importance(FOUND)).findall("rect")
    longer, shorter = (float(bar.attrib["width"]) for bar in bars)
    assert longer / shorter == pytest.approx(9, rel=0.01)
    lines = ElementTree.fromstring(looks.parallel(FOUND)).findall("polyline")
    assert len(lines) == 3, "one a finished trial"
    assert lines[-1].attrib["class"] == "series held"


def test_nothing_is_drawn_of_nothing() -> None:
    alone = Search("tpe", "none", "loss", 0, SPACE, TRIALS[:1])
    assert (looks.history(alone), looks.importance(alone), looks.parallel(alone)) == ("", "", "")


def test_the_words_set_the_best_against_the_settings_as_asked() -> None:
    told = looks.summary(FOUND)
    assert "5 trials (tpe), 1 stopped early, 1 failed" in told
    assert "90.0 %" in told and "80.0 %" in told
    same = Search("tpe", "none", "accuracy", 0, SPACE, TRIALS[:2])
    assert "No trial was better" in looks.summary(same)


def test_the_table_has_the_best_first() -> None:
    assert [trial.number for trial, _, _ in looks.rows(FOUND)] == [3, 0, 1, 2, 4]
    assert looks.rows(FOUND)[0][2] == ["0.002", "one"]
