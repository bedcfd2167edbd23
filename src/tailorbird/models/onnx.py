"""A classifier as ONNX: exported by PyTorch, run by ONNX Runtime.

The only module that imports `onnx` and `onnxruntime`.
"""

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
INPUTS, SEGMENTS = ("input_ids", "attention_mask"), "token_type_ids"
# Two rows of different lengths: dimensions that are 1 or equal in the example would become
# constants.
_ROWS, _WIDTH = 2, 16
_OF_WORDS = 3


def check_installed() -> None:
    """Check early that the exporter is installed.

    Raises:
        UserError: A package is missing.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX export needs {', '.join(missing)}", 'pip install "tailorbird[onnx]"')


def write_onnx(model: "nn.Module", names: tuple[str, ...], path: Path, rows_each: int = 1) -> None:
    """Export `model` with variable batch size and length.

    Args:
        model: A classifier, on the CPU in fp32, in evaluation mode.
        names: Its inputs, in order: ``input_ids``, ``attention_mask`` ..., each ``[batch, seq]``.
        rows_each: Input rows per output row: 2 for a bi-encoder.

    Raises:
        UserError: The exporter cannot translate the model.
    """
    import torch
    from torch import nn

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(**dict(zip(names, inputs, strict=True))).logits
            # For labelled words, drop the virtual tokens before the text.
            return logits[:, -inputs[0].shape[1] :] if logits.ndim == _OF_WORDS else logits

    example = {name: torch.ones(_ROWS * rows_each, _WIDTH, dtype=torch.long) for name in names}
    if "attention_mask" in example:
        example["attention_mask"][0, _WIDTH // 2 :] = 0
    free = {0: rows_each * torch.export.Dim("batch"), 1: torch.export.Dim("seq")}
    try:
        with _quiet(), torch.inference_mode():
            torch.onnx.export(
                Logits().eval(),
                tuple(example.values()),
                str(path),
                input_names=list(names),
                output_names=["logits"],
                dynamic_shapes={"inputs": tuple(free for _ in names)},
                dynamo=True,
                external_data=False,
            )
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"PyTorch's exporter cannot translate this {type(model).__name__} to ONNX: {lines[0]}",
            "export the merged weights instead: --merge",
        ) from error


@contextlib.contextmanager
def _quiet() -> Any:
    """Hide the exporter's progress lines and warnings."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)


def quantise(path: Path, to: Path) -> None:
    """Write a copy with 8-bit integer weights, for CPUs (dynamic quantisation).

    Each output channel has a scale of its own; activations are scaled per batch.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)
    with _quiet():
        quantize_dynamic(str(path), str(to), weight_type=QuantType.QInt8, per_channel=True)


@dataclass(frozen=True)
class OnnxOutput:
    """The part of transformers' model output that predictions read."""

    logits: "torch.Tensor"


class OnnxClassifier:
    """A classifier in ONNX Runtime on the CPU, called like the original model."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.names = [node.name for node in self.session.get_inputs()]

    def __call__(self, **inputs: "torch.Tensor") -> OnnxOutput:
        """Return logits ``[batch, outputs]``, for words ``[batch, seq, outputs]``."""
        import torch

        arrays = {name: inputs[name].numpy() for name in self.names}
        return OnnxOutput(torch.from_numpy(self.session.run(["logits"], arrays)[0]))
