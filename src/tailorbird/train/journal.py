"""What happened during training, one line a step, and the same for TensorBoard."""

from types import TracebackType
from typing import Any

from tailorbird.runs.folder import JOURNAL, TENSORBOARD, RunFolder


class Journal:
    """Writes `journal.jsonl` line by line, and TensorBoard events beside it."""

    def __init__(self, folder: RunFolder, *, tensorboard: bool, after_step: int = 0) -> None:
        self._folder = folder
        # A resumed run takes back what was written after its checkpoint.
        kept = [row for row in folder.read_rows(JOURNAL) if row["step"] <= after_step]
        folder.write_rows(JOURNAL, kept)
        self._file = folder.file(JOURNAL).open("a", encoding="utf-8", buffering=1)
        self._events: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(folder.file(TENSORBOARD)), purge_step=after_step + 1)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()

    def write(self, event: str, step: int, **values: float) -> None:
        """Note `values` of an ``event`` (``step``, ``validation``) after optimizer step `step`."""
        import json

        from tailorbird.runs.folder import writing

        with writing(self._folder.file(JOURNAL)):
            self._file.write(json.dumps({"event": event, "step": step, **values}) + "\n")
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{event}/{name}", value, step)
