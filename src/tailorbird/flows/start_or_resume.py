"""Starts a run in a new folder, or resumes a stopped one with its saved settings."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tailorbird import log
from tailorbird.config import Config, load_config
from tailorbird.errors import Faults, UserError
from tailorbird.metrics.custom_metric import is_custom
from tailorbird.runs.folder import CONFIG, RunFolder

_WHERE = {"train": ("processes", "shard"), "compare": ("jobs", "curve", "ray")}
"""Settings of where a run continues or of additions to it: they do not change other results."""
_OF_COMMAND = ("ray",)
"""Settings of a single command: a cluster may be gone when the run is resumed."""


def run_folder(config: Config, verb: str, *, resume: bool) -> RunFolder:
    """Return the path of the run's folder, which does not exist yet or is not in use.

    Args:
        verb: The command, used in the default name.

    Raises:
        UserError: It is in use, or there is nothing to resume.
    """
    if config.output is None and resume:
        raise UserError("--resume needs to know which run", "add --output FOLDER")
    folder = RunFolder(config.output or _next_name(config, verb))
    folder.check_free(resume=resume)
    return folder


@contextmanager
def opened(
    config: Config, folder: RunFolder, *, resume: bool, together: bool = False
) -> Iterator[Config]:
    """Lock a run's folder, created if missing, and yield the settings to use.

    A resumed run uses its saved settings. The remains of a refused run are removed.

    Args:
        resume: Whether the folder may contain the run already.
        together: Whether to wait for other processes that work in it.

    Raises:
        UserError: It is in use, or its settings are damaged.
    """
    folder.start(resume=resume)
    with (
        folder.locked(wait=together, forget=not together),
        folder.emptied_when_refused(unless=resume or together),
    ):
        yield saved_config(folder, config) if resume and folder.exists else config


def _next_name(config: Config, verb: str) -> Path:
    data = _short_name(config.data.train) if config.data.train else "example"
    number = 1
    while (place := Path("runs") / f"{verb}-{data}-{number}").exists():
        number += 1
    return place


def _short_name(data: str) -> str:
    """Return a folder name from the first file, the folder or the data set."""
    first = Path(data.split(",")[0])
    stem = first.name.split(".")[0] if first.suffix else first.name
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "data"


def saved_config(folder: RunFolder, config: Config) -> Config:
    """Return the settings that a run began with; only those of its place may change on resume.

    Raises:
        UserError: They are damaged, or name code to run that `config` does not.
    """
    saved = load_config(folder.file(CONFIG))
    _check_code(folder, saved, config)
    ignored = _differences(config, saved)
    if ignored:
        log.warn(f"continuing with the run's own settings; ignored: {', '.join(ignored)}")
    sections = {
        section: {
            name: getattr(getattr(config, section), name)
            for name in names
            if name in getattr(config, section).model_fields_set or name in _OF_COMMAND
        }
        for section, names in _WHERE.items()
    }
    return saved.replace(output=config.output, **sections)


def _check_code(folder: RunFolder, saved: Config, config: Config) -> None:
    faults, again = Faults(), "if you trust who made the run, say so again: --set"
    if saved.model.trust_remote_code and not config.model.trust_remote_code:
        faults.add(
            f"{folder.file(CONFIG)} runs Python code that came with the model",
            f"{again} model.trust_remote_code=true",
        )
    metric = saved.evaluate.metric
    if is_custom(metric) and config.evaluate.metric != metric:
        faults.add(
            f"{folder.file(CONFIG)} scores with Python code, {metric}",
            f"{again} {shlex.quote(f'evaluate.metric={metric}')}",
        )
    faults.raise_if_any()


def _differences(config: Config, saved: Config) -> list[str]:
    changes, before = config.model_dump(exclude_defaults=True), saved.model_dump()
    return [
        f"{section}.{name}"
        for section, values in changes.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if before[section][name] != value and name not in _WHERE.get(section, ())
    ]


def reproduce(verb: str, folder: RunFolder) -> str:
    """Return a command that repeats a run of the Python API."""
    return f"tailor {verb} -c {folder.file(CONFIG)} --output {folder.path}-again"
