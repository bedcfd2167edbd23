"""`tailor compare`: every way of adapting the model, on the same split, side by side."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tailorbird import log
from tailorbird.arms import arm_named, arms_of
from tailorbird.arms.process import ARM as ARM_PROCESS
from tailorbird.arms.process import Nest
from tailorbird.arms.protocol import MIX, RETRIEVAL
from tailorbird.config import METHODS, Config, dump_config, for_arm
from tailorbird.errors import Interrupted, UserError
from tailorbird.flows.finish import Story, finish
from tailorbird.flows.output import reproduce, run_folder, saved_config
from tailorbird.flows.prepare import Prepared, bundled_example, prepare, with_default_model
from tailorbird.methods import get_method
from tailorbird.metrics.names import what_is_right
from tailorbird.metrics.numbers import duration, metric, metric_label
from tailorbird.records import TASKS, ArmReport, Report, Split, TaskName
from tailorbird.runs.folder import ARM, CONFIG, JOURNAL, RunFolder
from tailorbird.tasks import get_task
from tailorbird.tasks.job import OUTCOME, read_arm, write_job

BEST = f"{MIX}best"
"""Asks for the mix with the trained arm that is best on validation."""


def compare(config: Config, *, resume: bool = False, command: str = "") -> Report:
    """Run every arm on the same split and leave the report in the run folder.

    Args:
        config: What to do; `config.compare` says which arms, how many seeds, how long. Without
            `config.data.train` the bundled example is taken.
        resume: Go on with the comparison in `config.output`; finished arms are not run again.
        command: The command line, for the report.

    Raises:
        UserError: Anything wrong with the data or the settings. An arm's own fault does not end
            the comparison.
        Interrupted: Ctrl-C; the comparison can be resumed.
    """
    started = time.time()
    folder = run_folder(config, "compare", resume=resume, tell=False)
    with folder.locked(forget=True), folder.emptied_when_refused(unless=resume):
        config = saved_config(folder, config) if resume and folder.exists else config
        if config.data.folds is not None:
            raise UserError(
                f"data.folds={config.data.folds} is for `tailor tune`", "leave it out, or tune"
            )
        if config.data.train is None:
            config = bundled_example(config)
            log.say("no data given: the bundled example, a debugging tutor")
        prepared = prepare(config, folder, _fits)
        config = _with_arms(with_default_model(config, prepared.split), prepared.split.task)
        folder.write(CONFIG, dump_config(config))
        with Nest() as nest:
            arms, folders = _Bench(config, prepared, folder, nest).run()
            story = Story(
                kind="compare",
                config=config,
                prepared=prepared,
                folder=folder,
                arms=arms,
                folders=folders,
                command=command or reproduce("compare", folder),
                started=started,
            )
            return finish(story, nest)


def _fits(config: Config, split: Split) -> None:
    get_task(split.task).check(config, split.labels)
    _with_arms(config, split.task)


def _with_arms(config: Config, task: TaskName) -> Config:
    """Return the configuration with the arms to run filled in.

    Raises:
        UserError: An arm that the task does not have, or a method option that no arm has.
    """
    names = [name for name, _ in arms_of(task)]
    if RETRIEVAL in names:
        names.append(BEST)
    wanted = config.compare.methods or tuple(names)
    foreign = [name for name in wanted if name not in names]
    if foreign:
        raise UserError(
            f"there is no arm {', '.join(foreign)} for {TASKS[task].answers}",
            f"choose among: {', '.join(names)}",
        )
    config = config.model_copy(
        update={"compare": config.compare.model_copy(update={"methods": wanted})}
    )
    _check_options(config, wanted)
    return config


def _check_options(config: Config, wanted: Sequence[str]) -> None:
    given = set(config.method.model_dump(exclude={"name"}, exclude_none=True))
    arms = [name for name in METHODS if name in wanted]
    taken = {
        key
        for name in arms
        for key in for_arm(config, name).method.model_dump(exclude={"name"}, exclude_none=True)
    }
    if given - taken:
        raise UserError(
            f"no arm has the option {', '.join(sorted(f'method.{key}' for key in given - taken))}",
            f"leave it out; the arms are {', '.join(wanted)}",
        )


@dataclass
class _Bench:
    """Runs the arms one after the other, each in a process of its own."""

    config: Config
    prepared: Prepared
    folder: RunFolder
    nest: Nest

    def run(self) -> tuple[list[ArmReport], dict[str, list[RunFolder]]]:
        """Return every arm's report, and where those that succeeded were saved."""
        budget = self.config.compare.budget_minutes
        self.deadline = None if budget is None else time.monotonic() + 60 * budget
        wanted = self.config.compare.methods or ()
        self.task = get_task(self.prepared.split.task)
        reports: dict[str, ArmReport] = {}
        places: dict[str, list[RunFolder]] = {}
        names = [name for name, _ in arms_of(self.task.name) if name in wanted]
        took: dict[str, float] = {}
        for number, name in enumerate(names, 1):
            began = time.monotonic()
            reports[name], places[name] = self._arm(name)
            if name in METHODS and reports[name].status == "ok":
                # Of an arm that was done before the clock knows nothing.
                trained = (reports[name].cost.train_seconds or 0.0) * len(places[name])
                took[name] = max(trained, time.monotonic() - began)
                if left := names[number:]:
                    log.say(time_left(left, took))
        if BEST in wanted:
            mix = self._mix_name(reports)
            if mix is None:
                why = f"needs the {RETRIEVAL} arm and a trained arm that succeeded"
                reports[BEST] = ArmReport(BEST, "skipped", why)
            else:
                reports[mix], places[mix] = self._arm(mix)
        ok = {name: where for name, where in places.items() if reports[name].status == "ok"}
        return list(reports.values()), ok

    def _mix_name(self, reports: dict[str, ArmReport]) -> str | None:
        """Return ``rag+X`` for the trained arm X that is best on validation."""
        trained = [r for n, r in reports.items() if n in METHODS and r.status == "ok"]
        if not trained or RETRIEVAL not in reports or reports[RETRIEVAL].status != "ok":
            return None
        return f"{MIX}{max(trained, key=self.task.on_validation).name}"

    def _arm(self, name: str) -> tuple[ArmReport, list[RunFolder]]:
        """Run one arm with every seed."""
        arm = arm_named(name, self.task.name)
        if why_not := arm.why_not(self.task.spec):
            return ArmReport(name, "skipped", why_not), []
        count = self.config.compare.seeds if arm.trains else 1
        first = self.config.train.seed
        reports, places = [], []
        for number in range(count):
            place = self.folder.arm(name if number == 0 else f"{name}/seeds/{first + number}")
            report = self._once(name, first + number, place)
            if report.status != "ok":
                return replace(report, name=name), []
            reports.append(report)
            places.append(place)
        joined = reports[0]
        if count > 1:
            joined = _seeds_joined(reports, self.task.joined_words)
            joined = self.task.join(joined, reports, places, self.prepared.split)
        joined = replace(joined, run=f"arms/{name}")
        made = duration(joined.cost.train_seconds or 0.0)
        log.say(f"{name}: {self._found(joined, places[0])}, made in {made}")
        return joined, places

    def _found(self, report: ArmReport, place: RunFolder) -> str:
        """Return what an arm scored, in words."""
        name = self.task.headline({report.name: [place]})
        score = report.test[name]
        value, low, high = (metric(name, x) for x in (score.value, score.low, score.high))
        if what_is_right(name) == "right":
            return f"{value} right on test ({low} to {high})"
        return f"{metric_label(name)} {value} on test ({low} to {high})"

    def _once(self, name: str, seed: int, place: RunFolder) -> ArmReport:
        """Run one arm with one seed in a fresh process, or take it as an earlier try left it."""
        if place.file(ARM).is_file():
            log.say(f"{name}: done before")
            return read_arm(place)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return ArmReport(name, "skipped", "the budget was used up by the arms before it")
        config = for_arm(self.config, name) if name in METHODS else self.config
        seeded = config.train.model_copy(update={"seed": seed})
        place.path.mkdir(parents=True, exist_ok=True)
        write_job(place, name, config.model_copy(update={"train": seeded}), self.deadline)
        code = self.nest.run(ARM_PROCESS, str(self.folder.path), str(place.path))
        if place.file(ARM).is_file():
            return read_arm(place)
        if code == Interrupted.exit_code:
            raise Interrupted("the comparison was stopped")
        report = _outcome(name, code, place)
        log.warn(f"{name} {report.status}: {report.why}")
        return report


def time_left(names: Sequence[str], took: Mapping[str, float]) -> str:
    """Return how long the trained arms that are still to come may take.

    Args:
        names: The arms to come.
        took: Seconds of those that were trained before them.

    Example:
        >>> time_left(["lora", "full"], {"adapter": 60.0})
        'about 2 min 30 s left: lora, full'
    """
    each = sum(took.values()) / sum(_cost(name) for name in took)
    about = duration(each * sum(_cost(name) for name in names))
    return f"about {about} left: {', '.join(names)}"


def _cost(name: str) -> float:
    return get_method(name).defaults.cost


def _seeds_joined(reports: Sequence[ArmReport], of_first: str) -> ArmReport:
    """Return the first seed's report with the costs of all seeds, and what is whose."""
    costs = [report.cost for report in reports]
    seconds = [cost.train_seconds or 0.0 for cost in costs]
    return replace(
        reports[0],
        model_test=reports[0].test,
        seeds=tuple(report.seeds[0] for report in reports),
        cost=replace(
            costs[0],
            train_seconds=sum(seconds) / len(seconds),
            peak_memory_bytes=max(cost.peak_memory_bytes or 0 for cost in costs),
        ),
        notes=(
            *reports[0].notes,
            f"scores are means over {len(reports)} seeds; the saved model, its curve, "
            f"{of_first} are those of seed {reports[0].seeds[0].seed}",
        ),
    )


def _outcome(name: str, code: int, place: RunFolder) -> ArmReport:
    if place.file(OUTCOME).is_file():
        plain = place.read_json(OUTCOME)
        return ArmReport(name, plain["status"], plain["why"])
    if code == -9:
        why = "the system ended it, most likely for lack of memory; lower train.micro_batch_size"
    else:
        begun = "" if place.file(JOURNAL).is_file() else " before training began"
        why = f"its process ended with exit code {code}{begun}"
    return ArmReport(name, "failed", why)
