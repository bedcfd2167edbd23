"""A run that answers in words on other data than its own test."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tailorbird.data.examples import Loaded
from tailorbird.data.template import install_template
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.models.load import load_tokenizer
from tailorbird.records import ArmReport, Cost, Example, Split
from tailorbird.runs.folder import PREDICTIONS
from tailorbird.tasks.answers import AnswerScores, samples, score_outputs, worst
from tailorbird.tasks.base import Evaluated
from tailorbird.tasks.job import WritingFile
from tailorbird.tasks.test_set import PromptSet, Scoring, WritingTest, saved_scoring, scoring_of
from tailorbird.tasks.writing import WritingTask
from tailorbird.tasks.written import Marked, prediction_rows, test_scores, values_of


def evaluate_writing(
    task: WritingTask, writer: Any, arm: ArmReport, loaded: Loaded, metric: str | None
) -> Evaluated:
    """Let a run answer every row and score its answers; see `Task.evaluate`.

    Raises:
        UserError: The rows do not fit the run's task.
    """
    if loaded.task != task.name:
        raise UserError(
            f"{loaded.path} holds {loaded.task}, but the run {writer.name} learnt {task.name}",
            "give rows of the form it was trained on",
        )
    rows = tuple(loaded.examples)
    split = Split((), (), rows, (), "all rows", loaded.findings, loaded.task, loaded.form)
    tokens = _encoded(task, writer, rows)
    losses = None if writer.shows_examples else writer.answering.losses(tokens, "losses")
    test = task.all_asked(split, tokens)
    answers = None
    if len(test.questions):
        own = str(writer.config.evaluate.metric)
        scoring = _scoring(writer.told, metric, own, test.questions)
        test = replace(test, scoring=scoring, max_new_tokens=writer.longest)
        answers = _answers(writer, test, rows)
    values = values_of(Marked(answers, losses, None), test)
    arm = replace(
        arm,
        test=test_scores(values),
        cost=Cost(predict_ms_per_example=answers.ms_per_example if answers else None),
        answers=samples(test.questions, answers, 0) if answers else (),
        worst=worst(test.questions, answers) if answers else (),
        notes=tuple(finding.message for finding in tokens.findings),
    )
    predictions = list(prediction_rows(test, answers))
    return Evaluated(
        split, arm, test.headline, lambda folder: folder.write_rows(PREDICTIONS, predictions)
    )


def _scoring(told: WritingFile, wish: str | None, own: str, questions: PromptSet) -> Scoring:
    """Return how answers are scored: as asked, else as the run's own test was.

    Never by what the new answers look like: then two files would be scored by two measures.
    """
    if wish is not None and wish != "auto":
        return scoring_of(wish, questions)
    return saved_scoring(told, own) or scoring_of(told.headline, questions)


def _encoded(task: WritingTask, writer: Any, rows: Sequence[Example]) -> Tokens:
    """Return the rows' tokens, whole where nothing reads them but the metrics."""
    too_long = writer.config.data.too_long
    if not writer.copies:
        a = writer.answering
        return task.encode(rows, a.tokenizer, a.limit, a.config.data.too_long)
    tokenizer = load_tokenizer(writer.config.model)
    install_template(tokenizer, writer.config.data.template)
    return task.encode(rows, tokenizer, sys.maxsize, too_long)


def _answers(writer: Any, test: WritingTest, rows: Sequence[Example]) -> AnswerScores:
    """Return the run's answers: of arms that show examples, by the whole arm."""
    if not writer.shows_examples:
        answers: AnswerScores = writer.answering.answers(test, "answers")
        return answers
    assert test.scoring is not None
    by_row = {example.row: example for example in rows}
    outputs = writer.predict([by_row[row] for row in test.questions.rows], "answers")
    return score_outputs([output.text for output in outputs], test.questions, test.scoring)
