import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tailorbird.records import (
    ArmReport,
    ClassScore,
    DataSummary,
    Report,
    Score,
    Target,
    TuningSections,
)
from tailorbird.report.model_card import method_of, model_card


def front(card: str) -> dict[str, Any]:
    head, _, _ = card.removeprefix("---\n").partition("\n---\n")
    found = yaml.safe_load(head)
    assert isinstance(found, dict)
    return found


def named(report: Report, name: str) -> ArmReport:
    return next(arm for arm in report.arms if arm.name == name)


@pytest.fixture
def card(report: Report) -> str:
    return model_card(report, named(report, "lora"))


def test_front_matter(report: Report, card: str) -> None:
    head = front(card)
    assert head["library_name"] == "peft"
    assert head["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert head["pipeline_tag"] == "text-classification"
    assert head["metrics"] == ["accuracy", "ece", "f1", "log_loss"]
    assert "license" not in head
    (result,) = head["model-index"][0]["results"]
    assert result["task"]["type"] == "text-classification"
    assert result["dataset"]["name"] == "bugs.csv"
    values = {line["type"]: line["value"] for line in result["metrics"]}
    assert values["accuracy"] == pytest.approx(
        named(report, "lora").test["accuracy"].value, abs=1e-6
    )


def test_scores_have_intervals(card: str) -> None:
    assert "| Accuracy | 88.7 % | 85.1–92.3 |" in card
    assert "**88.7 %** (95 % interval 85.1–92.3)" in card


def test_limits_come_from_the_evidence(card: str) -> None:
    limits = card[card.index("## Intended use and limits") : card.index("## How to use it")]
    assert "4 test examples also stood in the training part" in limits
    assert "longer than 256 tokens" not in limits  # a note, no warning
    assert "Most frequent error: off\\_by\\_one predicted as" in limits
    assert "overconfident" in limits


def test_weak_and_thin_classes_are_named(report: Report) -> None:
    rows = [
        ("good", 0.9, 50),
        ("fine", 0.9, 50),
        ("fair", 0.88, 50),
        ("weak", 0.4, 50),
        ("thin", 1.0, 3),
    ]
    arm = replace(
        named(report, "lora"),
        per_class=tuple(ClassScore(n, f, f, Score(f, f, f), s) for n, f, s in rows),
    )
    card = model_card(report, arm)
    assert "Clearly weaker than the rest: weak (F1 0.400)." in card
    assert "1 class had fewer than 10 test texts, too few to judge: thin." in card


@pytest.mark.parametrize(
    ("name", "library", "expected"),
    [
        (
            "full",
            "transformers",
            'pipeline("text-classification", model="runs/compare/full/model")',
        ),
        ("lora", "peft", 'PeftModel.from_pretrained(base, "runs/compare/lora/model")'),
        ("qlora", "peft", "load_in_4bit=True"),
        ("prompt", "peft", "num_labels=12"),
        ("adapter", "tailorbird", None),
        ("rag", "tailorbird", None),
    ],
)
def test_how_to_load(report: Report, name: str, library: str, expected: str | None) -> None:
    card = model_card(report, named(report, name))
    assert front(card)["library_name"] == library
    assert f'tailor predict runs/compare/{name} "a text"' in card
    snippets = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(snippets) == (1 if expected else 0)
    for snippet in snippets:
        ast.parse(snippet)
        assert expected is not None and expected in snippet


def test_base_model_only_when_it_is_a_hub_id(report: Report) -> None:
    arm = named(report, "lora")
    for local in ("/models/mine", "./mine", "~/mine", "a/b/c", ""):
        assert "base_model" not in front(model_card(replace(report, model=local), arm)), local
    hub = front(model_card(replace(report, model="FacebookAI/roberta-base"), arm))
    assert hub["base_model"] == "FacebookAI/roberta-base"


def test_path_of_the_data_is_not_told(report: Report) -> None:
    far = replace(
        report,
        sections=TuningSections(replace(report.data, source="/data/someone/secret/mail.csv")),
    )
    card = model_card(replace(far, command=""), named(report, "lora"))
    assert "someone" not in card
    assert "mail.csv" in card


def test_user_words_cannot_break_the_card(report: Report) -> None:
    nasty = "a | b\n# heading <script> `x` : - [ ] '\""
    arm = replace(named(report, "lora"), name=nasty, settings={"k": nasty})
    data = replace(report.data, labels=(nasty, *report.data.labels[1:]), source=f"{nasty}.csv")
    card = model_card(replace(report, sections=TuningSections(data)), arm)
    assert front(card)["model-index"][0]["name"].startswith(nasty)
    body = card[card.index("\n---\n") :]
    assert "\n# heading" not in body
    assert "<script>" not in body.replace("\\<script>", "")
    for line in body.splitlines():
        if line.startswith("| k |"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3


HOSTILE_LABELS = [
    "![photo](http://127.0.0.1:9/seen.png)",
    "[click](http://evil.example)",
    "<img src=x onerror=alert(1)>",
    "[ref]: http://evil.example",
    "<http://evil.example>",
    "`code` *bold* _it_ ~~gone~~",
    "# title",
    "- item",
    "1. item",
    "> quote",
    "a | b",
    "&lt;b&gt; &#91;x&#93;(y)",
    "back\\[slash](x)",
]


@pytest.mark.parametrize("words", HOSTILE_LABELS)
def test_a_strangers_words_are_words_in_the_card(report: Report, words: str) -> None:
    """Rendered by another library, each label stands there as it is, and nothing is loaded."""
    from html import unescape

    from markdown_it import MarkdownIt

    render = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render
    plain = card_of(report, "label")
    card = card_of(report, words)
    page = render(card[card.index("\n---\n") + 5 :])
    assert words in unescape(re.sub("<[^>]*>", "", page))
    for tag in ("<img", "<a ", "<s>", "<em>", "<strong>", "<h1", "<li", "<blockquote", "<td"):
        assert page.count(tag) == render(plain[plain.index("\n---\n") + 5 :]).count(tag), tag


def card_of(report: Report, words: str) -> str:
    """Return the card of a report whose labels, data, settings and reasons say `words`."""
    lora = named(report, "lora")
    classes = tuple(replace(row, label=f"{words} {i}") for i, row in enumerate(lora.per_class))
    arm = replace(lora, per_class=classes, settings={"method": {"name": "lora"}, "k": words})
    labels = tuple(f"{words} {i}" for i in range(len(report.data.labels)))
    data = replace(report.data, labels=labels, how=words, form=words, source=f"{words}.csv")
    return model_card(
        replace(report, sections=TuningSections(data), command=f"tailor tune x ```\n{words}"), arm
    )


def test_a_bare_address_is_not_made_a_link(report: Report) -> None:
    card = card_of(report, "http://evil.example www.evil.example")
    body = card[card.index("\n---\n") : card.index("## Reproduce")]
    assert "evil" in body and "http://evil" not in body and "www.evil" not in body


def test_settings_of_the_arm_win(report: Report) -> None:
    arm = replace(named(report, "lora"), settings={"train": {"epochs": 3}})
    card = model_card(report, arm)
    assert "| train.epochs | 3 |" in card
    assert "| train.batch\\_size | 32 |" in card


def test_a_failed_run_says_so() -> None:
    data = DataSummary("x.csv", {}, (), {}, {}, "")
    arm = ArmReport("lora", "failed", "no memory")
    report = Report(kind="tune", sections=TuningSections(data), arms=(arm,))
    card = model_card(report, arm)
    assert "**This run failed: no memory.**" in card
    assert "metrics" not in front(card)
    assert "Scores" not in card


@pytest.mark.parametrize(
    ("settings", "method"),
    [({"method": {"name": "lora"}}, "lora"), ({"method": "full"}, "full"), ({}, "arm")],
)
def test_method_of(settings: dict[str, Any], method: str) -> None:
    assert method_of(ArmReport("arm", "ok", settings=settings)) == method


@pytest.mark.parametrize(("bits", "expected"), [(8, "load_in_8bit"), (4, "load_in_4bit")])
def test_quantisation_is_the_one_trained_on(report: Report, bits: int, expected: str) -> None:
    arm = replace(named(report, "qlora"), settings={"method": {"name": "qlora", "bits": bits}})
    assert expected in model_card(report, arm)


def test_hub_names_are_those_of_the_models() -> None:
    from tailorbird.models.builtin import HUB_NAMES as TRUTH
    from tailorbird.report.model_card import HUB_NAMES

    assert HUB_NAMES == TRUTH


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora", "prompt"])
def test_snippet_gives_the_same_logits(report: Report, name: Any, tmp_path: Path) -> None:
    import torch

    from tailorbird.config.schema import Config, MethodConfig
    from tailorbird.methods.registry import get_method
    from tailorbird.models.builtin import resolve
    from tailorbird.models.classifier import load_classifier
    from tailorbird.models.device import choose

    config, method = Config(method=MethodConfig(name=name)), get_method(name)
    base = load_classifier(config.model, Target(labels=report.data.labels), choose("cpu", "fp32"))
    model = method.attach(base, config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.add_(0.05 * torch.randn_like(weights))
    method.save(model, tmp_path / "model")
    base.tokenizer.save_pretrained(tmp_path / "model")
    card = model_card(report, replace(named(report, name), run=str(tmp_path)))
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.S)
    found: dict[str, Any] = {}
    exec(
        snippet.replace("sentence-transformers/all-MiniLM-L6-v2", resolve("builtin:minilm")), found
    )
    expected = model(**base.tokenizer("a text", return_tensors="pt")).logits
    assert torch.equal(found["logits"], expected)
