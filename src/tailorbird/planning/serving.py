"""Memory and speed of serving a generative model, by context length and number of users."""

import time

from tailorbird.models.device import Device
from tailorbird.planning.devices import HEADROOM, PlannedDevice
from tailorbird.planning.model_shape import Shape
from tailorbird.records.planning import ServingPlan

USERS = (1, 8, 32)
_CONTEXTS = (1024, 8192, 32_768, 131_072)
SHARE = 0.6
"""Share of a card's nominal bandwidth that generation reaches; assumed, not measured."""
_PROBE_BYTES, _REPEATS = 256 * 2**20, 5


def plan_serving(shape: Shape, parameters: int, place: PlannedDevice) -> tuple[ServingPlan, ...]:
    """Return the memory and speed of serving; empty for an unknown architecture.

    Each generated token needs one read of all weights, shared by all users, and of each
    conversation's keys and values: with few users that, not arithmetic, limits the speed (Pope et
    al. 2022, arXiv 2211.05102, section 2).

    Args:
        shape: The model.
        parameters: Of the base model; adapters are negligible.
        place: The device.
    """
    if shape.config is None:
        return ()
    wide = place.device.dtype.itemsize
    each = shape.stored_bits / 8 if shape.stored_bits else wide
    weights = parameters * each
    limit = shape.size("max_position_embeddings") or _CONTEXTS[0]
    rate = SHARE * place.bandwidth if place.bandwidth else None
    if place.here:
        rate = measured_bandwidth(place.device)
    plans = []
    for context in [c for c in _CONTEXTS if c <= limit] or [limit]:
        cache = kept_bytes(shape, context, wide)
        for users in USERS:
            size = round(weights + users * cache)
            # An average conversation has half of its final length.
            read = weights * _experts(shape, users) + users * cache / 2
            pace = None if rate is None else users * rate / read
            fits = size * HEADROOM <= place.capacity_bytes
            plans.append(ServingPlan(context, users, size, fits, pace))
    return tuple(plans)


def kept_bytes(shape: Shape, context: int, wide: float) -> float:
    """Return the size of one conversation's keys and values, in bytes.

    Layers with a sliding window store at most the window (Gemma 2, Mistral); multi-head latent
    attention stores one compressed vector (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    Args:
        shape: The model.
        context: Tokens of the conversation.
        wide: Bytes of a number.
    """
    text = shape.text if shape.config is not None else None
    heads = shape.size("num_attention_heads", 1)
    shared = shape.size("num_key_value_heads", heads)
    head = shape.size("head_dim") or shape.size("hidden_size", 768) // heads
    latent = int(getattr(text, "kv_lora_rank", None) or 0)
    token = 2.0 * shared * head
    if latent:
        token = latent + float(getattr(text, "qk_rope_head_dim", 0))
    layers = shape.size("num_hidden_layers", 12)
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * layers
    window = int(getattr(text, "sliding_window", None) or context)
    tokens = sum(min(context, window) if "sliding" in kind else context for kind in kinds)
    return token * tokens * wide


def _experts(shape: Shape, users: int) -> float:
    """Return the share of the weights read per step: of a mixture, of the selected experts."""
    experts = shape.size("num_local_experts")
    if not experts:
        return 1.0
    inner = shape.size("moe_intermediate_size") or shape.size("intermediate_size")
    hidden, layers = shape.size("hidden_size"), shape.layers
    of_experts = 3.0 * layers * experts * inner * hidden
    rest = 4.0 * layers * hidden**2 + 2.0 * shape.size("vocab_size") * hidden
    share = 1 - (1 - shape.size("num_experts_per_tok", 1) / experts) ** users
    return (of_experts * share + rest) / (of_experts + rest)


def measured_bandwidth(device: Device) -> float:
    """Measure the bytes of a matrix multiplied with one vector per second."""
    import torch

    width = 4096
    rows = _PROBE_BYTES // width // device.dtype.itemsize
    matrix = torch.ones(rows, width, dtype=device.dtype, device=device.name)
    vector = torch.ones(width, 1, dtype=device.dtype, device=device.name)
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        # Reading a value waits for an asynchronous device.
        float((matrix @ vector)[0, 0])
        best = min(best, time.perf_counter() - began)
    return matrix.nbytes / best
