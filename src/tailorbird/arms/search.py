"""A search for settings: trials on validation, and the best one handed on, weights and all."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from tailorbird import log
from tailorbird.arms.search_space import check_space, config_of, default_space, is_whole, words
from tailorbird.config import Config
from tailorbird.config.search import SearchConfig, Space
from tailorbird.errors import (
    Hopeless,
    OutOfMemory,
    OverBudget,
    TrainingDiverged,
    UserError,
    is_out_of_memory,
)
from tailorbird.methods import get_method
from tailorbird.metrics.names import metric_words
from tailorbird.metrics.numbers import metric as written
from tailorbird.records import ArmReport, Search
from tailorbird.runs.folder import ARM, CHECKPOINTS, JOURNAL, SEARCH, TENSORBOARD, RunFolder
from tailorbird.tasks import get_task
from tailorbird.tasks.job import ArmJob
from tailorbird.train.search import Draw, Study

_PLAN = "plan.json"
_LOOK_SECONDS = 0.5


def has_search(folder: RunFolder) -> bool:
    """Say whether settings were searched for in this arm's folder."""
    return folder.file(f"{SEARCH}/{_PLAN}").is_file()


def with_best(job: ArmJob) -> tuple[ArmJob, Search | None]:
    """Return the job with the best settings a search finds, if one is asked for or was begun."""
    if job.config.search.trials is None and not has_search(job.folder):
        return job, None
    # Once the search is over, the arm goes on from the best trial's checkpoint.
    config, found = search(job)
    return replace(job, config=config, resume=True), found


def search(job: ArmJob) -> tuple[Config, Search]:
    """Do what is left of the trials; return the best one's configuration, and what was found.

    The best trial's checkpoint is moved to the job's folder, so that going on from there
    (`ArmJob.resume`) trains nothing again.

    Raises:
        UserError: The space is wrong, or every trial failed.
        Interrupted: Ctrl-C; the search goes on with `--resume`.
        OverBudget: The time was up before any trial was done.
    """
    base, study = _opened(job)
    late = _do_trials(job, base, study)
    best = study.best()
    trials = study.trials()
    if best is None:
        if late is not None:
            raise late
        whys = sorted({trial.why for trial in trials})
        raise UserError("every trial of the search failed:\n" + "\n".join(whys[:3]), "mend that")
    _tell(job, study)
    _adopt(study.place(best.number), job.folder)
    found = Search(
        sampler=study.asked.sampler,
        pruner=study.asked.pruner,
        metric=study.metric,
        best=best.number,
        space={name: words(entry) for name, entry in study.space.items()},
        trials=tuple(trials),
        importance=study.importance(),
    )
    return config_of(base, best.values), found


@dataclass(frozen=True)
class _PlanFile:
    """How a search began."""

    config: Config
    search: SearchConfig
    metric: str
    defaults: dict[str, Any]


def _opened(job: ArmJob) -> tuple[Config, Study]:
    """Return the configuration that trials start from, and the study; as it began, if it did."""
    folder = RunFolder(job.folder.file(SEARCH))
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.locked(wait=True):
        if not folder.file(_PLAN).is_file():
            folder.write_json(_PLAN, _plan(job))
        plan = folder.read_as(_PLAN, _PlanFile)
    base = _with_code_of(job.config, plan.config)
    # Pydantic reads the space: ranges come back as ranges.
    asked = plan.search
    space: Space = asked.space or {}
    whole = {name for name in space if is_whole(name)}
    study = Study(folder, asked, space, whole, plan.metric)
    study.begin(plan.defaults)
    return base, study


def _with_code_of(asked: Config, saved: Config) -> Config:
    """Return `saved` with what `asked`, and nobody else, says about the code that may run."""
    trust, metric = asked.model.trust_remote_code, asked.evaluate.metric
    model = saved.model.model_copy(update={"trust_remote_code": trust})
    evaluate = saved.evaluate.model_copy(update={"metric": metric})
    return saved.model_copy(update={"model": model, "evaluate": evaluate})


def _plan(job: ArmJob) -> dict[str, Any]:
    config = job.config
    base = config.model_copy(
        update={"search": type(config.search)(), "output": None}  # trials do not search
    )
    defaults = _defaults(job, base)
    space = config.search.space or default_space(config.method.name, defaults)
    get_task(job.split.task).check_space(space)
    if config.search.sampler == "grid" and config.search.space is None:
        raise UserError("a grid needs a search.space of lists", "write one; see docs/search.md")
    check_space(base, space)
    asked = config.search.model_copy(update={"space": space})
    return {
        "config": base.model_dump(mode="json"),
        "search": asked.model_dump(mode="json"),
        "metric": get_task(job.split.task).judged_by,
        "defaults": {k: v for k, v in defaults.items() if k in space},
    }


def _defaults(job: ArmJob, config: Config) -> dict[str, Any]:
    """Return what every setting would be without a search, by dotted name."""
    method = get_method(config.method.name)
    settings = get_task(job.split.task).settings(config, method, job.split)
    plain = {
        f"{section}.{name}": value
        for section, values in config.model_dump().items()
        if isinstance(values, dict)
        for name, value in values.items()
    }
    options = {f"method.{k}": v for k, v in method.options(config.method).items()}
    return plain | {f"train.{k}": v for k, v in settings.to_json().items()} | options


def _do_trials(job: ArmJob, base: Config, study: Study) -> OverBudget | None:
    """Do trials until none is left, waiting for those of other processes."""
    while study.unfinished():
        with study.claim() as draw:
            if draw is None:
                time.sleep(_LOOK_SECONDS)
                continue
            log.say(f"{job.name}: trial {draw.number + 1} of {study.count}: {_drawn(draw)}")
            late = _do(draw, job, base, study)
            if late is not None:
                log.warn(f"{job.name}: the search ends here: {late}")
                return late
    return None


def _do(draw: Draw, job: ArmJob, base: Config, study: Study) -> OverBudget | None:
    started = time.monotonic()

    def seconds() -> float:
        return time.monotonic() - started

    try:
        trial = replace(
            job,
            name=f"{job.name}, trial {draw.number + 1}",
            config=config_of(base, draw.values),
            # The test part is not looked at.
            split=replace(job.split, test=job.split.validation),
            folder=draw.folder,
            resume=True,
            observe=draw.observe,
        )
        trained = get_task(job.split.task).fit(trial, scored=False).train()
    except Hopeless as error:
        study.tell(draw, None, seconds(), str(error), pruned=True)
        log.say(f"{job.name}: trial {draw.number + 1} {error}")
    except OverBudget as error:
        study.tell(draw, None, seconds(), str(error))
        return error
    except Exception as error:
        if not isinstance(error, UserError) and not is_out_of_memory(error):
            raise
        study.tell(draw, None, seconds(), str(error).splitlines()[0])
        if draw.asked and _is_of_all(error, study.space):
            raise
        log.warn(f"{job.name}: trial {draw.number + 1} failed: {error}")
    else:
        study.tell(draw, trained.best[0], trained.seconds)
    return None


def _is_of_all(error: Exception, space: Space) -> bool:
    """Say whether what is wrong with the settings as asked for is wrong in every trial."""
    if not isinstance(error, UserError) or isinstance(error, TrainingDiverged | OutOfMemory):
        return False
    return not any(name.startswith(("model.", "data.")) for name in space)


def _drawn(draw: Draw) -> str:
    shown = ", ".join(
        f"{name.partition('.')[2]} {value:.3g}" if isinstance(value, float)
        else f"{name.partition('.')[2]} {value}"
        for name, value in draw.values.items()
    )  # fmt: skip
    return f"as asked ({shown})" if draw.asked and shown else shown or "as asked"


def searched(report: ArmReport, found: Search, folder: RunFolder) -> ArmReport:
    """Return an arm's report with its search in it, and keep it so in the arm's folder."""
    seconds = sum(trial.seconds for trial in found.trials)
    trained = report.cost.train_seconds or 0.0
    cost = replace(report.cost, search_seconds=max(0.0, seconds - trained))
    told = replace(report, cost=cost, search=found)
    folder.write_json(ARM, asdict(told))
    return told


def _tell(job: ArmJob, study: Study) -> None:
    best, trials = study.best(), study.trials()
    asked = next((trial for trial in trials if trial.asked), None)
    assert best is not None
    score = written(study.metric, best.score or 0.0)
    if asked is None or asked.score is None or asked.state != "ok":
        compared = "the settings as asked came to nothing"
    elif asked.number == best.number:
        compared = "the settings as asked: no trial was better"
    else:
        compared = f"against {written(study.metric, asked.score)} with the settings as asked"
    log.say(
        f"{job.name}: trial {best.number + 1} of {len(trials)} is taken: "
        f"{metric_words(study.metric)} {score} on "
        f"validation, {compared}"
    )


def _adopt(trial: RunFolder, folder: RunFolder) -> None:
    """Move what the best trial left to go on from; nothing is moved twice."""
    if not trial.file(CHECKPOINTS).is_dir() or folder.file(CHECKPOINTS).exists():
        return
    # The checkpoints last: with them in place, the rest is.
    for name in (JOURNAL, TENSORBOARD, CHECKPOINTS):
        if trial.file(name).exists() and not folder.file(name).exists():
            trial.file(name).rename(folder.file(name))
