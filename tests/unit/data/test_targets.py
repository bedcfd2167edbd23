"""Which task a label column speaks of, and what its cells become."""

import json
from pathlib import Path
from typing import Any

import pytest

from tailorbird.data.read import read_examples, read_parts
from tailorbird.data.split import make_split
from tailorbird.errors import UserError
from tailorbird.tasks.registry import head_task


def write(folder: Path, labels: list[Any], name: str = "data.jsonl") -> Path:
    rows = ({"text": f"text number {i}", "label": label} for i, label in enumerate(labels))
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


TASKS: dict[str, tuple[list[Any], str]] = {
    "words": (["good", "bad"] * 5, "classification"),
    "grades": ([1, 2, 3, 4, 5] * 4, "classification"),
    "half grades": ([x / 2 for x in range(2, 11)] * 3, "classification"),
    "counts are ids or classes": (list(range(30)), "classification"),
    "measures": ([x / 7 for x in range(30)], "regression"),
    "measures as text": ([f"{x / 7:.3f}" for x in range(30)], "regression"),
    "ids with a comma": (["3", "3,5", "5", "1", "1,3"], "multilabel"),
    "ids with a space": (["3", "3 5", "5", "1", "1 3"], "multilabel"),
    "half stars": (["3", "3,5", "4", "4,5", "5"] * 4, "classification"),
    "decimal commas": ([f"{i // 10},{i % 10}" for i in range(40)], "regression"),
    "thousands' commas": ([f"{i},{i + 200}" for i in range(1, 20)], "regression"),
    "thousands' spaces": ([f"{i} 000" for i in range(1, 20)] + ["950"], "regression"),
    "few thousands": (["3,100", "950", "10 000", "3,100"], "classification"),
    "amounts": ([f"\u20ac {i},50" for i in range(20)], "regression"),
    "per cent": ([f"{i},5 %" for i in range(20)], "regression"),
    "sizes": (["3,5 mm", "2,5 mm", "3 mm", "5 mm", "2 mm"], "classification"),
    "words and numbers": (["good", "3,5", "bad", "5", "3"], "classification"),
    "joined by a bar": (["a|b", "b", "a", "c|a", "b|c"], "multilabel"),
    "joined by a comma": (["red, green", "red", "green", "blue, red"] * 2 + ["blue"], "multilabel"),
    "names with a comma": (["food, drinks", "books, media", "food, drinks"], "classification"),
    "names with a slash": (["food/drinks", "books", "books"], "classification"),
    "lists": ([["a"], ["a", "b"], []], "multilabel"),
    "lists as JSON text": (['["a"]', '["a", "b"]', "[]"], "multilabel"),
    "lists as Python text": (["['a']", "['a', 'b']", "[]"], "multilabel"),
}


@pytest.mark.parametrize("case", TASKS)
def test_the_task_is_inferred_and_said(case: str, tmp_path: Path) -> None:
    labels, task = TASKS[case]
    loaded = read_examples(write(tmp_path, labels), task="auto")
    assert loaded.task == task
    told = [note for note in loaded.notes if "the task is" in note]
    assert len(told) == (task != "classification" or case in ("half stars", "few thousands"))
    assert all("--task" in note for note in told)


def test_the_task_can_be_chosen(tmp_path: Path) -> None:
    grades = write(tmp_path, [1, 2, 3, 4] * 3)
    assert read_examples(grades, task="regression").examples[1].values == (2.0,)
    joined = write(tmp_path, ["a b", "b", "a c"], "joined.jsonl")
    plain = read_examples(joined, task="auto")
    assert (plain.task, plain.examples[0].label) == ("classification", "a b")
    cut = read_examples(joined, task="multilabel", separator=" ")
    assert [e.labels for e in cut.examples] == [("a", "b"), ("b",), ("a", "c")]


def test_labels_become_indicators(tmp_path: Path) -> None:
    loaded = read_examples(write(tmp_path, ["10,2", "2", "10", "2,10,2"]), task="auto")
    split = make_split(loaded, loaded, loaded, validation_share=0.1, test_share=0.1, seed=1)
    assert split.labels == ("2", "10"), "numbers are sorted by size"
    task = head_task(split.task)
    found = task.truths(split.test, task.target(split))
    assert found.tolist() == [[1, 1], [1, 0], [0, 1], [1, 1]]


NUMBERS: dict[str, tuple[list[Any], list[float]]] = {
    "decimal commas": (["3,5", "4", "-0,25"], [3.5, 4, -0.25]),
    "a comma that groups beside one that does not": (["1.200,50", "3,5"], [1200.5, 3.5]),
    "points that group": (["1.200", "3,5"], [1200, 3.5]),
    "thousands": (["1,200", "950", "1,234,567"], [1200, 950, 1234567]),
    "a comma before three digits among decimal ones": (["1,250", "1,5"], [1.25, 1.5]),
    "no thousand begins with 0": (["0,500", "1,250"], [0.5, 1.25]),
    "spaces": (["10 000", "1 200,5", "1\u202f000"], [10000, 1200.5, 1000]),
    "apostrophes": (["1'200", "1\u2019200.50"], [1200, 1200.5]),
    "amounts": (["\u20ac 3,50", "3,75 \u20ac", "4"], [3.5, 3.75, 4]),
    "codes": (["CHF 1'200.50", "12 CHF"], [1200.5, 12]),
    "signs": (["-$5.50", "$-5", "\u22123", "+1"], [-5.5, -5, -3, 1]),
    "per cent": (["12,5 %", "50%"], [12.5, 50]),
    "both marks where each tells its own": (["3,5", "4.25"], [3.5, 4.25]),
    "Python's": (["1e3", ".5", "5.", 2, True], [1000, 0.5, 5, 2, 1]),
    "one point is a point": (["1.200", "2.500"], [1.2, 2.5]),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_as_people_write_them(case: str, tmp_path: Path) -> None:
    cells, values = NUMBERS[case]
    loaded = read_examples(write(tmp_path, cells), task="regression")
    assert [e.values for e in loaded.examples] == [(value,) for value in values]


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (["3,5", "4.25", "1,200"], "'1,200' may be either"),
        (["\u20ac 3", "$ 4"], r"several units \(\$, \u20ac\)"),
        (["3,5", "good"], "not a number in line 2"),
        (["1,2,3", "4"], "not a number in line 1"),
        (["10 00", "4"], "not a number in line 1"),
        (["1" * 6000, "4"], "not a number in line 1"),
    ],
)
def test_what_is_no_number_is_refused(cells: list[str], fault: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=fault):
        read_examples(write(tmp_path, cells), task="regression")


def test_lists_or_numbers_is_a_question(tmp_path: Path) -> None:
    both = write(tmp_path, ["3", "5", "2", "5,3", "2,5"])
    with pytest.raises(UserError, match="may be numbers or lists of labels"):
        read_examples(both, task="auto")
    lists = read_examples(both, task="multilabel")
    assert lists.examples[3].labels == ("5", "3")
    assert read_examples(both, task="regression").examples[3].values == (5.3,)


def test_later_files_are_read_as_the_training_rows(tmp_path: Path) -> None:
    train = write(tmp_path, [f"{i},{i % 10}" for i in range(30)])
    test = write(tmp_path, ["1,250", "2,500"], "test.jsonl")
    loaded, _, other = read_parts(train, test=test, task="auto")
    assert other is not None and [e.values for e in other.examples] == [(1.25,), (2.5,)]
    split = make_split(loaded, None, other, validation_share=0.1, test_share=0.1, seed=1)
    assert split.separator == ","
    # Alone it would be thousands, and that is said.
    alone = read_examples(test, task="regression")
    assert alone.examples[0].values == (1250,)
    assert any("'1,250' is read as 1250" in note for note in alone.notes)
    said = read_examples(test, task="regression", separator=",")
    assert said.examples[0].values == (1.25,)


def test_a_comma_within_a_number_parts_no_labels(tmp_path: Path) -> None:
    path = write(tmp_path, ["3,5 mm, red", "3,5 mm", "red", "red, blue", "blue"])
    labels = [e.labels for e in read_examples(path, task="auto").examples]
    assert labels == [("3,5 mm", "red"), ("3,5 mm",), ("red",), ("red", "blue"), ("blue",)]


def test_columns_of_zeros_and_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,happy,sad\na,1,0\nb,0,0\nc,1,1\n")
    loaded = read_examples(path, label="happy,sad", task="auto")
    assert (loaded.task, loaded.targets) == ("multilabel", ("happy", "sad"))
    assert [e.labels for e in loaded.examples] == [("happy",), (), ("happy", "sad")]
    assert [e.label for e in loaded.examples] == ["happy", "(none)", "happy, sad"]


def test_several_numbers_are_standardised_by_the_training_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,x,y\na,1,10.5\nb,3,20.5\nc,5,30.5\n")
    loaded = read_examples(path, label="x,y", task="auto")
    split = make_split(loaded, loaded, loaded, validation_share=0.1, test_share=0.1, seed=1)
    task = head_task(split.task)
    target = task.target(split)
    assert (split.task, split.labels, target.mean) == ("regression", ("x", "y"), (3.0, 20.5))
    scaled = task.training_targets(split.train, target)
    assert scaled.mean(axis=0).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert scaled.std(axis=0).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_columns_by_number_of_a_file_without_header(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("x\t0.5\tone dog\ta dog\ny\t2.25\tone cat\tno cat\tmore\tfields\n" * 6)
    loaded = read_examples(path, text="3,4", label="2", task="auto")
    assert len(loaded.examples) == 12
    assert loaded.examples[1].pair == ("one cat", "no cat")
    assert loaded.examples[1].label == "2.25"
    assert loaded.columns == {"text": "3", "pair": "4", "label": "2"}
    assert any("first line is read as data" in note for note in loaded.notes)
    again = read_examples(path, need_label=False, like=loaded.columns)
    assert again.examples[1].pair == ("one cat", "no cat")
    with pytest.raises(UserError, match="no column number 9"):
        read_examples(path, text="9", label="2")
    with pytest.raises(UserError, match="fewer than 6 fields in lines 1, 3"):
        read_examples(path, text="6", label="2")


def test_columns_by_number_of_a_file_with_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,label,text\n1,a,one\n2,b,two\n")
    loaded = read_examples(path, text="3", label="2")
    assert [e.text for e in loaded.examples] == ["one", "two"]
    assert any("left out as a header" in note for note in loaded.notes)


def test_pairs_join_paragraphs_and_tell_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    rows = {
        "17": {"q": "Is it?", "contexts": ["One.", "Two."], "final": "yes"},
        "18": {"q": "Or not?", "contexts": ["Three."], "final": "no"},
    }
    path.write_text(json.dumps(rows))
    loaded = read_examples(path, text="q,contexts", label="final", task="auto")
    assert loaded.task == "classification"
    assert loaded.examples[0].pair == ("Is it?", "One.\nTwo.")
    assert loaded.examples[0].text == "Is it?\nOne.\nTwo."
    rows["18"]["contexts"] = []
    path.write_text(json.dumps(rows))
    with pytest.raises(UserError, match="'contexts': no text .* row 2"):
        read_examples(path, text="q,contexts", label="final", task="auto")


FAULTS: dict[str, tuple[list[Any], str, str]] = {
    "no number": ([1.5, "high", 2.5], "regression", "not a number in line 2"),
    "infinite": ([1.5, "inf", 2.5], "regression", "not a number in line 2"),
    "missing number": ([1.5, None, 2.5], "regression", "no label .* line 2"),
    "one value": ([1.5, 1.5, 1.5], "regression", "nothing to learn"),
    "an object in a list": ([["a"], [{"b": 1}]], "multilabel", "other than labels in line 2"),
    "missing labels": (["a,b", ""], "multilabel", "no label .* line 2"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_name_the_lines(case: str, tmp_path: Path) -> None:
    labels, task, told = FAULTS[case]
    with pytest.raises(UserError, match=told):
        loaded = read_examples(write(tmp_path, labels), task=task)  # type: ignore[arg-type]
        make_split(loaded, loaded, loaded, validation_share=0.1, test_share=0.1, seed=1)


@pytest.mark.parametrize(
    ("text", "label", "told"),
    [
        ("a,b,c", "n", "names 3 columns"),
        ("a,a", "n", "named twice"),
        ("a,x", "n", "no column 'x'"),
        ("a,b", None, "which column is the label"),
    ],
)
def test_wrong_columns(text: str, label: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,c,n\none,two,three,1\nfour,five,six,2\n")
    with pytest.raises(UserError, match=told):
        read_examples(path, text=text, label=label, task="auto")


def test_labels_that_no_training_row_has_are_a_fault(tmp_path: Path) -> None:
    train = write(tmp_path, ["a|b", "b|c", "a", "c"])
    test = write(tmp_path, ["a|d", "b"], "test.jsonl")
    parts = read_parts(train, test=test, task="auto")
    assert parts[2] is not None and parts[2].examples[0].labels == ("a", "d")
    with pytest.raises(UserError, match="no training row has: 'd'"):
        make_split(*parts, validation_share=0.3, test_share=0.2, seed=1)
