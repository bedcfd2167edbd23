"""A label per word through `compare`, `tune`, `evaluate` and `predict`."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from terminal import FAST, Tailor

NAMES = ("anna", "boris", "clara maria", "david")
PLACES = ("rome", "new york", "oslo", "san marino")
FRAMES = (
    "{p} went to {l}",
    "in {l} we met {p} and {q}",
    "nobody lives in {l} , said {p}",
    "{p} called {q} again",
)


def write(path: Path) -> Path:
    """Write 60 sentences in which people and places are marked."""
    rng = random.Random(1)
    lines = []
    for i in range(60):
        filled = {"p": rng.choice(NAMES), "q": rng.choice(NAMES), "l": rng.choice(PLACES)}
        for word in FRAMES[i % 4].split():
            if word.startswith("{"):
                kind = "LOC" if word == "{l}" else "PER"
                for j, part in enumerate(filled[word.strip("{}")].split()):
                    lines.append(f"{part} {'I' if j else 'B'}-{kind}")
            else:
                lines.append(f"{word} O")
        lines.append(f"number{i} O")
        lines.append("")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def compared(
    inside: Tailor, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, Any]]:
    """Return the data, a finished comparison and the JSON it printed."""
    place = tmp_path_factory.mktemp("words")
    data = write(place / "data.conll")
    asked = [data, "--model", tiny_encoder, *FAST, "--set", "train.epochs=6"]
    asked += ["--methods", "majority,rag,lora", "--output", place / "run", "--json"]
    done = inside("compare", *asked)
    assert done.returncode == 0, done.stderr
    return data, place / "run", json.loads(done.stdout)


def test_arms_are_scored_by_entities(compared: tuple[Path, Path, dict[str, Any]]) -> None:
    _, run, report = compared
    arms = {arm["name"]: arm for arm in report["arms"]}
    assert (report["headline"], report["data"]["task"]) == ("entity_f1", "tokens")
    assert arms["rag"]["status"] == "skipped"
    assert "every word has a label" in arms["rag"]["why"]
    for name in ("majority", "lora"):
        assert arms[name]["status"] == "ok", arms[name]["why"]
        assert arms[name]["reload"]["identical"] is True, arms[name]["reload"]
        assert [row["label"] for row in arms[name]["per_class"]] == ["LOC", "PER"]
    assert arms["majority"]["test"]["entity_f1"]["value"] > 0.9
    page = (run / "report.html").read_text()
    assert "Entity F1" in page


def test_scores_are_seqevals(compared: tuple[Path, Path, dict[str, Any]]) -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    _, run, report = compared
    for arm in report["arms"]:
        if arm["status"] != "ok":
            continue
        lines = (run / arm["run"] / "predictions.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        truth, said = [r["label"] for r in rows], [r["predicted"] for r in rows]
        found = {name: score["value"] for name, score in arm["test"].items()}
        assert found["entity_f1"] == pytest.approx(seqeval.f1_score(truth, said))
        assert found["word_accuracy"] == pytest.approx(seqeval.accuracy_score(truth, said))


def test_new_texts_and_files(compared: tuple[Path, Path, dict[str, Any]], inside: Tailor) -> None:
    data, run, _ = compared
    done = inside("predict", run / "arms" / "majority", "clara maria went to oslo", "--json")
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["predictions"]
    assert answer["labels"] == ["B-PER", "I-PER", "O", "O", "B-LOC"]
    assert [(e["type"], e["text"]) for e in answer["entities"]] == [
        ("PER", "clara maria"),
        ("LOC", "oslo"),
    ]
    plain = inside("predict", run / "arms" / "lora", "oslo again")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.split()[::2] == ["oslo", "again"]
    table = inside("predict", run / "arms" / "lora", data)
    assert table.returncode == 0, table.stderr
    assert len(table.stdout.splitlines()) == 61
    scored = inside("evaluate", run / "arms" / "lora", data, "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["data"]["counts"]["test"] == 60


def _labels_by_onnx(place: Path, sentence: list[str]) -> list[str]:
    """Label words with what was exported alone: each by its first token."""
    import onnxruntime
    from transformers import AutoTokenizer

    session = onnxruntime.InferenceSession(place / "model.onnx")
    read = AutoTokenizer.from_pretrained(place)(
        sentence, is_split_into_words=True, return_tensors="np"
    )
    given = {name: read[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    logits = session.run(["logits"], given)[0][0]
    assert len(logits) == read["input_ids"].shape[1], "a row for each token of the text"
    words = read.word_ids()
    labels = json.loads((place / "labels.json").read_text())
    return [labels[int(logits[words.index(i)].argmax())] for i in range(len(sentence))]


def exported(run: Path, place: Path, inside: Tailor, *more: str) -> list[dict[str, Any]]:
    """Export a run, and label a sentence with ONNX Runtime and with the run."""
    done = inside("export", run, "--onnx", *more, "--output", place, "--json")
    assert done.returncode == 0, done.stderr
    forms: list[dict[str, Any]] = json.loads(done.stdout)["forms"]
    plain = forms[0]
    assert (plain["figure"], plain["changed"]) == ("entity_f1", 0)
    assert plain["most"] < 1e-3 and plain["before"] == plain["after"]
    sentence = "in new york we met clara maria and numberless antidisestablishmentarians"
    done = inside("predict", run, sentence, "--json")
    (answer,) = json.loads(done.stdout)["predictions"]
    assert _labels_by_onnx(place, sentence.split()) == answer["labels"]
    return forms


def test_onnx_labels_words_as_the_run_does(
    compared: tuple[Path, Path, dict[str, Any]], inside: Tailor, tmp_path: Path
) -> None:
    _, run, _ = compared
    exported(run / "arms" / "lora", tmp_path / "out", inside)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "adapter", "prompt"])
def test_every_method_that_labels_words_has_an_onnx_form(
    method: str, inside: Tailor, tiny_encoder: Path, tmp_path: Path
) -> None:
    data = write(tmp_path / "data.conll")
    asked = [data, "--model", tiny_encoder, *FAST, "--epochs", "1", "--method", method]
    done = inside("tune", *asked, "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    plain, small = exported(tmp_path / "run", tmp_path / "out", inside, "--int8")
    assert small["bytes"] < plain["bytes"]
    assert small["before"] == plain["before"] and small["after"] is not None


@pytest.mark.parametrize(
    "method",
    ["prompt", *(pytest.param(m, marks=pytest.mark.slow) for m in ("full", "adapter", "qlora"))],
)
def test_every_method_labels_words(
    method: str, inside: Tailor, tiny_encoder: Path, tmp_path: Path
) -> None:
    data = write(tmp_path / "data.conll")
    asked = [data, "--model", tiny_encoder, *FAST, "--epochs", "1", "--method", method]
    done = inside("tune", *asked, "--output", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["arms"][0]["reload"]["identical"] is True


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_a_decoder_labels_words(
    method: str, inside: Tailor, tiny_decoder: Path, tmp_path: Path
) -> None:
    data = write(tmp_path / "data.conll")
    asked = [data, "--model", tiny_decoder, *FAST, "--epochs", "1", "--method", method]
    done = inside("tune", *asked, "--output", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["arms"][0]["reload"]["identical"] is True
