"""Fits a model with a head for labels or numbers: build, encode, train, score."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tailorbird import log
from tailorbird.config import Config
from tailorbird.config.losses import loss_name
from tailorbird.data.encode import Encoded, as_read, encode_blocks, truncation_finding
from tailorbird.methods.base import Method
from tailorbird.models.classifier import load_classifier
from tailorbird.models.device import Device, peak_memory
from tailorbird.models.load import Base
from tailorbird.records import TASKS, ArmReport, Example, Split, Target
from tailorbird.tasks.arm_job import CHECKED, ArmJob
from tailorbird.tasks.base_model import HEADS, max_length
from tailorbird.tasks.fit import TaskFit
from tailorbird.tasks.head_scoring import save_scored

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.tasks.head_base import HeadTask
    from tailorbird.train.loop import Trained
    from tailorbird.train.settings import Settings
    from tailorbird.train.workloads import LabelWork


class HeadFit(TaskFit):
    """A trained arm for labels or numbers; see `TaskFit`."""

    def __init__(self, task: "HeadTask", job: ArmJob, *, scored: bool) -> None:
        super().__init__(job)
        self.task, split = task, job.split
        self.target = trained_target(task, job.config, split)
        if scored:
            apart = ", pairs by a bi-encoder" if self.target.bi_encoder else ""
            log.say(f"{job.name}: {job.config.model.name} on {self.device.words}{apart}")
        self.model, self.base = make_model(job.config, self.target, self.device, self.method)
        self.limit = max_length(job.config, self.base, self.method)
        self.train_part = self._encoded(split.train)
        self.validation_part = self._encoded(split.validation)
        self.test_part = self._encoded(split.test) if scored else None
        self.truth = task.truths(split.validation, self.target)
        self.notes += [*self.base.notes, *(self._truncation() if scored else ())]
        self.settings = head_settings(job.config, self.method, split, self.target)
        self.best_criterion = {"figure": task.spec.headline}
        self.loss: Any = None

    def work(self) -> "LabelWork":
        """See `TaskFit.work`; a new head may be fitted first."""
        from tailorbird.train.head_init import start_head
        from tailorbird.train.head_losses import make_loss
        from tailorbird.train.resume_checkpoint import has_last

        job, targets = self.job, self.train_part.targets
        assert targets is not None
        name = loss_name(job.config, self.task.name)
        self.loss = make_loss(name, job.config.train, self.target, targets)
        resuming = job.resume and has_last(job.folder)
        pad, device = self.base.tokenizer.pad_token_id, self.base.device
        if self.settings.head_start and not resuming and not self.task.spec.per_word:
            outputs = len(job.split.labels)
            start_head(self.model, self.train_part, pad, device, outputs, self.task.name)
        size = self.settings.micro_batch_size
        return self.task.work(self.train_part, pad, device, size, self.loss)

    def validate(self, model: "nn.Module") -> tuple[float, float]:
        """See `TaskFit.validate`."""
        predicted = self._predicted(model, self.validation_part)
        targets = self.validation_part.targets
        assert targets is not None
        return self.task.validation_figures(predicted, targets, self.truth, self.loss, self.target)

    def predict(self) -> None:
        """See `TaskFit.predict`."""
        assert self.test_part is not None
        validation = self._predicted(self.model, self.validation_part)
        test = self._predicted(self.model, self.test_part, f"{self.job.name}: test")
        check = self._predicted(self.model, self.test_part.first(CHECKED))
        self.ms_per_example = test.ms_per_example
        self.arrays = {
            name: self.task.outputs(predicted.logits, self.target)
            for name, predicted in (("validation", validation), ("test", test), ("check", check))
        }

    def score(self, report: ArmReport, trained: "Trained") -> ArmReport:
        """See `TaskFit.score`."""
        cost = replace(
            report.cost,
            peak_memory_bytes=peak_memory(self.device),
            predict_ms_per_example=self.ms_per_example,
        )
        return save_scored(replace(report, cost=cost), self.job, self.arrays, self.target)

    def report_settings(self) -> dict[str, Any]:
        """See `TaskFit.report_settings`."""
        how = "bi-encoder" if self.target.bi_encoder else "cross-encoder"
        return super().report_settings() | ({"pairs": how} if self.target.pairs else {})

    def _predicted(self, model: Any, encoded: Encoded, title: str = "") -> Any:
        pad = self.base.tokenizer.pad_token_id
        return self.task.predict(model, encoded, pad, self.base.device, self.target, title)

    def _encoded(self, examples: Sequence[Example]) -> Encoded:
        def encode_block(block: Sequence[Example]) -> Encoded:
            return self.task.encode(
                [as_read(example) for example in block], self.base.tokenizer, self.base.model,
                self.limit, self.target, self.task.training_targets(block, self.target),
            )  # fmt: skip

        return encode_blocks(examples, encode_block)

    def _truncation(self) -> list[str]:
        finding = truncation_finding(self.train_part.full_lengths, self.limit)
        if finding is None:
            return []
        (log.warn if finding.level == "warning" else log.say)(f"{self.job.name}: {finding.message}")
        return [finding.message]


def trained_target(task: "HeadTask", config: Config, split: Split) -> Target:
    """Return the target of a trained model's head, with the encoding of pairs."""
    target, how = task.target(split), config.model.pairs
    if not target.pairs or how == "cross-encoder":
        return target
    from tailorbird.models.bi_encoder import pooling_of, vector_pooling

    pooling = None
    if how == "bi-encoder":
        pooling = pooling_of(config.model)
    elif target.deviation:
        # Regression: sentence vectors are made for the similarity of two texts.
        pooling = vector_pooling(config.model)
    return target if pooling is None else replace(target, pooling=pooling)


def make_model(
    config: Config, target: Target, device: Device, method: Method
) -> tuple["nn.Module", Base]:
    """Return the base model with the method attached, seeded, ready to train."""
    from tailorbird.train.randomness import seed_all

    seed_all(config.train.seed)
    options = method.load_options(config.method, HEADS, device)
    base = load_classifier(config.model, target, device, options)
    return method.attach(base, config), base


def head_settings(config: Config, method: Method, split: Split, target: Target) -> "Settings":
    """Return the training settings of a head arm, defaults filled in."""
    from tailorbird.train.settings import resolve

    # With a label per word, a head sees thousands of labels in an epoch.
    classes = 2 if TASKS[target.task].per_word else len(split.labels)
    return resolve(config, method, len(split.train), classes, bi_encoder=target.bi_encoder)
