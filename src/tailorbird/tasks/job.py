"""What an arm is asked to do, and the note that tells its process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tailorbird.config import Config
from tailorbird.records import ArmReport, Split
from tailorbird.runs.folder import ARM, RunFolder

JOB, OUTCOME = "job.json", "outcome.json"


@dataclass(frozen=True)
class ArmJob:
    """What an arm is given.

    Attributes:
        name: What it is called in the report.
        resume: Go on from a checkpoint where there is one.
        deadline: `time.monotonic` at which it must be over, or None.
        observe: Told each validation's number and how good it was; may raise `Hopeless`.
    """

    name: str
    config: Config
    split: Split
    folder: RunFolder
    resume: bool = False
    deadline: float | None = None
    observe: Callable[[int, float], None] = lambda number, score: None


def write_job(folder: RunFolder, name: str, config: Config, deadline: float | None) -> None:
    """Leave the job of an arm in its folder, for the process that will do it."""
    folder.file(OUTCOME).unlink(missing_ok=True)
    seconds = None if deadline is None else deadline - time.monotonic()
    plain = {"name": name, "seconds": seconds, "config": config.model_dump(mode="json")}
    folder.write_json(JOB, plain)


def read_arm(folder: RunFolder) -> ArmReport:
    """Return the report that an arm left in its folder."""
    from pydantic import TypeAdapter

    report: ArmReport = TypeAdapter(ArmReport).validate_python(folder.read_json(ARM))
    return report
