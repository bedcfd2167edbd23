"""The shared part of generative tasks; each task defines its input and its test."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.data.encoding_report import TooLong
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.metrics.significance import Outcomes
from tailorbird.models.generation_inputs import check_ids
from tailorbird.records import ArmReport, Example, ReloadCheck, Split
from tailorbird.runs.folder import PREDICTIONS, RunFolder
from tailorbird.tasks.arm_job import read_task
from tailorbird.tasks.base import Places, Task, reload_result
from tailorbird.tasks.base_model import Answering
from tailorbird.tasks.generative_scoring import (
    first_losses,
    headline_values,
    load_values,
    test_scores,
)
from tailorbird.tasks.head_scoring import group_ids
from tailorbird.tasks.prompt_set import AnswerTest

if TYPE_CHECKING:
    from tailorbird.config import Config
    from tailorbird.methods.base import Method
    from tailorbird.models.load import Base
    from tailorbird.tasks.arm_job import ArmJob
    from tailorbird.tasks.fit import TaskFit
    from tailorbird.train.settings import Settings

# Largest difference of an answer's mean loss, in nats per token, of the same batch.
_ROUNDING = 1e-4


class GenerativeTask(Task):
    """The shared part of generative tasks; a subclass defines its inputs and its test."""

    joined_words = "answers"
    worst_field = "worst"

    @abstractmethod
    def encode(
        self, examples: Sequence[Example], tokenizer: Any, limit: int, too_long: TooLong
    ) -> Tokens:
        """Return token ids and masks of at most `limit` tokens each."""

    @abstractmethod
    def test(self, split: Split, parts: "EncodedSplit", config: "Config", reads: int) -> AnswerTest:
        """Return the test of every arm; it depends on data, settings and base model alone.

        Raises:
            UserError: `evaluate.metric` cannot score these answers, or no prompt leaves room for
                one.
        """

    @abstractmethod
    def all_prompts(self, split: Split, test: Tokens) -> AnswerTest:
        """Return all prompts of the test part, unscored; none if the task has none."""

    def encode_parts(
        self, split: Split, reader: "Base | Answering", limit: int, config: "Config"
    ) -> "EncodedSplit":
        """Return the split's token ids and masks.

        Raises:
            UserError: The tokenizer is not the model's, no example is left, or the template hides
                the trained tokens.
        """
        parts = {"training": split.train, "validation": split.validation, "test": split.test}
        encoded = {}
        for name, part in parts.items():
            encoded[name] = self.encode(part, reader.tokenizer, limit, config.data.too_long)
            check_ids(reader.model, encoded[name].ids)
            if not len(encoded[name]):
                raise UserError(
                    f"no {name} example is left within {limit} tokens",
                    "set a longer data.max_length",
                )
        return EncodedSplit(*encoded.values())

    def check_space(self, space: Mapping[str, Any]) -> None:
        """See `Task.check_space`."""
        lengths = [name for name in space if name.startswith("data.") or name == "model.name"]
        if lengths:
            raise UserError(
                f"{', '.join(lengths)} cannot be searched for written answers: losses over "
                "different tokens are not comparable",
                "leave it out of search.space",
            )

    def fit(self, job: "ArmJob", *, scored: bool = True) -> "TaskFit":
        """See `Task.fit`."""
        from tailorbird.tasks.fit_generative import GenerativeFit

        return GenerativeFit(self, job, scored=scored)

    def settings(self, config: "Config", method: "Method", split: Split) -> "Settings":
        """See `Task.settings`."""
        from tailorbird.models.load import hidden_size
        from tailorbird.train.settings import resolve_generative

        return resolve_generative(config, method, len(split.train), hidden_size(config.model))

    @property
    def validation_metric(self) -> str:
        """The loss, since generating answers in each validation would take too long."""
        return "loss"

    def headline(self, places: Places) -> str:
        """Return the metric of the arms' scores, which depends on the kind of answers."""
        for folders in places.values():
            return read_task(folders[0]).headline
        return self.spec.headline

    def answered(self, places: Places) -> int:
        """See `Task.answered`."""
        first = next(iter(places.values()), None)
        return len(first[0].read_rows(PREDICTIONS)) if first else 0

    def on_validation(self, report: ArmReport) -> tuple[float, float]:
        """See `Task.on_validation`."""
        return -report.validation["loss"].value, report.validation["accuracy"].value

    def join(
        self, report: ArmReport, reports: Sequence[ArmReport], folders: Sequence[RunFolder],
        split: Split,
    ) -> ArmReport:  # fmt: skip
        """See `Task.join`."""
        values = [load_values(folder) for folder in folders]
        tests = [name for name in values[0] if name.startswith("test/")]
        stacked = {name: np.stack([each[name] for each in values]) for name in tests}
        means = {
            name: sum(each.validation[name].value for each in reports) / len(reports)
            for name in report.validation
        }
        validation = {n: replace(s, value=means[n]) for n, s in report.validation.items()}
        places = {report.name: folders}
        groups = self.outcomes(places, split, self.headline(places)).groups
        return replace(report, validation=validation, test=test_scores(stacked, groups))

    def outcomes(self, places: Places, split: Split, headline: str) -> Outcomes:
        """See `Task.outcomes`."""
        values = {
            name: np.stack([headline_values(load_values(folder), headline) for folder in folders])
            for name, folders in places.items()
        }
        count = next((each.shape[1] for each in values.values()), 0)
        if count == len(split.test):
            return Outcomes(values, group_ids(split.test))
        by_row = {example.row: example for example in split.test}
        rows = [line["row"] for line in next(iter(places.values()))[0].read_rows(PREDICTIONS)]
        own = [by_row[row] for row in rows] if len(rows) == count else []
        return Outcomes(values, group_ids(own))

    def reload_check(self, predictor: Any, folder: RunFolder, split: Split) -> ReloadCheck:
        """See `Task.reload_check`: first questions are answered, first answers read again."""
        saved = read_task(folder).check
        examples = {example.row: example for example in split.test}
        again = predictor.check([examples[row] for row in saved.rows])
        difference, count = 0.0, 0
        if not predictor.shows_examples:
            difference, count = self._difference_in_losses(predictor.answering, folder, split)
        changed = sum(a != b for a, b in zip(again, saved.texts, strict=True))
        count = max(count, len(saved.texts))
        return reload_result(count, difference, _ROUNDING, "losses per token", changed, "answers")

    def _difference_in_losses(
        self, answering: Answering, folder: RunFolder, split: Split
    ) -> tuple[float, int]:
        """Return the largest difference from the saved losses, per token, and of how many texts.

        Older runs only have the losses of the whole test, whose batches round otherwise in bf16.
        """
        tokenizer, too_long = answering.tokenizer, answering.config.data.too_long
        tokens = self.encode(split.test, tokenizer, answering.limit, too_long)
        again, saved = first_losses(answering, tokens), load_values(folder)
        losses = saved.get("check/loss_sums", saved["test/loss_sums"])
        differences = np.abs(again.loss_sums - losses[: len(again.loss_sums)])
        return float((differences / np.maximum(1, again.counts)).max()), len(differences)


@dataclass(frozen=True)
class EncodedSplit:
    """The split as token ids."""

    train: Tokens
    validation: Tokens
    test: Tokens

    @property
    def notes(self) -> list[str]:
        """Notes on truncated, dropped or unusual training examples."""
        return [finding.message for finding in self.train.findings]
