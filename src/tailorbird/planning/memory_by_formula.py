"""Memory by a formula, for architectures that cannot be traced.

A plain transformer: Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1) count ``s b h 34``
bytes of activations per layer in 16 bits, without attention scores, which a fused kernel does not
store.
"""

from typing import TYPE_CHECKING

from tailorbird.config import Config
from tailorbird.methods.registry import get_method
from tailorbird.models.device import Device
from tailorbird.models.packed import tokens_at_once
from tailorbird.planning.data_size import NF4, STATES, Work
from tailorbird.planning.model_shape import Shape

if TYPE_CHECKING:
    from tailorbird.train.settings import Settings

_ACTIVATIONS, _BOUNDARY = 34, 2


def estimate(
    shape: Shape, config: Config, work: Work, settings: "Settings", device: Device
) -> dict[str, float]:
    """Return the values of a trace, by the formula."""
    hidden, layers = shape.size("hidden_size", 768), shape.size("num_hidden_layers", 12)
    inner, vocabulary = shape.size("intermediate_size", 4 * hidden), shape.size("vocab_size")
    matrices = float(layers * (4 * hidden**2 + 3 * hidden * inner))
    embedding = float(vocabulary * hidden)
    experts = max(1, shape.size("num_local_experts", 1))
    matrices += layers * (experts - 1) * 3.0 * hidden * inner
    method = get_method(config.method.name)
    spec, options = method.spec, method.options(config.method)
    added = spec.parameters(options, hidden, inner, layers)
    trained = matrices + embedding if spec.trains_all else added
    wide = 4 if device.precision == "fp32" else 2
    tokens = min(settings.micro_batch_size, settings.batch_size) * work.length
    if work.target is None:
        tokens = min(tokens, max(work.length, tokens_at_once(device)))
    layer = tokens * hidden * _ACTIVATIONS * wide / 2
    activations = layers * layer
    if settings.gradient_checkpointing:
        activations = layers * tokens * hidden * _BOUNDARY * wide / 2 + layer
    quantised = spec.quantises or bool(shape.stored_bits)
    each = shape.stored_bits / 8 if shape.stored_bits else NF4
    frozen = 0.0 if spec.trains_all else embedding * 4 + (0 if quantised else matrices * wide)
    logits = 0.0 if work.target is not None else 8.0 * vocabulary * min(tokens, 2048)
    return {
        "trained": 4 * trained,
        "frozen": frozen,
        "packed": matrices * each if quantised else 0.0,
        "largest": float(hidden * inner),
        "trained_count": trained,
        "count": matrices + embedding + added,
        "states": trained * STATES[settings.optimizer],
        "load": (matrices + embedding) * (4 if work.target is not None else wide),
        "flops": 6.0 * (matrices + embedding) * settings.batch_size * work.length,
        "train.activations": activations,
        "train.logits": logits,
        "train.casts": 2 * matrices if spec.trains_all and wide == 2 else 0.0,
        "train.gradients": 4 * trained,
        "train.temporary": layer / 2,
        "train.peak": activations + logits + 4 * trained,
        "evaluate.activations": layer / 2,
        "evaluate.logits": logits / 2,
        "evaluate.casts": 0.0,
        "evaluate.gradients": 0.0,
        "evaluate.temporary": 0.0,
        "evaluate.peak": layer / 2,
    }
