"""The baseline arm: the base model without any training."""

import json

from tailorbird import log
from tailorbird.arms.base import Arm
from tailorbird.arms.generative_predictor import PROMPTED, open_prompted, open_untouched
from tailorbird.arms.predictor import Predictor
from tailorbird.config import dump_config
from tailorbird.records import ArmReport, Cost
from tailorbird.runs.folder import CONFIG, MODEL, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.base_model import count_parameters
from tailorbird.tasks.registry import generative_task


class BaseArm(Arm):
    """Evaluates the untrained base model."""

    key = "base"

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        from tailorbird.tasks.generative_scoring import score_and_save

        config, task = job.config, generative_task(job.split.task)
        answering = open_untouched(config)
        parts = task.encode_parts(job.split, answering, answering.limit, config)
        test = task.test(job.split, parts, config, answering.reads)
        log.say(f"{job.name}: {config.model.name} on {answering.device.words}")
        with job.folder.new_folder(MODEL) as folder:
            (folder / PROMPTED).write_text(json.dumps({"kind": "base"}))
            answering.tokenizer.save_pretrained(folder)
        job.folder.write(CONFIG, dump_config(config))
        _, total = count_parameters(answering.model)
        report = ArmReport(
            job.name,
            "ok",
            cost=Cost(train_seconds=0.0, trainable_parameters=0, total_parameters=total),
            notes=answering.notes,
            settings={"model": config.model.name},
        )
        return score_and_save(report, job, answering, test, parts.validation)

    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> Predictor:
        """See `Arm.open`."""
        return open_prompted(folder, trust=trust)
