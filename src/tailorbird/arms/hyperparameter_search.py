"""Hyperparameter search: trials scored on validation; the best trial's weights are adopted."""

import types
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from tailorbird import log
from tailorbird.arms.trials import do_trials
from tailorbird.config import Config
from tailorbird.config.hyperparameter_search import Range, SearchConfig, Space, choices
from tailorbird.config.load import config_with
from tailorbird.config.method import METHODS, MethodConfig, method_spec
from tailorbird.errors import Faults, UserError
from tailorbird.methods.registry import get_method
from tailorbird.metrics.display import metric as metric_text
from tailorbird.metrics.metric_facts import metric_words
from tailorbird.records import ArmReport, Search
from tailorbird.runs.folder import ARM, CHECKPOINTS, JOURNAL, SEARCH, TENSORBOARD, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.registry import get_task
from tailorbird.train.hyperparameter_study import Draw, Study

if TYPE_CHECKING:
    from tailorbird.arms.parallel_arms import Scheduler

_PLAN = "plan.json"


def has_search(folder: RunFolder) -> bool:
    """Return whether this arm's folder has a search."""
    return folder.file(f"{SEARCH}/{_PLAN}").is_file()


def with_best(job: ArmJob, scheduler: "Scheduler | None" = None) -> tuple[ArmJob, Search | None]:
    """Return the job with the best settings of its search, if it has one, after running it.

    Args:
        job: The arm's job.
        scheduler: See `search`.
    """
    if job.config.search.trials is None and not has_search(job.folder):
        return job, None
    # After the search, the arm continues from the best trial's checkpoint.
    config, result = search(job, scheduler)
    return replace(job, config=config, resume=True), result


def search(job: ArmJob, scheduler: "Scheduler | None" = None) -> tuple[Config, Search]:
    """Run the remaining trials; return the best trial's configuration, and the search.

    The best trial's checkpoint is moved to the job's folder, so that resuming from it
    (`ArmJob.resume`) repeats no training.

    Args:
        job: The arm's job, in a run with a saved split.
        scheduler: Runs the trials in parallel; None: one after the other in this process.

    Raises:
        UserError: The space is invalid, or every trial failed.
        Interrupted: Ctrl-C; `--resume` continues the search.
        OverBudget: Time ran out before any trial was complete.
    """
    base, study = _open_study(job)

    def trial(draw: Draw) -> ArmJob:
        return replace(
            job,
            name=f"{job.name}, trial {draw.number + 1}",
            config=config_of(base, draw.values),
            folder=draw.folder,
            observe=draw.observe,
        )

    due = study.unfinished()
    late = do_trials(job.name, trial, study, scheduler)
    best = study.best()
    trials = study.trials()
    if best is None:
        if late is not None:
            raise late
        whys = sorted({trial.why for trial in trials})
        raise UserError("every trial of the search failed:\n" + "\n".join(whys[:3]), "mend that")
    if due:  # else logged when they ended
        _log_best(job, study)
    _adopt(study.place(best.number), job.folder)
    result = Search(
        sampler=study.options.sampler,
        pruner=study.options.pruner,
        metric=study.metric,
        best=best.number,
        space={name: words(entry) for name, entry in study.space.items()},
        trials=tuple(trials),
        importance=study.importance(),
    )
    return config_of(base, best.values), result


@dataclass(frozen=True)
class _PlanFile:
    """The configuration and options that a search began with."""

    config: Config
    search: SearchConfig
    metric: str
    defaults: dict[str, Any]


def _open_study(job: ArmJob) -> tuple[Config, Study]:
    """Return the trials' base configuration and the study, as saved if the search has begun."""
    folder = RunFolder(job.folder.file(SEARCH))
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.locked(wait=True):
        if not folder.file(_PLAN).is_file():
            folder.write_json(_PLAN, _plan(job))
        plan = folder.read_as(_PLAN, _PlanFile)
    base = _with_code_of(job.config, plan.config)
    # Pydantic parses the space, so ranges are ranges again.
    options = plan.search
    space: Space = options.space or {}
    whole = {name for name in space if is_whole(name)}
    study = Study(folder, options, space, whole, plan.metric)
    study.begin(plan.defaults)
    return base, study


def _with_code_of(config: Config, saved: Config) -> Config:
    """Return `saved`, with permission to run code as in `config`."""
    trust, metric = config.model.trust_remote_code, config.evaluate.metric
    return saved.replace(model={"trust_remote_code": trust}, evaluate={"metric": metric})


def _plan(job: ArmJob) -> dict[str, Any]:
    config = job.config
    base = config.replace(search=type(config.search)(), output=None)  # trials do not search
    defaults = _defaults(job, base)
    space = config.search.space or default_space(config.method.name, defaults)
    get_task(job.split.task).check_space(space)
    if config.search.sampler == "grid" and config.search.space is None:
        raise UserError(
            "a grid needs a search.space of lists", "write one; see docs/hyperparameter_search.md"
        )
    check_space(base, space)
    options = config.search.replace(space=space)
    return {
        "config": base.model_dump(mode="json"),
        "search": options.model_dump(mode="json"),
        "metric": get_task(job.split.task).validation_metric,
        "defaults": {k: v for k, v in defaults.items() if k in space},
    }


def _defaults(job: ArmJob, config: Config) -> dict[str, Any]:
    """Return every setting's value without a search, by dotted name."""
    method = get_method(config.method.name)
    settings = get_task(job.split.task).settings(config, method, job.split)
    plain = {
        f"{section}.{name}": value
        for section, values in config.model_dump().items()
        if isinstance(values, dict)
        for name, value in values.items()
    }
    options = {f"method.{k}": v for k, v in method.options(config.method).items()}
    return plain | {f"train.{k}": v for k, v in asdict(settings).items()} | options


def searched(report: ArmReport, result: Search, folder: RunFolder) -> ArmReport:
    """Return an arm's report with its search added, and save it in the arm's folder."""
    seconds = sum(trial.seconds for trial in result.trials)
    trained = report.cost.train_seconds or 0.0
    cost = replace(report.cost, search_seconds=max(0.0, seconds - trained))
    complete = replace(report, cost=cost, search=result)
    folder.write_json(ARM, asdict(complete))
    return complete


def _log_best(job: ArmJob, study: Study) -> None:
    best, trials = study.best(), study.trials()
    first = next((trial for trial in trials if trial.asked), None)
    assert best is not None
    score = metric_text(study.metric, best.score or 0.0)
    if first is None or first.score is None or first.state != "ok":
        compared = "the configured settings failed"
    elif first.number == best.number:
        compared = "the configured settings: no trial was better"
    else:
        compared = f"against {metric_text(study.metric, first.score)} with the configured settings"
    log.say(
        f"{job.name}: trial {best.number + 1} of {len(trials)} is used: "
        f"{metric_words(study.metric)} {score} on validation, {compared}"
    )


def _adopt(trial: RunFolder, folder: RunFolder) -> None:
    """Move the best trial's checkpoint and logs; safe to repeat."""
    if not trial.file(CHECKPOINTS).is_dir() or folder.file(CHECKPOINTS).exists():
        return
    # The checkpoints come last: if they are in place, so is the rest.
    for name in (JOURNAL, TENSORBOARD, CHECKPOINTS):
        if trial.file(name).exists() and not folder.file(name).exists():
            trial.file(name).rename(folder.file(name))


def default_space(method: str, defaults: Mapping[str, Any]) -> Space:
    """Return a method's most important settings, in ranges around its defaults."""
    rate, spec = float(defaults["train.learning_rate"]), method_spec(method)
    around = spec.rate_around
    batch, epochs = int(defaults["train.batch_size"]), float(defaults["train.epochs"])
    space: Space = {
        "train.learning_rate": Range(low=rate / around, high=rate * around, log=True),
        "train.batch_size": tuple(sorted({max(1, batch // 2), batch, batch * 2})),
        "train.epochs": tuple(sorted({max(1.0, epochs / 2), epochs, epochs * 1.5})),
    }
    for name, values in spec.space.items():
        assert not isinstance(values, Range)
        own = defaults.get(name)
        space[name] = values if own in values else (own, *values)
    return space


def _options(method: str) -> Collection[str]:
    return method_spec(method).options.model_fields if method in METHODS else ()


_CODE = {"model.trust_remote_code", "evaluate.metric"}


def config_of(base: Config, values: Mapping[str, Any]) -> Config:
    """Return `base` with the drawn values, without options that the drawn method lacks.

    Raises:
        UserError: A value does not fit its setting.
    """
    code = sorted(_CODE & set(values))
    if code:  # applies to imported studies too
        raise UserError(f"{code[0]} decides which code runs: it cannot be searched", "leave it out")
    method = str(values.get("method.name", base.method.name))
    own = _options(method)
    sections: dict[str, Any] = {
        "method": {k: v for k, v in base.method.own_options.items() if k in own} | {"name": method}
    }
    for name, value in values.items():
        section, _, setting = name.partition(".")
        if section == "method" and setting != "name" and setting not in own:
            continue
        sections.setdefault(section, {})[setting] = value
    return config_with(base, sections)


def check_space(base: Config, space: Space) -> None:
    """Validate the ends of every range and every listed value.

    Raises:
        UserError: Unknown settings or invalid values, all at once.
    """
    faults = Faults()
    methods = space.get("method.name")
    names = list(methods) if isinstance(methods, tuple) else [base.method.name]
    for name, entry in space.items():
        ends = [entry.low, entry.high] if isinstance(entry, Range) else choices(entry) or []
        if isinstance(entry, Range) and is_whole(name):
            ends = [int(value) for value in ends]
        _, _, setting = name.partition(".")
        if name.startswith("method.") and setting != "name":
            takers = [m for m in names if setting in _options(str(m))]
            if not takers and setting in MethodConfig.model_fields:
                faults.add(f"search.space: no method searched has {name}", "leave it out")
                continue
            names_for = {"method.name": takers[0]} if takers else {}
        else:
            names_for = {}
        for value in ends:
            try:
                config_of_named(base, names_for | {name: value})
            except UserError as error:
                faults.add(f"search.space: {error.problem}", error.fix)
                break
    faults.raise_if_any()


def config_of_named(base: Config, values: Mapping[str, Any]) -> Config:
    """As `config_of`, but an unknown option of a method is an error."""
    foreign = {
        name.partition(".")[2]: value
        for name, value in values.items()
        if name.startswith("method.") and name.partition(".")[2] not in MethodConfig.model_fields
    }
    if foreign:
        return config_with(base, {"method": foreign})
    return config_of(base, values)


def is_whole(name: str) -> bool:
    """Return whether a setting is an integer."""
    section, _, setting = name.partition(".")
    inner: Any = Config.model_fields[section].annotation
    field = inner.model_fields.get(setting)
    if field is None:
        return False
    hint = field.annotation
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return int in parts and float not in parts


def words(entry: Any) -> str:
    """Return an entry of a space as text."""
    if not isinstance(entry, Range):
        return ", ".join("none" if value is None else str(value) for value in entry)
    how = ", logarithmic" if entry.log else f", in steps of {entry.step:g}" if entry.step else ""
    return f"{entry.low:g} to {entry.high:g}{how}"
