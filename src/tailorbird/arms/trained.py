"""A tuned model: base model -> method -> training -> scores -> saved.

`tailor tune` runs it in its own process; `tailor compare` runs one process per arm
(`arms/worker.py`), so that each arm's peak memory is its own and a crash of one leaves the others
alone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tailorbird.arms.load import run_config
from tailorbird.arms.predictor import HeadPredictor, OutputSource, Predictor
from tailorbird.arms.protocol import Arm
from tailorbird.config import Config, dump_config
from tailorbird.data.encode import Encoded, Text
from tailorbird.methods.table import get_method
from tailorbird.models.classifier import load_classifier
from tailorbird.models.device import choose
from tailorbird.records import ArmReport, Cost, Target
from tailorbird.runs.folder import CONFIG, MODEL, RunFolder
from tailorbird.tasks import get_task, head_task
from tailorbird.tasks.arm_job import ArmJob, is_written
from tailorbird.tasks.fit import HEADS, count_parameters, drop_checkpoints, max_length
from tailorbird.tasks.scoring import load_target

if TYPE_CHECKING:
    from tailorbird.train.loop import Trained


class TrainedArm(Arm):
    """Trains a model with the method that gives the arm its name."""

    key = "trained"
    trains = True

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        job.folder.write(CONFIG, dump_config(job.config))
        fit = get_task(job.split.task).fit(job)
        trained = fit.train()
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
            settings=fit.described(),
            notes=(*fit.notes, *trained.notes, *_early_note(trained)),
            curve=trained.curve,
        )
        report = fit.score(report, trained)
        drop_checkpoints(job)
        return report

    def open(self, folder: RunFolder, *, trust: bool) -> Predictor:
        """See `Arm.open`."""
        if is_written(folder):
            from tailorbird.arms.generative_predictor import Writer, open_tuned

            return Writer(folder, run_config(folder, trust=trust), open_tuned(folder, trust=trust))
        target = load_target(folder)
        source = TunedSource(folder, run_config(folder, trust=trust), target)
        return HeadPredictor(str(folder.path), target, source, target.labels)


class TunedSource(OutputSource):
    """A trained model with a head, with what it reads texts with."""

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

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """Return the texts as the model reads them."""
        task = head_task(self.target.task)
        return task.encode(texts, self.tokenizer, self.model, self.limit, self.target)

    def probabilities(self, texts: Sequence[Text], title: str = "") -> np.ndarray:
        """See `OutputSource.probabilities`."""
        pad = self.tokenizer.pad_token_id
        task, encoded = head_task(self.target.task), self.encode(texts)
        predicted = task.predict(self.model, encoded, pad, self.device, self.target, title)
        return task.outputs(predicted.logits, self.target)


def _early_note(trained: "Trained") -> list[str]:
    """Return the note on early stopping, if it happened."""
    if not trained.stopped_early:
        return []
    return [
        f"stopped after step {trained.steps}, since validation no longer improved; "
        f"the weights of step {trained.best_step} were kept"
    ]
