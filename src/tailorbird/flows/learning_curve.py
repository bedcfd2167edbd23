"""The benefit of more labels, estimated by training on parts of the data.

Used by `tailor plan --curve` and `tailor compare --curve`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tailorbird import log
from tailorbird.arms.arm_process import run_in_process
from tailorbird.arms.parallel_arms import Scheduler
from tailorbird.arms.registry import arm_named, arm_names
from tailorbird.config import METHODS, Config, for_arm
from tailorbird.data.stratify import stratified_order
from tailorbird.errors import UserError, did_you_mean
from tailorbird.metrics.display import metric
from tailorbird.metrics.learning_curve import FURTHEST, curve_scores, gains
from tailorbird.metrics.metric_facts import sign, unit
from tailorbird.records import TASKS, Example, LearningCurve, Split, TaskName
from tailorbird.runs.folder import CURVE, RunFolder
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.registry import get_task

SEEDS = 3
AUTO = "auto"
_SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
_FEWEST, _FEWEST_SIZES = 8, 3
# The cheapest arm that learns from every label; otherwise a fine-tuning method.
_USUAL = ("probe", "lora")


@dataclass(frozen=True)
class CurvePlace:
    """Where a curve's trainings are stored.

    Attributes:
        trainings: Folders of existing trainings on all examples.
        deadline: `time.monotonic` at which all must be over, or None.
    """

    run: RunFolder
    runner: Scheduler
    trainings: Sequence[RunFolder] = ()
    deadline: float | None = None


def curve_arm(name: str, task: TaskName) -> str:
    """Return the arm of a curve.

    Args:
        name: The arm; `AUTO`: the cheapest suitable one.

    Raises:
        UserError: The task has no such arm, or the arm does not learn from labels.
    """
    spec = TASKS[task]
    names = [n for n in arm_names(task) if not arm_named(n, task).why_not(spec)]
    if name == AUTO:
        return next(usual for usual in _USUAL if usual in names)
    if name not in names:
        raise UserError(
            f"learning curve: there is no arm {name!r} for {spec.answers}"
            f"{did_you_mean(name, names)}",
            f"choose among: {', '.join(names)}",
        )
    return name


def check_curve(name: str, split: Split) -> None:
    """Check that a curve is possible, before any training.

    Raises:
        UserError: There is no such arm, or there are too few training examples.
    """
    curve_arm(name, split.task)
    _sizes(split)


def learning_curve(config: Config, split: Split, place: CurvePlace, arm: str) -> LearningCurve:
    """Train an arm on parts of the data, and extrapolate its scores to twice as much.

    All parts have the same class proportions (with groups in the data, whole groups); the
    validation and test examples stay the same. Three parts of each size are drawn.

    Args:
        place: Where the trainings are stored; existing ones are reused.

    Raises:
        UserError: There are too few training examples for a curve, or a training failed.
    """
    sizes = _sizes(split)
    places: dict[str, list[RunFolder]] = {}
    task = get_task(split.task)
    # The largest first, so that shared work such as embeddings is done once.
    for size in reversed(sizes):
        whole = size == len(split.train)
        seeds = SEEDS if not whole or arm in METHODS else 1
        reused = list(place.trainings[:seeds]) if whole else []
        train = partial(_trained, config, split, place, arm, size)
        places[str(size)] = reused + place.runner.map(train, range(len(reused), seeds))
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
            f"{rows:,} training examples are too few for a learning curve: a quarter of them "
            f"must be at least {least}",
            "label more, or leave out --curve",
        )
    return sizes


def _trained(
    config: Config, split: Split, place: CurvePlace, arm: str, size: int, number: int
) -> RunFolder:
    """Return the folder of one training on `size` examples, which is run if missing."""
    config = for_arm(config, arm) if arm in METHODS else config
    seed = config.train.seed + number
    config = config.replace(train={"seed": seed})
    folder = RunFolder(place.run.file(f"{CURVE}/{arm}-{size}-{seed}"))
    job = ArmJob(arm, config, split, folder, deadline=place.deadline)
    report = run_in_process(place.runner, job, sorted(_order(split.train, split.task, seed)[:size]))
    if report.status != "ok":
        raise UserError(
            f"{arm} on {size:,} examples {report.status}: {report.why}",
            "see above, or leave out --curve",
        )
    return folder


def _order(examples: Sequence[Example], task: TaskName, seed: int) -> list[int]:
    """Return row numbers in an order whose every prefix is representative."""
    if any(example.group for example in examples):
        groups = list(dict.fromkeys(example.group for example in examples))
        rank = {groups[i]: n for n, i in enumerate(stratified_order([""] * len(groups), seed))}
        return sorted(range(len(examples)), key=lambda row: rank[examples[row].group])
    by_class = TASKS[task].one_label
    return stratified_order([str(e.label) if by_class else "" for e in examples], seed)
