"""A method's memory by term: weights and optimizer by counting, the rest by tracing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.config import Config
from tailorbird.data.encode import padded_widths
from tailorbird.methods.registry import get_method
from tailorbird.models.device import Device
from tailorbird.planning.data_size import NF4, STATES, Work
from tailorbird.planning.model_shape import Shape, depths, empty_base, with_depth
from tailorbird.records import TASKS, Target

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.data.encode import Encoded
    from tailorbird.models.load import Base
    from tailorbird.planning.fake_step import MemoryAccount
    from tailorbird.train.settings import Settings

# The batch size of `models/head_logits.py`.
_READ_TOKENS, _READ_ROWS = 4096, 256


def trace(
    shape: Shape,
    config: Config,
    work: Work,
    settings: "Settings",
    device: Device,
    *,
    step: bool = True,
) -> dict[str, float]:
    """Return the memory of training by `config.method`, from tracing a real step.

    Each value is linear in the number of layers, so two short models determine a deep one. They are
    bytes of the loaded weights (``load``), of the checkpoint if its number format differs
    (``mapped``), of the stored weights (``trained``, ``frozen``, ``packed``), of the optimizer's
    ``states``, of ``train.KIND`` and ``evaluate.KIND`` at the peak (`fake_step.KINDS`), numbers of
    parameters (``trained_count``, ``count``, ``largest`` packed matrix) and ``flops`` of an
    optimizer step.

    Args:
        shape: The model.
        config: The method and its options.
        work: The training workload.
        settings: The loop's settings.
        device: The device and its number format.
        step: False: only the weights are counted.

    Raises:
        UserError: The method or the task does not fit the model.
    """
    deep = depths(shape.config)
    traced = []
    for layers in deep:
        cut = shape.config if layers == shape.layers else with_depth(shape.config, layers)
        model, base, values = _attached(shape, cut, config, work, settings, device)
        if step:
            values |= _stepped(shape, model, base, config, work, settings, device)
        traced.append(values)
    if len(deep) == 1:
        return traced[0]
    first, second = traced
    steps = (shape.layers - deep[0]) / (deep[1] - deep[0])
    return {name: value + steps * (second[name] - value) for name, value in first.items()}


def _attached(
    shape: Shape, cut: Any, config: Config, work: Work, settings: "Settings", device: Device
) -> tuple["nn.Module", "Base", dict[str, float]]:
    """Return the model with the method attached, its base, and its weights' memory."""
    import torch

    from tailorbird.train.dropout import set_dropout

    method = get_method(config.method.name)
    whole = work.target is not None or method.spec.trains_all
    dtype = torch.float32 if whole else device.dtype
    base = empty_base(shape, cut, work.target, device, dtype)
    loaded = sum(p.numel() for p in base.model.parameters())
    quantised = list(_quantised(base)) if method.spec.quantises or shape.stored_bits else []
    # An initialisation that reads weights has the same shapes as any other.
    model = method.attach(base, config.replace(method=dict.fromkeys(method.spec.reads_weights)))
    model.train()
    set_dropout(model, settings.dropout)
    values = _weights(model, quantised, shape, config)
    values["load"] = loaded * dtype.itemsize
    stored = shape.stored_bytes
    values["mapped"] = loaded * stored if stored and stored != dtype.itemsize else 0
    values["states"] = values["trained_count"] * STATES[settings.optimizer]
    return model, base, values


def _stepped(
    shape: Shape,
    model: "nn.Module",
    base: "Base",
    config: Config,
    work: Work,
    settings: "Settings",
    device: Device,
) -> dict[str, float]:
    """Return the memory of a training step and of a forward pass besides the weights."""
    from tailorbird.planning import fake_step

    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    vocabulary = shape.size("vocab_size")
    here = Device("cpu", device.precision, device.words)
    make = _writing_step if work.target is None else _label_step
    with (
        fake_step.fake(model, device),
        make(model, base, config, work, settings, device, here) as (loss_sum, read, parts),
    ):
        train = fake_step.training_step(model, device, loss_sum, vocabulary, accumulated=parts > 1)
        model.eval()
        evaluate = fake_step.reading(model, device, read, vocabulary)
    values = _named("train", train) | _named("evaluate", evaluate)
    return values | {"flops": float(train.flops * parts)}


def _named(phase: str, account: "MemoryAccount") -> dict[str, float]:
    parts = {f"{phase}.{kind}": float(size) for kind, size in account.parts.items()}
    return parts | {f"{phase}.peak": float(account.peak), f"{phase}.loose": float(account.loose)}


def _quantised(base: "Base") -> Iterator["nn.Parameter"]:
    """Yield the matrices that QLoRA quantises: of linear layers below the head."""
    from torch import nn

    outputs = base.model.get_output_embeddings()  # type: ignore[operator]
    for name, module in base.model.named_modules():
        if isinstance(module, nn.Linear) and module is not outputs and name not in base.head:
            yield module.weight  # type: ignore[misc]


def _weights(
    model: "nn.Module", quantised: list["nn.Parameter"], shape: Shape, config: Config
) -> dict[str, float]:
    """Return bytes and counts of the weights, frozen ones in their stored format."""
    packed = {id(parameter) for parameter in quantised}
    options = get_method(config.method.name).options(config.method)
    each = 1.0 if options.get("bits") == 8 else NF4
    each = shape.stored_bits / 8 if shape.stored_bits else each
    sizes = {"trained": 0.0, "frozen": 0.0, "packed": 0.0, "trained_count": 0.0, "count": 0.0}
    sizes["largest"] = float(max((p.numel() for p in quantised), default=0))
    for parameter in model.parameters():
        size = parameter.numel() * parameter.element_size()
        sizes["count"] += parameter.numel()
        if parameter.requires_grad:
            sizes["trained"] += size
            sizes["trained_count"] += parameter.numel()
        elif id(parameter) in packed:
            sizes["packed"] += parameter.numel() * each
        else:
            sizes["frozen"] += size
    sizes["frozen"] += sum(b.numel() * b.element_size() for b in model.buffers())
    return sizes


Step = tuple[Callable[[], Any], Callable[[], Any], float]
"""Loss of a micro-batch, forward pass without gradients, and full micro-batches per batch."""


@contextmanager
def _label_step(
    model: "nn.Module", base: "Base", config: Config, work: Work, settings: "Settings",
    device: Device, here: Device,
) -> Iterator[Step]:  # fmt: skip
    from tailorbird.config.losses import loss_name
    from tailorbird.tasks.registry import head_task
    from tailorbird.train.head_losses import make_loss
    from tailorbird.train.short_attention import fastest_attention

    target = work.target
    assert target is not None
    most = min(settings.micro_batch_size, settings.batch_size)
    width = int(padded_widths(np.asarray([work.length]))[0])
    width = min(width, text_tokens(width, base.model, config) // 8 * 8)
    read = max(1, min(_READ_ROWS, _READ_TOKENS // width))
    encoded = encoded_rows([np.zeros(width, dtype=np.int32)] * max(most, read), target)
    assert encoded.targets is not None
    loss = make_loss(loss_name(config, target.task), config.train, target, encoded.targets)
    labels = head_task(target.task).work(encoded, 0, here, most, loss)

    def forward() -> None:
        model(**labels.inputs(np.arange(read))).logits.float()

    with fastest_attention(model, device):
        parts = settings.batch_size / most
        yield lambda: labels.loss_sum(model, np.arange(most)), forward, parts


def encoded_rows(ids: list[np.ndarray], target: Target) -> "Encoded":
    """Return encoded texts with dummy targets."""
    from tailorbird.data.encode import Encoded

    rows = len(ids)
    lengths = np.asarray([len(row) for row in ids]) * (2 if target.bi_encoder else 1)
    firsts = None
    if TASKS[target.task].per_word:
        firsts = [np.arange(len(row)) for row in ids]
        targets: np.ndarray = np.zeros(int(lengths.sum()), dtype=np.int64)
    elif TASKS[target.task].one_label:
        targets = np.zeros(rows, dtype=np.int64)
    else:
        targets = np.zeros((rows, len(target.labels)), dtype=np.float32)
    seconds = ids if target.bi_encoder else None
    return Encoded(ids, lengths, targets, lengths, None, firsts, seconds)


def virtual_tokens(config: Config) -> int:
    """Return the number of a method's virtual tokens."""
    options = get_method(config.method.name).options(config.method)
    return int(options.get("virtual_tokens") or 0)


def text_tokens(length: int, model: Any, config: Config) -> int:
    """Return the tokens of a text of `length` beside the virtual ones, as an arm's `max_length`."""
    virtual = virtual_tokens(config)
    limit = config.data.max_length or model.config.get_text_config().max_position_embeddings
    return max(2, min(length, int(limit or length + virtual) - virtual))


@contextmanager
def _writing_step(
    model: "nn.Module", base: "Base", config: Config, work: Work, settings: "Settings",
    device: Device, here: Device,
) -> Iterator[Step]:  # fmt: skip
    from tailorbird.data.tokens import Tokens
    from tailorbird.models.packed import Reader, Way, tokens_at_once

    most = settings.micro_batch_tokens or tokens_at_once(device)
    length = text_tokens(work.length, base.model, config)
    whole = length + virtual_tokens(config)
    at_once = max(1, min(settings.micro_batch_size, settings.batch_size, most // whole))
    read = max(1, tokens_at_once(device) // whole)
    rows = max(at_once, read)
    ids = [np.zeros(length, dtype=np.int32)] * rows
    trained = [np.arange(length) > 0] * rows
    tokens = Tokens(ids, trained, [], np.arange(rows))
    way: Way = "packed" if settings.packing else "padded"
    reader = Reader(model, here, tokens, way=way)
    parts = settings.batch_size / at_once
    with reader.reading():
        yield (
            lambda: reader.loss_sum(tokens, np.arange(at_once)),
            lambda: reader.loss_sum(tokens, np.arange(read)),
            parts,
        )
