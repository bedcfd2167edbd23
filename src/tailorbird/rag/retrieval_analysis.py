"""Evaluation of a knowledge base on judged questions."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tailorbird.metrics.intervals import Floats
from tailorbird.metrics.ranking import ndcg, rank_of
from tailorbird.rag.fuse import WEIGHTS, WeightChoice, choose_weight
from tailorbird.rag.retrieve import Retriever, Sides, confidence
from tailorbird.records import Failure, Hit, Question, Threshold

FOLDS = 5
_TOP = 10
FEWEST = 10
"""The fewest questions for tuning a weight or a threshold."""
_MOST_REFUSED = 0.05
_SHOWN = 3
_ABSENT = "it is not in the knowledge base under that name"


class Names:
    """Maps sources to the names in judgements: a row's id, a file's name, or the source itself."""

    def __init__(self, names: Iterable[str]) -> None:
        self._judged = set(names)

    def __call__(self, source: str) -> str:
        """Return the judged name of a source, or the source itself."""
        path, _, row = source.rpartition("#")
        file = source.replace("\\", "/").rpartition("/")[2]
        for name in (source, row if path else "", file, file.rpartition(".")[0]):
            if name and name in self._judged:
                return name
        parts = source.replace("\\", "/").split("/")
        tails = ("/".join(parts[i:]) for i in range(1, len(parts)))
        if tail := next((tail for tail in tails if tail in self._judged), ""):
            return tail
        # A row counts as its file if the judgements name the file.
        return file if path and (file := self(path)) in self._judged else source

    def documents(self, hits: Iterable[Hit]) -> list[str]:
        """Return the documents in the order of their best chunks."""
        return list(dict.fromkeys(self(hit.chunk.source) for hit in hits))


@dataclass(frozen=True)
class Weighed:
    """The tuned weight, and the cross-validated ranking of each question.

    Attributes:
        weights: ``[n]`` weight for each question, tuned without it.
        choice: The weight to save; its scores are those of the tuning questions.
    """

    weights: list[float]
    choice: WeightChoice
    how: str


def weigh(
    retriever: Retriever,
    names: Names,
    test: tuple[Sequence[Question], Sequence[Sides]],
    train: tuple[Sequence[Question], Sequence[Sides]] | None,
) -> Weighed:
    """Tune the dense side's weight by nDCG@10, never on the question that it is scored on."""
    config, count, in_use = retriever.config, len(test[0]), retriever.weight
    if config.mode != "hybrid" or config.weight is not None:
        return Weighed([in_use] * count, WeightChoice(in_use, {}, 0), "as given")
    if train is not None and len(train[0]) >= FEWEST:
        choice = choose_weight(_table(retriever, names, *train).__getitem__)
        return Weighed([choice.weight] * count, choice, f"on {len(train[0]):,} training questions")
    if train is not None or count < FEWEST:
        few = f"{len(train[0]) if train else count} questions are too few to tune it"
        return Weighed([in_use] * count, WeightChoice(in_use, {}, 0), few)
    table = _table(retriever, names, *test)
    folds = np.random.default_rng(13).permutation(count) % FOLDS
    weights = np.zeros(count)
    for fold in range(FOLDS):
        others = {weight: values[folds != fold] for weight, values in table.items()}
        weights[folds == fold] = choose_weight(others.__getitem__).weight
    how = (
        f"on these {count:,} questions; each is scored with the weight tuned on the other folds "
        f"of {FOLDS}"
    )
    return Weighed(weights.tolist(), choose_weight(table.__getitem__), how)


def _table(
    retriever: Retriever, names: Names, questions: Sequence[Question], sides: Sequence[Sides]
) -> dict[float, Floats]:
    """Return nDCG@10 of every question ``[n]`` by weight."""
    return {
        weight: np.asarray(
            [
                ndcg(names.documents(retriever.fuse(side, weight)), question.judged, _TOP)
                for question, side in zip(questions, sides, strict=True)
            ]
        )
        for weight in WEIGHTS
    }


def calibrate(
    questions: Sequence[Question], rankings: Sequence[Sequence[Hit]], names: Names, k: int
) -> Threshold | None:
    """Return the confidence below which no relevant document was found; None: too few questions.

    Unanswerable questions are simulated by removing a question's relevant documents from its
    results. The threshold separates both kinds best (Youden's index), among those that refuse at
    most 5 % of the questions whose document was found.
    """
    confident, without = [], []
    for question, hits in zip(questions, rankings, strict=True):
        right = [question.judged.get(names(hit.chunk.source), 0) > 0 for hit in hits]
        others = [hit for hit, is_right in zip(hits, right, strict=True) if not is_right]
        if any(right[:k]):
            confident.append(confidence(hits[:k]))
        without.append(confidence(others[:k]))
    if len(confident) < FEWEST:
        return None
    present, absent = np.sort(confident), np.asarray(without)
    steps = np.unique(np.concatenate([present, absent]))
    refused = np.asarray([(present < step).mean() for step in steps])
    caught = np.asarray([(absent < step).mean() for step in steps])
    gain = np.where(refused <= _MOST_REFUSED, caught - refused, -np.inf)
    best = int(gain.argmax())
    return Threshold(float(steps[best]), float(refused[best]), float(caught[best]))


def failures(
    questions: Sequence[Question],
    rankings: dict[str, list[list[str]]],
    by: str,
    absent: Collection[str] = (),
) -> tuple[Failure, ...]:
    """Return the questions without a relevant document in the top ten, the nearest miss last."""
    failed = []
    for i, question in enumerate(questions):
        ranks = {side: rank_of(each[i], question.judged) for side, each in rankings.items()}
        if (ranks[by] or _TOP + 1) <= _TOP:
            continue
        right = tuple(name for name, grade in question.judged.items() if grade > 0)
        first = tuple(rankings[by][i][:_SHOWN])
        why = _ABSENT if all(name in absent for name in right) else _why(ranks, by)
        failed.append(Failure(question.id, question.text, right, ranks, why, first))
    deep = max((len(each) for each in rankings[by]), default=0) + 1
    return tuple(sorted(failed, key=lambda f: -(f.ranks[by] or deep)))


def _why(ranks: dict[str, int | None], by: str) -> str:
    words, dense = ranks.get("words"), ranks.get("dense")
    if "words" not in ranks or "dense" not in ranks:
        return f"{by} ranks it {_place(ranks[by])}"
    if words is None and dense is None:
        return (
            "neither side has it among its candidates: the question shares neither words "
            "nor meaning with it"
        )
    near_words, near_dense = (words or 10**9) <= _TOP, (dense or 10**9) <= _TOP
    if near_words and not near_dense:
        return f"words rank it {_place(words)}; the vectors miss it ({_place(dense)})"
    if near_dense and not near_words:
        return f"the vectors rank it {_place(dense)}; words miss it ({_place(words)})"
    if near_words and near_dense:
        return f"both sides find it ({_place(words)}, {_place(dense)}), but others score higher"
    return f"both sides rank it low: words {_place(words)}, vectors {_place(dense)}"


def _place(rank: int | None) -> str:
    return "nowhere" if rank is None else f"#{rank}"
