"""`tailor compare`: every way of adapting the model, on the same split, side by side."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailorbird import log
from tailorbird.arms.process import ARM as ARM_PROCESS
from tailorbird.arms.process import Nest
from tailorbird.config import METHODS, Config, dump_config, for_arm
from tailorbird.config.losses import check_loss
from tailorbird.errors import Interrupted, UserError
from tailorbird.flows.finish import Story, finish
from tailorbird.flows.output import reproduce, run_folder, saved_config
from tailorbird.flows.prepare import Prepared, bundled_example, prepare, with_default_model
from tailorbird.metrics.names import what_is_right
from tailorbird.metrics.numbers import duration, metric, metric_label
from tailorbird.records import KINDS, ArmReport, Report, Split, TaskName
from tailorbird.runs.folder import ARM, CONFIG, JOURNAL, RunFolder
from tailorbird.tasks import head_task
from tailorbird.tasks.job import OUTCOME, read_arm, read_task, write_job
from tailorbird.tasks.scoring import load_probabilities, load_target

MIX = "rag+best"
# Cheap arms first: when a budget runs out, the most has been learnt.
_TRAINED = ("adapter", "lora", "prompt", "qlora", "full")
_ORDER: dict[TaskName, tuple[str, ...]] = {
    task: (kind.baseline, "rag", "probe", *_TRAINED) for task, kind in KINDS.items()
} | {
    "generation": ("nearest", "base", "rag", *_TRAINED),
    "text": ("base", *_TRAINED),
}


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
    check_loss(config, split.task, split.labels)
    _with_arms(config, split.task)


def _with_arms(config: Config, task: TaskName) -> Config:
    """Return the configuration with the arms to run filled in.

    Raises:
        UserError: An arm that the task does not have, or a method option that no arm has.
    """
    there = (*_ORDER[task], *((MIX,) if "rag" in _ORDER[task] else ()))
    wanted = config.compare.methods or there
    foreign = [name for name in wanted if name not in there]
    if foreign:
        raise UserError(
            f"there is no arm {', '.join(foreign)} for {_TASK_WORDS[task]}",
            f"choose among: {', '.join(there)}",
        )
    config = config.model_copy(
        update={"compare": config.compare.model_copy(update={"methods": wanted})}
    )
    _check_options(config, wanted)
    return config


_NO_VECTORS = "it reads one vector of a whole text, and here every word has a label"
_WHY_NOT: dict[tuple[TaskName, str], str] = {
    ("tokens", "rag"): _NO_VECTORS,
    ("tokens", "probe"): _NO_VECTORS,
}
_TASK_WORDS = {
    "tokens": "a label per word",
    "classification": "labels",
    "multilabel": "several labels",
    "regression": "numbers",
    "generation": "written answers",
    "text": "plain text",
}


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
        self.task = self.prepared.split.task
        reports: dict[str, ArmReport] = {}
        places: dict[str, list[RunFolder]] = {}
        names = [name for name in _ORDER[self.task] if name in wanted]
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
        if MIX in wanted:
            mix = self._mix_name(reports)
            if mix is None:
                why = "needs the rag arm and a trained arm that succeeded"
                reports[MIX] = ArmReport(MIX, "skipped", why)
            else:
                reports[mix], places[mix] = self._arm(mix)
        ok = {name: where for name, where in places.items() if reports[name].status == "ok"}
        return list(reports.values()), ok

    def _mix_name(self, reports: dict[str, ArmReport]) -> str | None:
        """Return ``rag+X`` for the trained arm X that is best on validation."""
        trained = [r for n, r in reports.items() if n in METHODS and r.status == "ok"]
        if not trained or "rag" not in reports or reports["rag"].status != "ok":
            return None
        return f"rag+{max(trained, key=self._on_validation).name}"

    def _on_validation(self, report: ArmReport) -> tuple[float, float]:
        found = report.validation
        if self.task in KINDS:
            loss = next((name for name in ("log_loss", "rmse") if name in found), None)
            tie = -found[loss].value if loss else 0.0
            return found[KINDS[self.task].headline].value, tie
        return -found["loss"].value, found["accuracy"].value

    def _arm(self, name: str) -> tuple[ArmReport, list[RunFolder]]:
        """Run one arm with every seed."""
        why_not = _WHY_NOT.get((self.task, name))
        if why_not is not None:
            return ArmReport(name, "skipped", why_not), []
        trained = name in METHODS
        count = self.config.compare.seeds if trained else 1
        first = self.config.train.seed
        reports, places = [], []
        for number in range(count):
            place = self.folder.arm(name if number == 0 else f"{name}/seeds/{first + number}")
            report = self._once(name, first + number, place)
            if report.status != "ok":
                return replace(report, name=name), []
            reports.append(report)
            places.append(place)
        joined = replace(self._join(reports, places), run=f"arms/{name}")
        made = duration(joined.cost.train_seconds or 0.0)
        log.say(f"{name}: {self._found(joined, places[0])}, made in {made}")
        return joined, places

    def _found(self, report: ArmReport, place: RunFolder) -> str:
        """Return what an arm scored, in words."""
        written = self.task not in KINDS
        name = read_task(place).headline if written else KINDS[self.task].headline
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

    def _join(self, reports: Sequence[ArmReport], places: Sequence[RunFolder]) -> ArmReport:
        """Return one report for all seeds: mean scores, their intervals, and each seed's own."""
        if len(reports) == 1:
            return reports[0]
        if self.task not in KINDS:
            return self._join_written(reports, places)
        split, task = self.prepared.split, head_task(self.task)
        found = [load_probabilities(place) for place in places]
        targets = [load_target(place) for place in places]
        truth, judges = (task.truths(part, targets[0]) for part in (split.test, split.validation))
        on_test = [arrays["test"] for arrays in found]
        return replace(
            _seeds_joined(reports, "figures and wrong examples"),
            validation=task.scores([a["validation"] for a in found], judges, targets),
            test=task.scores(on_test, truth, targets),
            per_class=task.per_class(on_test, truth, targets),
        )

    def _join_written(self, reports: Sequence[ArmReport], places: Sequence[RunFolder]) -> ArmReport:
        from tailorbird.tasks.written import load_values, test_scores

        found = [load_values(place) for place in places]
        stacked = {name: np.stack([values[name] for values in found]) for name in found[0]}
        mean = {
            name: replace(
                score, value=sum(r.validation[name].value for r in reports) / len(reports)
            )
            for name, score in reports[0].validation.items()
        }
        joined = _seeds_joined(reports, "answers")
        return replace(joined, validation=mean, test=test_scores(stacked))


def time_left(names: Sequence[str], took: Mapping[str, float]) -> str:
    """Return how long the trained arms that are still to come may take.

    Args:
        names: The arms to come.
        took: Seconds of those that were trained before them.

    Example:
        >>> time_left(["lora", "full"], {"adapter": 60.0})
        'about 2 min 30 s left: lora, full'
    """
    each = sum(took.values()) / sum(_TIMES[name] for name in took)
    about = duration(each * sum(_TIMES[name] for name in names))
    return f"about {about} left: {', '.join(names)}"


# What an arm takes, times the shortest's: the train times of README's table, rounded.
_TIMES = {"adapter": 1.0, "lora": 1.0, "prompt": 1.2, "qlora": 1.2, "full": 1.5}


def _seeds_joined(reports: Sequence[ArmReport], of_first: str) -> ArmReport:
    """Return the first seed's report with the costs of all seeds, and what is whose."""
    costs = [report.cost for report in reports]
    seconds = [cost.train_seconds or 0.0 for cost in costs]
    return replace(
        reports[0],
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
