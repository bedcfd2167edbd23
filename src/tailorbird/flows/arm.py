"""One trained arm: base model -> method -> training -> scores -> saved.

`tailor tune` runs it in its own process; `tailor compare` runs one process per arm
(`flows/child.py`), so that each arm's peak memory is its own and a crash of
one leaves the others alone.
"""

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tailorbird import log
from tailorbird.config import Config, dump_config
from tailorbird.data.check import truncation_finding
from tailorbird.data.encode import Encoded, encode
from tailorbird.errors import UserError
from tailorbird.evaluate.predict import loss_and_accuracy, predict
from tailorbird.flows.job import ArmJob
from tailorbird.flows.scoring import save_predictions, score_arm, targets_of
from tailorbird.flows.vectors import CHECKED
from tailorbird.methods import get_method
from tailorbird.methods.base import Method
from tailorbird.models.device import Device, choose
from tailorbird.models.load import Base, length_limit, load_classifier
from tailorbird.records import ArmReport, Cost, Split
from tailorbird.runs.environment import peak_memory_bytes
from tailorbird.runs.folder import (
    ARM,
    CHECKPOINTS,
    CONFIG,
    LABELS,
    MODEL,
    check_space,
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
    log.say(f"{job.name}: {config.model.name} on {device.words}")
    job.folder.write(CONFIG, dump_config(config))
    job.folder.write_json(LABELS, list(split.labels))

    model, base = make_model(config, split.labels, device, method)
    limit = max_length(config, base, method)
    parts = _encode(split, base, limit)
    notes = _truncation_notes(job.name, parts, limit)
    settings = _settings(config, method, split)
    trained = _train(model, base, parts, settings, job)

    pad = base.tokenizer.pad_token_id
    validation = predict(model, parts.validation, pad, device)
    test = predict(model, parts.test, pad, device, f"{job.name}: test")
    check = predict(model, _first(parts.test, CHECKED), pad, device)
    artifact = save_model(model, base, method, job)
    arrays = {
        "validation": validation.probabilities,
        "test": test.probabilities,
        "check": check.probabilities,
    }
    save_predictions(job.folder, split, arrays, split.labels)
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
        settings=arm_settings(config, method, settings, limit, device),
        notes=(*base.notes, *notes, *early_note(trained)),
        curve=trained.curve,
    )
    report = score_arm(report, arrays["validation"], arrays["test"], split, config.train.seed)
    job.folder.write_json(ARM, asdict(report))
    return report


def make_model(
    config: Config, labels: tuple[str, ...], device: Device, method: Method
) -> tuple["nn.Module", Base]:
    """Return the base model with the method attached, seeded, ready to train."""
    import torch

    torch.manual_seed(config.train.seed)
    options = method.load_options(config.method, HEADS, device)
    base = load_classifier(config.model, labels, device, options)
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
    asked = config.data.max_length
    if asked is not None and asked > limit:
        raise UserError(
            f"data.max_length is {asked}, but {config.model.name} reads at most {limit} tokens",
            f"set it to {limit} or less",
        )
    usual = _DEFAULT_WRITING_LENGTH if base.writes else _DEFAULT_LENGTH
    # Batches are padded to multiples of 8, and that too must fit beside the virtual tokens.
    room = min(
        (asked or min(limit, usual + virtual)) - virtual, (limit - virtual) // 8 * 8
    )
    if room < 4:
        raise UserError(
            f"{virtual} virtual tokens leave {max(room, 0)} of {asked or limit} for the text",
            "use fewer method.virtual_tokens or a longer data.max_length",
        )
    return room


def _encode(split: Split, base: Base, limit: int) -> _Parts:
    encoded = [
        encode(
            [example.text for example in examples],
            base.tokenizer,
            limit,
            targets_of(examples, split.labels).tolist(),
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


def _settings(config: Config, method: Method, split: Split) -> "Settings":
    from tailorbird.train.settings import resolve

    return resolve(config, method, len(split.train), len(split.labels))


def _train(
    model: "nn.Module", base: Base, parts: _Parts, settings: "Settings", job: ArmJob
) -> "Trained":
    from tailorbird.train.checkpoint import has_last
    from tailorbird.train.head import start_head
    from tailorbird.train.labels import LabelWork
    from tailorbird.train.loop import Job, train

    check_room(model, job)
    pad = base.tokenizer.pad_token_id

    def validate(current: "nn.Module") -> tuple[float, float]:
        assert parts.validation.targets is not None
        predicted = predict(current, parts.validation, pad, base.device)
        return loss_and_accuracy(predicted, parts.validation.targets)

    started = time.monotonic()
    resuming = job.resume and has_last(job.folder)
    if settings.head_start and not resuming:
        start_head(model, parts.train, pad, base.device, len(job.split.labels))
    before = time.monotonic() - started
    trained = train(
        model,
        Job(
            work=LabelWork(parts.train, pad, base.device, settings.micro_batch_size),
            settings=settings,
            device=base.device,
            folder=job.folder,
            validate=validate,
            title=job.name,
            resume=job.resume,
            deadline=job.deadline,
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
    # The saved model, the best weights, and a checkpoint (weights and two moments) being replaced.
    check_space(job.folder.path, trained_bytes * 8 + 20_000_000)


def save_model(model: "nn.Module", base: Base, method: Method, job: ArmJob) -> int:
    """Write the model and its tokenizer, drop the checkpoints, and return the size in bytes."""
    import shutil

    with job.folder.new_folder(MODEL) as folder:
        method.save(model, folder)
        base.tokenizer.save_pretrained(folder)
    shutil.rmtree(job.folder.file(CHECKPOINTS), ignore_errors=True)
    return job.folder.size_bytes(MODEL)


def _first(encoded: Encoded, count: int) -> Encoded:
    return Encoded(encoded.ids[:count], encoded.lengths[:count], None, encoded.full_lengths[:count])


def peak_memory(device: Device) -> int:
    """Return the most memory held: on the GPU where there is one, else of the process."""
    import torch

    if device.kind == "cuda":
        return torch.cuda.max_memory_allocated()
    return peak_memory_bytes()


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
