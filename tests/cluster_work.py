"""Work that a test gives to the nodes of a cluster: it notes its beginning, rests, and reports."""

import json
import os
import time
from pathlib import Path


def main(run: str, place: str) -> int:
    """Note where this begins, and leave a report that says what was to be done."""
    folder = Path(place)
    job = json.loads((folder / "job.json").read_text("utf-8"))
    with open(job["notes"], "a", encoding="utf-8") as file:
        file.write(f"{folder.name} {os.getpid()}\n")
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "half").write_text("half", "utf-8")
    time.sleep(job["seconds"])
    (folder / "checkpoints" / "half").unlink()
    (Path(run) / "data").mkdir(exist_ok=True)
    (Path(run) / "data" / "shown.json").write_text("shown", "utf-8")
    (folder / "arm.json").write_text(f"report of {folder.name}", "utf-8")
    return 0
