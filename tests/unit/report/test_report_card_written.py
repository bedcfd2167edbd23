"""The model card of a model that writes answers; its code is run, not only read."""

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from sample_written import written_report

from tailorbird.records import ArmReport, Report, TuningSections
from tailorbird.report.model_card import model_card

TEMPLATE = (
    "{% for m in messages %}[CLS] {{ m['role'] }} : {{ m['content'] }} [SEP] {% endfor %}"
    "{% if add_generation_prompt %}[CLS] assistant : {% endif %}"
)


@pytest.fixture(scope="module")
def report() -> Report:
    return written_report()


def named(report: Report, name: str) -> ArmReport:
    return next(arm for arm in report.arms if arm.name == name)


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.S)


def test_front_matter(report: Report) -> None:
    card = model_card(report, named(report, "lora"))
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "peft"
    assert front["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert front["pipeline_tag"] == "text-generation"
    assert front["metrics"] == ["exact_match", "loss", "perplexity", "rouge", "token_f1"]
    (result,) = front["model-index"][0]["results"]
    assert result["task"] == {"type": "text-generation", "name": "Text generation"}


def test_card_says_what_it_is_and_how_good(report: Report) -> None:
    card = model_card(report, named(report, "lora"))
    assert "Writes answers to prompts like those of explain.jsonl." in card
    assert "on 1,200 training pairs" in card
    assert "Token F1 on 300 test prompts it never saw: **0.561** (95 % interval" in card
    assert "| Perplexity | 3.064 | 2.915–3.222 |" in card
    assert "| Exact match | 21.1 % | 19.3–22.9 |" in card
    assert "Loss and perplexity are of all 412 test prompts." in card
    assert "- Time per prompt: 1.2 s" in card
    assert "The rows were instruction, input, output (Alpaca)." in card
    assert "chat template that is saved with the tokenizer" in card


def test_limits_of_a_writer(report: Report) -> None:
    card = model_card(report, named(report, "full"))
    limits = card[card.index("## Intended use and limits") : card.index("## How to use it")]
    assert "as fluently when it is wrong" in limits
    assert (
        "went from 10.1 to 16.5 (+63.9 %). Much of what the base model could do was forgotten"
        in limits
    )
    assert "3 training prompts also stood in the test part" in limits
    assert "class" not in limits


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("full", 'AutoModelForCausalLM.from_pretrained("runs/compare/arms/full/model")'),
        ("lora", 'PeftModel.from_pretrained(base, "runs/compare/arms/lora/model")'),
        ("qlora", 'bnb_4bit_quant_type="nf4"'),
        ("prompt", "PeftModel"),
        ("adapter", 'tailorbird.load("runs/compare/arms/adapter")'),
        ("base", 'from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")'),
        ("rag+lora", 'tailorbird.load("runs/compare/arms/rag+lora")'),
        ("nearest", 'tailorbird.load("runs/compare/arms/nearest")'),
    ],
)
def test_how_to_load(report: Report, name: str, expected: str) -> None:
    card = model_card(report, named(report, name))
    (code,) = snippets(card)
    ast.parse(code)
    assert expected in code
    assert "num_labels" not in code
    assert f'tailor predict runs/compare/arms/{name} "a prompt"' in card
    if "import tailorbird" in code:
        assert 'predict(["a prompt"])[0].text)' in code  # the words, not the record around them
    else:
        assert "max_new_tokens=128" in code  # what the run was set to
    assert ("Without tailorbird" in card) == ("import tailorbird" not in code)


@pytest.mark.parametrize(("run", "told"), [("arms/lora", True), (".", True), ("/far/lora", False)])
def test_card_says_where_its_paths_start(report: Report, run: str, told: bool) -> None:
    card = model_card(report, replace(named(report, "lora"), run=run))
    assert ("Paths are relative to the run folder" in card) == told


def test_python_door_has_the_name_that_the_card_uses() -> None:
    import tailorbird

    assert callable(tailorbird.load)


def test_built_in_models_are_looked_up(report: Report) -> None:
    own = replace(report, model="builtin:small")
    card = model_card(own, named(report, "lora"))
    (code,) = snippets(card)
    assert 'resolve("builtin:small")' in code
    assert "base_model" not in yaml.safe_load(card.split("---\n")[1])


def test_plain_text_has_no_template(report: Report) -> None:
    text = replace(report, sections=TuningSections(replace(report.data, task="text")))
    card = model_card(text, named(text, "full"))
    assert "chat template" not in card
    assert "apply_chat_template" not in snippets(card)[0]
    assert "Continues texts like those of explain.jsonl." in card


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny decoder with a chat template, as wide as the blocks of 64 bitsandbytes has."""
    import torch
    import transformers

    from tailorbird.models.builtin import resolve

    folder = tmp_path_factory.mktemp("base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve("builtin:minilm"))
    tokenizer.chat_template = TEMPLATE
    shape = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.2,
        max_position_embeddings=256, bos_token_id=101, eos_token_id=102, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(7)
        transformers.LlamaForCausalLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def saved(name: str, base: Path, folder: Path) -> Any:
    """Save a model as the method does, with weights that change its answers; return it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    stored = {"quantization_config": bits, "device_map": "auto"} if name == "qlora" else {}
    model = AutoModelForCausalLM.from_pretrained(base, **stored)
    if name != "full":
        import peft

        shared = {"task_type": "CAUSAL_LM"}
        config = (
            peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], **shared)
            if name in ("lora", "qlora")
            else peft.PromptTuningConfig(num_virtual_tokens=5, **shared)
        )
        model = peft.get_peft_model(model, config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.add_(0.2 * torch.randn_like(weights))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "lora", "qlora", "prompt"])
def test_code_of_the_card_answers_as_the_model_does(
    report: Report, name: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoTokenizer

    # The card does not say where on this machine the base model lies.
    monkeypatch.chdir(base.parent)
    model = saved(name, base, tmp_path / "model")
    card = model_card(
        replace(report, model=str(base), settings={"generate": {"max_new_tokens": 8}}),
        replace(named(report, name), run=str(tmp_path)),
    )
    found: dict[str, Any] = {}
    exec(snippets(card)[0], found)
    tokenizer = AutoTokenizer.from_pretrained(base)
    asked = tokenizer(
        "[CLS] user : a prompt [SEP] [CLS] assistant : ",
        add_special_tokens=False,
        return_tensors="pt",
    )
    ids = asked["input_ids"]
    assert found["inputs"]["input_ids"].tolist() == ids.tolist()
    for _ in range(8):  # greedy by hand: the likeliest next token, one after the other
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        ids = torch.cat((ids, logits[:, -1:].argmax(-1)), dim=1)
        if ids[0, -1] == 102:
            break
    written = ids[0, asked["input_ids"].shape[1] :]
    assert found["answer"] == tokenizer.decode(written, skip_special_tokens=True)
    assert found["answer"]
