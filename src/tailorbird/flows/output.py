"""Where a run is kept, and how it is found again."""

import re
import shlex
from pathlib import Path

from tailorbird import log
from tailorbird.config import Config, load_config
from tailorbird.errors import Faults, UserError
from tailorbird.metrics.custom import is_custom
from tailorbird.runs.folder import CONFIG, RunFolder

_WHERE = {"train": ("processes",), "compare": ("jobs",)}
"""Settings of where a run goes on, which change nothing in what it comes to."""


def run_folder(config: Config, verb: str, *, resume: bool, tell: bool = True) -> RunFolder:
    """Return the run's folder, made and not in use.

    Args:
        config: What to do; `config.output` names it, if anything does.
        verb: What is done in it: a part of the name that it has otherwise.
        resume: A run may be in it.
        tell: Say where it is; else `prepare` does, once there is something to keep.

    Raises:
        UserError: It is in use, or there is nothing to resume.
    """
    if config.output is None and resume:
        raise UserError("--resume needs to know which run", "add --output FOLDER")
    folder = RunFolder(config.output or _next_name(config, verb))
    folder.start(resume=resume)
    log.note_folder(folder.path)
    if tell:
        say_folder(folder)
    return folder


def say_folder(folder: RunFolder) -> None:
    """Tell where the run is kept."""
    log.say(f"run folder: {folder.path}")


def _next_name(config: Config, verb: str) -> Path:
    data = _short_name(config.data.train) if config.data.train else "example"
    number = 1
    while (place := Path("runs") / f"{verb}-{data}-{number}").exists():
        number += 1
    return place


def _short_name(data: str) -> str:
    """Return a name for a folder from the first of the files, or from the folder or set."""
    first = Path(data.split(",")[0])
    stem = first.name.split(".")[0] if first.suffix else first.name
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "data"


def saved_config(folder: RunFolder, asked: Config) -> Config:
    """Return the settings that a run began with; a resumed run keeps all but where it runs.

    Raises:
        UserError: They are damaged, or name code to run that `asked` does not.
    """
    saved = load_config(folder.file(CONFIG))
    _check_code(folder, saved, asked)
    ignored = _differences(asked, saved)
    if ignored:
        log.warn(f"going on with the run's own settings; ignored: {', '.join(ignored)}")
    sections = {
        section: getattr(saved, section).model_copy(
            update={
                name: getattr(getattr(asked, section), name)
                for name in names
                if name in getattr(asked, section).model_fields_set
            }
        )
        for section, names in _WHERE.items()
    }
    return saved.model_copy(update={"output": asked.output, **sections})


def _check_code(folder: RunFolder, saved: Config, asked: Config) -> None:
    faults, again = Faults(), "if you trust who made the run, say so again: --set"
    if saved.model.trust_remote_code and not asked.model.trust_remote_code:
        faults.add(
            f"{folder.file(CONFIG)} lets Python code run that came with the model",
            f"{again} model.trust_remote_code=true",
        )
    metric = saved.evaluate.metric
    if is_custom(metric) and asked.evaluate.metric != metric:
        faults.add(
            f"{folder.file(CONFIG)} scores by Python code, {metric}",
            f"{again} {shlex.quote(f'evaluate.metric={metric}')}",
        )
    faults.raise_if_any()


def _differences(asked: Config, saved: Config) -> list[str]:
    given, kept = asked.model_dump(exclude_defaults=True), saved.model_dump()
    return [
        f"{section}.{name}"
        for section, values in given.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if kept[section][name] != value and name not in _WHERE.get(section, ())
    ]


def reproduce(verb: str, folder: RunFolder) -> str:
    """Return a command that repeats a run made through the Python API."""
    return f"tailor {verb} -c {folder.file(CONFIG)} --output {folder.path}-again"
