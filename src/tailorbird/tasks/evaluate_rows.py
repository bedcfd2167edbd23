"""Evaluation of a loaded run on other data than its own test."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tailorbird.data.chat_template import install_template
from tailorbird.data.encode import as_read
from tailorbird.data.examples import Loaded
from tailorbird.data.targets import classes_of
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError, did_you_mean
from tailorbird.models.load import load_tokenizer
from tailorbird.records import ArmReport, Cost, Example, Split
from tailorbird.runs.folder import PREDICTIONS, RunFolder
from tailorbird.tasks.arm_job import TaskFile
from tailorbird.tasks.base import Task
from tailorbird.tasks.generative_base import GenerativeTask
from tailorbird.tasks.generative_scoring import (
    AnswerScores,
    ArmOutputs,
    answer_test,
    prediction_rows,
    samples,
    score_outputs,
    test_scores,
    token_losses,
    values_of,
    worst,
)
from tailorbird.tasks.head_base import HeadTask
from tailorbird.tasks.head_scoring import save_predictions, score_arm
from tailorbird.tasks.prompt_set import (
    AnswerTest,
    PromptSet,
    Scoring,
    saved_scoring,
    scoring_of,
)
from tailorbird.tasks.registry import generative_task


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run's scores on other data than its own test."""

    split: Split
    arm: ArmReport
    headline: str
    save: Callable[[RunFolder], None]


def evaluate_rows(
    task: Task, predictor: Any, arm: ArmReport, rows: Loaded, metric: str | None
) -> Evaluation:
    """Predict labelled rows with a loaded run, and score it.

    Raises:
        UserError: The rows do not fit the run's task.
    """
    if isinstance(task, HeadTask):
        return _evaluate_head(task, predictor, arm, rows)
    return _evaluate_generative(generative_task(task.name), predictor, arm, rows, metric)


def _evaluate_generative(
    task: GenerativeTask, predictor: Any, arm: ArmReport, loaded: Loaded, metric: str | None
) -> Evaluation:
    if loaded.task != task.name:
        raise UserError(
            f"{loaded.path} holds {loaded.task}, but the run {predictor.name} was trained on "
            f"{task.name}",
            "give rows of the form it was trained on",
        )
    rows = tuple(loaded.examples)
    split = Split((), (), rows, (), "all rows", loaded.findings, loaded.task, loaded.form)
    tokens = _encoded(task, predictor, rows)
    losses = (
        None if predictor.shows_examples else token_losses(predictor.answering, tokens, "losses")
    )
    test = task.all_prompts(split, tokens)
    answers = None
    if len(test.questions):
        own = str(predictor.config.evaluate.metric)
        scoring = _scoring(predictor.test_file, metric, own, test.questions)
        test = replace(test, scoring=scoring, max_new_tokens=predictor.longest)
        answers = _answers(predictor, test, rows)
    values = values_of(ArmOutputs(answers, losses, None), test)
    arm = replace(
        arm,
        test=test_scores(values),
        cost=Cost(predict_ms_per_example=answers.ms_per_example if answers else None),
        answers=samples(test.questions, answers, 0) if answers else (),
        worst=worst(test.questions, answers) if answers else (),
        notes=tuple(finding.message for finding in tokens.findings),
    )
    predictions = list(prediction_rows(test, answers))
    return Evaluation(
        split, arm, test.headline, lambda folder: folder.write_rows(PREDICTIONS, predictions)
    )


def _scoring(task_file: TaskFile, metric: str | None, own: str, questions: PromptSet) -> Scoring:
    """Return the scoring of answers: by `metric`, else as in the run's own test.

    It never depends on the new answers: otherwise two files could be scored by different metrics.
    """
    if metric is not None and metric != "auto":
        return scoring_of(metric, questions)
    return saved_scoring(task_file, own) or scoring_of(task_file.headline, questions)


def _encoded(task: GenerativeTask, predictor: Any, rows: Sequence[Example]) -> Tokens:
    """Return the rows' tokens, untruncated if only the metrics use them."""
    too_long = predictor.config.data.too_long
    if not predictor.copies:
        a = predictor.answering
        return task.encode(rows, a.tokenizer, a.limit, a.config.data.too_long)
    tokenizer = load_tokenizer(predictor.config.model)
    install_template(tokenizer, predictor.config.data.template)
    return task.encode(rows, tokenizer, sys.maxsize, too_long)


def _answers(predictor: Any, test: AnswerTest, rows: Sequence[Example]) -> AnswerScores:
    """Return the run's answers; few-shot arms answer as a whole."""
    if not predictor.shows_examples:
        return answer_test(predictor.answering, test, "answers")
    assert test.scoring is not None
    by_row = {example.row: example for example in rows}
    outputs = predictor.predict([by_row[row] for row in test.questions.rows], "answers")
    return score_outputs([output.text for output in outputs], test.questions, test.scoring)


def _evaluate_head(task: HeadTask, predictor: Any, arm: ArmReport, loaded: Loaded) -> Evaluation:
    split = _as_test(loaded, predictor)
    target = replace(predictor.target, labels=split.labels)
    texts = [as_read(example) for example in split.test]
    began = time.perf_counter()
    outputs = predictor.probabilities(texts, "predicting")
    seconds = time.perf_counter() - began
    arm = replace(arm, cost=Cost(predict_ms_per_example=1000 * seconds / len(texts)))
    arm = score_arm(arm, None, outputs, split, 0, target)
    return Evaluation(
        split,
        arm,
        task.spec.headline,
        lambda folder: save_predictions(folder, split, {"test": outputs}, target),
    )


def _as_test(loaded: Loaded, predictor: Any) -> Split:
    """Return the examples as a test set of the run's labels."""
    own, task = set(predictor.labels), predictor.target.task
    in_rows = {label for e in loaded.examples for label in classes_of(e, task)}
    strange = sorted(in_rows - own)
    if strange:
        raise UserError(
            f"{loaded.path}: label {strange[0]!r}{did_you_mean(strange[0], own)} is unknown to "
            f"the run{f', and {len(strange) - 1} more' if len(strange) > 1 else ''}",
            f"the run has: {', '.join(sorted(own)[:20])}",
        )
    targets = len(loaded.targets) if predictor.target.deviation else len(predictor.labels)
    if targets != len(predictor.labels):
        raise UserError(
            f"{loaded.path}: {targets} numbers per row, and the run gives {len(predictor.labels)}: "
            f"{', '.join(predictor.labels)}",
            "name their columns with --label A,B",
        )
    test, labels = tuple(loaded.examples), tuple(predictor.labels)
    return Split((), test, test, labels, "all rows", loaded.findings, task)
