"""Answers in words -> all that the report says about an arm's quality, and what it leaves."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.config import Config
from tailorbird.data.supervise import encode_conversations, encode_texts
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.evaluate.answers import AnswerScores, answer_all, samples, worst
from tailorbird.evaluate.asked import (
    Asked,
    Scoring,
    answer_length,
    asked_of,
    drawn,
    scoring_json,
    scoring_of,
    with_room,
)
from tailorbird.evaluate.forgetting import reference_loss, window_length
from tailorbird.flows.job import ArmJob
from tailorbird.flows.prepare import tutor_folder
from tailorbird.metrics.answers import score_answers
from tailorbird.models.device import Device
from tailorbird.models.generate import Sampling, generate, sampling_of
from tailorbird.models.packed import SequenceLosses, sequence_losses
from tailorbird.records import ArmReport, Forgetting, Score, SeedScore, Split
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import ARM, PREDICTIONS, TASK, VALUES, RunFolder, write_atomically

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.flows.load_writing import Writer

ASKED_BY_DEFAULT = 300
CHECKED, _CHECKED_TOKENS = 8, 64
"""How many prompts a fresh process answers again after saving, and how long the answers are."""
TEXT_HEADLINE = "loss"
_REFERENCE = "cache/reference.json"


@dataclass(frozen=True)
class Paper:
    """What every arm is asked, and how its answers are marked; the same for all of them.

    Attributes:
        asked: The drawn test prompts and their references; empty for plain text.
        test: All test sequences: what the loss is measured on.
        scoring: Which metrics, and which of them decides; None for plain text.
        max_new_tokens: Longest answer.
        notes: What was not asked, in words.
    """

    asked: Asked
    test: Tokens
    scoring: Scoring | None
    max_new_tokens: int
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The metric of the verdict."""
        return TEXT_HEADLINE if self.scoring is None else self.scoring.headline


def paper_of(split: Split, test: Tokens, train: Tokens, config: Config, reads: int) -> Paper:
    """Draw the questions and choose the marks, by data, settings and base model alone.

    Args:
        split: The examples.
        test: The test part's tokens.
        train: The training part's tokens.
        config: The settings.
        reads: Tokens that the base model reads at most.

    Raises:
        UserError: `evaluate.metric` names nothing that can score these answers, or no prompt
            leaves room for one.
    """
    asked = asked_of(test, split.test)
    if split.task == "text":
        return Paper(asked.take(np.arange(0)), test, None, 0)
    asked, left_out = with_room(asked, reads)
    most = config.evaluate.examples or ASKED_BY_DEFAULT
    chosen = drawn(len(asked), most, config.data.split_seed)
    scoring = scoring_of(config.evaluate.metric, asked_of(train, split.train))
    notes = (left_out,) if left_out else ()
    return Paper(asked.take(chosen), test, scoring, answer_length(train), notes)


@dataclass(frozen=True)
class Answering:
    """A model that can be asked.

    Attributes:
        limit: Tokens of a sequence at most.
    """

    model: "nn.Module"
    tokenizer: Any
    device: Device
    limit: int
    config: Config

    def sampling(self, max_new_tokens: int) -> Sampling:
        """Return how answers are written."""
        return sampling_of(self.config.generate, max_new_tokens, self.ends)

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        from tailorbird.data.template import end_of_turn

        generation: Any = self.model.generation_config
        known = generation.eos_token_id
        listed = [known] if isinstance(known, int) else list(known or [])
        return tuple(dict.fromkeys([end_of_turn(self.tokenizer), *listed]))

    def losses(self, tokens: Tokens, title: str = "") -> SequenceLosses:
        """Return the losses of sequences."""
        packing = self.config.train.packing
        return sequence_losses(self.model, tokens, self.device, title, packing)

    def answers(
        self, paper: Paper, title: str = "", losses: SequenceLosses | None = None
    ) -> AnswerScores:
        """Answer every question of the paper.

        Args:
            paper: The questions.
            title: Of the progress bar.
            losses: Of the paper's test sequences, where they are known already.
        """
        assert paper.scoring is not None
        known = None
        if losses is not None:
            places = {int(row): i for i, row in enumerate(paper.test.rows)}
            known = losses.take(np.asarray([places[int(r)] for r in paper.asked.tokens.rows]))
        sampling = self.sampling(paper.max_new_tokens)
        return answer_all(
            self.model, self.tokenizer, paper.asked, paper.scoring, sampling, self.device, title,
            known,
        )  # fmt: skip

    def check(self, prompts: Sequence[np.ndarray], longest: int) -> tuple[str, ...]:
        """Return the beginnings of the answers to a few prompts, greedily."""
        if not prompts:
            return ()
        sampling = Sampling(min(longest, _CHECKED_TOKENS), end_ids=self.ends)
        found = generate(self.model, self.tokenizer, prompts, sampling, self.device)
        return tuple(written.text for written in found)

    def reference_loss(self, text: tuple[str, str], window: int) -> Forgetting:
        """Return the loss on a text outside the task, as it is before and for now after."""
        value, count = reference_loss(self.model, self.tokenizer, text[1], self.device, window)
        return Forgetting(value, value, count, text[0])


def reference_text(config: Config) -> tuple[str, str]:
    """Return the name and the text that show what was forgotten.

    Raises:
        UserError: The file named in `evaluate.reference` cannot be read.
    """
    from tailorbird.data.textfile import read_text

    if config.evaluate.reference is not None:
        path = Path(config.evaluate.reference)
        if not path.is_file():
            raise UserError(
                f"evaluate.reference names {path}, which is no file", "give a text file"
            )
        return path.name, read_text(path)
    folder = tutor_folder()
    pages = sorted((folder / "pages").glob("*.md")) if folder else []
    text = "\n\n".join(page.read_text(encoding="utf-8") for page in pages)
    return "pages on Python's errors that come with tailorbird", text


@dataclass(frozen=True)
class Reference:
    """The loss on the reference text before training, and in windows of how many tokens."""

    before: Forgetting
    window: int

    @classmethod
    def of(cls, answering: Answering, run: RunFolder) -> "Reference":
        """Read it with the untouched model, or take what another arm of the run found with it."""
        model: Any = answering.model
        text, window = reference_text(answering.config), window_length(model, answering.limit)
        # QLoRA's base is another model: what its few bits cost is no forgetting.
        packed = getattr(model.config, "quantization_config", None) is not None
        kind = f"{model.get_input_embeddings().weight.dtype}{' quantised' if packed else ''}"
        key = f"{answering.device.words}, {kind}, windows of {window}"
        file = run.file(_REFERENCE)
        known = run.read_json(_REFERENCE) if file.is_file() else {}
        if key not in known:
            known[key] = asdict(answering.reference_loss(text, window))
            run.write_json(_REFERENCE, known)
        return cls(Forgetting(**known[key]), window)


@dataclass(frozen=True)
class Marked:
    """All that is known of an arm's answers.

    Attributes:
        check: The beginnings of the first answers, written by themselves: what a fresh process
            repeats. In another batch rounding could turn a tie.
    """

    answers: AnswerScores | None
    test: SequenceLosses | None
    validation: SequenceLosses | None
    check: tuple[str, ...] = ()


def score_and_save(
    report: ArmReport,
    job: ArmJob,
    answering: Answering,
    paper: Paper,
    validation: Tokens,
    reference: Reference | None = None,
    validated: SequenceLosses | None = None,
) -> ArmReport:
    """Ask the model everything, and leave its report and its answers in the arm's folder.

    Args:
        report: Name, cost, settings and curve of the arm.
        job: The arm.
        answering: The finished model.
        paper: What it is asked.
        validation: The validation sequences.
        reference: The loss on the reference text before training, where there was any.
        validated: The losses of the validation sequences, where they are known already.
    """
    losses = answering.losses(paper.test, f"{job.name}: losses")
    asked = paper.scoring is not None
    marked = Marked(
        answers=answering.answers(paper, f"{job.name}: test", losses) if asked else None,
        test=losses,
        validation=validated or answering.losses(validation),
        check=answering.check(
            [paper.asked.tokens.prompts[i] for i in range(_checked(paper))], paper.max_new_tokens
        ),
    )
    forgetting = None
    if reference is not None:
        after = answering.reference_loss(reference_text(answering.config), reference.window)
        forgetting = replace(reference.before, after=after.before)
    from tailorbird.flows.arm import peak_memory

    most = max(peak_memory(answering.device), report.cost.peak_memory_bytes or 0)
    cost = replace(report.cost, peak_memory_bytes=most)
    report = replace(report, cost=cost, forgetting=forgetting)
    return finish_arm(report, job, paper, marked)


def finish_arm(report: ArmReport, job: ArmJob, paper: Paper, marked: Marked) -> ArmReport:
    """Return the arm's report with its scores, and write what it leaves."""
    values = values_of(marked, paper)
    on_validation, on_test = validation_scores(marked.validation), test_scores(values)
    cost, answers = report.cost, marked.answers
    if answers is not None:
        cost = replace(cost, predict_ms_per_example=answers.ms_per_example)
        seed = job.config.data.split_seed
        report = replace(
            report,
            answers=samples(paper.asked, answers, seed),
            worst=worst(paper.asked, answers),
        )
    if cost.peak_memory_bytes is None:
        cost = replace(cost, peak_memory_bytes=peak_memory_bytes())
    report = replace(
        report,
        notes=(*report.notes, *paper.notes),
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
    told = {"task": job.split.task, "headline": paper.headline} | scoring_json(paper.scoring)
    if paper.max_new_tokens:
        told["max_new_tokens"] = paper.max_new_tokens
    if marked.check:
        told["check"] = {"rows": list(paper.asked.rows[: _checked(paper)]), "texts": marked.check}
    job.folder.write_json(TASK, told)
    job.folder.write_rows(PREDICTIONS, prediction_rows(paper, answers))
    job.folder.write_json(ARM, asdict(report))
    return report


def _checked(paper: Paper) -> int:
    return min(CHECKED, len(paper.asked))


def values_of(marked: Marked, paper: Paper) -> dict[str, np.ndarray]:
    """Return per-example arrays: each metric by name, and the losses of all test sequences."""
    values: dict[str, np.ndarray] = {}
    if marked.answers is not None:
        values |= {f"test/{name}": array for name, array in marked.answers.values.items()}
    for part, losses in (("test", marked.test), ("validation", marked.validation)):
        if losses is not None:
            values[f"{part}/loss_sums"] = losses.loss_sums
            values[f"{part}/token_counts"] = losses.counts
    return values


def test_scores(values: dict[str, np.ndarray]) -> dict[str, Score]:
    """Return the test scores of per-example arrays ``[n]`` or ``[seeds, n]``."""
    on_test = {name: array for name, array in values.items() if name.startswith("test/")}
    plain = {name.removeprefix("test/"): array for name, array in on_test.items()}
    sums, counts = plain.pop("loss_sums", None), plain.pop("token_counts", None)
    # Every seed is tested on the same tokens.
    return score_answers(plain, sums, None if counts is None else np.atleast_2d(counts)[0])


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
    """Read what `save_values` wrote."""
    with np.load(folder.file(VALUES)) as arrays:
        return dict(arrays)


def headline_values(values: dict[str, np.ndarray], headline: str) -> np.ndarray:
    """Return what the paired tests compare, ``[n]`` or ``[seeds, n]``."""
    if headline == "loss":
        mean: np.ndarray = values["test/loss_sums"] / np.maximum(1, values["test/token_counts"])
        return mean
    return values[f"test/{headline}"]


def prediction_rows(paper: Paper, answers: AnswerScores | None) -> Sequence[dict[str, Any]]:
    """Return one plain row per question: prompt, reference, output, scores."""
    if answers is None:
        return []
    asked = paper.asked
    return [
        {
            "row": asked.rows[i],
            "prompt": asked.prompts[i],
            "reference": asked.references[i],
            "output": answers.outputs[i],
        }
        | {name: round(float(array[i]), 6) for name, array in answers.values.items()}
        for i in range(len(asked))
    ]


def difference_in_losses(arm: RunFolder, writer: "Writer", split: Split) -> float:
    """Return by how much a loaded arm's losses differ from those it was saved with, per token.

    Of the first test sequences of a trained arm; 0 for arms whose prompts hold other examples.
    """
    if writer.shows_examples:
        return 0.0
    a = writer.answering
    encoded = encode_test(split, a.tokenizer, a.limit, a.config)
    first = encoded.take(np.arange(min(CHECKED, len(encoded))))
    again, saved = a.losses(first), load_values(arm)
    differences = np.abs(again.loss_sums - saved["test/loss_sums"][: len(first)])
    return float((differences / np.maximum(1, again.counts)).max())


def encode_test(split: Split, tokenizer: Any, limit: int, config: Config) -> Tokens:
    """Return the test part's tokens and masks."""
    if split.task == "text":
        return encode_texts(split.test, tokenizer, limit)
    return encode_conversations(split.test, tokenizer, limit, config.data.too_long)
