"""`tailor evaluate` of a run that answers in words, on other data than its own test."""

import shlex
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailorbird.arms.load import run_config
from tailorbird.arms.load_writing import Writer
from tailorbird.data.read import Loaded
from tailorbird.data.template import install_template
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.metrics.custom import is_custom
from tailorbird.models.load import load_tokenizer
from tailorbird.records import ArmReport, Cost, Split
from tailorbird.runs.folder import CONFIG, RunFolder
from tailorbird.tasks.answers import AnswerScores, samples, score_outputs, worst
from tailorbird.tasks.job import WritingFile, read_task
from tailorbird.tasks.paper import Paper, encode_test
from tailorbird.tasks.test_set import Asked, Scoring, asked_of, saved_scoring, scoring_of
from tailorbird.tasks.written import Marked, prediction_rows, test_scores, values_of


@dataclass(frozen=True)
class Evaluated:
    """What was found.

    Attributes:
        rows: One plain row per question, for `predictions.jsonl`.
    """

    arm: ArmReport
    split: Split
    headline: str
    rows: list[dict[str, Any]]


def evaluate_writing(
    folder: RunFolder, loaded: Loaded, metric: str | None, *, trust: bool = False
) -> Evaluated:
    """Let a run answer every row and score its answers.

    Args:
        folder: The arm.
        loaded: The examples, with their answers.
        metric: As `evaluate.metric`; None or auto takes the run's own scoring and labels.
        trust: Whether code may run that came with the run's model.

    Raises:
        UserError: The rows do not fit the run's task.
    """
    told = read_task(folder)
    if loaded.task != told.task:
        raise UserError(
            f"{loaded.path} holds {loaded.task}, but the run {folder.path} learnt {told.task}",
            "give rows of the form it was trained on",
        )
    check_metric(folder, metric)
    writer = Writer(folder, trust=trust)
    test = tuple(loaded.examples)
    split = Split((), (), test, (), "all rows", loaded.findings, loaded.task, loaded.form)
    tokens = _encoded(writer, split)
    losses = None if writer.shows_examples else writer.answering.losses(tokens, "losses")
    if loaded.task == "text":
        paper = Paper(asked_of(tokens, test).take(np.arange(0)), tokens, None, 0)
        answers = None
    else:
        asked = asked_of(tokens, test)
        scoring = _scoring(told, metric, str(writer.config.evaluate.metric), asked)
        paper = Paper(asked, tokens, scoring, writer.longest)
        answers = _answers(writer, paper, test)
    values = values_of(Marked(answers, losses, None), paper)
    arm = ArmReport(
        name=folder.path.name,
        status="ok",
        run=str(folder.path),
        test=test_scores(values),
        cost=Cost(predict_ms_per_example=answers.ms_per_example if answers else None),
        answers=samples(paper.asked, answers, 0) if answers else (),
        worst=worst(paper.asked, answers) if answers else (),
        notes=tuple(finding.message for finding in tokens.findings),
    )
    return Evaluated(arm, split, paper.headline, list(prediction_rows(paper, answers)))


def check_metric(folder: RunFolder, metric: str | None) -> None:
    """Refuse to score by Python code that the run names and the caller does not.

    Raises:
        UserError: That is so; whoever made the folder chose the file.
    """
    own = run_config(folder, trust=False).evaluate.metric
    if metric in (None, "auto") and is_custom(own):
        raise UserError(
            f"{folder.file(CONFIG)} scores by Python code, {own}",
            f"if you trust it: --metric {shlex.quote(own)}; or name another metric",
        )


def _scoring(told: WritingFile, asked_for: str | None, own: str, asked: Asked) -> Scoring:
    """Return how answers are scored: as asked, else as the run's own test was.

    Never by what the new answers look like: then two files would be scored by two measures.
    """
    if asked_for is not None and asked_for != "auto":
        return scoring_of(asked_for, asked)
    return saved_scoring(told, own) or scoring_of(told.headline, asked)


def _encoded(writer: Writer, split: Split) -> Tokens:
    """Return the rows' tokens, whole where nothing reads them but the metrics."""
    if not writer.copies:
        a = writer.answering
        return encode_test(split, a.tokenizer, a.limit, a.config)
    tokenizer = load_tokenizer(writer.config.model)
    install_template(tokenizer, writer.config.data.template)
    return encode_test(split, tokenizer, sys.maxsize, writer.config)


def _answers(writer: Writer, paper: Paper, test: tuple[Any, ...]) -> AnswerScores:
    """Return the run's answers: of arms that show examples, by the whole arm."""
    if not writer.shows_examples:
        return writer.answering.answers(paper, "answers")
    assert paper.scoring is not None
    by_row = {example.row: example for example in test}
    found = writer.predict([by_row[row] for row in paper.asked.rows], "answers")
    return score_outputs([f.text for f in found], paper.asked, paper.scoring)
