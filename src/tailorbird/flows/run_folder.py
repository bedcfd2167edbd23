"""Where a run is kept, and how it is found again."""

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailorbird import log
from tailorbird.config import Config, load_config
from tailorbird.errors import Faults, UserError
from tailorbird.metrics.custom import is_custom
from tailorbird.records import Report
from tailorbird.runs.environment import describe
from tailorbird.runs.folder import CONFIG, PAGE, REPORT, RunFolder

_WHERE = {"train": ("processes",), "compare": ("jobs", "curve", "ray")}
"""Settings of where a run goes on, or of what is added to it: they change nothing in the rest."""
_OF_COMMAND = ("ray",)
"""Those that hold for one command: a cluster may be gone when the run goes on."""


def run_folder(config: Config, verb: str, *, resume: bool) -> RunFolder:
    """Return the run's folder, which is not made yet, or not in use.

    Args:
        verb: What is done in it: a part of the name that it has otherwise.

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
    """Hold a run's folder, made if need be, and yield the settings to go by.

    A run that is gone on with keeps its own. What a refused run left is removed.

    Args:
        resume: Whether it may hold the run already.
        together: Whether other processes work in it too: they are waited for.

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
    """Return a name for a folder from the first of the files, or from the folder or set."""
    first = Path(data.split(",")[0])
    stem = first.name.split(".")[0] if first.suffix else first.name
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "data"


def saved_config(folder: RunFolder, config: Config) -> Config:
    """Return the settings that a run began with; a resumed run keeps all but where it runs.

    Raises:
        UserError: They are damaged, or name code to run that `config` does not.
    """
    saved = load_config(folder.file(CONFIG))
    _check_code(folder, saved, config)
    ignored = _differences(config, saved)
    if ignored:
        log.warn(f"going on with the run's own settings; ignored: {', '.join(ignored)}")
    sections = {
        section: getattr(saved, section).model_copy(
            update={
                name: getattr(getattr(config, section), name)
                for name in names
                if name in getattr(config, section).model_fields_set or name in _OF_COMMAND
            }
        )
        for section, names in _WHERE.items()
    }
    return saved.model_copy(update={"output": config.output, **sections})


def _check_code(folder: RunFolder, saved: Config, config: Config) -> None:
    faults, again = Faults(), "if you trust who made the run, say so again: --set"
    if saved.model.trust_remote_code and not config.model.trust_remote_code:
        faults.add(
            f"{folder.file(CONFIG)} lets Python code run that came with the model",
            f"{again} model.trust_remote_code=true",
        )
    metric = saved.evaluate.metric
    if is_custom(metric) and config.evaluate.metric != metric:
        faults.add(
            f"{folder.file(CONFIG)} scores by Python code, {metric}",
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


def circumstances(config: Config, command: str, started: float) -> dict[str, Any]:
    """Return what every report says of its run: how, when, where and how long, by its names.

    Args:
        started: `time.time` at its start.
    """
    return {
        "command": command,
        "created": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 1),
        "environment": describe(),
        "settings": config.model_dump(mode="json", exclude_defaults=True),
    }


def write_report(report: Report[Any, Any], page: str, folder: RunFolder) -> None:
    """Write a report and its page; the report last, whose presence says that the run is over."""
    folder.write(PAGE, page)
    folder.write_json(REPORT, report.to_json())


def reproduce(verb: str, folder: RunFolder) -> str:
    """Return a command that repeats a run made through the Python API."""
    return f"tailor {verb} -c {folder.file(CONFIG)} --output {folder.path}-again"
