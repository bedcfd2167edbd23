"""What every method promises, on every family of models it is for."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from tailorbird.config import Config, dump_config
from tailorbird.config.method import method_spec
from tailorbird.data.encode import Encoded, collate, encode
from tailorbird.errors import UserError
from tailorbird.methods.registry import get_method
from tailorbird.metrics.classification import softmax
from tailorbird.models.device import choose
from tailorbird.models.head_logits import predict
from tailorbird.models.numpy_bert import open_bert
from tailorbird.runs.folder import CONFIG, JOURNAL, LABELS, MODEL, RunFolder

METHODS = ("full", "adapter", "lora", "qlora", "prompt")
STEPS = 6
BOTTLENECK, RANK, VIRTUAL = 4, 2, 5
OWN = {
    "full": {},
    "adapter": {"bottleneck": BOTTLENECK},
    "lora": {"rank": RANK},
    "qlora": {"rank": RANK},
    "prompt": {"virtual_tokens": VIRTUAL},
}
RATES = {"full": 1e-3, "adapter": 1e-2, "lora": 1e-2, "qlora": 1e-2, "prompt": 1e-2}


@dataclass(frozen=True)
class Case:
    """A method on a model, in a number format, with the method's more unusual options."""

    method: str
    shape: str
    precision: str = "bf16"
    more: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        extra = [f"{key}={value}" for key, value in self.more]
        return "-".join([self.method, self.shape, self.precision, *extra])


CASES = [
    *(Case(m, s, p) for m in METHODS for s in ("bert", "llama") for p in ("bf16", "fp32")),
    *(Case(m, s) for m in ("adapter", "lora", "prompt") for s in ("distilbert", "roberta")),
    *(Case(m, "stories260k") for m in METHODS),
    *(Case(m, "gpt2") for m in ("adapter", "lora", "prompt")),
    *(Case(m, "bertmlm") for m in ("adapter", "lora", "qlora", "prompt")),
    *(Case("lora", "bert", "fp32", ((option, True),)) for option in ("rslora", "dora", "pissa")),
    Case("lora", "bert", "bf16", (("dora", True),)),
    Case("lora", "bert", "bf16", (("pissa", True),)),
    Case("lora", "bert", "bf16", (("targets", ("query", "value")),)),
    Case("lora", "bert", "bf16", (("dropout", 0.1),)),
    Case("adapter", "bert", "bf16", (("placement", "pfeiffer"),)),
    Case("qlora", "bert", "bf16", (("bits", 8),)),
    Case("prompt", "bert", "bf16", (("init_text", "is it about food or about a game"),)),
]
PAIRS = tiny.rows()[::4]
TEXTS = [text for text, _ in PAIRS]


def of(*methods: str, **fixed: str) -> Any:
    """Parametrise a test with the cases of some methods."""
    cases = [
        case
        for case in CASES
        if (not methods or case.method in methods)
        and all(getattr(case, name) == value for name, value in fixed.items())
    ]
    return pytest.mark.parametrize("case", cases, ids=str)


@dataclass
class Made:
    """What was seen while a case was attached, trained, saved and merged."""

    folder: RunFolder
    base_name: str
    encoded: Encoded
    pad: int
    head: tuple[str, ...]
    base_logits: np.ndarray
    start_logits: np.ndarray
    trainable: dict[str, int]
    losses: list[float]
    changed_frozen: list[str]
    logits: np.ndarray
    alone: np.ndarray
    together: np.ndarray
    head_types: set[str]
    moved: list[str]
    config: Config
    merged: np.ndarray | None = None
    merged_again: np.ndarray | None = None
    merged_class: str = ""
    refusal: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def made(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Made]:
    """Return a function that makes a case once, however many tests look at it."""
    place = tmp_path_factory.mktemp("made")
    return cache(lambda case: _make(case, models(case.shape), place / str(case)))


def _config(case: Case, model: Path) -> Config:
    return Config.model_validate(
        {
            "model": {"name": str(model), "device": "cpu", "precision": case.precision},
            "method": {"name": case.method} | OWN[case.method] | dict(case.more),
            "train": {
                "epochs": STEPS,
                "batch_size": len(TEXTS),
                "learning_rate": RATES[case.method],
                "schedule": "constant",
                "warmup": 0,
                "dropout": 0,
                "evaluate_every": STEPS,
                "tensorboard": False,
            },
        }
    )


def _base(case: Case, config: Config) -> Any:
    """Return the base model, its fresh head seeded."""
    import torch

    from tailorbird.models.classifier import load_classifier
    from tailorbird.tasks.base_model import HEADS

    torch.manual_seed(3)
    device = choose("cpu", case.precision)
    options = get_method(case.method).load_options(config.method, HEADS, device)
    base = load_classifier(config.model, tiny.TARGET, device, options)
    base.model.eval()
    return base


def _make(case: Case, model_folder: Path, place: Path) -> Made:
    from tailorbird.train.loop import TrainJob, train
    from tailorbird.train.settings import resolve
    from tailorbird.train.workloads import LabelWork

    config, method = _config(case, model_folder), get_method(case.method)
    base = _base(case, config)
    pad = base.tokenizer.pad_token_id
    targets = [tiny.LABELS.index(label) for _, label in PAIRS]
    encoded = encode(TEXTS, base.tokenizer, 64, targets)
    base_logits = _base_logits(case, config, encoded)

    model = method.attach(base, config).eval()
    start_logits = predict(model, encoded, pad, base.device).logits
    trainable = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    frozen = _bytes_of(model, trained=False)
    started = _bytes_of(model, trained=True)
    folder = RunFolder(place)
    settings = resolve(config, method, len(TEXTS))
    job = TrainJob(
        work=LabelWork(encoded, pad, base.device, settings.micro_batch_size),
        settings=settings,
        device=base.device,
        folder=folder,
        validate=lambda _: (1.0, 0.5),
    )
    train(model, job)
    losses = [row["loss"] for row in folder.read_rows(JOURNAL) if row["event"] == "step"]
    after = _bytes_of(model, trained=False)
    ended = _bytes_of(model, trained=True)

    logits = predict(model, encoded, pad, base.device).logits
    alone = np.concatenate(
        [predict(model, _one(encoded, i), pad, base.device).logits for i in range(len(TEXTS))]
    )
    with folder.new_folder(MODEL) as inside:
        method.save(model, inside)
        base.tokenizer.save_pretrained(inside)
    folder.write(CONFIG, dump_config(config))
    folder.write_json(LABELS, list(tiny.LABELS))
    seen = Made(
        folder=folder,
        base_name=str(model_folder),
        encoded=encoded,
        pad=pad,
        head=base.head,
        base_logits=base_logits,
        start_logits=start_logits,
        trainable=trainable,
        losses=losses,
        changed_frozen=[name for name in frozen if frozen[name] != after.get(name)],
        logits=logits,
        alone=alone,
        together=_in_one_batch(model, encoded, pad, base.device),
        head_types=_head_types(model, base.head),
        moved=[name for name in started if started[name] != ended[name]],
        config=config,
    )
    _merge(seen, model, method, place / "merged")
    return seen


def _base_logits(case: Case, config: Config, encoded: Encoded) -> np.ndarray:
    """Return what the base says before any method has touched it (QLoRA: the quantised base)."""
    base = _base(case, config)
    for module in base.model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # no repacking: it rounds the scales
    return predict(base.model, encoded, base.tokenizer.pad_token_id, base.device).logits


def _bytes_of(model: Any, *, trained: bool) -> dict[str, bytes]:
    """Return the raw bytes of every trained (or every other) tensor, quantisation scales too."""
    # Exact in double: bitsandbytes casts an 8-bit layer's bias to its input's format and back.
    return {
        name: (tensor.double() if tensor.is_floating_point() else tensor).numpy().tobytes()
        for name, tensor in tiny.tensors_of(model, trained=trained).items()
    }


def _head_types(model: Any, head: tuple[str, ...]) -> set[str]:
    return {
        type(module).__name__
        for name, module in model.named_modules()
        if any(f"{name}.".endswith(f".{part}.") for part in head)
    }


def _in_one_batch(model: Any, encoded: Encoded, pad: int, device: Any) -> np.ndarray:
    import torch

    arrays = collate(encoded, np.arange(len(encoded)), pad)
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.inference_mode(), device.autocast():
        return model(**inputs).logits.float().numpy()


def _one(encoded: Encoded, index: int) -> Encoded:
    part = slice(index, index + 1)
    return Encoded(encoded.ids[part], encoded.lengths[part], None, encoded.full_lengths[part])


def _merge(seen: Made, model: Any, method: Any, place: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    exact = choose("cpu", "fp32")
    try:
        merged = method.merge(model)
    except UserError as error:
        seen.refusal = str(error)
        return
    seen.merged = predict(merged.eval(), seen.encoded, seen.pad, exact).logits
    seen.merged_class = type(merged).__name__
    merged.save_pretrained(place)
    again = AutoModelForSequenceClassification.from_pretrained(place).eval()
    seen.merged_again = predict(again, seen.encoded, seen.pad, exact).logits


# --- before the first step -------------------------------------------------------------------


@of("full", "adapter", "lora", "qlora")
def test_attaching_does_not_change_the_output(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert np.ptp(seen.base_logits, axis=0).min() > 0, "a base that says the same to everything"
    # DoRA and PiSSA take the frozen matrix apart and put it together again.
    exact = not {"dora", "pissa"} & {name for name, _ in case.more}
    tolerance = 0.0 if exact else (1e-4 if case.precision == "fp32" else 0.05)
    assert np.abs(seen.start_logits - seen.base_logits).max() <= tolerance


@of("prompt")
def test_virtual_tokens_do_change_the_output(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert np.abs(seen.start_logits - seen.base_logits).max() > 1e-3


H, INNER, LAYERS, KV = tiny.HIDDEN, tiny.INNER, tiny.LAYERS, tiny.KEY_VALUE
_BLOCK = [(H, H)] * 4 + [(H, INNER), (INNER, H)]
_ROTARY = [(H, H), (H, KV), (H, KV), (H, H), (H, INNER), (H, INNER), (INNER, H)]
# (in, out) of every linear layer but the head's, and the head's number of weights.
LINEARS: dict[str, list[tuple[int, int]]] = {
    "bert": _BLOCK * LAYERS + [(H, H)],  # and the pooler
    "distilbert": _BLOCK * LAYERS,
    "roberta": _BLOCK * LAYERS,
    "bertmlm": _BLOCK * LAYERS,  # its pooler is new: part of the head
    "llama": _ROTARY * LAYERS,
    "gpt2": [(H, 3 * H), (H, H), (H, INNER), (INNER, H)] * LAYERS,
}
HEAD_WEIGHTS = {
    "bert": (H + 1) * 3,
    "distilbert": (H + 1) * H + (H + 1) * 3,
    "roberta": (H + 1) * H + (H + 1) * 3,
    "bertmlm": (H + 1) * H + (H + 1) * 3,
    "llama": H * 3,
    "gpt2": H * 3,
}


@of("adapter", "lora", "qlora", "prompt")
def test_exactly_the_methods_weights_and_the_head_are_trained(
    case: Case, made: Callable[[Case], Made]
) -> None:
    if case.shape not in LINEARS:
        pytest.skip("counted on the shapes made from a config")
    options = dict(case.more)
    chosen = LINEARS[case.shape]
    if "targets" in options:
        chosen = [(H, H)] * 2 * LAYERS
    rank_one = sum(a + b for a, b in chosen)
    magnitudes = sum(b for _, b in chosen) if options.get("dora") else 0
    per_adapter = H * BOTTLENECK + BOTTLENECK + BOTTLENECK * H + H
    adapters = LAYERS * (1 if options.get("placement") == "pfeiffer" else 2)
    own = {
        "lora": RANK * rank_one + magnitudes,
        "qlora": RANK * rank_one,
        "adapter": adapters * per_adapter,
        "prompt": VIRTUAL * H,
    }
    seen = made(case)
    assert sum(seen.trainable.values()) == own[case.method] + HEAD_WEIGHTS[case.shape]


@of("full")
def test_full_trains_everything(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert not seen.facts
    assert any("embed" in name for name in seen.trainable)
    assert any("norm" in name.lower() for name in seen.trainable)


@of("qlora")
def test_the_head_is_not_quantised(case: Case, made: Callable[[Case], Made]) -> None:
    assert not {"Linear4bit", "Linear8bitLt"} & made(case).head_types


# --- training --------------------------------------------------------------------------------


@of()
def test_frozen_weights_stay_bit_for_bit(case: Case, made: Callable[[Case], Made]) -> None:
    assert made(case).changed_frozen == []


@of()
def test_the_loss_falls(case: Case, made: Callable[[Case], Made]) -> None:
    losses = made(case).losses
    assert len(losses) == STEPS
    assert losses[-1] < 0.97 * losses[0], losses


@of()
def test_everything_trainable_moves(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    still = set(seen.trainable) - set(seen.moved)
    # What a model never reads: RoBERTa's and BERT's rows are one tensor, so none stays still
    # but key biases, whose gradient is zero by the softmax's shift invariance.
    assert {name for name in still if "key.bias" not in name and "k_proj" not in name} == set()


# --- predictions -----------------------------------------------------------------------------


@of()
def test_padding_does_not_change_predictions(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert len(set(seen.encoded.lengths)) > 3, "the texts must differ in length"
    together, alone = softmax(seen.together), softmax(seen.alone)
    tolerance = 1e-5 if case.precision == "fp32" and case.method != "qlora" else 0.02
    assert np.abs(together - alone).max() < tolerance


_FRESH = """
import json, sys
import numpy as np
from tailorbird.arms.saved_arm import load
job = json.load(sys.stdin)
for name, run in job["runs"].items():
    try:
        found = load(run).probabilities(job["texts"])
    except Exception as error:
        found = np.asarray(f"{type(error).__name__}: {error}")
    np.save(f"{job['out']}/{name}.npy", found)
"""


@pytest.fixture(scope="module")
def reloaded(
    made: Callable[[Case], Made], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], np.ndarray]:
    """Return what one fresh process, loading every saved run, predicts."""
    from tiny import STORIES

    out = tmp_path_factory.mktemp("fresh")
    cases = [c for c in CASES if c.shape != "stories260k" or STORIES.is_dir()]
    runs = {str(case): str(made(case).folder.path) for case in cases}
    job = json.dumps({"runs": runs, "texts": TEXTS, "out": str(out)})
    subprocess.run([sys.executable, "-c", _FRESH], input=job, text=True, check=True, timeout=200)
    return lambda name: np.load(out / f"{name}.npy")


@of()
def test_a_fresh_process_predicts_the_same(
    case: Case, made: Callable[[Case], Made], reloaded: Callable[[str], np.ndarray]
) -> None:
    seen = made(case)
    np.testing.assert_array_equal(reloaded(str(case)), softmax(seen.logits))


# --- merging ---------------------------------------------------------------------------------

# Largest change of a probability: fp32 rounding, or what products in bf16 lose.
_DRIFT = {"fp32": 1e-5, "bf16": 0.03}


@of("full", "lora", "qlora")
def test_merging_keeps_the_predictions(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert seen.merged is not None, seen.refusal
    drift = np.abs(softmax(seen.merged) - softmax(seen.logits)).max()
    # QLoRA computes in bf16 whatever the rest does.
    assert drift < _DRIFT["bf16" if case.method == "qlora" else case.precision]
    moved = np.abs(softmax(seen.merged) - softmax(seen.base_logits)).max()
    assert moved > 3 * drift, "the merged model must hold what was learnt"


@of("full", "lora", "qlora")
def test_a_merged_model_is_a_plain_one(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert seen.merged_class.endswith("ForSequenceClassification")
    assert not seen.merged_class.startswith("Peft")
    np.testing.assert_array_equal(seen.merged_again, seen.merged)


@of("adapter", "prompt")
def test_what_cannot_be_merged_says_so(case: Case, made: Callable[[Case], Made]) -> None:
    assert "cannot be merged" in made(case).refusal
    assert "fix:" in made(case).refusal


# --- the formats are those of other libraries ------------------------------------------------


@of("lora", "prompt")
def test_peft_alone_gives_the_same_logits(case: Case, made: Callable[[Case], Made]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    seen = made(case)
    plain = AutoModelForSequenceClassification.from_pretrained(seen.base_name, num_labels=3)
    model = PeftModel.from_pretrained(plain, str(seen.folder.file(MODEL))).eval()
    decodes = case.shape in ("llama", "gpt2", "stories260k")
    for index in range(0, len(TEXTS), 4):
        one = _one(seen.encoded, index)
        arrays = collate(one, np.asarray([0]), seen.pad)
        if decodes:  # PEFT's prompts and a base without padding token read the last position
            arrays = {name: array[:, : int(one.lengths[0])] for name, array in arrays.items()}
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.inference_mode(), choose("cpu", case.precision).autocast():
            logits = model(**inputs).logits.float().numpy()
        if decodes:
            tolerance = 1e-4 if case.precision == "fp32" else 0.05
            np.testing.assert_allclose(logits[0], seen.alone[index], atol=tolerance)
        else:
            np.testing.assert_array_equal(logits[0], seen.alone[index])


@of("full", shape="bert")
def test_transformers_alone_gives_the_same_logits(case: Case, made: Callable[[Case], Made]) -> None:
    from transformers import AutoModelForSequenceClassification

    seen = made(case)
    plain = AutoModelForSequenceClassification.from_pretrained(seen.folder.file(MODEL)).eval()
    device = choose("cpu", case.precision)
    again = predict(plain, seen.encoded, seen.pad, device).logits
    np.testing.assert_array_equal(again, seen.logits)
    assert plain.config.id2label == dict(enumerate(tiny.LABELS))


@of("lora", "prompt")
def test_saved_files_name_no_folder_of_this_machine_for_a_builtin(
    case: Case, made: Callable[[Case], Made]
) -> None:
    settings = json.loads((made(case).folder.file(MODEL) / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == f"./{Path(made(case).base_name).name}"
    assert settings["task_type"] == "SEQ_CLS"


# --- options ---------------------------------------------------------------------------------


def _attached(models: Any, shape: str, **method: Any) -> Any:
    case = Case(method.pop("name"), shape, "fp32", tuple(method.items()))
    config = _config(case, models(shape))
    return get_method(case.method).attach(_base(case, config), config)


def test_rslora_scales_by_the_root_of_the_rank(models: Any) -> None:
    plain = _attached(models, "bert", name="lora", rank=4, alpha=8)
    root = _attached(models, "bert", name="lora", rank=4, alpha=8, rslora=True)
    scales = [
        {m.scaling["default"] for m in model.modules() if hasattr(m, "lora_A")}
        for model in (plain, root)
    ]
    assert scales == [{8 / 4}, {8 / 2}]


def test_pissa_starts_from_the_largest_singular_values(models: Any) -> None:
    import torch
    from transformers import AutoModel

    model = _attached(models, "bert", name="lora", rank=3, pissa=True)
    name = "encoder.layer.0.attention.self.query"
    layer = next(m for n, m in model.named_modules() if n.endswith(name))
    original = AutoModel.from_pretrained(models("bert")).get_submodule(name).weight
    update = layer.get_delta_weight("default").detach()
    expected = torch.linalg.svdvals(original.detach())
    found = torch.linalg.svdvals(update)
    torch.testing.assert_close(found[:3], expected[:3], rtol=1e-3, atol=1e-4)
    assert found[3:].max() < 1e-4


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_unknown_target_is_named_with_its_neighbour(models: Any, method: str) -> None:
    with pytest.raises(UserError) as caught:
        _attached(models, "bert", name=method, targets=["qeury"])
    assert "'qeury'" in str(caught.value)
    assert "did you mean 'query'?" in str(caught.value)
    assert "value" in caught.value.fix


def test_one_target_as_a_word_is_a_list_of_one(models: Any) -> None:
    model = _attached(models, "bert", name="lora", targets="key")
    adapted = {n.rpartition(".")[2] for n, m in model.named_modules() if hasattr(m, "lora_A")}
    assert adapted == {"key"}


def test_adapters_refuse_a_family_they_do_not_know(models: Any, tmp_path: Path) -> None:
    import transformers

    config = transformers.FNetConfig(
        vocab_size=30522, hidden_size=32, intermediate_size=64, num_hidden_layers=1, pad_token_id=0
    )
    transformers.FNetModel(config).save_pretrained(tmp_path / "fnet")
    tokenizer = transformers.AutoTokenizer.from_pretrained(models("bert"))
    tokenizer.save_pretrained(tmp_path / "fnet")
    case = Case("adapter", "fnet", "fp32")
    config = _config(case, tmp_path / "fnet")
    with pytest.raises(UserError, match="do not support the layers of FNet.*") as caught:
        get_method("adapter").attach(_base(case, config), config)
    assert "lora" in caught.value.fix


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize(
    "shape", ["bert", "distilbert", "roberta", "electra", "llama", "qwen2", "gpt2"]
)
def test_adapters_hang_where_the_papers_say(models: Any, shape: str, placement: str) -> None:
    model = _attached(models, shape, name="adapter", placement=placement)
    hung = [name for name, module in model.named_modules() if name.endswith(".adapter")]
    assert len(hung) == tiny.LAYERS * (2 if placement == "houlsby" else 1)
    # After the feed-forward block's second projection, in every layer.
    assert sum("attention" not in n and "attn" not in n for n in hung) == tiny.LAYERS


@pytest.mark.parametrize("method", ["adapter", "lora", "prompt", "full"])
def test_a_damaged_folder_is_named(
    models: Any, method: str, tmp_path: Path, made: Callable[[Case], Made]
) -> None:
    import shutil

    seen = made(Case(method, "bert"))
    copy = tmp_path / "model"
    shutil.copytree(seen.folder.file(MODEL), copy)
    (weights,) = copy.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError) as caught:
        get_method(method).load(_base(Case(method, "bert"), seen.config), copy)
    assert str(copy) in str(caught.value)
    assert caught.value.fix


def test_weights_of_another_base_are_refused(models: Any, made: Callable[[Case], Made]) -> None:
    seen = made(Case("adapter", "bert"))
    case = Case("adapter", "distilbert")
    with pytest.raises(UserError, match="does not fit"):
        get_method("adapter").load(
            _base(case, _config(case, models("distilbert"))), seen.folder.file(MODEL)
        )


def test_virtual_tokens_count_against_the_limit(models: Any) -> None:
    from tailorbird.tasks.base_model import max_length

    case = Case("prompt", "bert", "fp32")
    config = _config(case, models("bert"))
    base = _base(case, config)
    # Batches are padded to multiples of 8: 120 + 5 is the most that fits 128.
    assert max_length(config, base, get_method("prompt")) == 120
    asked = config.model_copy(update={"data": config.data.model_copy(update={"max_length": 40})})
    assert max_length(asked, base, get_method("prompt")) == 40 - VIRTUAL
    assert max_length(asked, base, get_method("full")) == 40
    small = config.model_copy(update={"data": config.data.model_copy(update={"max_length": 8})})
    with pytest.raises(UserError, match="5 virtual tokens leave 3 of 8"):
        max_length(small, base, get_method("prompt"))
    long = config.model_copy(update={"data": config.data.model_copy(update={"max_length": 129})})
    with pytest.raises(UserError, match="reads at most 128 tokens"):
        max_length(long, base, get_method("full"))


def test_a_text_of_the_longest_length_fits_with_its_virtual_tokens(models: Any) -> None:
    from tailorbird.tasks.base_model import max_length

    for shape in ("bert", "roberta", "distilbert", "gpt2"):
        case = Case("prompt", shape, "fp32")
        config = _config(case, models(shape))
        base = _base(case, config)
        limit = max_length(config, base, get_method("prompt"))
        model = get_method("prompt").attach(base, config).eval()
        encoded = encode(["word " * 300], base.tokenizer, limit)
        assert int(encoded.lengths[0]) == limit
        found = predict(model, encoded, base.tokenizer.pad_token_id, base.device)
        assert np.isfinite(found.logits).all()


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.shape == "bertmlm" or (c.shape, c.precision) == ("bert", "fp32")],
    ids=str,
)
def test_numpy_reads_what_was_saved_alike(case: Case, made: Callable[[Case], Made]) -> None:
    seen, arrays = made(case), method_spec(case.method).arrays
    if arrays is None:
        pytest.skip("only the method itself can load it")
    model = seen.config.model.model_copy(update={"precision": "fp32"})
    opened = open_bert(model, partial(arrays, seen.folder.file(MODEL)))
    # What DoRA and PiSSA do to the base is PEFT's.
    assert (opened is None) == bool({"dora", "pissa"} & {name for name, _ in case.more})
    if opened is not None:
        tolerance = 1e-4 if case.precision == "fp32" else 0.05
        inputs = collate(seen.encoded, np.arange(len(TEXTS)), seen.pad)
        np.testing.assert_allclose(opened[0].logits(**inputs), seen.logits, atol=tolerance)
