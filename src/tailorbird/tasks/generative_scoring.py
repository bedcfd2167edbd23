"""A generative arm's answers to the test prompts, their scores in the report, and its files."""

import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from tailorbird.data.tokens import Tokens
from tailorbird.metrics.answer_scores import CHOICE, score_answers, score_texts
from tailorbird.metrics.intervals import Groups
from tailorbird.models.device import Device, peak_memory
from tailorbird.models.generate import Sampling, generate
from tailorbird.models.generation_inputs import check_ids
from tailorbird.models.packed import SequenceLosses, sequence_losses
from tailorbird.records import ArmReport, Score, SeedScore, WrittenAnswer
from tailorbird.runs.atomic import write_atomically
from tailorbird.runs.checked_files import read_arrays
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import ARM, PREDICTIONS, TASK, VALUES, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.base_model import Answering
from tailorbird.tasks.forgetting import Reference, loss_on, reference_text
from tailorbird.tasks.head_scoring import group_ids
from tailorbird.tasks.label_likelihood import choose_labels
from tailorbird.tasks.prompt_set import AnswerTest, PromptSet, Scoring, scoring_json

SAMPLES, WORST = 24, 50
ANSWERED_AGAIN = 8
"""The number of prompts that the reload check answers again."""


@dataclass(frozen=True)
class AnswerScores:
    """An arm's answers, by example.

    Attributes:
        outputs: The generated texts; for a choice among labels, the chosen labels.
        values: ``[n]`` for each score.
        loss_sums: ``[n]`` nats, summed over the reference's tokens; None without a model.
        token_counts: ``[n]`` tokens of the reference; None without a model.
        seconds: Time of generation and of choosing labels.
    """

    outputs: tuple[str, ...]
    values: dict[str, np.ndarray]
    headline: str
    loss_sums: np.ndarray | None = None
    token_counts: np.ndarray | None = None
    seconds: float = 0.0

    @property
    def headline_values(self) -> np.ndarray:
        """The headline score ``[n]``."""
        return self.values[self.headline]

    @property
    def losses(self) -> np.ndarray:
        """Nats per token of each reference ``[n]``; 0 without a model or tokens."""
        if self.loss_sums is None or self.token_counts is None:
            return np.zeros(len(self.outputs))
        mean: np.ndarray = self.loss_sums / np.maximum(self.token_counts, 1)
        return mean

    @property
    def ms_per_example(self) -> float:
        """Milliseconds per answer."""
        return 1000 * self.seconds / max(1, len(self.outputs))


def answer_test(
    answering: Answering,
    test: AnswerTest,
    title: str = "",
    losses: SequenceLosses | None = None,
) -> AnswerScores:
    """Answer all questions of the test."""
    assert test.scoring is not None
    own = None
    if losses is not None:
        places = {int(row): i for i, row in enumerate(test.sequences.rows)}
        own = losses.take(np.asarray([places[int(r)] for r in test.questions.tokens.rows]))
    sampling = answering.sampling(test.max_new_tokens)
    return answer_all(
        answering.model, answering.tokenizer, test.questions, test.scoring, sampling,
        answering.device, title, own,
    )  # fmt: skip


def answer_all(
    model: nn.Module,
    tokenizer: Any,
    questions: PromptSet,
    scoring: Scoring,
    sampling: Sampling,
    device: Device,
    title: str = "",
    losses: SequenceLosses | None = None,
) -> AnswerScores:
    """Return the model's answers and their scores.

    Raises:
        UserError: A prompt leaves no room for an answer, or the user's metric failed.
    """
    prompts = questions.tokens.prompts
    started = time.perf_counter()
    answers = generate(model, tokenizer, prompts, sampling, device, title)
    choices: list[str] | None = None
    if scoring.headline == CHOICE:
        chances = choose_labels(model, tokenizer, prompts, scoring.endings, device, title)
        choices = [scoring.labels[index] for index in chances.argmax(axis=1)]
    seconds = time.perf_counter() - started
    if losses is None:
        losses = sequence_losses(model, questions.tokens, device, title)
    texts = [one.text.strip() for one in answers]
    return AnswerScores(
        outputs=tuple(texts if choices is None else choices),
        values=_values(texts, choices, questions, scoring),
        headline=scoring.headline,
        loss_sums=losses.loss_sums,
        token_counts=losses.counts,
        seconds=seconds,
    )


def score_outputs(outputs: Sequence[str], questions: PromptSet, scoring: Scoring) -> AnswerScores:
    """Return the scores of answers without a model, such as a neighbour's.

    Raises:
        UserError: The user's metric failed.
    """
    texts = [output.strip() for output in outputs]
    choices = texts if scoring.headline == CHOICE else None
    return AnswerScores(tuple(texts), _values(texts, choices, questions, scoring), scoring.headline)


def samples(
    questions: PromptSet, scores: AnswerScores, seed: int, most: int = SAMPLES
) -> tuple[WrittenAnswer, ...]:
    """Return sample answers for comparison between arms: the same rows for each."""
    order = np.random.default_rng(seed).permutation(len(questions))[:most]
    return _records(questions, scores, np.sort(order))


def worst(
    questions: PromptSet, scores: AnswerScores, most: int = WORST
) -> tuple[WrittenAnswer, ...]:
    """Return the answers with the lowest scores, ties by the highest loss."""
    order = np.lexsort((-scores.losses, scores.headline_values))
    return _records(questions, scores, order[:most])


def _values(
    texts: Sequence[str], choices: Sequence[str] | None, questions: PromptSet, scoring: Scoring
) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = dict(score_texts(texts, questions.references, scoring.metrics))
    if choices is not None:
        right = [c == r.strip() for c, r in zip(choices, questions.references, strict=True)]
        values[CHOICE] = np.asarray(right, dtype=np.float64)
    if scoring.custom is not None:
        values[scoring.custom.name] = scoring.custom.score(
            texts, questions.references, questions.prompts, questions.rows
        )
    return values


def _records(
    questions: PromptSet, scores: AnswerScores, indices: np.ndarray
) -> tuple[WrittenAnswer, ...]:
    return tuple(
        WrittenAnswer(
            row=questions.rows[index],
            prompt=questions.prompts[index],
            reference=questions.references[index],
            output=scores.outputs[index],
            score=float(scores.headline_values[index]),
            loss=float(scores.losses[index]),
        )
        for index in indices.tolist()
    )


@dataclass(frozen=True)
class ArmOutputs:
    """An arm's answers with their scores and losses.

    Attributes:
        check: The first tokens of the first answers, generated alone for the reload check: in
            another batch, rounding could change a tie.
        check_losses: The losses of the first sequences, read alone for the same reason.
    """

    answers: AnswerScores | None
    test: SequenceLosses | None
    validation: SequenceLosses | None
    check: tuple[str, ...] = ()
    check_losses: SequenceLosses | None = None


def first_losses(answering: Answering, tokens: Tokens) -> SequenceLosses:
    """Return the losses of the first sequences, read alone, for the reload check."""
    return token_losses(answering, tokens.take(np.arange(min(ANSWERED_AGAIN, len(tokens)))))


def token_losses(answering: Answering, tokens: Tokens, title: str = "") -> SequenceLosses:
    """Return the losses of sequences."""
    check_ids(answering.model, tokens.ids)
    packing = answering.config.train.packing
    return sequence_losses(answering.model, tokens, answering.device, title, packing)


def score_and_save(
    report: ArmReport,
    job: ArmJob,
    answering: Answering,
    test: AnswerTest,
    validation: Tokens,
    reference: Reference | None = None,
    validated: SequenceLosses | None = None,
) -> ArmReport:
    """Run the whole test, and write report and answers to the arm's folder."""
    losses = token_losses(answering, test.sequences, f"{job.name}: losses")
    scored = test.scoring is not None
    marked = ArmOutputs(
        answers=answer_test(answering, test, f"{job.name}: test", losses) if scored else None,
        test=losses,
        validation=validated or token_losses(answering, validation),
        check=answering.check(
            [test.questions.tokens.prompts[i] for i in range(_checked(test))], test.max_new_tokens
        ),
        check_losses=first_losses(answering, test.sequences),
    )
    forgetting = None
    if reference is not None:
        after = loss_on(answering, reference_text(answering.config), reference.window)
        forgetting = replace(reference.before, after=after.before)
    most = max(peak_memory(answering.device), report.cost.peak_memory_bytes or 0)
    cost = replace(report.cost, peak_memory_bytes=most)
    report = replace(report, cost=cost, forgetting=forgetting)
    return finish_arm(report, job, test, marked)


def finish_arm(report: ArmReport, job: ArmJob, test: AnswerTest, marked: ArmOutputs) -> ArmReport:
    """Return the arm's report with its scores, and write its files."""
    values = values_of(marked, test)
    by_row = {example.row: example for example in job.split.test}
    groups = group_ids([by_row[row] for row in test.questions.rows])
    on_validation, on_test = validation_scores(marked.validation), test_scores(values, groups)
    cost, answers = report.cost, marked.answers
    if answers is not None:
        cost = replace(cost, predict_ms_per_example=answers.ms_per_example)
        seed = job.config.data.split_seed
        report = replace(
            report,
            answers=samples(test.questions, answers, seed),
            worst=worst(test.questions, answers),
        )
    if cost.peak_memory_bytes is None:
        cost = replace(cost, peak_memory_bytes=peak_memory_bytes())
    report = replace(
        report,
        notes=(*report.notes, *test.notes),
        validation=on_validation,
        test=on_test,
        cost=cost,
        seeds=(
            SeedScore(
                job.config.train.seed,
                {name: score.value for name, score in on_validation.items()},
                {name: score.value for name, score in on_test.items()},
            ),
        ),
    )
    save_values(job.folder, values)
    task_file = {"task": job.split.task, "headline": test.headline} | scoring_json(test.scoring)
    if test.max_new_tokens:
        task_file["max_new_tokens"] = test.max_new_tokens
    if marked.check:
        task_file["check"] = {
            "rows": list(test.questions.rows[: _checked(test)]),
            "texts": marked.check,
        }
    job.folder.write_json(TASK, task_file)
    job.folder.write_rows(PREDICTIONS, prediction_rows(test, answers))
    job.folder.write_json(ARM, asdict(report))
    return report


def _checked(test: AnswerTest) -> int:
    return min(ANSWERED_AGAIN, len(test.questions))


def values_of(marked: ArmOutputs, test: AnswerTest) -> dict[str, np.ndarray]:
    """Return per-example arrays: each metric by name, and the losses of test sequences."""
    values: dict[str, np.ndarray] = {}
    if marked.answers is not None:
        values |= {f"test/{name}": array for name, array in marked.answers.values.items()}
    for part, losses in (("test", marked.test), ("validation", marked.validation)):
        if losses is not None:
            values[f"{part}/loss_sums"] = losses.loss_sums
            values[f"{part}/token_counts"] = losses.counts
    if marked.check_losses is not None:
        values["check/loss_sums"] = marked.check_losses.loss_sums
    return values


def test_scores(values: dict[str, np.ndarray], groups: Groups | None = None) -> dict[str, Score]:
    """Return the test scores of per-example arrays ``[n]`` or ``[trainings, n]``."""
    on_test = {name: array for name, array in values.items() if name.startswith("test/")}
    plain = {name.removeprefix("test/"): array for name, array in on_test.items()}
    sums, counts = plain.pop("loss_sums", None), plain.pop("token_counts", None)
    # All trainings are tested on the same tokens.
    tokens = None if counts is None else np.atleast_2d(counts)[0]
    return score_answers(plain, sums, tokens, groups)


def validation_scores(losses: SequenceLosses | None) -> dict[str, Score]:
    """Return loss, perplexity and next-token accuracy on validation."""
    if losses is None:
        return {}
    scores = score_answers({}, losses.loss_sums, losses.counts)
    return scores | {"accuracy": Score(losses.accuracy, losses.accuracy, losses.accuracy)}


def save_values(folder: RunFolder, values: dict[str, np.ndarray]) -> None:
    """Write the per-example arrays, for the paired tests."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)  # type: ignore[arg-type]
    write_atomically(folder.file(VALUES), buffer.getvalue())


def load_values(folder: RunFolder) -> dict[str, np.ndarray]:
    """Read the arrays of `save_values`.

    Raises:
        UserError: They are missing or damaged.
    """
    return read_arrays(folder.file(VALUES))


def headline_values(values: dict[str, np.ndarray], headline: str) -> np.ndarray:
    """Return the values of the paired tests, ``[n]`` or ``[seeds, n]``."""
    if headline == "loss":
        mean: np.ndarray = values["test/loss_sums"] / np.maximum(1, values["test/token_counts"])
        return mean
    return values[f"test/{headline}"]


def prediction_rows(test: AnswerTest, answers: AnswerScores | None) -> Sequence[dict[str, Any]]:
    """Return one plain row per question: prompt, reference, output, scores."""
    if answers is None:
        return []
    questions = test.questions
    return [
        {
            "row": questions.rows[i],
            "prompt": questions.prompts[i],
            "reference": questions.references[i],
            "output": answers.outputs[i],
        }
        | {name: round(float(array[i]), 6) for name, array in answers.values.items()}
        for i in range(len(questions))
    ]
