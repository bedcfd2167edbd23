import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from sample import sample_report

from tailorbird.records import (
    ArmReport,
    DataSummary,
    Finding,
    Neighbour,
    ReloadCheck,
    Report,
    Score,
    TuningSections,
    Verdict,
    WrongExample,
    report_from_json,
)  # fmt: skip
from tailorbird.report.comparison_page import render_page
from tailorbird.report.page_template import TEMPLATES

VOID = {"meta", "link", "input", "br", "hr", "img"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}"


class Checker(HTMLParser):
    """Reads a page as a browser would, and keeps what a test wants to know."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


def read(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def words(page: str) -> str:
    return " ".join(" ".join(read(page).words).replace("\u00a0", " ").split())


def hostile_report() -> Report:
    """Every text a user or a library can put into a report says something nasty."""
    near = (Neighbour(HOSTILE, HOSTILE, 0.9, 1),)
    base = sample_report(failed=True)
    arms = tuple(
        replace(
            arm,
            name=f"{arm.name}{HOSTILE}",
            why=HOSTILE,
            notes=(HOSTILE,),
            run=HOSTILE,
            settings={HOSTILE: HOSTILE},
            errors=(WrongExample(1, HOSTILE, HOSTILE, HOSTILE, 0.9, near),),
            per_class=tuple(replace(row, label=HOSTILE) for row in arm.per_class),
            reload=ReloadCheck(False, 1, 1.0, HOSTILE),
        )
        for arm in base.arms
    )
    data = replace(
        base.data,
        source=HOSTILE,
        how=HOSTILE,
        columns={HOSTILE: HOSTILE},
        labels=(HOSTILE,) * len(base.data.labels),
        class_counts={HOSTILE: {"train": 1}},
        findings=(Finding("x", "warning", HOSTILE, 1, (HOSTILE,)),),
    )
    verdict = Verdict(arms[7].name, arms[4].name, (), HOSTILE)
    return replace(
        base, arms=arms, sections=TuningSections(data), verdict=verdict,
        model=HOSTILE, command=HOSTILE, created=HOSTILE,
        environment={HOSTILE: HOSTILE}, settings={HOSTILE: HOSTILE},
        comparisons=tuple(
            replace(pair, a=f"{pair.a}{HOSTILE}", b=f"{pair.b}{HOSTILE}", test=HOSTILE)
            for pair in base.comparisons
        ),
    )  # fmt: skip


BARE = Report(
    kind="compare",
    sections=TuningSections(DataSummary("x.csv", {}, (), {}, {}, "")),
    arms=(ArmReport("lora", "failed", "no memory"), ArmReport("full", "skipped")),
    verdict=Verdict(None, None, (), "Nothing to recommend."),
)


@pytest.mark.parametrize(
    "each",
    [
        sample_report(),
        sample_report(classes=77),
        sample_report(failed=True, seeds=3),
        sample_report(kind="tune"),
        hostile_report(),
        BARE,
        replace(BARE, arms=BARE.arms[:1], kind="tune"),
        replace(BARE, arms=(ArmReport("lora", "ok", test={"rmse": Score(1.0, 0.9, 1.1)}),)),
        replace(BARE, arms=()),
    ],
    ids=["compare", "77", "failed", "tune", "hostile", "bare", "bare-tune", "rmse", "no-arms"],
)
def test_every_page_is_well_formed_and_loads_nothing(each: Report) -> None:
    page = render_page(each)
    checker = read(page)
    for tag, attributes in checker.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")  # type: ignore[union-attr]
    assert not re.search(r"https?://|url\(|@import|//cdn", page.replace(HOSTILE, ""))
    ids = [a["id"] for _, a in checker.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"].lstrip("#") for _, a in checker.tags if a.get("href")}  # type: ignore[union-attr]
    assert links <= set(ids)
    labelled = {a["aria-labelledby"] for _, a in checker.tags if "aria-labelledby" in a}
    assert labelled <= set(ids)


def test_policy_forbids_the_network(page: str) -> None:
    policy = next(a["content"] for t, a in read(page).tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy


def test_hostile_text_stays_text() -> None:
    page = render_page(hostile_report())
    assert "<script>alert" not in page
    assert "<img" not in page
    assert [tag for tag, _ in read(page).tags if tag == "script"] == ["script"]
    assert words(page).count("<script>alert(1)</script>") > 30
    assert "{{ 7 * 7 }}" in words(page)


def test_every_arm_has_its_row_tab_and_section(troubled: Report) -> None:
    page = render_page(troubled)
    tags = read(page).tags
    panels = [a["id"] for t, a in tags if t == "article"]
    radios = [a["value"] for t, a in tags if t == "input"]
    assert panels == radios
    assert len(panels) == len(troubled.arms)
    assert sum("checked" in a for t, a in tags if t == "input") == 1
    assert all(words(page).count(arm.name) >= 3 for arm in troubled.arms)
    assert "out of memory at step 3" in page


def test_verdict_comes_first_and_the_command_last(page: str) -> None:
    first = page[: page.index("</article>")] + page[page.rindex("</article>") :]
    headings = [re.sub("<.*?>", "", words) for words in re.findall(r"<h[1-4].*?</h[1-4]>", first)]
    assert headings == [
        "Use lora",
        "Comparison", "Is the best really better?",
        "Each arm", "lora recommended", "Learning", "Confusion", "By class", "Calibration",
        "Wrong answers, most confident first", "Seeds", "Saved run",
        "Data", "Checks", "Reproduce",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "number",
    [
        "88.7 %", "85.1–92.3", "0.875",  # accuracy, its interval, macro-F1
        "1 min 20 s", "3 min 18 s", "4 min 38 s",  # train, search, both
        "702 MB", "412 MB", "1.2 M", "5.2 %", "22.7 M", "100 %", "5.1 ms", "4.7 MB", "118 /s",
        "14.2 k /s", "−0.7", "< 0.001", "35 min 43 s", "2 October 2026, 14:31 UTC",
        "identical on 200 examples, max difference 0.",
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(page: str, number: str) -> None:
    assert number in words(page)


def test_numbers_and_units_do_not_part(page: str) -> None:
    body = page[page.index("<main") : page.index('id="again"')]
    body = re.sub(r"<svg.*?</svg>", "", body)  # text there never breaks
    assert not re.search(r">\s*[\d.,]+ (%|MB|ms|s|min)<", body)


def test_all_figures_are_there(report: Report, page: str) -> None:
    pictures = [a for t, a in read(page).tags if t == "svg"]
    trained = [arm for arm in report.arms if arm.curve]
    assert len(pictures) == 2 + 2 * len(trained) + len(report.arms)
    assert all(a.get("role") == "img" and a.get("aria-label") for a in pictures)
    assert page.count('<table class="heat">') == len(report.arms)
    assert page.count("<figure") == page.count("<figcaption")


def test_many_classes_are_listed_as_pairs() -> None:
    page = render_page(sample_report(classes=77))
    assert 'class="heat"' not in page
    assert "Most confused" in page
    assert "The other 62 classes" in page


def test_size_of_a_large_report() -> None:
    report = sample_report(classes=77, seeds=3)
    long = tuple(
        replace(arm, errors=tuple(replace(e, text=e.text * 40) for e in arm.errors))
        for arm in report.arms
    )
    assert len(render_page(report).encode()) < 700_000
    assert len(render_page(replace(report, arms=long)).encode()) < 1_500_000


def test_long_texts_are_cut(report: Report) -> None:
    error = WrongExample(1, "word " * 5000, "a", "b", 0.999)
    page = render_page(replace(report, arms=(replace(report.arms[4], errors=(error,)),)))
    assert "word…" in page
    assert page.count("word") < 400


def test_surest_mistakes_come_first(report: Report) -> None:
    errors = tuple(WrongExample(i, f"text-{i}", "a", "b", c) for i, c in enumerate((0.2, 0.9, 0.5)))
    page = render_page(replace(report, arms=(replace(report.arms[4], errors=errors),)))
    assert page.index("text-1") < page.index("text-2") < page.index("text-0")


def test_the_same_mistake_is_shown_once(report: Report) -> None:
    first = report.arms[0]
    twice = replace(first, errors=(*first.errors[:1], replace(first.errors[0], row=9999)))
    page = render_page(replace(report, arms=(twice,)))
    assert f"row {first.errors[0].row}<" in page
    assert "row 9999<" not in page


def test_one_run_says_what_no_learning_would_reach() -> None:
    counts = {"ham": {"train": 90, "test": 6}, "spam": {"train": 10, "test": 2}}
    data = DataSummary("x.csv", {}, ("ham", "spam"), {"train": 100, "test": 8}, counts, "")
    one = Report(
        kind="tune",
        sections=TuningSections(data),
        arms=(ArmReport("lora", "ok", test={"accuracy": Score(0.9, 0.8, 1.0)}),),
        verdict=Verdict("lora", "lora", (), "lora is 90.0 % right."),
    )  # fmt: skip
    assert "Always answering ham, the most frequent label, would be 75.0 % right." in words(
        render_page(one)
    )


def test_tune_has_no_comparison() -> None:
    page = render_page(sample_report(kind="tune"))
    assert "comparison" not in words(page).lower()
    assert 'type="radio"' not in page
    assert "Learning" in page


def test_nothing_finished() -> None:
    said = words(render_page(BARE))
    assert "No arm finished" in said
    assert "lora failed: no memory" in said
    assert "full skipped: no reason was recorded" in said
    assert "95 % interval;" not in said


def test_right_to_left_and_emoji_texts(report: Report) -> None:
    error = WrongExample(1, "مرحبا 🙂", "פלט", "b", 0.9)
    page = render_page(replace(report, arms=(replace(report.arms[4], errors=(error,)),)))
    assert '<p class="text" dir="auto">مرحبا 🙂</p>' in page
    assert "<bdi>פלט</bdi>" in page


def test_a_report_read_back_gives_the_same_page(report: Report, page: str) -> None:
    assert render_page(report_from_json(report.to_json())) == page


def test_a_failed_reload_is_told(report: Report) -> None:
    check = ReloadCheck(False, 200, 0.03, "The head was lost.")
    page = render_page(replace(report, arms=(replace(report.arms[4], reload=check),)))
    assert '<p class="why">Reloaded in a fresh process: NOT identical' in page


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [c / 255 for c in colour]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def themes() -> list[dict[str, tuple[float, ...]]]:
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r":root \{(.*?)\}", css, re.S)[:2]:
        pairs = re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6}|\d+, \d+, \d+);", block)
        found.append({name: colour(value) for name, value in pairs})
    return found


def colour(value: str) -> tuple[float, ...]:
    if value.startswith("#"):
        return tuple(int(value[i : i + 2], 16) for i in (1, 3, 5))
    return tuple(float(part) for part in value.split(","))


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
def test_text_can_be_read_in_both_themes(theme: dict[str, tuple[float, ...]]) -> None:
    for name in ("ink", "quiet", "accent", "warn"):
        assert contrast(theme[name], theme["paper"]) >= 4.5, name
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    shades = re.findall(r"\.heat \.([rw])(\d) \{ background: rgba\(var\(--(\w+)\), ([\d.]+)\)", css)
    assert len(shades) == 18
    for _, level, name, alpha in shades:
        mixed = zip(theme[name], theme["paper"], strict=True)
        ground = tuple(float(alpha) * a + (1 - float(alpha)) * b for a, b in mixed)
        text = theme["paper"] if int(level) >= 6 else theme["ink"]
        assert contrast(text, ground) >= 4.5, (name, level)


def test_each_training_of_an_arm_is_a_ring() -> None:
    """In the picture, wide and narrow, and in the table; what lies beyond an axis is left out."""
    report = sample_report(seeds=3)
    page = render_page(report)
    arm = next(a for a in report.arms if len(a.seeds) == 3)
    for seed in arm.seeds:
        title = f"{arm.name}, seed {seed.seed}: {100 * seed.test['accuracy']:.1f}"
        assert page.count(title) in (0, 2)
    rings = page.count('class="training ')
    assert 0 < rings <= 2 * sum(len(a.seeds) for a in report.arms)
    assert "A small ring is one training" in page
    once = render_page(sample_report())
    assert 'class="training ' not in once
    assert "small ring" not in once
