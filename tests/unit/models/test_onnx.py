"""The ONNX file of every shape of model takes ids and mask, whatever else its tokenizer returns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.models.onnx import INPUTS, OnnxClassifier, write_onnx
from tiny import SHAPES, saved_model

KINDS = ("SequenceClassification", "TokenClassification")


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        # The others' files are made in the tests of exports, for one shape each.
        pytest.param(shape, kind, marks=[pytest.mark.slow] if shape != "roberta" else [])
        for shape in SHAPES
        for kind in KINDS[: 2 if shape != "roberta" else 1]
        if shape != "gpt2"
    ],
)
def test_ids_and_mask_are_all_it_takes(shape: str, kind: str, tmp_path: Path) -> None:
    import transformers

    family: Any = getattr(transformers, f"AutoModelFor{kind}")
    model = family.from_pretrained(saved_model(shape, tmp_path), num_labels=3).eval()
    write_onnx(model, INPUTS, tmp_path / "model.onnx")
    written = OnnxClassifier(tmp_path / "model.onnx")
    assert tuple(written.names) == INPUTS
    ids = torch.randint(5, 500, (3, 11), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.inference_mode():
        right = model(input_ids=ids, attention_mask=mask).logits
    mine = written(input_ids=ids, attention_mask=mask).logits
    kept = mask.bool() if kind == "TokenClassification" else slice(None)
    np.testing.assert_allclose(mine[kept], right[kept], atol=1e-4)
