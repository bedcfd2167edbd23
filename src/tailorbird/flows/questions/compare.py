"""`tailor compare QUESTIONS --store KB`: runs every arm on the questions, each in a process."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tailorbird import log
from tailorbird.arms.fork_server import ForkServer
from tailorbird.arms.question_arms.records import (
    QUESTION_SET,
    ArmAnswers,
    read_outputs,
    read_question_set,
)
from tailorbird.arms.question_arms.registry import PROCESS, QuestionArm, select_arms
from tailorbird.config import Config, load_config
from tailorbird.errors import Interrupted, UserError
from tailorbird.flows.questions.prepare import prepare_questions
from tailorbird.flows.questions.report import FACTS, Facts, QuestionRun, write_question_report
from tailorbird.flows.start_or_resume import opened, reproduce, run_folder
from tailorbird.records import QuestionsReport
from tailorbird.runs.folder import CONFIG, RunFolder
from tailorbird.tasks.arm_job import OUTCOME, write_job


def asks_questions(config: Config, resume: bool) -> bool:
    """Return whether a comparison is one on questions about documents."""
    if resume and config.output is not None:
        file = RunFolder(config.output).file(CONFIG)
        config = load_config(file) if file.is_file() else config
    return bool(config.questions.store or config.questions.documents)


def compare_questions(
    config: Config, folder: RunFolder | None = None, *, resume: bool = False, command: str = ""
) -> QuestionsReport:
    """Run every arm on the same questions and write the report to the run folder.

    Args:
        config: `data.train` names the questions, `questions` the documents and the amounts of both.
        folder: The run folder; None: the name that `run_folder` chooses.
        resume: Resume the comparison in it; finished arms are not run again.
        command: The command line, for the report.

    Raises:
        UserError: Questions, documents or settings are wrong. An error inside one arm does not end
            the comparison.
        Interrupted: Ctrl-C; the comparison can be resumed.
    """
    started = time.time()
    if config.compare.jobs > 1 or config.compare.ray:
        raise UserError(
            "--jobs and --ray are for labelled data and written answers: arms that answer "
            "questions run one after the other",
            "leave them out",
        )
    if config.compare.curve:
        raise UserError("--curve is for labelled data and written answers", "leave it out")
    folder = folder or run_folder(config, "compare", resume=resume)
    with opened(config, folder, resume=resume) as config:
        log.say(f"run folder: {folder.path}")
        if not folder.file(QUESTION_SET).is_file():
            prepare_questions(config, folder)
        facts = folder.read_as(FACTS, Facts)
        arms = select_arms(config.compare.methods)
        with ForkServer() as runner:
            outcomes = _QuestionArmRunner(config, folder, runner).run(arms)
        outcome = QuestionRun(
            config=config,
            question_set=read_question_set(folder),
            answers=outcomes,
            arms=arms,
            facts=facts,
            command=command or reproduce("compare", folder),
            started=started,
        )
        return write_question_report(outcome, folder)


@dataclass
class _QuestionArmRunner:
    """Runs the arms one after the other, each in a process of its own."""

    config: Config
    folder: RunFolder
    runner: ForkServer

    def run(self, arms: Sequence[QuestionArm]) -> dict[str, ArmAnswers | tuple[str, str]]:
        """Return each arm's answers, or its status and the reason."""
        budget = self.config.compare.budget_minutes
        self.deadline = None if budget is None else time.monotonic() + 60 * budget
        outcomes: dict[str, ArmAnswers | tuple[str, str]] = {}
        for arm in arms:
            outcomes[arm.name] = self._arm(arm, outcomes)
            outcome = outcomes[arm.name]
            if isinstance(outcome, tuple):
                log.warn(f"{arm.name} {outcome[0]}: {outcome[1]}")
        return outcomes

    def _arm(
        self, arm: QuestionArm, before: dict[str, ArmAnswers | tuple[str, str]]
    ) -> ArmAnswers | tuple[str, str]:
        place = self.folder.arm(arm.name)
        if (outputs := read_outputs(place)) is not None:
            log.say(f"{arm.name}: already done")
            return outputs
        if arm.weights is not None and isinstance(before[arm.weights], tuple):
            return "skipped", f"it needs the weights of {arm.weights}, which has none"
        if arm.method is not None and self.config.ask.endpoint:
            return "skipped", "the model of an endpoint cannot be trained here: name a model"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "skipped", "the budget was used up by the arms before it"
        began = time.monotonic()
        place.path.mkdir(parents=True, exist_ok=True)
        write_job(place, arm.name, self.config, self.deadline)
        code = self.runner.run(PROCESS, str(self.folder.path), str(place.path))
        if (outputs := read_outputs(place)) is not None:
            log.say(f"{arm.name}: {len(outputs.test):,} answers, {time.monotonic() - began:.0f} s")
            return outputs
        if code == Interrupted.exit_code:
            raise Interrupted("the comparison was stopped")
        if place.file(OUTCOME).is_file():
            plain = place.read_json(OUTCOME)
            return str(plain["status"]), str(plain["why"])
        memory = "; the system ended it, most likely for lack of memory" if code == -9 else ""
        return "failed", f"its process ended with exit code {code}{memory}"
