"""One trained arm: base model -> method -> training -> scores -> saved.

`tailor tune` runs it in its own process; `tailor compare` runs one process per arm
(`arms/worker.py`), so that each arm's peak memory is its own and a crash of
one leaves the others alone.
"""

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tailorbird import log
from tailorbird.arms.vectors import CHECKED
from tailorbird.config import Config, dump_config
from tailorbird.config.losses import loss_name
from tailorbird.data.check import truncation_finding
from tailorbird.data.encode import Encoded, as_read
from tailorbird.errors import UserError
from tailorbird.methods import get_method
from tailorbird.methods.base import Method
from tailorbird.models.device import Device, choose, peak_memory
from tailorbird.models.load import Base, length_limit, load_classifier
from tailorbird.records import KINDS, ArmReport, Cost, Split, Target
from tailorbird.runs.atomic import check_space
from tailorbird.runs.folder import ARM, CHECKPOINTS, CONFIG, MODEL
from tailorbird.tasks import head_task
from tailorbird.tasks.job import ArmJob
from tailorbird.tasks.scoring import (
    save_predictions,
    save_target,
    score_arm,
    settle,
    trained_target,
)

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.train.loop import Trained
    from tailorbird.train.settings import Settings

_DEFAULT_LENGTH, _DEFAULT_WRITING_LENGTH = 512, 2048


@dataclass(frozen=True)
class _Parts:
    train: Encoded
    validation: Encoded
    test: Encoded


def run_arm(job: ArmJob) -> ArmReport:
    """Train, score and save one arm; everything it leaves is in `job.folder`.

    Raises:
        UserError: The model, the data or a setting does not fit.
        Interrupted: Ctrl-C; `job.resume` goes on from there.
        OverBudget: It would not end before the deadline.
    """
    config, split = job.config, job.split
    method = get_method(config.method.name)
    device = choose(config.model.device, config.model.precision)
    target, task = trained_target(config, split), head_task(split.task)
    apart = ", pairs by a bi-encoder" if target.bi_encoder else ""
    log.say(f"{job.name}: {config.model.name} on {device.words}{apart}")
    job.folder.write(CONFIG, dump_config(config))

    model, base = make_model(config, target, device, method)
    limit = max_length(config, base, method)
    parts = _encode(split, base, limit, target)
    notes = _truncation_notes(job.name, parts, limit)
    settings = label_settings(config, method, split, target)
    trained = _train(model, base, parts, settings, job, target)

    pad = base.tokenizer.pad_token_id
    validation = task.predict(model, parts.validation, pad, device, target)
    test = task.predict(model, parts.test, pad, device, target, f"{job.name}: test")
    check = task.predict(model, parts.test.first(CHECKED), pad, device, target)
    artifact = save_model(model, base, method, job)
    arrays = {
        "validation": task.outputs(validation.logits, target),
        "test": task.outputs(test.logits, target),
        "check": task.outputs(check.logits, target),
    }
    target = settle(arrays["validation"], split, target)
    save_target(job.folder, target)
    save_predictions(job.folder, split, arrays, target)
    trainable, total = count_parameters(model)
    report = ArmReport(
        name=job.name,
        status="ok",
        cost=Cost(
            train_seconds=trained.seconds,
            examples_per_second=trained.examples_per_second,
            tokens_per_second=trained.tokens_per_second,
            peak_memory_bytes=peak_memory(device),
            trainable_parameters=trainable,
            total_parameters=total,
            artifact_bytes=artifact,
            predict_ms_per_example=test.ms_per_example,
        ),
        settings=arm_settings(config, method, settings, limit, device) | _how_read(target),
        notes=(*base.notes, *notes, *trained.notes, *early_note(trained)),
        curve=trained.curve,
    )
    seed = config.train.seed
    report = score_arm(report, arrays["validation"], arrays["test"], split, seed, target)
    job.folder.write_json(ARM, asdict(report))
    drop_checkpoints(job)
    return report


def _how_read(target: Target) -> dict[str, str]:
    how = "bi-encoder" if target.bi_encoder else "cross-encoder"
    return {"pairs": how} if target.pairs else {}


def train_only(job: ArmJob) -> "Trained":
    """Train one arm and score it on validation only; the test part is not looked at."""
    config, split = job.config, replace(job.split, test=job.split.validation)
    method = get_method(config.method.name)
    device = choose(config.model.device, config.model.precision)
    target = trained_target(config, split)
    model, base = make_model(config, target, device, method)
    parts = _encode(split, base, max_length(config, base, method), target)
    settings = label_settings(config, method, split, target)
    return _train(model, base, parts, settings, job, target)


def make_model(
    config: Config, target: Target, device: Device, method: Method
) -> tuple["nn.Module", Base]:
    """Return the base model with the method attached, seeded, ready to train."""
    from tailorbird.train.randomness import seed_all

    seed_all(config.train.seed)
    options = method.load_options(config.method, HEADS, device)
    base = load_classifier(config.model, target, device, options)
    return method.attach(base, config), base


# Names that transformers gives to what stands between its backbones and the labels or words.
HEADS = (
    *("classifier", "score", "pre_classifier", "classification_head", "pooler.dense"),
    *("lm_head", "embed_out", "output_projection", "predictions.decoder"),
)


def reading_limit(base: Base) -> int:
    """Return how many tokens the base model reads at most."""
    return length_limit(base.tokenizer, base.model.config)


def max_length(config: Config, base: Base, method: Method) -> int:
    """Return how many tokens of a text are read; virtual tokens take their share of the limit.

    Raises:
        UserError: `data.max_length` is more than the model takes, or leaves no room for text.
    """
    limit = length_limit(base.tokenizer, base.model.config)
    virtual = int(method.options(config.method).get("virtual_tokens") or 0)
    longest = config.data.max_length
    if longest is not None and longest > limit:
        raise UserError(
            f"data.max_length is {longest}, but {config.model.name} reads at most {limit} tokens",
            f"set it to {limit} or less",
        )
    usual = _DEFAULT_WRITING_LENGTH if base.writes else _DEFAULT_LENGTH
    # Batches are padded to multiples of 8, and that too must fit beside the virtual tokens.
    room = min((longest or min(limit, usual + virtual)) - virtual, (limit - virtual) // 8 * 8)
    if room < 4:
        raise UserError(
            f"{virtual} virtual tokens leave {max(room, 0)} of {longest or limit} for the text",
            "use fewer method.virtual_tokens or a longer data.max_length",
        )
    return room


def _encode(split: Split, base: Base, limit: int, target: Target) -> _Parts:
    task = head_task(split.task)
    encoded = [
        task.encode(
            [as_read(example) for example in examples],
            base.tokenizer,
            base.model,
            limit,
            target,
            task.learnt(examples, target),
        )
        for examples in (split.train, split.validation, split.test)
    ]
    return _Parts(*encoded)


def _truncation_notes(name: str, parts: _Parts, limit: int) -> list[str]:
    finding = truncation_finding(parts.train.full_lengths.tolist(), limit)
    if finding is None:
        return []
    (log.warn if finding.level == "warning" else log.say)(f"{name}: {finding.message}")
    return [finding.message]


def label_settings(config: Config, method: Method, split: Split, target: Target) -> "Settings":
    """Return how an arm of labels or numbers is trained, defaults filled in."""
    from tailorbird.train.settings import resolve

    # A head that labels every word sees thousands of labels in an epoch.
    classes = 2 if KINDS[split.task].per_word else len(split.labels)
    examples = len(split.train)
    return resolve(config, method, examples, classes, bi_encoder=target.bi_encoder)


def _train(
    model: "nn.Module",
    base: Base,
    parts: _Parts,
    settings: "Settings",
    job: ArmJob,
    target: Target,
) -> "Trained":
    from tailorbird.train.checkpoint import has_last
    from tailorbird.train.head import start_head
    from tailorbird.train.loop import Job, train
    from tailorbird.train.loss import make_loss

    check_room(model, job)
    pad = base.tokenizer.pad_token_id
    split = job.split
    task = head_task(split.task)
    truth = task.truths(split.validation, target)
    assert parts.train.targets is not None
    name = loss_name(job.config, target.task)
    loss = make_loss(name, job.config.train, target, parts.train.targets)

    def validate(current: "nn.Module") -> tuple[float, float]:
        assert parts.validation.targets is not None
        predicted = task.predict(current, parts.validation, pad, base.device, target)
        return task.validation_figures(predicted, parts.validation.targets, truth, loss, target)

    started = time.monotonic()
    resuming = job.resume and has_last(job.folder)
    if settings.head_start and not resuming and not KINDS[target.task].per_word:
        start_head(model, parts.train, pad, base.device, len(split.labels), split.task)
    before = time.monotonic() - started
    trained = train(
        model,
        Job(
            work=task.work(parts.train, pad, base.device, settings.micro_batch_size, loss),
            settings=settings,
            device=base.device,
            folder=job.folder,
            validate=validate,
            figure=KINDS[target.task].headline,
            title=job.name,
            resume=job.resume,
            deadline=job.deadline,
            observe=job.observe,
        ),
    )
    return replace(trained, seconds=trained.seconds + before)


def check_room(model: "nn.Module", job: ArmJob) -> None:
    """Refuse to train what would not fit the disk.

    Raises:
        UserError: There is too little space.
    """
    from tailorbird.methods.base import trained_parameters

    trained_bytes = sum(p.numel() * 4 for _, p in trained_parameters(model))
    # The saved model, the best weights of three validations, and three checkpoints (weights and two
    # moments): two that are kept and one being written.
    check_space(job.folder.path, trained_bytes * 13 + 20_000_000)


def save_model(model: "nn.Module", base: Base, method: Method, job: ArmJob) -> int:
    """Write the model and its tokenizer, and return the size in bytes."""
    with job.folder.new_folder(MODEL) as folder:
        method.save(model, folder)
        base.tokenizer.save_pretrained(folder)
    return job.folder.size_bytes(MODEL)


def drop_checkpoints(job: ArmJob) -> None:
    """Remove the checkpoints of an arm whose report is written: nothing is left to resume."""
    import shutil

    shutil.rmtree(job.folder.file(CHECKPOINTS), ignore_errors=True)


def count_parameters(model: "nn.Module") -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are."""
    trained = total = 0
    for parameter in model.parameters():
        # bitsandbytes packs two 4-bit weights into a byte.
        state: Any = getattr(parameter, "quant_state", None)
        count = state.shape.numel() if state is not None else parameter.numel()
        total += count
        trained += count if parameter.requires_grad else 0
    return trained, total


def arm_settings(
    config: Config, method: Method, settings: "Settings", limit: int, device: Device
) -> dict[str, Any]:
    """Return what the report says about how an arm was made."""
    return {
        "model": config.model.name,
        "device": device.name,
        "precision": device.precision,
        "method": {"name": method.name} | method.options(config.method),
        "train": settings.to_json(),
        "max_length": limit,
    }


def early_note(trained: "Trained") -> list[str]:
    """Return what is to be said about early stopping, if it happened."""
    if not trained.stopped_early:
        return []
    return [
        f"stopped after step {trained.steps}, since validation no longer improved; "
        f"the weights of step {trained.best_step} were kept"
    ]
