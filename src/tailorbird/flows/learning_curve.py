"""`tailor plan --curve`: what more labels would buy, from training on parts of those there are."""

from collections.abc import Sequence
from dataclasses import replace

from tailorbird import log
from tailorbird.arms import arm_named, arm_names
from tailorbird.arms.split_embeddings import split_vectors
from tailorbird.arms.worker import run_planned
from tailorbird.config import METHODS, Config, for_arm
from tailorbird.data.stratify import stratified_order
from tailorbird.errors import UserError, did_you_mean
from tailorbird.metrics.display import metric
from tailorbird.metrics.learning_curve import FURTHEST, curve_scores, gains
from tailorbird.metrics.metric_facts import sign, unit
from tailorbird.records import TASKS, Example, Split, TaskName
from tailorbird.records.planning import LearningCurve
from tailorbird.runs.folder import ARM, RunFolder
from tailorbird.tasks import get_task
from tailorbird.tasks.arm_job import ArmJob

SEEDS = 3
_SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
_FEWEST, _FEWEST_SIZES = 8, 3
# The cheapest that learns from every label; then what is trained.
_USUAL = ("probe", "lora")


def curve_arm(name: str | None, task: TaskName) -> str:
    """Return the arm that a curve is drawn with.

    Args:
        name: What the person asked for; None: the cheapest that suits.
        task: What is learnt.

    Raises:
        UserError: The task has no such arm, or the arm learns nothing from labels.
    """
    spec = TASKS[task]
    names = [n for n in arm_names(task) if not arm_named(n, task).why_not(spec)]
    if name is None:
        return next(usual for usual in _USUAL if usual in names)
    if name not in names:
        raise UserError(
            f"--arm: there is no arm {name!r} for {spec.answers}{did_you_mean(name, names)}",
            f"choose among: {', '.join(names)}",
        )
    return name


def learning_curve(config: Config, split: Split, folder: RunFolder, arm: str) -> LearningCurve:
    """Train an arm on parts of the data, and continue its scores to twice as much.

    Every part has the same shares of the classes (whole groups, where the data has groups); the
    validation and test examples stay the same. Three parts of each size are drawn.

    Args:
        config: The settings of a run.
        split: The data.
        folder: Where the split and the trainings are kept; those done before are not done again.
        arm: Which arm is trained.

    Raises:
        UserError: There are too few training examples for a curve.
    """
    sizes = _sizes(split)
    if arm not in METHODS:
        split_vectors(config, split, folder)  # all at once; each part takes its rows of them
    places: dict[str, list[RunFolder]] = {}
    task = get_task(split.task)
    for size in sizes:
        seeds = SEEDS if size < len(split.train) or arm in METHODS else 1
        jobs = [_job(config, split, folder, arm, size, seed) for seed in range(seeds)]
        places[str(size)] = [_trained(job) for job in jobs]
        log.say(f"{arm}: trained on {size:,} of {len(split.train):,} examples, {seeds} times")
    name = task.headline(places)
    outcomes = task.outcomes(places, split, name)
    values = [sign(name) * outcomes.values[str(size)] for size in sizes]
    scores = curve_scores(sizes, values, outcomes.groups)
    more = [round(share * sizes[-1]) for share in (1.25, 1.5, FURTHEST)]
    scale = unit(name, abs(scores[-1].score))
    forecast = gains(sizes, values, more, outcomes.groups, scale=scale)
    log.say(f"{arm}: {metric(name, sign(name) * scores[-1].score)} with all examples")
    return LearningCurve(arm, name, scores, forecast)


def _sizes(split: Split) -> list[int]:
    rows = len(split.train)
    least = max(_FEWEST, 2 * len(split.labels) if TASKS[split.task].one_label else 0)
    sizes = [round(share * rows) for share in _SHARES]
    sizes = [size for size in sizes if size >= least]
    if len(sizes) < _FEWEST_SIZES:
        raise UserError(
            f"{rows:,} training examples are too few for a learning curve: a quarter of them must "
            f"be {least} at least",
            "label more, or leave out --curve",
        )
    return sizes


def _job(config: Config, split: Split, folder: RunFolder, arm: str, size: int, seed: int) -> ArmJob:
    config = for_arm(config, arm) if arm in METHODS else config
    first = config.train.seed
    train = config.train.model_copy(update={"seed": first + seed})
    rows = _order(split.train, split.task, first + seed)[:size]
    part = replace(split, train=tuple(split.train[row] for row in sorted(rows)))
    place = folder.arm(f"{arm}/{size}-{first + seed}")
    return ArmJob(arm, config.model_copy(update={"train": train}), part, place)


def _order(examples: Sequence[Example], task: TaskName, seed: int) -> list[int]:
    """Return row numbers in an order whose every beginning is like the whole."""
    if any(example.group for example in examples):
        groups = list(dict.fromkeys(example.group for example in examples))
        rank = {groups[i]: n for n, i in enumerate(stratified_order([""] * len(groups), seed))}
        return sorted(range(len(examples)), key=lambda row: rank[examples[row].group])
    by_class = TASKS[task].one_label
    return stratified_order([str(e.label) if by_class else "" for e in examples], seed)


def _trained(job: ArmJob) -> RunFolder:
    if not job.folder.file(ARM).is_file():
        job.folder.path.mkdir(parents=True, exist_ok=True)
        run_planned(job)
    return job.folder
