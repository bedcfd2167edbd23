"""The model card: what a stranger who finds the model folder needs to know, as README.md."""

from pathlib import Path, PurePath
from typing import Any

from tailorbird.records import ArmReport, Report
from tailorbird.report import captions, numbers
from tailorbird.report.arms import flatten, headline_metric, test_scores
from tailorbird.report.confusion import confused_pairs

HUB_NAMES = {"builtin:minilm": "sentence-transformers/all-MiniLM-L6-v2"}
HUB_METRICS = {"macro_f1": "f1", "mcc": "matthews_correlation"}
PEFT = ("lora", "qlora", "prompt")
LIBRARIES = {"full": "transformers"} | dict.fromkeys(PEFT, "peft")
WEAK = 0.15  # a class this far below the macro F1 is worth a warning
FEW = 10  # fewer test texts than this say little about a class


def model_card(report: Report, arm: ArmReport) -> str:
    """Return a Hugging Face model card with YAML front matter.

    The license is left out: it depends on the base model's and the data's, which only the user
    can judge.
    """
    parts = [
        _front_matter(report, arm),
        f"# {_title(report, arm)}\n",
        _summary(report, arm),
        _scores(report, arm),
        _limits(report, arm),
        _loading(report, arm),
        _data(report),
        _lines("Settings", _settings(report, arm)),
        _lines("Versions and machine", flatten(report.environment)),
        _reproduce(report),
    ]
    return "\n".join(part for part in parts if part)


def method_of(arm: ArmReport) -> str:
    """Return the method an arm was made with; its own name where the settings do not say."""
    method = arm.settings.get("method")
    if isinstance(method, dict):
        method = method.get("name")
    return str(method or arm.name)


def _title(report: Report, arm: ArmReport) -> str:
    return f"{_line(arm.name)} on {_line(_dataset(report))}"


def _dataset(report: Report) -> str:
    """Name the data by its file alone: a path says more about the author's disk than the data."""
    source = report.data.source
    return PurePath(source.replace("\\", "/")).name or source or "custom data"


def _base(report: Report) -> str:
    return HUB_NAMES.get(report.model, report.model)


def _on_hub(report: Report) -> bool:
    """Tell a hub id from a local folder, which no stranger can load."""
    name = _base(report)
    return bool(name) and name.count("/") <= 1 and name[0] not in "./~" and not Path(name).exists()


def _front_matter(report: Report, arm: ArmReport) -> str:
    import yaml

    method = method_of(arm)
    front: dict[str, Any] = {"library_name": LIBRARIES.get(method, "tailorbird")}
    if _on_hub(report):
        front["base_model"] = _base(report)
    front["pipeline_tag"] = "text-classification"
    front["tags"] = ["tailorbird", method]
    if arm.test:
        front["metrics"] = sorted({HUB_METRICS.get(name, name) for name, _ in test_scores(arm)})
        front["model-index"] = [_model_index(report, arm)]
    words = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{words}---\n"


def _model_index(report: Report, arm: ArmReport) -> dict[str, Any]:
    name = _dataset(report)
    return {
        "name": f"{arm.name}-{PurePath(name).stem}",
        "results": [
            {
                "task": {"type": "text-classification", "name": "Text classification"},
                "dataset": {"type": "custom", "name": name, "split": "test"},
                "metrics": [
                    {
                        "type": HUB_METRICS.get(metric, metric),
                        "name": numbers.metric_label(metric),
                        "value": round(score.value, 6),
                    }
                    for metric, score in test_scores(arm)
                ],
            }
        ],
    }


def _summary(report: Report, arm: ArmReport) -> str:
    data = report.data
    name = headline_metric(report)
    kinds = numbers.plural(len(data.labels), "class", "classes")
    words = [
        f"Tells {kinds} of text apart. Made from `{_base(report) or 'an unnamed base model'}` by "
        f"`{_line(method_of(arm))}` with tailorbird, on "
        f"{numbers.plural(data.counts.get('train', 0), 'training text')}."
    ]
    if arm.status != "ok":
        words.append(f"**This run {arm.status}: {_line(arm.why) or 'no reason was noted'}.**")
    elif name in arm.test:
        tests = numbers.plural(data.counts.get("test", 0), "test text")
        reach = numbers.metric_range(name, arm.test[name])
        interval = f" (95 % interval {reach})" if reach else ""
        value = numbers.metric(name, arm.test[name].value)
        words.append(
            f"{numbers.metric_label(name)} on {tests} it never saw: **{value}**{interval}."
        )
    return " ".join(words) + "\n"


def _scores(report: Report, arm: ArmReport) -> str:
    if not arm.test:
        return ""
    rows = [
        f"| {numbers.metric_label(name)} | {numbers.metric(name, score.value)} "
        f"| {numbers.metric_range(name, score) or numbers.ABSENT} |"
        for name, score in test_scores(arm)
    ]
    table = "\n".join(["| Test score | Value | 95 % interval |", "|---|---:|---:|", *rows])
    cost = arm.cost
    costs = [
        f"- {what}: {value}"
        for what, value in (
            ("Training", numbers.duration(cost.train_seconds)),
            ("Search for settings", numbers.duration(cost.search_seconds)),
            ("Peak memory", numbers.size(cost.peak_memory_bytes)),
            ("Trained parameters", _trained(arm)),
            ("Time per text", numbers.milliseconds(cost.predict_ms_per_example)),
            ("On disk", numbers.size(cost.artifact_bytes)),
        )
        if value != numbers.ABSENT
    ]
    parts = ["## Scores and costs\n", table, ""]
    parts += [*costs, ""] if costs else []
    parts += [captions.reload(arm.reload), ""] if arm.reload else []
    return "\n".join(parts)


def _trained(arm: ArmReport) -> str:
    part, whole = arm.cost.trainable_parameters, arm.cost.total_parameters
    share = numbers.share_of(part, whole)
    return numbers.count(part) + (f" of {numbers.count(whole)} ({share})" if share else "")


def _limits(report: Report, arm: ArmReport) -> str:
    name = _line(_dataset(report))
    classes = numbers.plural(len(report.data.labels), "class", "classes")
    known = [
        f"- Meant for texts like those of {name}; its scores say nothing about other texts, other "
        "languages or later times.",
        f"- It always answers with one of its {classes}, also for a text that belongs to none.",
        *_weak_classes(arm),
        *_mistakes(report, arm),
        *_confidence(arm),
        *(
            f"- In the data: {_line(f.message)}"
            for f in report.data.findings
            if f.level == "warning"
        ),
    ]
    return "\n".join(["## Intended use and limits\n", *known, ""])


def _weak_classes(arm: ArmReport) -> list[str]:
    if not arm.per_class:
        return []
    mean = sum(row.f1.value for row in arm.per_class) / len(arm.per_class)
    ranked = sorted(arm.per_class, key=lambda row: row.f1.value)
    weak = [row for row in ranked if row.f1.value < mean - WEAK and row.support >= FEW]
    few = [row for row in ranked if row.support < FEW]
    lines = []
    if weak:
        names = "; ".join(f"{_line(r.label)} (F1 {numbers.decimal(r.f1.value)})" for r in weak[:5])
        lines.append(f"- Clearly weaker than the rest: {names}.")
    if few:
        names = ", ".join(_line(row.label) for row in few[:8]) + (", ..." if len(few) > 8 else "")
        how_many = numbers.plural(len(few), "class", "classes")
        lines.append(f"- {how_many} had fewer than {FEW} test texts, too few to judge: {names}.")
    return lines


def _mistakes(report: Report, arm: ArmReport) -> list[str]:
    if not confused_pairs(report.data.labels, arm.confusion, most=1):
        return []
    return [f"- {_line(captions.confusion(arm, report.data.labels))}"]


def _confidence(arm: ArmReport) -> list[str]:
    words = captions.calibration(arm)
    return [f"- Confidence: {words}"] if words else []


def _loading(report: Report, arm: ArmReport) -> str:
    run = arm.run or "RUN"
    parts = ["## How to use it\n", "```bash", f'tailor predict {run} "a text"', "```", ""]
    snippet = _snippet(report, arm, f"{run}/model")
    if snippet:
        parts += ["Without tailorbird:\n", "```python", snippet, "```", ""]
    return "\n".join(parts)


def _snippet(report: Report, arm: ArmReport, folder: str) -> str:
    """Return plain transformers or PEFT code; empty for what only tailorbird can load."""
    method = method_of(arm)
    if method == "full":
        return (
            "from transformers import pipeline\n\n"
            f'classify = pipeline("text-classification", model="{folder}")\n'
            'print(classify("a text"))'
        )
    if method not in PEFT:
        return ""
    base = f'"{_base(report)}", num_labels={len(report.data.labels)}'
    head = "from peft import PeftModel\nfrom transformers import AutoModelForSequenceClassification"
    if method == "qlora":
        head = f"import torch\n{head}, AutoTokenizer, BitsAndBytesConfig\n\n{_bits(arm)}"
        base += ',\n    quantization_config=bits, device_map="auto"'
    else:
        head += ", AutoTokenizer\n"
    return (
        f"{head}\n"
        f"base = AutoModelForSequenceClassification.from_pretrained(\n    {base},\n)\n"
        f'model = PeftModel.from_pretrained(base, "{folder}").eval()\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{folder}")\n'
        'logits = model(**tokenizer("a text", return_tensors="pt").to(model.device)).logits'
    )


def _bits(arm: ArmReport) -> str:
    """Return the quantisation that the adapter was trained on; any other changes its answers."""
    if dict(flatten(arm.settings)).get("method.bits") == "8":
        kind = "load_in_8bit=True"
    else:
        kind = (
            'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,\n'
            "    bnb_4bit_compute_dtype=torch.bfloat16"
        )
    # The head is never quantised; it is called one of these.
    return (
        f"bits = BitsAndBytesConfig(\n    {kind},\n"
        "    llm_int8_skip_modules=[\n"
        '        "classifier", "score", "pre_classifier", "classification_head", "pooler.dense",\n'
        "    ],\n)"
    )


def _data(report: Report) -> str:
    data = report.data
    counts = ", ".join(f"{part} {count:,}" for part, count in data.counts.items())
    shown = ", ".join(_line(label) for label in data.labels[:30])
    more = f" and {len(data.labels) - 30} more" if len(data.labels) > 30 else ""
    lines = [f"{_line(_dataset(report))}: {counts}{f' ({data.how})' if data.how else ''}.", ""]
    if shown:
        lines += [f"Classes: {shown}{more}.", ""]
    return "\n".join(["## What it was trained on\n", *lines])


def _lines(title: str, lines: list[tuple[str, str]]) -> str:
    if not lines:
        return ""
    rows = [f"| {_line(key)} | {_line(value)} |" for key, value in lines]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *rows, ""])


def _settings(report: Report, arm: ArmReport) -> list[tuple[str, str]]:
    """Return the run's settings, the arm's own where it has its own."""
    return list((dict(flatten(report.settings)) | dict(flatten(arm.settings))).items())


def _reproduce(report: Report) -> str:
    if not report.command:
        return ""
    return "\n".join(["## Reproduce\n", "```bash", report.command, "```", ""])


def _line(words: str) -> str:
    """Keep a user's words on one line and out of the Markdown's own signs."""
    one = " ".join(words.split())
    for sign in ("\\", "|", "<", "`", "*", "_"):
        one = one.replace(sign, f"\\{sign}")
    return one
