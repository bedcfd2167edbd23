"""What is handed on names files, and no folder of its author."""

from dataclasses import replace
from pathlib import Path

import pytest

from tailorbird.models.builtin import with_place
from tailorbird.models.load import hub_name
from tailorbird.records import Finding, Report, TuningSections
from tailorbird.report.comparison_page import render_page
from tailorbird.report.local_paths import without_places
from tailorbird.report.model_card import model_card


def placed(report: Report, folder: Path) -> Report:
    """Return a report whose files lie in `folder`, as a run there would."""
    (folder / "base").mkdir(parents=True)
    (folder / "my data").mkdir()
    data, model = folder / "my data" / "train.csv", folder / "base"
    data.write_text("text,label\n")
    warning = Finding("duplicates", "warning", f"{data}: 3 rows twice; see {folder}/notes.txt")
    summary = replace(report.data, source=str(data), findings=(warning,))
    arms = tuple(
        replace(arm, settings={**arm.settings, "base": str(model)}, why=f"{model}/x is missing")
        for arm in report.arms
    )
    return replace(
        report,
        sections=TuningSections(summary),
        arms=arms,
        model=str(model),
        settings={
            "data": {"train": str(data)},
            "model": {"name": str(model)},
            "k": [str(folder / "x")],
        },
        command=f"tailor tune '{data}' --model {model} --set output={folder}/RUN",
    )


def test_no_folder_of_the_author_is_in_what_is_shared(report: Report, tmp_path: Path) -> None:
    own = placed(report, tmp_path / "acme-secret")
    for page in (model_card(own, own.arms[0]), render_page(own)):
        assert "acme-secret" not in page and str(tmp_path) not in page
        assert "train.csv" in page and "./base" in page
    card = model_card(own, own.arms[0])
    assert "tailor tune 'train.csv' --model ./base --set output=./RUN" in card
    assert "base_model:" not in card  # ./base is no id of the hub
    assert "train.csv: 3 rows twice; see notes.txt" in card


def test_relative_places_and_ids_of_the_hub(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clients" / "acme").mkdir(parents=True)
    (tmp_path / "clients" / "acme" / "train.csv").write_text("")
    monkeypatch.chdir(tmp_path)
    command = "tailor tune clients/acme/train.csv --model org/model -o ../runs/acme2 --epochs 1/2"
    own = replace(report, command=command, model="org/model", settings={})
    shared = without_places(own, own)
    assert shared.command == "tailor tune train.csv --model org/model -o ./acme2 --epochs 1/2"
    assert shared.model == "org/model"


def test_words_that_are_no_places_stay(report: Report, tmp_path: Path) -> None:
    own = replace(report, command=f"tailor tune {tmp_path}/a.csv", settings={"x": "/"})
    text = f"either/or 1/2 /{tmp_path.name} x{tmp_path}/a.csv-old http://x.org/a ~ /"
    assert without_places(own, text) == text
    assert without_places(own, f"{tmp_path}/a.csv, {tmp_path}/b.csv") == "a.csv, b.csv"
    assert without_places(replace(own, command="tailor 'unclosed"), "same") == "same"


def test_a_folder_of_weights_is_named_so_that_the_hub_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert hub_name(str(tmp_path / "mine")) == "./mine"
    assert hub_name("org/model") == "org/model"
    # The run's own settings say where it lies.
    assert with_place("./mine", None, "org/x", str(tmp_path / "mine")) == str(tmp_path / "mine")
    assert with_place("./mine", "org/mine-2") == "./mine"
    assert with_place("builtin:minilm", "minilm") == "builtin:minilm"
    assert hub_name("builtin:minilm") == "sentence-transformers/all-MiniLM-L6-v2"


def test_markup_and_direction_in_a_page(report: Report) -> None:
    words = "<script>alert(1)</script>\u202e\x1b[31m"
    labels = (words, *report.data.labels[1:])
    arms = tuple(
        replace(
            arm,
            name=f"{arm.name} {words}",
            per_class=tuple(replace(row, label=words) for row in arm.per_class),
        )
        for arm in report.arms
    )
    page = render_page(
        replace(report, sections=TuningSections(replace(report.data, labels=labels)), arms=arms)
    )
    assert "alert(1)" in page and "<script>alert" not in page
    assert "\u202e" not in page and "\x1b" not in page
    assert "\\u202e\\x1b[31m" in page
