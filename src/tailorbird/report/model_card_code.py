"""The model card's code to load and run a saved model, which works as it stands."""

from pathlib import Path

from tailorbird.config.method import METHODS, PEFT, PLAIN, method_library, method_spec
from tailorbird.metrics.cost import BASE
from tailorbird.records import ArmReport, Report
from tailorbird.report.page_template import flatten
from tailorbird.report.report_facts import noun, reads_labels, spec_of

HUB_NAMES = {"builtin:minilm": "sentence-transformers/all-MiniLM-L6-v2"}
NEW_TOKENS = 256


def method_of(arm: ArmReport) -> str:
    """Return an arm's method; its name if the settings do not have it."""
    method = arm.settings.get("method")
    if isinstance(method, dict):
        method = method.get("name")
    return str(method or arm.name)


def library_of(arm: ArmReport) -> str:
    """Return the library that loads an arm's model as a whole."""
    return "tailorbird" if _is_bi_encoder(arm) else method_library(method_of(arm))


def _is_bi_encoder(arm: ArmReport) -> bool:
    return dict(flatten(arm.settings)).get("pairs") == "bi-encoder"


def base_name(report: Report) -> str:
    """Return the base model's public name."""
    return HUB_NAMES.get(report.model, report.model)


def is_on_hub(report: Report) -> bool:
    """Return whether the base model is on the hub, so that strangers can load it."""
    name = base_name(report)
    is_id = bool(name) and name.count("/") <= 1 and name[0] not in "./~" and ":" not in name
    return is_id and not Path(name).exists()


def how_to_use(report: Report, arm: ArmReport) -> str:
    """Return the card's section with the commands and the code."""
    run = arm.run or "RUN"
    # Relative to the run folder's top, as in the report, so that the folder can be moved.
    inside = run == "." or run.startswith("arms/")
    parts = [
        "## How to use it\n",
        *([_WHERE, ""] if inside else []),
        "```bash",
        f"tailor predict {run} {_example_input(report)}",
        "```",
        "",
    ]
    if reads_labels(report):
        snippet = _classifier(report, arm, f"{run}/model")
    else:
        snippet = _writer(report, arm, f"{run}/model")
        parts += [_TEMPLATE, ""] if spec_of(report).prompts else []
    if snippet:
        by_itself = "import tailorbird" not in snippet
        parts += ["Without tailorbird:\n" if by_itself else "In Python:\n"]
        parts += ["```python", snippet, "```", ""]
    return "\n".join(parts)


_WHERE = (
    "Paths are relative to the run folder, which holds `report.html`: run these there, or "
    "prepend its path."
)
_TEMPLATE = (
    "Prompts go through the chat template that is saved with the tokenizer, as they did in "
    "training; a bare prompt gets worse answers. Where the training rows had a system message, put "
    "the same one first."
)


def _classifier(report: Report, arm: ArmReport, folder: str) -> str:
    """Return code with plain transformers or PEFT if possible; else tailorbird's, or ''."""
    library, pairs, spec = method_library(method_of(arm)), noun(report) == "pair", spec_of(report)
    if _is_bi_encoder(arm):
        attribute = "values" if spec.numbers else "labels" if spec.several_labels else "label"
        return (
            "import tailorbird\n\n"
            f'model = tailorbird.load("{folder.removesuffix("/model")}")\n'
            f'print(model.predict([("a text", "another")])[0].{attribute})'
        )
    if library == PLAIN and spec.per_word:
        return (
            "from transformers import pipeline\n\n"
            f'label = pipeline("token-classification", model="{folder}")\n'
            'print(label("a text"))'
        )
    if library == PLAIN and (pairs or not spec.one_label):
        return (
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
            f'model = AutoModelForSequenceClassification.from_pretrained("{folder}").eval()\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{folder}")\n'
            f"{_logits(report, folder)}"
        )
    if library == PLAIN:
        return (
            "from transformers import pipeline\n\n"
            f'classify = pipeline("text-classification", model="{folder}")\n'
            'print(classify("a text"))'
        )
    if library != PEFT:
        return ""
    kind = f"AutoModelFor{'Token' if spec.per_word else 'Sequence'}Classification"
    more = f", num_labels={len(report.data.labels)}"
    return f"{_peft_model(report, arm, folder, kind, more)}\n{_logits(report, folder)}"


def _example_input(report: Report) -> str:
    return '"a text" --pair "another"' if noun(report) == "pair" else f'"a {noun(report)}"'


def _logits(report: Report, folder: str) -> str:
    """Return the line that runs the model, and the meaning of its logits if not obvious."""
    texts = '"a text", "another"' if noun(report) == "pair" else '"a text"'
    code = f'logits = model(**tokenizer({texts}, return_tensors="pt").to(model.device)).logits'
    read = f'import json\n\ntarget = json.load(open("{folder.removesuffix("model")}target.json"))'
    if spec_of(report).several_labels:
        return (
            f"{read}\n{code}\n"
            'answers = zip(target["labels"], logits.sigmoid()[0].tolist(), target["thresholds"])\n'
            "labels = [label for label, probability, least in answers if probability >= least]"
        )
    if spec_of(report).numbers:
        return (
            f"{read}\n{code}\n"
            "values = [x * d + m for x, d, m in zip("
            'logits[0].tolist(), target["deviation"], target["mean"])]'
        )
    return code


def _writer(report: Report, arm: ArmReport, folder: str) -> str:
    """Return code that generates an answer, with plain transformers or PEFT if possible."""
    library = method_library(method_of(arm))
    if library == PEFT and not arm.name.startswith("rag"):
        load = _peft_model(report, arm, folder, "AutoModelForCausalLM", "")
    elif arm.name == BASE or (library == PLAIN and not arm.name.startswith("rag")):
        first, source = _named(base_name(report) if arm.name == BASE else folder)
        load = (
            f"{first}from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f"model = AutoModelForCausalLM.from_pretrained({source}).eval()\n"
            f"tokenizer = AutoTokenizer.from_pretrained({source})"
        )
    else:
        return (
            "import tailorbird\n\n"
            f'model = tailorbird.load("{folder.removesuffix("/model")}")\n'
            f'print(model.predict(["a {noun(report)}"])[0].text)'
        )
    return f"{load}\n{_ask(report, arm)}"


def _ask(report: Report, arm: ArmReport) -> str:
    settings = dict(flatten(report.settings)) | dict(flatten(arm.settings))
    tokens = settings.get("generate.max_new_tokens", "")
    most = tokens if tokens.isdigit() else NEW_TOKENS
    if not spec_of(report).prompts:
        read = 'inputs = tokenizer("a text", return_tensors="pt").to(model.device)\n'
    else:
        read = (
            'messages = [{"role": "user", "content": "a prompt"}]\n'
            "inputs = tokenizer.apply_chat_template(\n"
            '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True\n'
            ").to(model.device)\n"
        )
    return (
        f"{read}"
        "written = model.generate(\n"
        '    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],\n'
        f"    max_new_tokens={most}, do_sample=False,\n)\n"
        'answer = tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], '
        "skip_special_tokens=True)\n"
        "print(answer)"
    )


def _peft_model(report: Report, arm: ArmReport, folder: str, kind: str, more: str) -> str:
    first, source = _named(base_name(report))
    head = f"{first}from peft import PeftModel\nfrom transformers import {kind}"
    base = f"{source}{more}"
    if method_of(arm) in METHODS and method_spec(method_of(arm)).quantises:
        bits = _bits(arm, with_head=kind != "AutoModelForCausalLM")
        head = f"import torch\n{head}, AutoTokenizer, BitsAndBytesConfig\n\n{bits}"
        base += ',\n    quantization_config=bits, device_map="auto"'
    else:
        head += ", AutoTokenizer\n"
    return (
        f"{head}\n"
        f"base = {kind}.from_pretrained(\n    {base},\n)\n"
        f'model = PeftModel.from_pretrained(base, "{folder}").eval()\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{folder}")'
    )


def _named(model: str) -> tuple[str, str]:
    """Return an import, if needed, and the argument of `from_pretrained`."""
    if model.startswith("builtin:"):
        return "from tailorbird.models.builtin import resolve\n", f'resolve("{model}")'
    return "", f'"{model}"'


def _bits(arm: ArmReport, *, with_head: bool) -> str:
    """Return the quantisation of the adapter's training; any other changes its predictions."""
    if dict(flatten(arm.settings)).get("method.bits") == "8":
        kind = "load_in_8bit=True"
    else:
        kind = (
            'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,\n'
            "    bnb_4bit_compute_dtype=torch.bfloat16"
        )
    if not with_head:
        return f"bits = BitsAndBytesConfig(\n    {kind},\n)\n"
    # The head is never quantised; it has one of these names.
    return (
        f"bits = BitsAndBytesConfig(\n    {kind},\n"
        "    llm_int8_skip_modules=[\n"
        '        "classifier", "score", "pre_classifier", "classification_head", "pooler.dense",\n'
        "    ],\n)"
    )
