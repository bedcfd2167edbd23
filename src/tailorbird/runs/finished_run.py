"""Writes the report that ends a run; reads it, the settings and the recommended arm."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailorbird.config import Config, load_config
from tailorbird.errors import UserError
from tailorbird.records import ArmReport, Report, report_from_json
from tailorbird.runs.checked_files import damaged, inner, reading
from tailorbird.runs.environment import describe
from tailorbird.runs.folder import ARMS, CONFIG, MODEL, PAGE, REPORT, RunFolder


def arm_folder(path: Path) -> RunFolder:
    """Return the folder of an arm; for a comparison's folder, of its recommended arm.

    Raises:
        UserError: There is no run, or it is unfinished.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise UserError(f"there is no run {path}", "give a folder that `tailor tune` made")
    if folder.file(MODEL).is_dir():
        return folder
    if (path / ARMS).is_dir():
        report = read_report(folder)
        if report.kind == "questions":  # an arm may need documents to answer
            raise UserError(
                f"{path} compared answers to questions, so it has no single model",
                f"name a tuned arm, such as {path / ARMS / 'lora'}, or ask the documents: "
                "tailor ask QUESTION --store KB",
            )
        name = report.verdict.recommended
        if name is None:
            raise UserError(
                f"{path} recommends no arm: none succeeded, or all scored near zero",
                f"look at its report.html, and name an arm: {path / ARMS}/NAME",
            )
        return RunFolder(inner(folder.file(REPORT), path / ARMS, name))
    if folder.exists:
        raise UserError(f"the run {path} is not finished", "continue it: --resume")
    raise UserError(
        f"{path} holds no run", "give a folder that `tailor tune` or `tailor compare` made"
    )


def read_report(folder: RunFolder) -> Report[Any, Any]:
    """Read the report of a run of any kind.

    Raises:
        UserError: It is missing or damaged.
    """
    plain, path = folder.read_json(REPORT), folder.file(REPORT)
    with reading(path):
        report = report_from_json(plain)
    names = {arm.name for arm in report.arms}
    if {report.verdict.recommended, report.verdict.best} - names - {None}:
        raise damaged(path, "its verdict names an arm that it does not have")
    for arm in report.arms:
        tested = isinstance(arm, ArmReport) and arm.status == "ok"
        if tested and report.headline not in arm.test:
            raise damaged(path, f"arm {arm.name!r} has no {report.headline}")
    return report


def run_config(folder: RunFolder, *, trust: bool) -> Config:
    """Return the settings of a finished run, which may come from another person.

    Args:
        trust: Whether code that came with its model may run; the folder's own setting for that is
            ignored.

    Raises:
        UserError: They are missing or damaged.
    """
    try:
        config = load_config(folder.file(CONFIG))
    except UserError as error:
        raise damaged(folder.file(CONFIG), error.problem) from error
    return config.replace(model={"trust_remote_code": trust})


def circumstances(config: Config, command: str, started: float) -> dict[str, Any]:
    """Return the report's fields on the run itself: how, when, where and how long.

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
    """Write the page, then the report, whose presence marks the run as finished."""
    folder.write(PAGE, page)
    folder.write_json(REPORT, report.to_json())
