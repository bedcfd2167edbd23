"""`tailor compare`: train and score every arm on the same split."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from tailorbird import log
from tailorbird.arms.arm_process import run_in_process
from tailorbird.arms.parallel_arms import Scheduler, scheduler
from tailorbird.arms.registry import BEST, MIX, RETRIEVAL, arm_named, arm_names
from tailorbird.config import METHODS, Config, for_arm
from tailorbird.errors import UserError, did_you_mean
from tailorbird.flows.learning_curve import CurvePlace, check_curve, curve_arm, learning_curve
from tailorbird.flows.prepare import Prepared, bundled_example, prepare
from tailorbird.flows.start_or_resume import opened, reproduce, run_folder
from tailorbird.flows.tuning_report import TuningRun, undecided_arms, write_tuning_report
from tailorbird.methods.registry import get_method
from tailorbird.metrics.display import duration, metric, metric_label
from tailorbird.metrics.metric_facts import what_is_right
from tailorbird.records import TASKS, ArmReport, LearningCurve, Report, Split, TaskName
from tailorbird.runs.folder import ARM, ARMS, SEEDS, RunFolder
from tailorbird.tasks.arm_job import ArmJob, read_arm
from tailorbird.tasks.registry import get_task

AUTO = "auto"
MOST_TRAININGS = 5
"""The most trainings of an arm that could still win."""
RACE_SHARE = 0.25
"""The time limit for repeated trainings, as a share of the first ones' time, unless seeds are
set."""


def compare(
    config: Config, folder: RunFolder | None = None, *, resume: bool = False, command: str = ""
) -> Report:
    """Run every arm on the same split and write the report to the run folder.

    Args:
        config: The settings; `config.compare` lists the arms, the seeds and the time budget.
            Without `config.data.train` the bundled example is used.
        folder: The run folder; None: the name that `run_folder` chooses.

    Raises:
        UserError: The data or a setting is wrong. An error inside one arm does not end the
            comparison.
    """
    started = time.time()
    folder = folder or run_folder(config, "compare", resume=resume)
    with opened(config, folder, resume=resume) as config:
        if config.data.folds is not None:
            raise UserError(
                f"data.folds={config.data.folds} is for `tailor tune`",
                "leave it out, or use `tailor tune`",
            )
        if config.data.train is None:
            config = bundled_example(config)
            log.say("no data given: the bundled example, a debugging tutor")
        prepared = prepare(config, folder, _settle)
        with scheduler(config.compare) as runner:
            arm_runner = _ArmRunner(prepared.config, prepared, folder, runner)
            arms, folders = arm_runner.run()
            comparison = TuningRun(
                kind="compare",
                prepared=prepared,
                folder=folder,
                arms=arms,
                folders=folders,
                command=command or reproduce("compare", folder),
                started=started,
                learning_curve=arm_runner.learning_curve(folders),
            )
            return write_tuning_report(comparison, runner)


def _settle(config: Config, split: Split) -> Config:
    get_task(split.task).check(config, split.labels)
    if config.compare.curve:
        check_curve(config.compare.curve, split)
    return _with_arms(config, split.task)


def _with_arms(config: Config, task: TaskName) -> Config:
    """Return the configuration with the arms to run filled in."""
    names = arm_names(task)
    if RETRIEVAL in names:
        names.append(BEST)
    arms = config.compare.methods or tuple(names)
    foreign = [name for name in arms if name not in names]
    if foreign:
        everywhere = {BEST, *(name for other in TASKS for name in arm_names(other))}
        typo = next((name for name in foreign if name not in everywhere), None)
        raise UserError(
            f"there is no arm {typo!r}{did_you_mean(typo, names)}"
            if typo
            else f"there is no arm {', '.join(foreign)} for {TASKS[task].answers}",
            f"choose among: {', '.join(names)}",
        )
    config = config.replace(compare={"methods": arms})
    _check_options(config, arms)
    return config


def _check_options(config: Config, arms: Sequence[str]) -> None:
    options = set(config.method.model_dump(exclude={"name"}, exclude_none=True))
    usable = {
        key
        for name in METHODS
        if name in arms
        for key in for_arm(config, name).method.model_dump(exclude={"name"}, exclude_none=True)
    }
    if foreign := sorted(f"method.{key}" for key in options - usable):
        raise UserError(
            f"no arm has the option {', '.join(foreign)}",
            f"leave it out; the arms are {', '.join(arms)}",
        )


@dataclass
class _ArmRunner:
    """Runs the arms, `compare.jobs` at once, each training in a process of its own.

    Attributes:
        trainings: The reports and folders of each arm's trainings, the first seed's first.
        ends: The reports of arms without trainings: failed or skipped.
    """

    config: Config
    prepared: Prepared
    folder: RunFolder
    runner: Scheduler
    trainings: dict[str, list[tuple[ArmReport, RunFolder]]] = field(default_factory=dict)
    ends: dict[str, ArmReport] = field(default_factory=dict)

    def run(self) -> tuple[list[ArmReport], dict[str, list[RunFolder]]]:
        """Return every arm's report, and the folders of the arms that succeeded."""
        budget, seeds = self.config.compare.budget_minutes, self.config.compare.seeds
        self.deadline = None if budget is None else time.monotonic() + 60 * budget
        arms = self.config.compare.methods or ()
        self.task = get_task(self.prepared.split.task)
        names = [name for name in arm_names(self.task.name) if name in arms]
        count = seeds if isinstance(seeds, int) else 1
        took: dict[str, float] = {}

        def run_arm(name: str) -> None:
            began = time.monotonic()
            self._arm(name)
            if name in METHODS and name in self.trainings and self.runner.jobs == 1:
                # The clock knows nothing of an arm that was complete before.
                took[name] = max(self._seconds(name) * count, time.monotonic() - began)
                if left := names[names.index(name) + 1 :]:
                    log.say(time_left(left, took))

        self.runner.map(run_arm, names)
        # Parallel arms end in any order; nothing may depend on it.
        self.trainings = {n: self.trainings[n] for n in names if n in self.trainings}
        if count > 1:
            self._train_seeds(count)
        elif seeds != 1:
            self._race()
        for name, trainings in self.trainings.items():
            if len(trainings) > 1:
                self._keep_best(name)
        if BEST in arms:
            mix = self._mix_name()
            if mix is None:
                why = f"needs the {RETRIEVAL} arm and a trained arm that succeeded"
                self.ends[BEST] = ArmReport(BEST, "skipped", why)
            else:
                self._arm(mix)
            names.append(mix or BEST)
        reports = [self._report(name) for name in names]
        return reports, {name: self._places(name) for name in self.trainings}

    def learning_curve(self, folders: Mapping[str, list[RunFolder]]) -> LearningCurve | None:
        """Return the learning curve, if requested.

        An error here must not fail the comparison, which is complete by then.
        """
        if not self.config.compare.curve:
            return None
        split = self.prepared.split
        name = curve_arm(self.config.compare.curve, split.task)
        place = CurvePlace(self.folder, self.runner, folders.get(name, ()), self.deadline)
        try:
            return learning_curve(self.config, split, place, name)
        except UserError as error:
            log.warn(f"learning curve of {name}: {error}")
            return LearningCurve(name, "", why_not=str(error))

    def _mix_name(self) -> str | None:
        """Return ``rag+X`` for the trained arm X with the best validation score."""
        trained = [self._report(name) for name in METHODS if name in self.trainings]
        if not trained or RETRIEVAL not in self.trainings:
            return None
        return f"{MIX}{max(trained, key=self.task.on_validation).name}"

    def _arm(self, name: str) -> None:
        """Run one arm; a trained arm with its first seed."""
        if why_not := arm_named(name, self.task.name).why_not(self.task.spec):
            self.ends[name] = ArmReport(name, "skipped", why_not)
            return
        if self._counts(name, *self._train(name, 0)):
            report = self._report(name)
            seconds = duration(report.cost.train_seconds or 0.0)
            log.say(f"{name}: {self._result(report)}, made in {seconds}")

    def _train_seeds(self, count: int) -> None:
        """Train the arms with their other seeds, in parallel: all use the first seed's search.

        After a training that fails, later seeds of that arm are ignored.
        """
        names = [name for name in self.trainings if arm_named(name, self.task.name).trains]
        items = [(name, number) for name in names for number in range(1, count)]
        results = self.runner.map(lambda item: self._train(*item), items)
        for (name, _), result in zip(items, results, strict=True):
            if name not in self.ends:
                self._counts(name, *result)
        for name in names:
            self._say_mean(name)

    def _race(self) -> None:
        """Repeat the trainings of arms that could still win, until the recommendation is settled.

        The choice of arms and their durations come from saved reports alone, so a resumed
        comparison takes the same course.
        """
        trained = [n for n in self.trainings if arm_named(n, self.task.name).trains]
        limit = sum(map(self._seconds, trained))
        limit *= inf if self.config.compare.seeds == AUTO else RACE_SHARE
        rounds = MOST_TRAININGS - 1
        for _ in range(rounds):
            names = [n for n in trained if n in self._in_question()]
            names = [name for name in names if len(self.trainings[name]) < MOST_TRAININGS]
            limit -= sum(map(self._seconds, names))
            if not names or limit < 0:
                return
            log.say(f"undecided, so trained again: {', '.join(names)}")
            if not all(self.runner.map(self._again, names)):
                return

    def _again(self, name: str) -> bool:
        """Train an arm once more and log the mean; return whether that succeeded."""
        if not self._counts(name, *self._train(name, len(self.trainings[name]))):
            return False
        self._say_mean(name)
        return True

    def _say_mean(self, name: str) -> None:
        count = len(self.trainings[name])
        log.say(f"{name}: {self._result(self._report(name))}, the mean of {count} trainings")

    def _in_question(self) -> frozenset[str]:
        places = {name: self._places(name) for name in self.trainings}
        headline = self.task.headline(places)
        outcomes = self.task.outcomes(places, self.prepared.split, headline)
        arms = [self._report(name) for name in self.trainings]
        return undecided_arms(arms, outcomes, headline, self.config.compare.margin)

    def _keep_best(self, name: str) -> None:
        """Put the training with the best validation score into the arm's folder."""
        best, place = max(self.trainings[name], key=lambda each: self.task.on_validation(each[0]))
        arm = self.folder.arm(name)
        if place.path != arm.path:
            first = read_arm(arm).seeds[0].seed
            arm.exchange_seed(str(first), str(best.seeds[0].seed))
            self.trainings[name] = [
                (report, self._place(name, report.seeds[0].seed))
                for report, _ in self.trainings[name]
            ]

    def _places(self, name: str) -> list[RunFolder]:
        """Return the folders of an arm's trainings, the arm's own folder first."""
        own = self.folder.arm(name).path
        return sorted((at for _, at in self.trainings[name]), key=lambda at: at.path != own)

    def _place(self, name: str, seed: int) -> RunFolder:
        """Return the folder of the training with a seed."""
        own, first = self.folder.arm(name), self.config.train.seed
        if own.file(ARM).is_file() and (seeds := read_arm(own).seeds):
            first = seeds[0].seed
        return own if seed == first else self.folder.arm(f"{name}/{SEEDS}/{seed}")

    def _seconds(self, name: str) -> float:
        """Return the duration of one training of an arm, without its search."""
        return self.trainings[name][0][0].cost.train_seconds or 0.0

    def _report(self, name: str) -> ArmReport:
        """Return an arm's report, pooled over its trainings."""
        if name not in self.trainings:
            return self.ends[name]
        own = self.folder.arm(name).path
        trainings = sorted(self.trainings[name], key=lambda each: each[1].path != own)
        reports, places = [each[0] for each in trainings], [each[1] for each in trainings]
        if len(reports) == 1:
            return replace(reports[0], run=f"{ARMS}/{name}")
        report = _seeds_joined(reports, self.task.joined_words)
        report = self.task.join(report, reports, places, self.prepared.split)
        if name in self.ends:
            why = f"no more trainings than {len(reports)}: {self.ends[name].why}"
            report = replace(report, notes=(*report.notes, why))
        return replace(report, run=f"{ARMS}/{name}")

    def _result(self, report: ArmReport) -> str:
        """Return an arm's score in words."""
        name = self.task.headline({report.name: self._places(report.name)})
        score = report.test[name]
        value, low, high = (metric(name, x) for x in (score.value, score.low, score.high))
        if what_is_right(name) == "right":
            return f"{value} right on test ({low} to {high})"
        return f"{metric_label(name)} {value} on test ({low} to {high})"

    def _train(self, name: str, number: int) -> tuple[ArmReport, RunFolder]:
        """Run training `number`, from 0, of an arm, or reuse a saved one."""
        seed = self.config.train.seed + number
        place = self._place(name, seed)
        return self._run(name, seed, place), place

    def _counts(self, name: str, report: ArmReport, place: RunFolder) -> bool:
        """Record a training, or why it has no report; return whether it succeeded."""
        if report.status == "ok":
            self.trainings.setdefault(name, []).append((report, place))
        else:
            self.ends[name] = replace(report, name=name)
        return report.status == "ok"

    def _run(self, name: str, seed: int, place: RunFolder) -> ArmReport:
        """Run one arm with one seed in a fresh process, or load the saved result."""
        if place.file(ARM).is_file():
            log.say(f"{name}: already done")
            return read_arm(place)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return ArmReport(name, "skipped", "the budget was used up by the arms before it")
        config = for_arm(self.config, name) if name in METHODS else self.config
        config = config.replace(train={"seed": seed})
        job = ArmJob(name, config, self.prepared.split, place, deadline=self.deadline)
        report = run_in_process(self.runner, job)
        if report.status != "ok":
            log.warn(f"{name} {report.status}: {report.why}")
        return report


def time_left(names: Sequence[str], took: Mapping[str, float]) -> str:
    """Return an estimate of how long the remaining trained arms will take.

    Args:
        names: The remaining arms.
        took: The seconds of the arms trained so far.

    Example:
        >>> time_left(["lora", "full"], {"adapter": 60.0})
        'about 2 min 30 s left: lora, full'
    """
    each = sum(took.values()) / sum(_cost(name) for name in took)
    about = duration(each * sum(_cost(name) for name in names))
    return f"about {about} left: {', '.join(names)}"


def _cost(name: str) -> float:
    return get_method(name).defaults.cost


def _seeds_joined(reports: Sequence[ArmReport], of_saved: str) -> ArmReport:
    """Return the saved model's report with the costs of all trainings, marking which is which."""
    costs = [report.cost for report in reports]
    seconds = [cost.train_seconds or 0.0 for cost in costs]
    seeds = sorted((report.seeds[0] for report in reports), key=lambda each: each.seed)
    return replace(
        reports[0],
        model_test=reports[0].test,
        seeds=tuple(seeds),
        search=next((report.search for report in reports if report.search), None),
        cost=replace(
            costs[0],
            search_seconds=next(
                (cost.search_seconds for cost in costs if cost.search_seconds), None
            ),
            train_seconds=sum(seconds) / len(seconds),
            peak_memory_bytes=max(cost.peak_memory_bytes or 0 for cost in costs),
        ),
        notes=(
            *reports[0].notes,
            f"scores are means over {len(reports)} trainings; the saved model, its curve, "
            f"{of_saved} are those of seed {reports[0].seeds[0].seed}, the best on validation",
        ),
    )
