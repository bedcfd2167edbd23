"""Options and facts of bottleneck adapters."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tailorbird.config.method import WEIGHTS, Defaults, MethodSpec, Options

if TYPE_CHECKING:
    import numpy as np


class AdapterOptions(Options):
    """The options of bottleneck adapters."""

    placement: Literal["houlsby", "pfeiffer"] = "houlsby"
    """after attention and feed-forward (houlsby), or after feed-forward only (pfeiffer)."""
    bottleneck: int = Field(64, ge=1)
    """width of an adapter's hidden layer."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """dropout rate on that hidden layer."""


def arrays(folder: Path, base: Mapping[str, "np.ndarray"]) -> Mapping[str, "np.ndarray"]:
    """Return the base's weights with the bottlenecks and the head; see `MethodSpec.arrays`."""
    from tailorbird.models.numpy_bert import read_weights

    return {**base, **read_weights(folder / WEIGHTS)}


SPEC = MethodSpec(
    words="Adapter",
    options=AdapterOptions,
    defaults=Defaults(learning_rate=2e-3, epochs=3, generative_factor=10),
    space={"method.bottleneck": (16, 32, 64, 128), "method.dropout": (0.0, 0.05, 0.1)},
    smaller="qlora",
    parameters=lambda o, hidden, inner, layers: 4.0 * layers * hidden * int(o["bottleneck"]),
    arrays=arrays,
)
