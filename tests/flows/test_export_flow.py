"""`tailor export`: what is written answers as the run does, and the drift is what was measured."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tailorbird.arms.saved_arm import load
from tailorbird.config import load_config
from tailorbird.errors import UserError
from tailorbird.flows.export import export
from tailorbird.flows.tune import tune
from tailorbird.flows.vllm_command import vllm_command
from tiny import saved_model

TEXTS = [
    ("apple pear plum fruit", "food"), ("bread and cheese for lunch", "food"),
    ("a soup of beans", "food"), ("sugar, salt, rice", "food"),
    ("engine wheel brake", "cars"), ("a fast red car on the road", "cars"),
    ("change the tyre of the truck", "cars"), ("petrol in the tank", "cars"),
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("export")
    rows = [f'"{text} number {i}",{label}' for i in range(5) for text, label in TEXTS]
    (place / "data.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    model = saved_model("bert", place / "model")
    made = {}
    for method in ("lora", "adapter"):
        made[method] = place / method
        flags = {
            "data.train": str(place / "data.csv"), "method.name": method, "model.name": str(model),
            "train.epochs": 1, "model.precision": "fp32", "output": str(made[method]),
        }  # fmt: skip
        tune(load_config(flags=flags))
    return made


def test_merged_weights_predict_in_plain_transformers(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    (drift,) = export(runs["lora"], tmp_path / "out", ["merge"])
    assert drift.changed == 0 and drift.most < 1e-4
    code = """
import sys, json, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
inputs = AutoTokenizer.from_pretrained(sys.argv[1])(sys.argv[2], return_tensors="pt")
inputs.pop("token_type_ids", None)
print(json.dumps([torch.softmax(model(**inputs).logits, 1)[0].tolist(), model.config.id2label]))
"""
    text = "bread in the car"
    command = [sys.executable, "-c", code, str(tmp_path / "out" / "merged"), text]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, names = json.loads(done.stdout)
    ours = load(runs["lora"]).predict([text])[0].probabilities
    assert [names[str(i)] for i in range(2)] == list(ours)
    np.testing.assert_allclose(found, list(ours.values()), atol=1e-4)


@pytest.mark.parametrize("method", ["lora", pytest.param("adapter", marks=pytest.mark.slow)])
def test_onnx_predicts_the_same_at_every_length(
    runs: dict[str, Path], tmp_path: Path, method: str
) -> None:
    import onnxruntime
    from transformers import AutoTokenizer

    plain, small = export(runs[method], tmp_path / "out", ["onnx", "int8"])
    assert plain.changed == 0 and plain.most < 1e-4
    assert small.bytes < plain.bytes
    assert small.before == plain.before and small.after is not None
    session = onnxruntime.InferenceSession(plain.file)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    predictor = load(runs[method])
    for texts in (["car"], ["a long way on the road to lunch " * 9, "rice"] * 3):
        inputs = dict(tokenizer(texts, padding=True, truncation=True, return_tensors="np"))
        assert list(inputs) == ["input_ids", "attention_mask"], "what the docs name, and no more"
        named = {name: values.astype(np.int64) for name, values in inputs.items()}
        (logits,) = session.run(["logits"], named)
        scale = np.exp(logits - logits.max(1, keepdims=True))
        found = scale / scale.sum(1, keepdims=True)
        np.testing.assert_allclose(found, predictor.probabilities(texts), atol=1e-4)


def test_the_drift_is_kept_with_what_was_written(runs: dict[str, Path], tmp_path: Path) -> None:
    (drift,) = export(runs["lora"], tmp_path / "out", ["merge"])
    (told,) = json.loads((tmp_path / "out" / "export.json").read_text())["forms"]
    assert str(tmp_path) not in (tmp_path / "out" / "export.json").read_text()
    assert told["most"] == drift.most and told["compared"] == drift.compared > 0


def test_without_an_output_it_goes_into_the_run_and_forms_are_added(runs: dict[str, Path]) -> None:
    place = runs["lora"] / "export"
    (first,) = export(runs["lora"], None, ["merge"])
    assert first.file == str(place / "merged")
    (plain,) = export(runs["lora"], None, ["onnx"])
    (again,) = export(runs["lora"], None, ["merge"])
    assert again.most == first.most
    assert {"merged", "model.onnx", "export.json", "tokenizer.json"} <= set(_names(place))
    assert not [name for name in _names(place) if name.startswith(".")]
    told = json.loads((place / "export.json").read_text())["forms"]
    assert [form["form"] for form in told] == ["onnx", "merge"]
    assert told[0]["bytes"] == plain.bytes == (place / "model.onnx").stat().st_size


def test_vllm_is_given_whole_weights_of_labels(runs: dict[str, Path], tmp_path: Path) -> None:
    place = tmp_path / "lora"
    shutil.copytree(runs["lora"], place)
    shutil.rmtree(place / "export", ignore_errors=True)
    with pytest.raises(UserError, match="tuned by lora") as refused:
        vllm_command(place)
    assert f"tailor export {place} --merge" in (refused.value.fix or "")
    export(place, None, ["merge"])
    command = vllm_command(place)
    merged = place / "export" / "merged"
    assert command.words == (
        "vllm", "serve", str(merged), "--served-model-name", "lora", "--runner", "pooling",
    )  # fmt: skip
    assert command.notes == ()
    for path in merged.glob("*.safetensors"):
        path.unlink()
    (merged / "tokenizer.json").unlink()
    (merged / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="2 problems"):
        vllm_command(place)
    with pytest.raises(UserError, match="tuned by adapter"):
        vllm_command(runs["adapter"])


def test_what_cannot_be_exported_leaves_no_folder(runs: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="not linear"):
        export(runs["adapter"], None, ["merge"])
    assert not (runs["adapter"] / "export").exists()


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_an_adapter_says_why_it_cannot_be_merged(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not linear"):
        export(runs["adapter"], tmp_path / "out", ["merge"])


def test_a_folder_in_use_is_left_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="in use"):
        export(runs["lora"], tmp_path, ["merge"])
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
