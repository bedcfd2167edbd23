"""`tailor evaluate RUN --grade N`: manual grades of answers, compared with the metric's."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tailorbird.errors import UserError
from tailorbird.metrics.manual_grades import Agreement, agreement, corrected
from tailorbird.records import Score
from tailorbird.runs.folder import PREDICTIONS, RunFolder

GRADES = "grades.jsonl"
_FEWEST = 5


@dataclass(frozen=True, slots=True)
class MarkableAnswer:
    """A question with one arm's answer; the grader does not see which arm's."""

    id: str
    question: str
    answers: tuple[str, ...]
    answer: str
    arm: str
    right: bool


@dataclass(frozen=True, slots=True)
class Grades:
    """The results of the grades so far.

    Attributes:
        agreement: Over all graded answers.
        arms: For each arm with at least five grades: the share of correct answers by the metric,
            and the estimated share by the grader.
    """

    agreement: Agreement
    arms: dict[str, tuple[float, Score]]


def draw(run: RunFolder, count: int, seed: int = 1) -> list[MarkableAnswer]:
    """Return `count` ungraded answers, evenly from all arms, in a seeded order.

    Raises:
        UserError: The folder has no finished comparison on questions.
    """
    graded_rows = {(row["id"], row["arm"]) for row in _graded(run)}
    pairs = [pair for pair in _pairs(run) if (pair.id, pair.arm) not in graded_rows]
    order = np.random.default_rng(seed + len(graded_rows)).permutation(len(pairs))
    return [pairs[int(place)] for place in order[:count]]


def keep(run: RunFolder, pair: MarkableAnswer, right: bool) -> None:
    """Save a manual grade."""
    row = {"id": pair.id, "arm": pair.arm, "metric": pair.right, "person": right}
    run.write_rows(GRADES, [*_graded(run), row | {"answer": pair.answer}])


def grades(run: RunFolder) -> Grades | None:
    """Return the results of a run's grades; None if there are none."""
    rows = _graded(run)
    if not rows:
        return None
    pairs = _pairs(run)
    arms = {}
    for arm in dict.fromkeys(pair.arm for pair in pairs):
        own = [row for row in rows if row["arm"] == arm]
        if len(own) >= _FEWEST:
            everything = _marks([pair.right for pair in pairs if pair.arm == arm])
            score = corrected(everything, *_both(own))
            arms[arm] = (float(everything.mean()), score)
    return Grades(agreement(*_both(rows)), arms)


def grades_json(result: Grades) -> dict[str, object]:
    """Return grades as plain values."""
    arms = {
        name: {"metric": share, "person": asdict(score)}
        for name, (share, score) in result.arms.items()
    }
    return {"agreement": asdict(result.agreement), "arms": arms}


def _pairs(run: RunFolder) -> list[MarkableAnswer]:
    rows = run.read_rows(PREDICTIONS) if run.file(PREDICTIONS).is_file() else []
    if not rows or "arms" not in rows[0]:
        raise UserError(
            f"{run.path} holds no finished comparison on questions",
            "--grade marks the answers of `tailor compare QUESTIONS --store KB`",
        )
    return [
        MarkableAnswer(
            row["id"], row["question"], tuple(row["answers"]), answer["answer"], arm,
            answer["outcome"] == "correct",
        )
        for row in rows
        for arm, answer in row["arms"].items()
    ]  # fmt: skip


def _graded(run: RunFolder) -> list[dict[str, Any]]:
    return run.read_rows(GRADES) if run.file(GRADES).is_file() else []


def _marks(values: Sequence[object]) -> np.ndarray:
    return np.asarray([bool(value) for value in values], dtype=np.float64)


def _both(rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    return _marks([row["metric"] for row in rows]), _marks([row["person"] for row in rows])
