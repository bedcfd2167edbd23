"""Fits a generative model: build, encode, train, score its answers."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from tailorbird import log
from tailorbird.data.tokens import Tokens
from tailorbird.records import ArmReport, Piece
from tailorbird.runs.folder import SHOWN
from tailorbird.tasks.arm_job import ArmJob
from tailorbird.tasks.base_model import Answering, make_base, max_length, reading_limit
from tailorbird.tasks.fit import TaskFit
from tailorbird.tasks.forgetting import Reference
from tailorbird.tasks.generative_base import GenerativeTask
from tailorbird.tasks.generative_scoring import score_and_save

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.models.packed import SequenceLosses
    from tailorbird.train.loop import Trained
    from tailorbird.train.workloads import GenerativeWork


class GenerativeFit(TaskFit):
    """A trained generative arm, or continued pre-training; see `TaskFit`."""

    best_criterion = MappingProxyType({"keep": "loss"})

    def __init__(self, task: GenerativeTask, job: ArmJob, *, scored: bool) -> None:
        from tailorbird.train.settings import resolve_generative

        super().__init__(job)
        config, split = job.config, job.split
        if scored:
            log.say(f"{job.name}: {config.model.name} on {self.device.words}")
        self.base = base = make_base(config, self.device, self.method)
        self.limit = max_length(config, base, self.method)
        self.parts = task.encode_parts(split, base, self.limit, config)
        if scored:
            # Done before the method is attached, since the base model computes the reference loss.
            _preview_once(self.parts.train, job)
            self.test = task.test(split, self.parts, config, reading_limit(base))
            self.answering = Answering(base.model, base.tokenizer, self.device, self.limit, config)
            self.reference = Reference.of(self.answering, job.folder.run)
        self.model = self.method.attach(base, config)
        hidden = int(self.model.config.get_text_config().hidden_size)  # type: ignore[union-attr, operator]
        counts = len(self.parts.train), len(self.parts.validation)
        self.settings = resolve_generative(config, self.method, counts[0], hidden, counts[1])
        self.notes += [*base.notes, *self.parts.notes]
        self.validated: dict[float, SequenceLosses] = {}

    def work(self) -> "GenerativeWork":
        """See `TaskFit.work`."""
        from tailorbird.train.workloads import GenerativeWork

        parts = self.parts
        longest = int(parts.validation.lengths.max())
        work = GenerativeWork(parts.train, self.model, self.base.device, self.settings, longest)
        self.reader = work.reader
        for note in work.reader.notes:
            log.warn(f"{self.job.name}: {note}")
        self.notes += work.reader.notes
        return work

    def validate(self, model: "nn.Module") -> tuple[float, float]:
        """See `TaskFit.validate`."""
        from tailorbird.models.packed import sequence_losses

        losses = sequence_losses(self.reader, self.parts.validation, self.base.device)
        self.validated[losses.per_token] = losses
        return losses.per_token, losses.accuracy

    def predict(self) -> None:
        """See `TaskFit.predict`: answers are written when they are scored."""

    def score(self, report: ArmReport, trained: "Trained") -> ArmReport:
        """See `TaskFit.score`."""
        best = next(p.validation_loss for p in trained.curve if p.step == trained.best_step)
        answering = replace(self.answering, model=self.model)
        # The best validation of a resumed run may be from another process.
        return score_and_save(
            report, self.job, answering, self.test, self.parts.validation, self.reference,
            self.validated.get(best),
        )  # fmt: skip


def _preview_once(train: Tokens, job: ArmJob) -> None:
    """Print once per run which tokens are trained, and save that for the report."""
    run = job.folder.run
    if not run.file(SHOWN).is_file():
        print_training_preview(train.samples)
        run.write_json(SHOWN, [[asdict(piece) for piece in text] for text in train.samples])


Letters = list[tuple[str, bool]]

WIDTH, LINES = 80, 30
_TITLE = "What the model is trained to write"
_TRAINED, _IGNORED = "bold green", "dim"


def print_training_preview(samples: Sequence[Sequence[Piece]]) -> None:
    """Print some training sequences; trained parts are green, or [[bracketed]] without colours."""
    if not samples:
        return
    screen = log.console()
    how = "green and bold" if screen.color_system else "in [[double brackets]]"
    screen.print(Text(f"{_TITLE} ({how}), after what it only reads:"))
    for line in lines_of(samples, colour=bool(screen.color_system)):
        screen.print(line)


def lines_of(samples: Sequence[Sequence[Piece]], *, colour: bool) -> list[Text]:
    """Return the sequences in at most 29 lines of 80 columns; long ones lose their middle."""
    most = max(3, (LINES - 1) // len(samples))
    lines: list[Text] = []
    for pieces in samples[: LINES // 3]:
        own = list(_wrapped(_letters(pieces), colour))
        if len(own) > most:
            # The end stays, since it shows whether the model learns to stop.
            head = most // 2
            own = [*own[:head], Text("  ..."), *own[head + 1 - most :]]
        lines += own
    return lines


def _letters(pieces: Sequence[Piece]) -> Letters:
    """Return the characters one by one, with visible signs for control characters."""
    return [
        ("⏎" if letter == "\n" else letter if letter.isprintable() else "·", piece.trained)
        for piece in pieces
        for letter in piece.text
    ]


def _wrapped(letters: Letters, colour: bool) -> Iterator[Text]:
    """Yield lines, the first with a dash; brackets close and reopen at line ends."""
    marks = 0 if colour else len("[[]]")
    start = used = 0
    for i, (letter, trained) in enumerate(letters):
        opens = trained and (i == start or not letters[i - 1][1])
        needs = cell_len(letter) + marks * opens
        if used + needs > WIDTH - 2:
            yield _line(letters[start:i], start == 0, colour)
            start, used = i, 0
            needs = cell_len(letter) + marks * trained
        used += needs
    if start < len(letters):
        yield _line(letters[start:], start == 0, colour)


def _line(letters: Letters, first: bool, colour: bool) -> Text:
    line = Text("- " if first else "  ")
    for trained, run in groupby(letters, key=lambda pair: pair[1]):
        text = "".join(letter for letter, _ in run)
        if colour:
            line.append(text, _TRAINED if trained else _IGNORED)
        else:
            line.append(f"[[{text}]]" if trained else text)
    return line
