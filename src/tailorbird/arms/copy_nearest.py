"""The baseline of generation: copies the answer of the most similar training prompt."""

from dataclasses import replace

from tailorbird.arms.base import Arm, cost_of
from tailorbird.arms.generative_predictor import (
    PromptedFile,
    open_prompted,
    open_untouched,
    save_pairs,
)
from tailorbird.arms.predictor import Predictor
from tailorbird.arms.split_embeddings import split_vectors
from tailorbird.rag.labelled_vectors import LabelledVectors
from tailorbird.records import ArmReport
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.registry import generative_task


class NearestArm(Arm):
    """Copies the nearest answer, without a language model."""

    key = "nearest"

    def run(self, job: ArmJob) -> ArmReport:
        """See `Arm.run`."""
        from tailorbird.tasks.generative_scoring import (
            ANSWERED_AGAIN,
            ArmOutputs,
            finish_arm,
            score_outputs,
        )

        split, config, task = job.split, job.config, generative_task(job.split.task)
        vectors = split_vectors(config, split, job.folder.run)
        reader = open_untouched(config)
        parts = task.encode_parts(split, reader, reader.limit, config)
        test = task.test(split, parts, config, reader.reads)
        assert test.scoring is not None
        indices, _ = LabelledVectors(vectors.train, split.train, ()).nearest(vectors.test, 1)
        place = {example.row: i for i, example in enumerate(split.test)}
        rows = [int(indices[place[row], 0]) for row in test.questions.rows]
        outputs = [str(split.train[row].label) for row in rows]
        save_pairs(job, vectors, PromptedFile("nearest"))
        answers = replace(
            score_outputs(outputs, test.questions, test.scoring),
            seconds=vectors.ms_per_example / 1000 * len(outputs),
        )
        cost = replace(cost_of(job, vectors, 0.0), predict_ms_per_example=None)
        report = ArmReport(job.name, "ok", cost=cost, settings={"embedder": vectors.embedder})
        marked = ArmOutputs(answers, None, None, tuple(outputs[:ANSWERED_AGAIN]))
        return finish_arm(report, job, test, marked)

    def open(self, folder: RunFolder, *, trust: bool, few: bool = False) -> Predictor:
        """See `Arm.open`."""
        return open_prompted(folder, trust=trust)
