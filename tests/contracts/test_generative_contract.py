"""What every method promises of a model that answers in words."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from tailorbird.config import Config, dump_config
from tailorbird.data.encode_chat import encode_conversations
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.methods.registry import get_method
from tailorbird.models.device import choose
from tailorbird.records import Example, Message
from tailorbird.runs.folder import CONFIG, JOURNAL, MODEL, TASK, RunFolder

METHODS = ("full", "adapter", "lora", "qlora", "prompt")
STEPS, LONGEST = 8, 12
BOTTLENECK, RANK, VIRTUAL = 4, 2, 5
OWN: dict[str, dict[str, Any]] = {
    "full": {},
    "adapter": {"bottleneck": BOTTLENECK},
    "lora": {"rank": RANK},
    "qlora": {"rank": RANK},
    "prompt": {"virtual_tokens": VIRTUAL},
}
RATES = {"full": 3e-3, "adapter": 1e-2, "lora": 1e-2, "qlora": 1e-2, "prompt": 3e-2}
ANSWERS = {"food": "eat it", "space": "look up", "sport": "play it"}


@dataclass(frozen=True)
class Case:
    """A method on a writer, in a number format."""

    method: str
    shape: str
    precision: str = "fp32"

    def __str__(self) -> str:
        return f"{self.method}-{self.shape}-{self.precision}"


CASES = [
    *(Case(m, s) for m in METHODS for s in ("llama", "stories260k")),
    # bitsandbytes does not take GPT-2's transposed layers.
    *(Case(m, "gpt2") for m in ("adapter", "lora", "prompt")),
    *(Case(m, "llama", "bf16") for m in ("lora", "qlora")),
]
SLOW_CASES = [
    *(Case(m, "qwen2") for m in METHODS),
    *(Case(m, "llama", "bf16") for m in ("full", "adapter", "prompt")),
    Case("full", "gpt2"),
]


def conversations() -> list[Example]:
    """Return 15 questions of uneven length with an answer of two words each."""
    return [
        Example(
            text,
            ANSWERS[label],
            row,
            (Message("user", text), Message("assistant", ANSWERS[label])),
        )
        for row, (text, label) in enumerate(tiny.rows()[::4], start=1)
    ]


EXAMPLES = conversations()
ASKED = 6
"""How many of them are answered."""


def of(*methods: str, **fixed: str) -> Any:
    """Parametrise a test with the cases of some methods."""
    cases = [
        pytest.param(case, id=str(case), marks=pytest.mark.slow if case in SLOW_CASES else ())
        for case in (*CASES, *SLOW_CASES)
        if (not methods or case.method in methods)
        and all(getattr(case, name) == value for name, value in fixed.items())
    ]
    return pytest.mark.parametrize("case", cases)


@dataclass
class Made:
    """What was seen while a case was attached, trained, saved and merged."""

    folder: RunFolder
    base_name: str
    tokens: Tokens
    head_kind: str
    linear_bytes: float
    before: np.ndarray
    attached: np.ndarray
    trainable: dict[str, int]
    losses: list[float]
    changed_frozen: list[str]
    moved: list[str]
    after: np.ndarray
    answers: list[str]
    config: Config
    merged: np.ndarray | None = None
    merged_answers: list[str] | None = None
    merged_class: str = ""
    merged_linears: frozenset[str] = frozenset()
    merged_again: np.ndarray | None = None
    refusal: str = ""


@pytest.fixture(scope="module")
def made(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Made]:
    """Return a function that makes a case once, however many tests look at it."""
    place = tmp_path_factory.mktemp("made")
    return cache(lambda case: _make(case, models(case.shape), place / str(case)))


def _config(case: Case, model: Path) -> Config:
    return Config.model_validate(
        {
            "model": {"name": str(model), "device": "cpu", "precision": case.precision},
            "method": {"name": case.method} | OWN[case.method],
            "train": {
                "epochs": STEPS,
                "batch_size": len(EXAMPLES),
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
    from tailorbird.tasks.base_model import make_base

    return make_base(config, choose("cpu", case.precision), get_method(case.method))


def losses_of(model: Any, tokens: Tokens, device: Any) -> np.ndarray:
    """Return each sequence's loss per trained token."""
    from tailorbird.models.packed import sequence_losses

    found = sequence_losses(model, tokens, device)
    mean: np.ndarray = found.loss_sums / found.counts
    return mean


def plain_losses(model: Any, tokens: Tokens, device: Any) -> np.ndarray:
    """Return the same by transformers alone, one text at a time."""
    import torch

    found = []
    for ids, trained in zip(tokens.ids, tokens.trained, strict=True):
        inputs = torch.from_numpy(ids.astype(np.int64))[None]
        with torch.no_grad(), device.autocast():
            logits = model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits[0]
        logits = logits[-len(ids) :].float()  # without those of virtual tokens
        losses = torch.nn.functional.cross_entropy(logits[:-1], inputs[0, 1:], reduction="none")
        found.append(float(losses[torch.from_numpy(trained[1:])].double().mean()))
    return np.asarray(found)


def greedy(model: Any, prompt: np.ndarray, device: Any) -> list[int]:
    """Return the answer's ids by transformers' own greedy decoding, its settings and all."""
    import torch

    ids = torch.from_numpy(prompt.astype(np.int64))[None]
    with torch.no_grad(), device.autocast():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=LONGEST,
            do_sample=False,
            use_cache=True,
        )
    found: list[int] = out[0].tolist()
    return found[len(prompt) :] if found[: len(prompt)] == prompt.tolist() else found


def _make(case: Case, model_folder: Path, place: Path) -> Made:
    from tailorbird.models.generate import Sampling, generate
    from tailorbird.tasks.base_model import Answering
    from tailorbird.train.loop import TrainJob, train
    from tailorbird.train.settings import resolve_generative
    from tailorbird.train.workloads import GenerativeWork

    config, method = _config(case, model_folder), get_method(case.method)
    base = _base(case, config)
    tokens = encode_conversations(EXAMPLES, base.tokenizer, 120)
    before = _before(case, config, tokens)
    linear_bytes = _bytes_per_linear_weight(base.model)
    head_kind = type(base.model.get_output_embeddings()).__name__

    model = method.attach(base, config).eval()
    attached = losses_of(model, tokens, base.device)
    trainable = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    frozen, started = _bytes_of(model, trained=False), _bytes_of(model, trained=True)
    folder = RunFolder(place)
    settings = resolve_generative(config, method, len(tokens), 32)
    work = GenerativeWork(tokens, model, base.device, settings)
    assert work.reader.notes == []
    job = TrainJob(work, settings, base.device, folder, lambda _: (0.5, 1.0), keep="loss")
    train(model, job)
    ended = _bytes_of(model, trained=True)
    after_frozen = _bytes_of(model, trained=False)

    answering = Answering(model, base.tokenizer, base.device, 120, config)
    sampling = Sampling(LONGEST, end_ids=answering.ends)
    # One by one: in another batch, rounding might turn a tie.
    written = [
        generate(model, base.tokenizer, [prompt], sampling, base.device)[0]
        for prompt in tokens.prompts[:ASKED]
    ]
    with folder.new_folder(MODEL) as inside:
        method.save(model, inside)
        base.tokenizer.save_pretrained(inside)
    folder.write(CONFIG, dump_config(config))
    folder.write_json(TASK, {"task": "generation", "max_new_tokens": LONGEST})
    seen = Made(
        folder=folder,
        base_name=str(model_folder),
        tokens=tokens,
        head_kind=head_kind,
        linear_bytes=linear_bytes,
        before=before,
        attached=attached,
        trainable=trainable,
        losses=[row["loss"] for row in folder.read_rows(JOURNAL) if row["event"] == "step"],
        changed_frozen=[name for name in frozen if frozen[name] != after_frozen.get(name)],
        moved=[name for name in started if started[name] != ended[name]],
        after=losses_of(model, tokens, base.device),
        answers=[one.text for one in written],
        config=config,
    )
    _merge(seen, model, method, base.tokenizer, place / "merged")
    return seen


def _before(case: Case, config: Config, tokens: Tokens) -> np.ndarray:
    """Return the base's losses before any method has touched it (QLoRA: the quantised base's)."""
    base = _base(case, config)
    return losses_of(base.model.eval(), tokens, base.device)


def _bytes_per_linear_weight(model: Any) -> float:
    """Return what a weight of the layers' matrices takes, quantisation constants included."""
    held, count = 0, 0
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or "embed" in name or "wte" in name or "wpe" in name:
            continue
        if "lm_head" in name:
            continue
        state = getattr(parameter, "quant_state", None)
        held += parameter.numel() * parameter.element_size()
        if state is None:
            count += parameter.numel()
            continue
        count += state.shape.numel()
        held += state.absmax.numel() * state.absmax.element_size()
        if state.nested:
            held += state.state2.absmax.numel() * state.state2.absmax.element_size()
    return held / count


def _bytes_of(model: Any, *, trained: bool) -> dict[str, bytes]:
    """Return the raw bytes of every trained (or every other) tensor, quantisation scales too."""
    import torch

    return {
        n: t.contiguous().view(torch.uint8).numpy().tobytes()
        for n, t in tiny.tensors_of(model, trained=trained).items()
    }


def _merge(seen: Made, model: Any, method: Any, tokenizer: Any, place: Path) -> None:
    from transformers import AutoModelForCausalLM

    from tailorbird.models.generate import Sampling, generate

    exact = choose("cpu", "fp32")
    try:
        merged = method.merge(model)
    except UserError as error:
        seen.refusal = str(error)
        return
    merged = merged.eval()
    seen.merged = losses_of(merged, seen.tokens, exact)
    seen.merged_class = type(merged).__name__
    seen.merged_linears = frozenset(
        type(m).__name__ for m in merged.modules() if "inear" in type(m).__name__
    )
    ends = tuple(np.atleast_1d(merged.generation_config.eos_token_id).tolist())
    sampling = Sampling(LONGEST, end_ids=ends)
    seen.merged_answers = [
        generate(merged, tokenizer, [prompt], sampling, exact)[0].text
        for prompt in seen.tokens.prompts[:ASKED]
    ]
    merged.save_pretrained(place)
    again = AutoModelForCausalLM.from_pretrained(place).eval()
    seen.merged_again = losses_of(again, seen.tokens, exact)


# --- before the first step -------------------------------------------------------------------


@of("full", "adapter", "lora", "qlora")
def test_attaching_does_not_change_what_is_said(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert np.ptp(seen.before) > 0.01, "a base that says the same to everything"
    # In bf16 frozen matrices are rounded once instead of at every product: the same numbers.
    np.testing.assert_array_equal(seen.attached, seen.before)


@of("prompt")
def test_virtual_tokens_do_change_what_is_said(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert np.abs(seen.attached - seen.before).max() > 1e-3


H, INNER, LAYERS, KV = tiny.HIDDEN, tiny.INNER, tiny.LAYERS, tiny.KEY_VALUE
_ROTARY = [(H, H), (H, KV), (H, KV), (H, H), (H, INNER), (H, INNER), (INNER, H)]
# (in, out) of every linear layer but the head, which LoRA leaves alone.
LINEARS = {
    "llama": _ROTARY * LAYERS,
    "qwen2": _ROTARY * LAYERS,
    "gpt2": [(H, 3 * H), (H, H), (H, INNER), (INNER, H)] * LAYERS,
}


@of("adapter", "lora", "qlora", "prompt")
def test_exactly_the_methods_weights_are_trained(case: Case, made: Callable[[Case], Made]) -> None:
    if case.shape not in LINEARS:
        pytest.skip("counted on the shapes made from a config")
    low_rank = RANK * sum(a + b for a, b in LINEARS[case.shape])
    per_adapter = H * BOTTLENECK + BOTTLENECK + BOTTLENECK * H + H
    own = {
        "lora": low_rank,
        "qlora": low_rank,
        "adapter": 2 * LAYERS * per_adapter,
        "prompt": VIRTUAL * H,
    }
    assert sum(made(case).trainable.values()) == own[case.method]


@of("full")
def test_full_trains_everything(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert seen.changed_frozen == []
    assert any("norm" in n.lower() or ".ln_" in n for n in seen.trainable)
    assert any("embed" in n or "wte" in n for n in seen.trainable)


# --- training --------------------------------------------------------------------------------


@of()
def test_frozen_weights_stay_bit_for_bit(case: Case, made: Callable[[Case], Made]) -> None:
    assert made(case).changed_frozen == []


@of()
def test_the_loss_falls(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert len(seen.losses) == STEPS
    assert seen.losses[-1] < 0.97 * seen.losses[0], seen.losses
    assert seen.after.mean() < 0.97 * seen.attached.mean()


@of()
def test_everything_trainable_moves(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    # Key biases have no gradient but rounding's: the softmax does not feel a shift.
    assert {n for n in set(seen.trainable) - set(seen.moved) if "k_proj.bias" not in n} == set()


# --- 4 bits ----------------------------------------------------------------------------------


@of("qlora")
def test_four_bit_weights_take_four_bits(case: Case, made: Callable[[Case], Made]) -> None:
    """Half a byte, and a scale per 64 weights that is quantised itself: Dettmers et al., §3."""
    seen = made(case)
    assert seen.linear_bytes <= 0.6
    assert seen.head_kind == "Linear", "the head decides between many thousand words"


@of("lora")
def test_the_measure_of_bytes_sees_plain_weights(case: Case, made: Callable[[Case], Made]) -> None:
    # What is not trained is kept in the format that is multiplied.
    assert made(case).linear_bytes == (2.0 if case.precision == "bf16" else 4.0)


# --- a fresh process -------------------------------------------------------------------------

_FRESH = """
import json, pickle, sys
import numpy as np
from pathlib import Path
from tailorbird.arms.saved_arm import load
from tailorbird.models.packed import sequence_losses
job = pickle.loads(Path(sys.argv[1]).read_bytes())
found = {}
for name, (run, tokens) in job.items():
    try:
        writer = load(run)
        a = writer.answering
        losses = sequence_losses(a.model, tokens, a.device)
        answers = [writer.predict([text])[0].text for text in TEXTS]
        found[name] = ((losses.loss_sums / losses.counts).tolist(), answers)
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def reloaded(
    made: Callable[[Case], Made], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Case], Any]:
    """Return what a fresh process, loading many saved runs, says of a case."""
    import pickle

    @cache
    def look(*, slow: bool) -> dict[str, Any]:
        there = SLOW_CASES if slow else CASES
        there = [c for c in there if c.shape != "stories260k" or tiny.STORIES.is_dir()]
        job = {str(c): (str(made(c).folder.path), made(c).tokens) for c in there}
        path = tmp_path_factory.mktemp("fresh") / "job"
        path.write_bytes(pickle.dumps(job))
        script = f"TEXTS = {[e.text for e in EXAMPLES[:ASKED]]!r}\n{_FRESH}"
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=280)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return lambda case: look(slow=case in SLOW_CASES)[str(case)]


@of()
def test_a_fresh_process_says_the_same(
    case: Case, made: Callable[[Case], Made], reloaded: Callable[[Case], Any]
) -> None:
    seen, found = made(case), reloaded(case)
    assert not isinstance(found, str), found
    losses, answers = found
    np.testing.assert_array_equal(losses, seen.after)
    assert answers == seen.answers


# --- merging ---------------------------------------------------------------------------------

# Largest change of an answer's loss in nats per token: fp32 rounding, or what bf16 products lose.
_DRIFT = {"fp32": 1e-4, "bf16": 0.1}
# Share of the same answers: in bf16 two tokens that are all but equally likely may change places.
_SAME = {"fp32": 1.0, "bf16": 0.5}


@of("full", "lora", "qlora")
def test_merging_keeps_losses_and_answers(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert seen.merged is not None, seen.refusal
    drift = np.abs(seen.merged - seen.after).max()
    assert drift < _DRIFT[case.precision]
    assert np.abs(seen.merged - seen.before).max() > 3 * drift, "it must hold what was learnt"
    same = np.mean([a == b for a, b in zip(seen.merged_answers or [], seen.answers, strict=True)])
    assert same >= _SAME[case.precision]


@of("full", "lora", "qlora")
def test_a_merged_model_is_a_plain_one(case: Case, made: Callable[[Case], Made]) -> None:
    seen = made(case)
    assert seen.merged_class.endswith(("ForCausalLM", "LMHeadModel"))
    assert not seen.merged_class.startswith("Peft")
    assert seen.merged_linears == {"Linear"}
    assert seen.merged_again is not None
    np.testing.assert_array_equal(seen.merged_again, seen.merged)


@of("adapter", "prompt")
def test_what_cannot_be_merged_says_so(case: Case, made: Callable[[Case], Made]) -> None:
    assert "cannot be merged" in made(case).refusal
    assert "fix:" in made(case).refusal


# --- the formats are those of other libraries ------------------------------------------------


def _spoken(case: Case, seen: Made) -> Any:
    """Return the saved model as transformers or PEFT alone load it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = seen.folder.file(MODEL)
    if case.method == "full":
        return AutoModelForCausalLM.from_pretrained(folder).eval()
    options: dict[str, Any] = {}
    if case.method == "qlora":
        import torch
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    plain = AutoModelForCausalLM.from_pretrained(seen.base_name, dtype="float32", **options)
    for module in plain.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return PeftModel.from_pretrained(plain, str(folder)).eval()


@of("full", "lora", "qlora", "prompt", precision="fp32")
def test_other_libraries_write_the_same(case: Case, made: Callable[[Case], Made]) -> None:
    from transformers import AutoTokenizer

    seen = made(case)
    model, device = _spoken(case, seen), choose("cpu", "fp32")
    tokenizer = AutoTokenizer.from_pretrained(seen.folder.file(MODEL))
    losses = plain_losses(model, seen.tokens, device)
    np.testing.assert_allclose(losses, seen.after, rtol=1e-4, atol=1e-5)
    for example, prompt, ours in zip(EXAMPLES, seen.tokens.prompts, seen.answers, strict=False):
        # The saved tokenizer opens an answer as it was opened while training.
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": example.text}],
            add_generation_prompt=True,
            return_dict=False,
        )
        assert ids == prompt.tolist()
        found = tokenizer.decode(greedy(model, prompt, device), skip_special_tokens=True)
        assert found.rstrip("\ufffd") == ours  # half a character at the limit is left off


@of("full", precision="fp32")
def test_a_saved_model_knows_when_to_stop(case: Case, made: Callable[[Case], Made]) -> None:
    """Whoever loads it stops at the end of the turn that it learnt, without being told."""
    from transformers import AutoTokenizer, GenerationConfig

    from tailorbird.data.chat_template import end_of_turn

    folder = made(case).folder.file(MODEL)
    saved = GenerationConfig.from_pretrained(folder)
    end = end_of_turn(AutoTokenizer.from_pretrained(folder))
    assert end in np.atleast_1d(saved.eos_token_id)
    assert saved.pad_token_id is not None


@of("lora", "qlora", "prompt")
def test_peft_is_told_what_the_model_does(case: Case, made: Callable[[Case], Made]) -> None:
    settings = json.loads((made(case).folder.file(MODEL) / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == f"./{Path(made(case).base_name).name}"
    assert settings["task_type"] == "CAUSAL_LM"


# --- what does not write ---------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", ["bert", "bertmlm"])
def test_an_encoder_is_no_writer(models: Any, shape: str, method: str) -> None:
    case = Case(method, shape)
    with pytest.raises(UserError, match="cannot generate text") as caught:
        _base(case, _config(case, models(shape)))
    assert str(models(shape)) in str(caught.value)
    assert "builtin:tutor" in caught.value.fix


@pytest.mark.parametrize("method", ["adapter", "lora", "prompt", "full"])
def test_a_damaged_folder_is_named(
    models: Any, method: str, tmp_path: Path, made: Callable[[Case], Made]
) -> None:
    import shutil

    case = Case(method, "llama")
    seen = made(case)
    copy = tmp_path / "model"
    shutil.copytree(seen.folder.file(MODEL), copy)
    (weights,) = copy.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError) as caught:
        get_method(method).load(_base(case, seen.config), copy)
    assert str(copy) in str(caught.value)
    assert caught.value.fix
