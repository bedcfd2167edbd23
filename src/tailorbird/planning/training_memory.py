"""The peak memory of training, as terms with their origins."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.methods.registry import get_method
from tailorbird.models.device import Device
from tailorbird.planning.data_size import Work, settings_for
from tailorbird.planning.memory_by_formula import estimate
from tailorbird.planning.model_shape import Shape
from tailorbird.planning.serving import kept_bytes
from tailorbird.records.planning import MemoryPlan, MemoryTerm, Phase

if TYPE_CHECKING:
    from tailorbird.train.settings import Settings

MIB = 2**20


@dataclass(frozen=True)
class Machine:
    """Properties of a device that no trace can find; fitted by `benchmarks/plan_error.py`.

    Attributes:
        context: Bytes of the process before a model is loaded: Python, torch and its kernels.
        slack: The allocator's overhead over live tensors, as a share of those of a step.
        slack_again: The same for a training step with gradient checkpointing, where memory is
            allocated and freed layer by layer.
        residue: The share of the forward pass's tensors that the heap still holds after the
            backward pass: gradients lie between them, and fit no gap.
        how: The origin of the figures.
    """

    context: int
    slack: float
    slack_again: float
    residue: float
    how: str


# For a GPU: CUDA's context and its libraries' workspaces; rounding of blocks.
MACHINES = {
    "cpu": Machine(520 * MIB, 0.33, 1.1, 0.8, "fitted to runs of builtin models"),
    "cuda": Machine(600 * MIB, 0.08, 0.15, 0.0, "usual figures; not checked against a GPU"),
    "mps": Machine(600 * MIB, 0.10, 0.15, 0.0, "usual figures; not checked against a GPU"),
}


def plan_memory(
    shape: Shape, config: Config, work: Work, device: Device, *, rough: bool = False
) -> MemoryPlan:
    """Return the memory of training `shape` by `config.method` on `device`.

    Args:
        shape: The model.
        config: The method, its options, and the loop's settings.
        work: The training workload.
        device: The device and its number format.
        rough: Use the formula alone, which takes no time.

    Raises:
        UserError: The method does not fit the model.
    """
    method = get_method(config.method.name)
    settings = settings_for(shape, config, method, work)
    if rough:
        values, why = estimate(shape, config, work, settings, device), "by a formula"
    else:
        values, why = _traced(shape, config, work, settings, device)
    machine = MACHINES[device.kind]
    context = MemoryTerm("context", machine.context, "Python, torch and kernels before a model")
    weights = _weights(values, device)
    states = MemoryTerm(
        "optimizer", round(values["states"]), f"{settings.optimizer}, per trained parameter"
    )
    unpacked = _unpacked(values, device, work)
    training = [*weights, states, *_step("train", values), *unpacked]
    if config.train.shard and config.train.processes > 1 and not values["packed"]:
        training = _sharded(training, config.train.processes, shape, values["count"])
        # The leading rank evaluates with the whole model, in addition to its part.
        own = sum(term.bytes for term in training if term.name in WEIGHTS)
        weights = [*weights, MemoryTerm("own part", own, "of the weights, beside all of them")]
        states = next(term for term in training if term.name == states.name)
    phases: dict[Phase, list[MemoryTerm]] = {
        "load": [MemoryTerm("weights", _loading(values, device), "as they are read")],
        "train": training,
        "evaluate": _evaluate(shape, values, weights, states, unpacked, work, device),
    }
    for name, terms in phases.items():
        loose = sum(t.bytes for t in terms if t.name in LOOSE)
        again = settings.gradient_checkpointing and name == "train"
        slack = machine.slack_again if again else machine.slack
        terms += [
            context,
            MemoryTerm(
                "allocator",
                round(slack * loose),
                f"{100 * slack:.0f} % of a step's tensors: {machine.how}",
            ),
        ]
        if name == "train" and machine.residue and config.train.processes == 1:
            terms = max(terms, _after_backward(values, [*weights, states, context], machine),
                        key=lambda each: sum(term.bytes for term in each))  # fmt: skip
        phases[name] = [term for term in terms if term.bytes]
    sizes = {name: sum(term.bytes for term in terms) for name, terms in phases.items()}
    highest = max(phases, key=lambda name: sizes[name])
    return MemoryPlan(
        method=method.name,
        phase=highest,
        terms=tuple(phases[highest]),
        phases={str(name): size for name, size in sizes.items()},
        trained=round(values["trained_count"]),
        total=round(values["count"]),
        how="formula" if why else "traced",
        flops=round(values["flops"]),
        notes=(*shape.notes, *([why] if why else []), *_unpackable(method.name, values)),
    )


def _traced(
    shape: Shape, config: Config, work: Work, settings: "Settings", device: Device
) -> tuple[dict[str, float], str]:
    """Return the values of a trace, or of the formula if it fails, and why."""
    if shape.config is None:
        return estimate(shape, config, work, settings, device), "by a formula"
    from tailorbird.planning.memory_by_tracing import trace

    try:
        return trace(shape, config, work, settings, device), ""
    except UserError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [""])[0][:100]
        why = (
            f"{config.method.name}: a step of {shape.name} cannot be traced "
            f"({type(error).__name__}: {first}): weights are counted, activations by a formula"
        )
        counted = trace(shape, config, work, settings, device, step=False)
        return estimate(shape, config, work, settings, device) | counted, why


WEIGHTS = ("trained weights", "frozen weights")
FIXED = (*WEIGHTS, "packed weights", "whole layers", "optimizer", "context")
"""Terms that are independent of the input."""
LOOSE = (
    "activations",
    "logits",
    "weights cast",
    "temporary",
    "unpacked matrix",
    "keys and values",
)


def _weights(values: dict[str, float], device: Device) -> list[MemoryTerm]:
    return [
        MemoryTerm("trained weights", round(values["trained"]), "4 bytes each: fp32"),
        MemoryTerm("frozen weights", round(values["frozen"]), f"matrices in {device.precision}"),
        MemoryTerm("packed weights", round(values["packed"]), "a few bits each, and their scales"),
    ]


_STEP = {
    "activations": ("activations", "kept for the backward pass"),
    "logits": ("logits", "and their gradients, in chunks where the head allows it"),
    "casts": ("weights cast", "to the format of products"),
    "gradients": ("gradients", "of what is trained"),
    "temporary": ("temporary", "of the backward pass"),
}


def _step(phase: str, values: dict[str, float]) -> list[MemoryTerm]:
    return [
        MemoryTerm(name, max(0, round(values[f"{phase}.{kind}"])), how)
        for kind, (name, how) in _STEP.items()
    ]


def _after_backward(
    values: dict[str, float], fixed: list[MemoryTerm], machine: Machine
) -> list[MemoryTerm]:
    """Return the memory when all gradients exist; with few texts it is the highest of a step."""
    share, loose = machine.residue, values.get("train.loose", 0.0)
    how = f"{100 * share:.0f} % of a step's tensors, freed but still with the heap"
    return [
        *fixed,
        MemoryTerm("gradients", round(4 * values["trained_count"]), "of what is trained"),
        MemoryTerm("allocator", round(share * loose), how),
    ]


def _sharded(terms: list[MemoryTerm], ranks: int, shape: Shape, count: float) -> list[MemoryTerm]:
    """Return the terms of one rank with sharded weights (`train/shard.py`).

    In addition to its part it holds the whole of three things: the parameters outside the layers,
    the current layer and the next one.

    Args:
        count: Parameters of the model.
    """
    sharded = (*WEIGHTS, "optimizer", "gradients")
    above = min(1.0, shape.size("vocab_size") * shape.size("hidden_size") / max(1.0, count))
    whole = min(1.0, above + (1 - above) * 2 / max(1, shape.size("num_hidden_layers")))
    size = {term.name: term.bytes for term in terms}
    largest = whole * (sum(size[name] for name in WEIGHTS) + size["gradients"])
    parts = [
        replace(term, bytes=term.bytes // ranks, how=f"{term.how}; 1/{ranks} of them")
        if term.name in sharded
        else term
        for term in terms
    ]
    return [*parts, MemoryTerm("whole layers", round(largest), "as they compute, and embeddings")]


def _unpacked(values: dict[str, float], device: Device, work: Work) -> list[MemoryTerm]:
    """Return the largest packed matrix at the size of its unpacked form."""
    if not values["packed"]:
        return []
    product = 4 if device.precision == "fp32" else 2
    # It is unpacked to its original format, then cast.
    origin = 4 if work.target is not None else product
    each = origin + (product if product != origin else 0)
    return [MemoryTerm("unpacked matrix", round(values["largest"] * each), "the largest one")]


def _unpackable(method: str, values: dict[str, float]) -> list[str]:
    """Return a note if most of the weights cannot be packed."""
    frozen = values["frozen"]
    if not values["packed"] or frozen < 4 * values["packed"]:
        return []
    share = frozen / (values["load"] or frozen)
    return [
        f"{method}: {100 * min(1.0, share):.0f} % of the weights are not packed: only linear "
        "layers are, and the experts of a mixture are kept in one tensor"
    ]


def _loading(values: dict[str, float], device: Device) -> int:
    """Return the memory of the weights during loading.

    On a CPU the pages of the checkpoint count while it is mapped: in addition to copies in another
    number format, and in place of packed weights. The heap keeps a part of what was packed until it
    is trimmed, more if it was cast before.
    """
    cpu, mapped = device.kind == "cpu", values.get("mapped", 0)
    if not values["packed"]:
        return round(values["load"] + (mapped if cpu else 0))
    packed = values["packed"] + values["frozen"]
    if not cpu:
        return round(packed + values["largest"] * 4)
    pages, heap = (mapped, 0.6) if mapped else (values["load"], 0.35)
    return round(packed + pages + heap * values["load"])


def _evaluate(
    shape: Shape,
    values: dict[str, float],
    weights: list[MemoryTerm],
    states: MemoryTerm,
    unpacked: list[MemoryTerm],
    work: Work,
    device: Device,
) -> list[MemoryTerm]:
    """Return the memory of validation, or of generation if that is more."""
    validating = [*weights, states, *_step("evaluate", values), *unpacked]
    if work.target is not None:
        return validating
    rows, tokens = _written_at_once(work, device)
    at_once = "an answer" if rows == 1 else f"{rows} answers"
    wide = 4 if device.precision == "fp32" else 2
    logits = rows * shape.size("vocab_size") * 4 * 2
    cache = rows * kept_bytes(shape, tokens, wide)
    width = 2 * shape.size("hidden_size") + 2 * shape.size("intermediate_size")
    hidden = rows * work.length * wide * width
    writing = [
        *weights,
        *unpacked,
        MemoryTerm("keys and values", round(cache), f"of {at_once} of {tokens:,} tokens"),
        MemoryTerm("logits", logits, f"of {at_once}"),
        MemoryTerm("activations", hidden, "of one layer, while prompts are read"),
    ]
    return max(validating, writing, key=lambda terms: sum(term.bytes for term in terms))


def _written_at_once(work: Work, device: Device) -> tuple[int, int]:
    """Return the number of answers generated at once, and their tokens with the prompt's.

    A GPU with less memory generates them one by one (`models/generate.py` halves a batch).
    """
    from tailorbird.models.generate import MOST_ROWS, MOST_TOKENS

    tokens = work.length + work.answer
    if device.kind == "cuda":
        return 1, tokens
    rows = min(MOST_ROWS[device.kind], max(1, MOST_TOKENS[device.kind] // tokens), work.answers)
    return rows, tokens
