"""One trained arm that answers in words: base model -> method -> training -> answers -> saved."""

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tailorbird import log
from tailorbird.arms.trained import (
    HEADS,
    arm_settings,
    check_room,
    count_parameters,
    drop_checkpoints,
    early_note,
    max_length,
    reading_limit,
    save_model,
)
from tailorbird.config import Config, dump_config
from tailorbird.data.encode_chat import encode_conversations, encode_texts
from tailorbird.data.template import end_of_turn, install_template
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.methods import get_method
from tailorbird.methods.base import Method
from tailorbird.models.device import Device, choose
from tailorbird.models.inputs import check_ids
from tailorbird.models.load import Base, load_writer
from tailorbird.records import ArmReport, Cost, Example, Split
from tailorbird.runs.folder import CONFIG, SHOWN
from tailorbird.tasks.answering import Answering, Reference
from tailorbird.tasks.job import ArmJob
from tailorbird.tasks.paper import paper_of
from tailorbird.tasks.training_preview import tell_shown
from tailorbird.tasks.written import score_and_save

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.models.packed import SequenceLosses
    from tailorbird.train.loop import Trained
    from tailorbird.train.settings import Settings


@dataclass(frozen=True)
class WritingParts:
    """The split as token ids."""

    train: Tokens
    validation: Tokens
    test: Tokens

    @property
    def notes(self) -> list[str]:
        """What was cut, dropped or odd in the training part, in words."""
        return [finding.message for finding in self.train.findings]


def run_writing_arm(job: ArmJob) -> ArmReport:
    """Train, score and save one arm; everything it leaves is in `job.folder`.

    Raises:
        UserError: The model, the data or a setting does not fit.
        Interrupted: Ctrl-C; `job.resume` goes on from there.
        OverBudget: It would not end before the deadline.
    """
    from tailorbird.train.settings import resolve_writing

    config, split = job.config, job.split
    method = get_method(config.method.name)
    device = choose(config.model.device, config.model.precision)
    log.say(f"{job.name}: {config.model.name} on {device.words}")
    job.folder.write(CONFIG, dump_config(config))

    base = make_base(config, device, method)
    limit = max_length(config, base, method)
    parts = encode_parts(split, base, limit, config)
    _show(parts.train, job)
    paper = paper_of(split, parts.test, parts.train, config, reading_limit(base))
    answering = Answering(base.model, base.tokenizer, device, limit, config)
    reference = Reference.of(answering, job.folder.run)
    model = method.attach(base, config)
    hidden = int(model.config.get_text_config().hidden_size)  # type: ignore[union-attr, operator]
    settings = resolve_writing(config, method, len(parts.train), hidden, len(parts.validation))
    trained, validated, notes = _train(model, base, parts, settings, job)

    artifact = save_model(model, base, method, job)
    trainable, total = count_parameters(model)
    report = ArmReport(
        name=job.name,
        status="ok",
        cost=Cost(
            train_seconds=trained.seconds,
            examples_per_second=trained.examples_per_second,
            tokens_per_second=trained.tokens_per_second,
            trainable_parameters=trainable,
            total_parameters=total,
            artifact_bytes=artifact,
        ),
        settings=arm_settings(config, method, settings, limit, device),
        notes=(*base.notes, *parts.notes, *notes, *trained.notes, *early_note(trained)),
        curve=trained.curve,
    )
    tuned = replace(answering, model=model)
    report = score_and_save(report, job, tuned, paper, parts.validation, reference, validated)
    drop_checkpoints(job)
    return report


def train_writer_only(job: ArmJob) -> "Trained":
    """Train one arm and read validation only; the test part is not looked at."""
    return fit_writer(job)[3]


def fit_writer(job: ArmJob) -> tuple["nn.Module", Base, Method, "Trained"]:
    """Train one arm and read validation only; return the model, not yet saved, and its training.

    Raises:
        UserError: The model, the data or a setting does not fit.
        OverBudget: It would not end before the deadline.
    """
    from tailorbird.train.settings import resolve_writing

    config, split = job.config, replace(job.split, test=job.split.validation)
    method = get_method(config.method.name)
    device = choose(config.model.device, config.model.precision)
    base = make_base(config, device, method)
    parts = encode_parts(split, base, max_length(config, base, method), config)
    model = method.attach(base, config)
    hidden = int(model.config.get_text_config().hidden_size)  # type: ignore[union-attr, operator]
    settings = resolve_writing(config, method, len(parts.train), hidden, len(parts.validation))
    trained, _, _ = _train(model, base, parts, settings, job)
    return model, base, method, trained


def make_base(config: Config, device: Device, method: Method | None) -> Base:
    """Return the base model for writing, seeded, its tokenizer with the chat template it will keep.

    Raises:
        UserError: The model cannot be had, does not write, or its template has no end of a turn.
    """
    from tailorbird.train.randomness import seed_all

    seed_all(config.train.seed)
    base = load_writer(config.model, device, writer_options(config, device, method))
    note = install_template(base.tokenizer, config.data.template)
    end = end_of_turn(base.tokenizer)
    # Whoever loads the saved model stops where it learnt to stop.
    generation: Any = base.model.generation_config
    known = generation.eos_token_id
    ends = [known] if isinstance(known, int) else list(known or [])
    generation.eos_token_id = ends if end in ends else [end, *ends]
    generation.pad_token_id = base.tokenizer.pad_token_id
    base.notes.append(note)
    return base


def writer_options(config: Config, device: Device, method: Method | None) -> dict[str, Any]:
    """Return arguments for ``from_pretrained``: what is not trained takes the device's format.

    Checkpoints of language models come in 16 bits; read as fp32, an 8B model would take 32 GB.
    """
    options = method.load_options(config.method, HEADS, device) if method else {}
    trains_all = method is not None and method.name == "full"
    return options if trains_all else {"dtype": device.dtype} | options


def encode_parts(split: Split, base: Base, limit: int, config: Config) -> WritingParts:
    """Return the split's token ids and masks.

    Raises:
        UserError: Nothing is left to train on, or the template hides what is.
    """

    def encoded(examples: tuple[Example, ...]) -> Tokens:
        if split.task == "text":
            return encode_texts(examples, base.tokenizer, limit)
        return encode_conversations(examples, base.tokenizer, limit, config.data.too_long)

    parts = [encoded(part) for part in (split.train, split.validation, split.test)]
    for name, tokens in zip(("training", "validation", "test"), parts, strict=True):
        if not len(tokens):
            raise UserError(
                f"no {name} example is left within {limit} tokens", "set a longer data.max_length"
            )
        check_ids(base.model, tokens.ids)
    return WritingParts(*parts)


def _show(train: Tokens, job: ArmJob) -> None:
    """Show what is trained and what is not, once a run, and keep it for the report."""
    run = job.folder.run
    if not run.file(SHOWN).is_file():
        tell_shown(train.shown)
        run.write_json(SHOWN, [[asdict(piece) for piece in text] for text in train.shown])


def _train(
    model: "nn.Module", base: Base, parts: WritingParts, settings: "Settings", job: ArmJob
) -> tuple["Trained", "SequenceLosses | None", list[str]]:
    """Return what training did, the losses on validation of the weights kept, and notes."""
    from tailorbird.models.packed import SequenceLosses, sequence_losses
    from tailorbird.train.loop import Job, train
    from tailorbird.train.writing import WritingWork

    check_room(model, job)
    started = time.monotonic()
    longest = int(parts.validation.lengths.max())
    work = WritingWork(parts.train, model, base.device, settings, longest)
    validated: dict[float, SequenceLosses] = {}

    def validate(_: "nn.Module") -> tuple[float, float]:
        found = sequence_losses(work.reader, parts.validation, base.device)
        validated[found.per_token] = found
        return found.per_token, found.accuracy

    for note in work.reader.notes:
        log.warn(f"{job.name}: {note}")
    before = time.monotonic() - started
    trained = train(
        model,
        Job(
            work=work,
            settings=settings,
            device=base.device,
            folder=job.folder,
            validate=validate,
            keep="loss",
            title=job.name,
            resume=job.resume,
            deadline=job.deadline,
            observe=job.observe,
        ),
    )
    best = next(p.validation_loss for p in trained.curve if p.step == trained.best_step)
    told = replace(trained, seconds=trained.seconds + before)
    # A resumed run may have made its best validation in another process.
    return told, validated.get(best), list(work.reader.notes)
