"""Options and facts of full fine-tuning."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tailorbird.config.method import Defaults, MethodSpec, Options

if TYPE_CHECKING:
    import numpy as np


def arrays(folder: Path, base: Mapping[str, "np.ndarray"]) -> Mapping[str, "np.ndarray"]:
    """Return the weights that were saved; see `MethodSpec.arrays`."""
    from tailorbird.models.numpy_bert import read_weights

    return read_weights(folder / "model.safetensors")


SPEC = MethodSpec(
    words="Full fine-tuning",
    options=Options,
    defaults=Defaults(
        learning_rate=1e-4, epochs=3, weight_decay=0.01, bi_encoder_rate=5e-5, cost=1.5
    ),
    space={"train.weight_decay": (0.0, 0.01, 0.1), "train.layer_decay": (None, 0.95, 0.9, 0.8)},
    library="transformers",
    trains_all=True,
    smaller="qlora",
    arrays=arrays,
)
