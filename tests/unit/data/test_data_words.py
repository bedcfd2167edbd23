"""Words with a label each: files, columns, faults, and their places among tokens."""

import json
from pathlib import Path

import numpy as np
import pytest

from tailorbird.data.encode import encode_words
from tailorbird.data.read import read_examples, read_parts
from tailorbird.data.split import make_split
from tailorbird.errors import UserError
from tailorbird.models.load import load_tokenizer
from tailorbird.tasks.registry import head_task

CONLL = """-DOCSTART- -X- -X- O

# a comment
EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""


def test_conll_files(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text(CONLL)
    loaded = read_examples(path, task="auto")
    assert loaded.task == "tokens"
    assert [e.words for e in loaded.examples] == [("EU", "rejects"), ("Peter", "Blackburn")]
    assert [e.labels for e in loaded.examples] == [("B-ORG", "O"), ("B-PER", "I-PER")]
    assert loaded.examples[0].text == "EU rejects"
    assert any("the task is tokens" in note for note in loaded.notes)
    split = make_split(loaded, loaded, loaded, validation_share=0.1, test_share=0.1, seed=1)
    assert split.labels == ("B-ORG", "B-PER", "I-PER", "O")
    task = head_task(split.task)
    found = task.truths(split.test, task.target(split))
    assert found.tolist() == [[0, 0], [0, 3], [1, 1], [1, 2]]
    path.write_text("EU B-ORG\nrejects\n")
    with pytest.raises(UserError, match="without a label in line 2"):
        read_examples(path)


@pytest.mark.parametrize("names", [("tokens", "ner_tags"), ("words", "labels"), ("w", "t")])
def test_rows_with_lists(names: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    pairs = [(["In", "Rome"], ["O", "B-LOC"]), (["A"], ["O"])]
    rows = [dict(zip(names, pair, strict=True)) for pair in pairs]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"text": "w", "label": "t"} if names[0] == "w" else {}
    loaded = read_examples(path, task="auto", **given)  # type: ignore[arg-type]
    assert (loaded.task, loaded.examples[0].labels) == ("tokens", ("O", "B-LOC"))
    plain = read_examples(path, need_label=False, task="tokens", like=loaded.columns)
    assert plain.examples[0].words == ("In", "Rome")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"tokens": ["a", "b"], "labels": ["O"]}, "not as many labels as words in line 2"),
        ({"tokens": ["a", {}], "labels": ["O", "O"]}, "a value that is not text in line 2"),
        ({"tokens": [], "labels": []}, "no text .* line 2"),
        (
            {"tokens": ["a", "b", " \u00a0"], "labels": ["O", "O", "O"]},
            r"only white space in line 2 \(word 3\)",
        ),
        (
            {"tokens": ["a", "b"], "labels": ["O", "\t"]},
            r"only white space in line 2 \(word 2\)",
        ),
        ({"tokens": [None, "b"], "labels": ["O", "O"]}, r"white space in line 2 \(word 1\)"),
    ],
)
def test_faults_name_the_lines(row: dict[str, object], told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = {"tokens": ["In"], "labels": ["O"]}
    path.write_text("".join(json.dumps(r) + "\n" for r in (good, row)))
    with pytest.raises(UserError, match=told):
        read_examples(path, task="tokens")


def test_a_word_of_white_space_in_a_conll_file(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("In\tO\n \tO\nRome\tB-LOC\n")
    with pytest.raises(UserError, match="a word that is only white space in line 2"):
        read_examples(path, task="tokens")
    path.write_text("In\tO\nRome\t \n")
    with pytest.raises(UserError, match="a word without a label in line 2"):
        read_examples(path, task="tokens")


def test_texts_are_no_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na b,O O\n")
    with pytest.raises(UserError, match="no two columns with lists of words"):
        read_examples(path, task="tokens")


def test_unknown_labels_of_the_test(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("EU B-ORG\nis O\n\nRome B-LOC\n")
    (tmp_path / "b.conll").write_text("Al B-PER\n")
    parts = read_parts(tmp_path / "a.conll", test=tmp_path / "b.conll", task="auto")
    with pytest.raises(UserError, match="'B-PER'"):
        make_split(*parts, validation_share=0.3, test_share=0.2, seed=1)


@pytest.mark.parametrize("shape", ["bert", "llama"])
def test_first_tokens_are_those_of_the_tokenizers_own_words(shape: str, models: object) -> None:
    from tailorbird.config.schema import ModelConfig

    tokenizer = load_tokenizer(ModelConfig(name=str(models(shape))))  # type: ignore[operator]
    words = ("Unbelievably", "U.S.A.", "went", "naïve", "x-ray")
    found = encode_words([words, ("a",)], tokenizer, 64, [0, 1, 2, 3, 4, 5])
    theirs = tokenizer(list(words), is_split_into_words=True)
    assert found.ids[0].tolist() == theirs["input_ids"]
    firsts = [theirs.word_ids().index(i) for i in range(len(words))]
    assert found.firsts is not None
    assert found.firsts[0].tolist() == firsts
    assert found.firsts[1].tolist() == [1]
    cut = encode_words([words], tokenizer, firsts[3] + 1)
    assert cut.firsts is not None
    assert cut.firsts[0].tolist() == [*firsts[:3], -1, -1]
    assert np.array_equal(cut.lengths, [firsts[3] + 1])
