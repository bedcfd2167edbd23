"""A tuned model: base model, method, training, scoring, saving.

`tailor tune` runs it in its own process; `tailor compare` runs one process per arm
(`arms/arm_process.py`), so that each arm's peak memory is its own and a crash ends it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from tailorbird.arms.base import Arm
from tailorbird.arms.head_predictor import HeadPredictor, OutputSource
from tailorbird.arms.predictor import Predictor
from tailorbird.config import Config
from tailorbird.config.method import method_spec
from tailorbird.data.encode import Encoded, Text, collate
from tailorbird.methods.registry import get_method
from tailorbird.models.classifier import load_classifier
from tailorbird.models.device import choose
from tailorbird.models.load import length_limit
from tailorbird.models.numpy_bert import Bert, WordPieces, open_bert
from tailorbird.records import TASKS, ArmReport, Cost, Target
from tailorbird.runs.finished_run import run_config
from tailorbird.runs.folder import MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob, is_generative
from tailorbird.tasks.base_model import HEADS, count_parameters, max_length, text_room
from tailorbird.tasks.fit import drop_checkpoints, fit_model
from tailorbird.tasks.head_scoring import load_target
from tailorbird.tasks.registry import head_task
from tailorbird.train.early_stopping import early_stop_note


class TrainedArm(Arm):
    """Trains a model with the method that names the arm."""

    key = "trained"
    trains = True

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        fit, trained = fit_model(job)
        fit.predict()
        artifact = fit.save()
        trainable, total = count_parameters(fit.model)
        report = ArmReport(
            name=job.name,
            status="ok",
            cost=Cost(
                train_seconds=trained.seconds,
                examples_per_second=trained.examples_per_second,
                tokens_per_second=trained.tokens_per_second,
                trainable_parameters=trainable,
                total_parameters=total,
                artifact_bytes=artifact,
            ),
            settings=fit.report_settings(),
            notes=(*fit.notes, *trained.notes, *early_stop_note(trained)),
            curve=trained.curve,
        )
        report = fit.score(report, trained)
        drop_checkpoints(job)
        return report

    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> Predictor:
        """See `Arm.open`: for a few texts, a BERT with a head runs in numpy."""
        if is_generative(folder):
            from tailorbird.arms.generative_predictor import open_generative

            return open_generative(folder, trust=trust)
        target, config = load_target(folder), run_config(folder, trust=trust)
        source = BertSource.of(folder, config, target) if few else None
        return HeadPredictor(folder, source or TunedSource(folder, config, target))


@dataclass(frozen=True)
class BertSource(OutputSource):
    """A trained BERT with a head for whole texts, run in numpy.

    Attributes:
        limit: The most tokens read of a text.
    """

    target: Target
    bert: Bert
    tokenizer: WordPieces
    limit: int

    @classmethod
    def of(cls, folder: RunFolder, config: Config, target: Target) -> "BertSource | None":
        """Load the model in an arm's folder; None if it has another architecture."""
        arrays = method_spec(config.method.name).arrays
        if arrays is None or TASKS[target.task].per_word or target.bi_encoder:
            return None
        opened = open_bert(config.model, partial(arrays, folder.file(MODEL)))
        if opened is None:
            return None
        bert, tokenizer = opened
        head = bert.weights.get("classifier.weight")
        if (
            head is None
            or len(head) != len(target.labels)
            or "pooler.dense.weight" not in bert.weights
        ):
            return None
        virtual = len(bert.weights.get("prompt_embeddings", ()))
        limit = text_room(config, length_limit(tokenizer, bert.config), virtual)
        return cls(target, bert, tokenizer, limit)

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """See `OutputSource.probabilities`."""
        task = head_task(self.target.task)
        model: Any = self.bert
        encoded = task.encode(texts, self.tokenizer, model, self.limit, self.target)
        logits = np.concatenate(
            [
                self.bert.logits(**collate(encoded, np.asarray([i]), self.tokenizer.pad_token_id))
                for i in range(len(texts))
            ]
        )
        return task.outputs(logits, self.target)


class TunedSource(OutputSource):
    """A trained model with a head, and its tokenizer."""

    parallel = True

    def __init__(self, folder: RunFolder, config: Config, target: Target) -> None:
        method = get_method(config.method.name)
        self.target = target
        self.device = choose(config.model.device, config.model.precision)
        options = method.load_options(config.method, HEADS, self.device)
        base = load_classifier(config.model, target, self.device, options)
        self.limit = max_length(config, base, method)
        self.tokenizer = base.tokenizer
        self.method = method
        self.model = method.load(base, folder.file(MODEL))
        # Truncation changes the tokenizer's state.
        self._encoding = Lock()

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """Return the encoded texts."""
        task = head_task(self.target.task)
        with self._encoding:
            return task.encode(texts, self.tokenizer, self.model, self.limit, self.target)

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """See `OutputSource.probabilities`."""
        pad = self.tokenizer.pad_token_id
        task, encoded = head_task(self.target.task), self.encode(texts)
        predicted = task.predict(self.model, encoded, pad, self.device, self.target, title)
        return task.outputs(predicted.logits, self.target)
