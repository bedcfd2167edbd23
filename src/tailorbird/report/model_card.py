"""The model card (README.md), for strangers who find the model folder."""

import re
from pathlib import PurePath
from typing import Any

from tailorbird.metrics import display
from tailorbird.records import ArmReport, Report
from tailorbird.report import captions
from tailorbird.report.confusion import confused_pairs
from tailorbird.report.local_paths import without_places
from tailorbird.report.model_card_code import (
    HUB_NAMES as HUB_NAMES,
    base_name,
    how_to_use,
    is_on_hub,
    library_of,
    method_of as method_of,
)
from tailorbird.report.page_template import flatten
from tailorbird.report.report_facts import (
    answered,
    headline_metric,
    label,
    model_scores,
    noun,
    only_read,
    spec_of,
)
from tailorbird.terminal import one_line
from tailorbird.yaml_text import write_yaml

HUB_METRICS = {"macro_f1": "f1", "mcc": "matthews_correlation", "rouge_l": "rouge"}
WEAK = 0.15  # a class this far below macro-F1 gets a warning
FEW = 10  # fewer test texts say little about a class


def model_card(report: Report, arm: ArmReport) -> str:
    """Return a Hugging Face model card with YAML front matter.

    The license is left out: it depends on those of the base model and the data, which only the user
    can judge.
    """
    report, arm = without_places(report, report), without_places(report, arm)
    parts = [
        _front_matter(report, arm),
        f"# {_title(report, arm)}\n",
        _summary(report, arm),
        _scores(report, arm),
        _limits(report, arm),
        how_to_use(report, arm),
        _data(report),
        _lines("Settings", _settings(report, arm)),
        _lines("Versions and machine", flatten(report.environment)),
        _reproduce(report),
    ]
    return "\n".join(part for part in parts if part)


def _title(report: Report, arm: ArmReport) -> str:
    return f"{_line(arm.name)} on {_line(_dataset(report))}"


def _dataset(report: Report) -> str:
    """Return the data's file name, since its path describes only the author's disk."""
    source = report.data.source
    return PurePath(source.replace("\\", "/")).name or source or "custom data"


def _front_matter(report: Report, arm: ArmReport) -> str:
    method = method_of(arm)
    front: dict[str, Any] = {"library_name": library_of(arm)}
    if is_on_hub(report):
        front["base_model"] = base_name(report)
    front["pipeline_tag"] = spec_of(report).pipeline[0]
    front["tags"] = ["tailorbird", method]
    if arm.test:
        front["metrics"] = sorted({HUB_METRICS.get(name, name) for name, _ in model_scores(arm)})
        front["model-index"] = [_model_index(report, arm)]
    return f"---\n{write_yaml(front)}---\n"


def _model_index(report: Report, arm: ArmReport) -> dict[str, Any]:
    name = _dataset(report)
    kind, words = spec_of(report).pipeline
    return {
        "name": f"{arm.name}-{PurePath(name).stem}",
        "results": [
            {
                "task": {"type": kind, "name": words},
                "dataset": {"type": "custom", "name": name, "split": "test"},
                "metrics": [
                    {
                        "type": HUB_METRICS.get(metric, metric),
                        "name": label(report, metric),
                        "value": round(score.value, 6),
                    }
                    for metric, score in model_scores(arm)
                ],
            }
        ],
    }


def _summary(report: Report, arm: ArmReport) -> str:
    data = report.data
    name = headline_metric(report)
    rows = f"training {'pair' if spec_of(report).prompts else noun(report)}"
    words = [
        f"{_purpose(report)} Made from {_line(base_name(report)) or 'an unnamed base model'} by "
        f"{_line(method_of(arm))} with tailorbird, on "
        f"{display.plural(data.counts.get('train', 0), rows)}."
    ]
    if arm.status != "ok":
        words.append(f"**This run {arm.status}: {_line(arm.why) or 'no reason was recorded'}.**")
    elif name in arm.test:
        tests = display.plural(answered(report), f"test {noun(report)}")
        own = dict(model_scores(arm))[name]
        reach = display.metric_range(name, own)
        interval = f" (95 % interval {reach})" if reach else ""
        value = display.metric(name, own.value)
        words.append(
            f"{_line(label(report, name))} on {tests} it never saw: **{value}**{interval}."
        )
        if arm.model_test:
            words.append(_of_method(name, arm))
    return " ".join(words) + "\n"


def _of_method(name: str, arm: ArmReport) -> str:
    """Return the scores of training again, beside those of this model."""
    value = display.metric(name, arm.test[name].value)
    times = display.plural(max(1, len(arm.seeds)), "training")
    return (
        f"This is the score of the saved model; the mean of the same method over {times} is "
        f"{value} (95 % interval {display.metric_range(name, arm.test[name])})."
    )


def _purpose(report: Report) -> str:
    names = ", ".join(_line(name) for name in report.data.labels[:5])
    several = "a number" if len(report.data.labels) == 1 else "numbers"
    facts = {"count": _count(report), "data": _line(_dataset(report))}
    facts |= {"noun": noun(report), "what": f"{noun(report)}s", "numbers": f"{several}: {names}"}
    return spec_of(report).purpose.format(**facts)


def _count(report: Report) -> str:
    return display.plural(len(report.data.labels), *spec_of(report).label)


def _scores(report: Report, arm: ArmReport) -> str:
    if not arm.test:
        return ""
    rows = [
        f"| {_line(label(report, name))} | {display.metric(name, score.value)} "
        f"| {display.metric_range(name, score) or display.ABSENT} |"
        for name, score in model_scores(arm)
    ]
    table = "\n".join(["| Test score | Value | 95 % interval |", "|---|---:|---:|", *rows])
    cost = arm.cost
    costs = [
        f"- {what}: {value}"
        for what, value in (
            ("Training", display.duration(cost.train_seconds)),
            ("Search for settings", display.duration(cost.search_seconds)),
            ("Peak memory", display.size(cost.peak_memory_bytes)),
            ("Trained parameters", _trained(arm)),
            (f"Time per {noun(report)}", display.milliseconds(cost.predict_ms_per_example)),
            ("On disk", display.size(cost.artifact_bytes)),
        )
        if value != display.ABSENT
    ]
    parts = ["## Scores and costs\n", table, ""]
    if only_read(report):
        every = display.plural(only_read(report), f"test {noun(report)}")
        parts += [f"Loss and perplexity are of all {every}.", ""]
    parts += [*costs, ""] if costs else []
    parts += [captions.reload(arm.reload), ""] if arm.reload else []
    return "\n".join(parts)


def _trained(arm: ArmReport) -> str:
    part, whole = arm.cost.trainable_parameters, arm.cost.total_parameters
    share = display.share_of(part, whole)
    return display.count(part) + (f" of {display.count(whole)} ({share})" if share else "")


def _limits(report: Report, arm: ArmReport) -> str:
    name = _line(_dataset(report))
    limits = [
        f"- Meant for {noun(report)}s like those of {name}; its scores say nothing about other "
        f"{noun(report)}s, other languages or later times.",
        f"- {spec_of(report).caveat.format(count=_count(report))}",
        *_forgotten(arm),
        *_weak_classes(arm),
        *_caption_lines(report, arm),
        *(
            f"- In the data: {_line(f.message)}"
            for f in report.data.findings
            if f.level == "warning"
        ),
    ]
    return "\n".join(["## Intended use and limits\n", *limits, ""])


def _forgotten(arm: ArmReport) -> list[str]:
    loss = arm.forgetting
    if loss is None:
        return []
    before, after = captions.perplexity(loss.before), captions.perplexity(loss.after)
    return [
        f"- Forgetting: its perplexity on {_line(loss.source)} went from {before} to {after} "
        f"({captions.forgotten_change(loss)}). {captions.forgetting(loss)}"
    ]


def _weak_classes(arm: ArmReport) -> list[str]:
    if not arm.per_class:
        return []
    mean = sum(row.f1.value for row in arm.per_class) / len(arm.per_class)
    ranked = sorted(arm.per_class, key=lambda row: row.f1.value)
    weak = [row for row in ranked if row.f1.value < mean - WEAK and row.support >= FEW]
    few = [row for row in ranked if row.support < FEW]
    lines = []
    if weak:
        names = "; ".join(f"{_line(r.label)} (F1 {display.decimal(r.f1.value)})" for r in weak[:5])
        lines.append(f"- Clearly weaker than the rest: {names}.")
    if few:
        names = ", ".join(_line(row.label) for row in few[:8]) + (", ..." if len(few) > 8 else "")
        how_many = display.plural(len(few), "class", "classes")
        lines.append(f"- {how_many} had fewer than {FEW} test texts, too few to judge: {names}.")
    return lines


def _caption_lines(report: Report, arm: ArmReport) -> list[str]:
    lines = []
    if confused_pairs(report.data.labels, arm.confusion, most=1):
        lines.append(f"- {_line(captions.confusion(arm, report.data.labels))}")
    if words := captions.calibration(arm):
        lines.append(f"- Confidence: {words}")
    return lines


def _data(report: Report) -> str:
    data = report.data
    counts = ", ".join(f"{part} {count:,}" for part, count in data.counts.items())
    labels = ", ".join(_line(label) for label in data.labels[:30])
    more = f" and {len(data.labels) - 30} more" if len(data.labels) > 30 else ""
    lines = [
        f"{_line(_dataset(report))}: {counts}{f' ({_line(data.how)})' if data.how else ''}.",
        "",
    ]
    if data.form:
        lines += [f"The rows were {_line(data.form)}.", ""]
    if labels:
        lines += [f"{spec_of(report).label[1].capitalize()}: {labels}{more}.", ""]
    return "\n".join(["## What it was trained on\n", *lines])


def _lines(title: str, lines: list[tuple[str, str]]) -> str:
    if not lines:
        return ""
    rows = [f"| {_line(key)} | {_line(value)} |" for key, value in lines]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *rows, ""])


def _settings(report: Report, arm: ArmReport) -> list[tuple[str, str]]:
    """Return the run's settings, overridden by the arm's own."""
    return list((dict(flatten(report.settings)) | dict(flatten(arm.settings))).items())


def _reproduce(report: Report) -> str:
    if not report.command:
        return ""
    command = one_line(report.command)
    fence = max(_TICKS.findall(command), key=len, default="``") + "`"
    return "\n".join(["## Reproduce\n", f"{fence}bash", command, fence, ""])


_TICKS = re.compile("```+")
# Signs of Markdown, HTML and formulas, and of text that becomes a link without signs.
_SIGNS = re.compile(r"[\\|<`*_\[\]~&$]|(?<=\w):(?=//)|(?<=www)\.|^[#>+=-]|(?<=^\d)[.)]")


def _line(words: str) -> str:
    """Put a user's text on one line, with Markdown signs escaped."""
    return _SIGNS.sub(r"\\\g<0>", one_line(" ".join(words.split())))
