"""Entity scores against seqeval's."""

import numpy as np
import pytest

from tailorbird.metrics import entities as scoring

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG")


def drawn(n: int = 200, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Return truths and predictions, with I- labels in places where no B- stands before them."""
    rng = np.random.default_rng(seed)
    truth = [
        [LABELS[i] for i in rng.integers(0, 6, rng.integers(1, 12)) * (rng.random() < 0.9)]
        for _ in range(n)
    ]
    said = [
        [label if rng.random() < 0.7 else LABELS[rng.integers(0, 6)] for label in row]
        for row in truth
    ]
    return truth, said


def counts(said: list[list[str]], truth: list[list[str]]) -> np.ndarray:
    """Count by the types and marks of all labels that occur."""
    every = sorted({label for sentence in (*truth, *said) for label in sentence})
    return scoring.counts_of(said, truth, scoring.types_of(every), scoring.have_entity_marks(every))


def test_entities_are_seqevals() -> None:
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    for row in drawn()[0]:
        assert [tuple(e) for e in scoring.entities(row)] == labeling.get_entities(row)


def test_scores_are_seqevals() -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    truth, said = drawn()
    found = {k: s.value for k, s in scoring.score_all([counts(said, truth)]).items()}
    assert found == pytest.approx(
        {
            "entity_f1": seqeval.f1_score(truth, said),
            "macro_f1": seqeval.f1_score(truth, said, average="macro"),
            "entity_precision": seqeval.precision_score(truth, said),
            "entity_recall": seqeval.recall_score(truth, said),
            "word_accuracy": seqeval.accuracy_score(truth, said),
        }
    )


def test_types_are_seqevals() -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    truth, said = drawn()
    report = seqeval.classification_report(truth, said, output_dict=True)
    types = scoring.types_of(LABELS)
    assert types == ("LOC", "ORG", "PER")
    for row in scoring.type_scores([counts(said, truth)], types):
        expected = report[row.label]
        assert (row.precision, row.recall, row.f1.value) == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"])
        )
        assert row.support == expected["support"]
        assert row.f1.low <= row.f1.value <= row.f1.high


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ("B-PER I-PER O", [("PER", 0, 1)]),
        ("I-PER I-PER", [("PER", 0, 1)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("B-PER I-LOC", [("PER", 0, 0), ("LOC", 1, 1)]),
        ("B-PER E-PER S-LOC", [("PER", 0, 1), ("LOC", 2, 2)]),
        ("B-PER L-PER U-LOC", [("PER", 0, 1), ("LOC", 2, 2)]),
        ("B-my-own I-my-own", [("my-own", 0, 1)]),
        ("O O", []),
    ],
)
def test_what_an_entity_is(labels: str, found: list[tuple[str, int, int]]) -> None:
    assert [tuple(entity) for entity in scoring.entities(labels.split())] == found


def test_words_without_marks_are_entities_each() -> None:
    truth, said = [["NOUN", "VERB", "NOUN"]], [["NOUN", "NOUN", "NOUN"]]
    assert not scoring.have_entity_marks(["NOUN", "VERB"])
    found = scoring.score_all([counts(said, truth)])
    assert found["entity_f1"].value == found["word_accuracy"].value == pytest.approx(2 / 3)
