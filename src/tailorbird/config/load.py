"""Flags, file and defaults made into one checked `Config`."""

import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tailorbird.config.schema import Config
from tailorbird.errors import Faults, UserError, check_utf8, did_you_mean
from tailorbird.yaml_text import MOST_CHARACTERS, YamlFault, parse_yaml, write_yaml

_EXPONENT = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)[eE][+-]?\d+")


def load_config(
    file: Path | None = None, settings: Sequence[str] = (), flags: Mapping[str, Any] | None = None
) -> Config:
    """Return the configuration that flags, then `settings`, then `file`, then defaults give.

    Args:
        file: YAML with the differences from the defaults.
        settings: ``section.name=value`` strings; values are read as YAML.
        flags: Dotted names to values; None means the flag was not given.

    Raises:
        UserError: Any unknown name or wrong value, all of them at once.
    """
    faults = Faults()
    values: dict[str, Any] = _read_yaml(file) if file else {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            faults.add(f"--set {setting!r} has no '='", "write --set section.name=value")
            continue
        try:
            _put(values, name.strip(), _value(text))
        except UserError as error:
            faults.catch(error)
    faults.raise_if_any()
    for name, value in (flags or {}).items():
        if value is not None:
            _put(values, name, value)
    check_utf8(values, "config")
    return _validated(values)


def config_with(config: Config, values: Mapping[str, Mapping[str, Any]]) -> Config:
    """Return `config` with other values, by section and name; a method's options are its own.

    Raises:
        UserError: Any unknown name or wrong value, all of them at once.
    """
    sections = config.model_dump()
    for section, inner in values.items():
        before = {} if section == "method" else sections.get(section, {})
        sections[section] = before | dict(inner)
    return _validated(sections)


def _validated(values: Mapping[str, Any]) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = Faults()
        for problem, fix in _explain(error):
            faults.add(problem, fix)
        faults.raise_if_any()
        raise  # a ValidationError always has at least one fault


def dump_config(config: Config, *, only_given: bool = False) -> str:
    """Return the configuration as YAML; `only_given` leaves out what equals the defaults."""
    return write_yaml(config.model_dump(mode="json", exclude_defaults=only_given))


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8") as opened:
            plain = parse_yaml(opened.read(MOST_CHARACTERS + 1))
    except FileNotFoundError:
        raise UserError(f"config file {file} does not exist", "check the path after -c") from None
    except YamlFault as error:
        raise UserError(f"config file {file} is not YAML: {error}", "mend that line") from None
    except (OSError, ValueError) as error:
        raise UserError(f"config file {file} cannot be read: {error}", "give a YAML file") from None
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise UserError(
            f"config file {file} holds a {type(plain).__name__}, not sections",
            "write sections such as `train:` with settings below them",
        )
    return plain


def _value(text: str) -> Any:
    try:
        value = parse_yaml(text)
    except YamlFault:
        return text
    # YAML 1.1 reads 1e-4 as a word; people mean the number. What they quoted is a word.
    return float(text) if _EXPONENT.fullmatch(text.strip()) else value


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, name = dotted.split(".")
    place = values
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"setting {dotted!r}: {section!r} is not a section", "check the name")
        place = inner
    place[name] = value


def _explain(error: ValidationError) -> list[tuple[str, str]]:
    """Turn pydantic's errors into (problem, fix) pairs that name key, value and nearest name."""
    faults: list[tuple[str, str]] = []
    for fault in error.errors():
        path = [str(part) for part in fault["loc"] if not str(part).startswith("function-")]
        key = ".".join(path)
        if fault["type"] == "extra_forbidden":
            faults.append(_unknown(path))
            continue
        message = fault["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if fault["type"] == "literal_error":
            expected = str(fault.get("ctx", {}).get("expected", ""))
            names = [name.strip(" '") for name in expected.replace(" or ", ",").split(",")]
            near = did_you_mean(str(fault["input"]), names)
            faults.append((f"{key} is {_brief(fault['input'])}{near}", f"choose {expected}"))
        elif key:
            faults.append((f"{key} is {_brief(fault['input'])}: {message}", _help(path)))
        else:
            faults.append((message, "leave it out or choose another method"))
    return faults


def _brief(value: Any) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 200
    return short.repr(value)


def _unknown(path: list[str]) -> tuple[str, str]:
    section = _section(path[:-1])
    names = list(section.model_fields) if section else []
    dotted = [".".join([*path[:-1], name]) for name in names]
    # `rank` is method.rank rather than something that merely looks like `train`.
    near = _elsewhere(path[-1]) or did_you_mean(".".join(path), dotted)
    where = ".".join(path[:-1]) or "the config"
    return (f"unknown setting {'.'.join(path)!r}{near}", f"{where} has: {', '.join(names)}")


def _elsewhere(name: str) -> str:
    # The first section that has the name: `epochs` is train's before it is a retriever's.
    dotted = {
        inner: f"{outer}.{inner}"
        for outer, field in reversed(Config.model_fields.items())
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for inner in field.annotation.model_fields
    }
    return f" (did you mean {dotted[name]!r}?)" if name in dotted else ""


def _section(path: list[str]) -> type[BaseModel] | None:
    section: type[BaseModel] = Config
    for name in path:
        field = section.model_fields.get(name)
        if field is None or not isinstance(field.annotation, type):
            return None
        if not issubclass(field.annotation, BaseModel):
            return None
        section = field.annotation
    return section


def _help(path: list[str]) -> str:
    section = _section(path[:-1])
    field = section.model_fields.get(path[-1]) if section else None
    return f"{'.'.join(path)}: {field.description}" if field and field.description else "mend it"
