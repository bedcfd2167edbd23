"""What a search draws from, and the configuration that a draw stands for."""

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from tailorbird.config import Config
from tailorbird.config.load import config_with
from tailorbird.config.schema import OPTIONS
from tailorbird.config.search import Range, Space, choices
from tailorbird.errors import Faults, UserError

_RATES = {"prompt": 10.0}
_USUAL_RATES = 5.0
_OWN: dict[str, Space] = {
    "full": {"train.weight_decay": (0.0, 0.01, 0.1), "train.layer_decay": (None, 0.95, 0.9, 0.8)},
    "lora": {"method.rank": (4, 8, 16, 32, 64), "method.dropout": (0.0, 0.05, 0.1)},
    "qlora": {"method.rank": (4, 8, 16, 32, 64), "method.dropout": (0.0, 0.05, 0.1)},
    "adapter": {"method.bottleneck": (16, 32, 64, 128), "method.dropout": (0.0, 0.05, 0.1)},
    "prompt": {"method.virtual_tokens": (5, 10, 20, 50, 100)},
}


def default_space(method: str, defaults: Mapping[str, Any]) -> Space:
    """Return what matters most for a method, around its own defaults.

    Args:
        method: Its name.
        defaults: The settings a run would have without a search, by dotted name.
    """
    rate, around = float(defaults["train.learning_rate"]), _RATES.get(method, _USUAL_RATES)
    batch, epochs = int(defaults["train.batch_size"]), float(defaults["train.epochs"])
    space: Space = {
        "train.learning_rate": Range(low=rate / around, high=rate * around, log=True),
        "train.batch_size": tuple(sorted({max(1, batch // 2), batch, batch * 2})),
        "train.epochs": tuple(sorted({max(1.0, epochs / 2), epochs, epochs * 1.5})),
    }
    for name, values in _OWN[method].items():
        assert not isinstance(values, Range)
        own = defaults.get(name)
        space[name] = values if own in values else (own, *values)
    return space


_CODE = {"model.trust_remote_code", "evaluate.metric"}


def config_of(base: Config, values: Mapping[str, Any]) -> Config:
    """Return `base` with the drawn values, without options that the drawn method does not have.

    Raises:
        UserError: A value does not fit its setting.
    """
    code = sorted(_CODE & set(values))
    if code:  # also of a study that came with a run
        raise UserError(f"{code[0]} says what code runs: it is not searched", "leave it out")
    method = str(values.get("method.name", base.method.name))
    own = OPTIONS[method]  # type: ignore[index]
    given = base.method.model_dump(exclude={"name"}, exclude_none=True)
    wanted: dict[str, Any] = {"method": {k: v for k, v in given.items() if k in own}}
    wanted["method"]["name"] = method
    for name, value in values.items():
        section, _, setting = name.partition(".")
        if section == "method" and setting != "name" and setting not in own:
            continue
        wanted.setdefault(section, {})[setting] = value
    return config_with(base, wanted)


def check_space(base: Config, space: Space) -> None:
    """Try the ends of every range and every listed value.

    Raises:
        UserError: Settings that do not exist, or values they do not take; all at once.
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
            takers = [m for m in names if setting in OPTIONS.get(m, ())]  # type: ignore[call-overload]
            if not takers and setting in {o for options in OPTIONS.values() for o in options}:
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
    """Like `config_of`, but a method's option that does not exist is an error."""
    known = {option for options in OPTIONS.values() for option in options}
    foreign = {
        name.partition(".")[2]: value
        for name, value in values.items()
        if name.startswith("method.") and name.partition(".")[2] not in known | {"name"}
    }
    if foreign:
        return config_with(base, {"method": foreign})
    return config_of(base, values)


def is_whole(name: str) -> bool:
    """Tell whether a setting is a whole number."""
    section, _, setting = name.partition(".")
    inner: Any = Config.model_fields[section].annotation
    field = inner.model_fields.get(setting)
    if field is None:
        return False
    hint = field.annotation
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return int in parts and float not in parts


def words(entry: Any) -> str:
    """Return an entry of a space in words."""
    if not isinstance(entry, Range):
        return ", ".join("none" if value is None else str(value) for value in entry)
    how = ", logarithmic" if entry.log else f", in steps of {entry.step:g}" if entry.step else ""
    return f"{entry.low:g} to {entry.high:g}{how}"
