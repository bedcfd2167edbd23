"""Which loss fits which task; a wrong pairing is an error before anything is loaded."""

from tailorbird.config.hyperparameter_search import choices
from tailorbird.config.schema import Config, TrainConfig
from tailorbird.errors import Faults, did_you_mean
from tailorbird.records import TASKS, TaskName, has_head

_LABELS = "it measures distances between numbers, and labels have none"
_EXACTLY_ONE = "it lets several labels be right at once, and here exactly one is"
_SEVERAL = "it makes the labels share one probability, and here several may be right at once"
_NUMBERS = "it needs classes, and here the targets are numbers"
_WHY = {
    ("classification", "bce"): _EXACTLY_ONE,
    ("tokens", "bce"): _EXACTLY_ONE,
    ("multilabel", "cross_entropy"): _SEVERAL,
    ("multilabel", "focal"): _SEVERAL,
    ("regression", "cross_entropy"): _NUMBERS,
    ("regression", "focal"): _NUMBERS,
    ("regression", "bce"): "it needs labels, and here the targets are numbers",
}
_WRITTEN = "answers in words are trained by the cross-entropy of their tokens"


def loss_name(config: Config, task: TaskName) -> str:
    """Return the loss that a task is trained by."""
    return _named(config.train.loss, task)


def _losses(config: Config, task: TaskName) -> list[str]:
    """Return the losses that the run may be trained by: of a search all that its space lists."""
    space = (config.search.space or {}) if config.search.trials else {}
    listed = [config.train.loss, *map(str, choices(space.get("train.loss", ())) or ())]
    return list(dict.fromkeys(_named(name, task) for name in listed))


def _named(loss: str, task: TaskName) -> str:
    return TASKS[task].losses[0] if loss == "auto" and has_head(task) else loss


def _changed(train: TrainConfig, option: str) -> bool:
    return bool(getattr(train, option) != TrainConfig.model_fields[option].default)


def check_loss(config: Config, task: TaskName, labels: tuple[str, ...]) -> None:
    """Check that the loss and its options fit the task.

    Raises:
        UserError: They do not; it says why.
    """
    train, faults = config.train, Faults()
    if not has_head(task):
        for name in _losses(config, task):
            if name != "auto":
                faults.add(f"train.loss={name} does not fit: {_WRITTEN}", "leave it out")
        faults.raise_if_any()
        return
    names, fitting = _losses(config, task), TASKS[task].losses
    for name in names:
        if name in fitting:
            continue
        why = _WHY.get((task, name), _LABELS)
        faults.add(
            f"train.loss={name} does not fit {task}: {why}",
            f"take {' or '.join(fitting)}, or another --task",
        )
    by = " or ".join(names)
    single, many = task in ("classification", "tokens"), "multilabel"
    for option, is_set, fits, needs in (
        ("class_weights", train.class_weights is not None, single, "classification"),
        ("label_smoothing", train.label_smoothing > 0, "cross_entropy" in names, "cross_entropy"),
        ("positive_weights", train.positive_weights is not None, task == many, many),
        ("focal_gamma", _changed(train, "focal_gamma"), "focal" in names, "focal"),
        ("huber_delta", _changed(train, "huber_delta"), "huber" in names, "huber"),
    ):
        if is_set and not fits:
            faults.add(f"train.{option} is for {needs}; this is {task} by {by}", "leave it out")
    _check_weights(train, labels, faults)
    faults.raise_if_any()


def _check_weights(train: TrainConfig, labels: tuple[str, ...], faults: Faults) -> None:
    for option, weights in (
        ("class_weights", train.class_weights),
        ("positive_weights", train.positive_weights),
    ):
        for label, weight in weights.items() if isinstance(weights, dict) else ():
            if label not in labels:
                near = did_you_mean(label, labels)
                faults.add(f"train.{option} names {label!r}{near}, which is no label", "correct it")
            if weight < 0:
                faults.add(f"train.{option}: {label!r} has the weight {weight:g}", "take 0 or more")
