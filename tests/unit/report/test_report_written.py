"""What the page shows of written answers, and that labels are shown as before."""

import re
from dataclasses import replace

import pytest
from sample import sample_report
from sample_written import ASKED, FORGOTTEN, written_report
from test_report_page import HOSTILE, contrast, read, themes, words

from tailorbird.records import (
    Forgetting,
    Neighbour,
    Piece,
    Report,
    Score,
    TuningSections,
    Verdict,
    WrittenAnswer,
    report_from_json,
)
from tailorbird.report import answer_samples, captions
from tailorbird.report.arm_plots import accuracy_curve
from tailorbird.report.comparison_page import render_page
from tailorbird.report.cost_plot import cost_scatter
from tailorbird.report.report_facts import (
    answered,
    headline_metric,
    label,
    score_domain,
    second_metric,
)


@pytest.fixture(scope="module")
def report() -> Report:
    return written_report(seeds=3)


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render_page(report)


def hostile() -> Report:
    base = written_report()
    bad = WrittenAnswer(1, HOSTILE, HOSTILE, HOSTILE, 0.5, 1.0, (Neighbour(HOSTILE, HOSTILE, 0.5),))
    arms = tuple(
        replace(
            arm, name=f"{arm.name}{HOSTILE}", answers=(bad,), worst=(bad,),
            forgetting=Forgetting(1, 2, 3, HOSTILE), settings={HOSTILE: HOSTILE},
        )
        for arm in base.arms
    )  # fmt: skip
    shown = ((Piece(HOSTILE, False), Piece(HOSTILE, True)),)
    data = replace(base.data, form=HOSTILE, shown=shown)
    return replace(
        base,
        arms=arms,
        sections=TuningSections(data),
        verdict=Verdict(arms[7].name, None, (), HOSTILE),
    )


@pytest.mark.parametrize(
    "each",
    [
        written_report(seeds=3),
        written_report(failed=True),
        written_report(only="lora", seeds=2),
        written_report(headline="perplexity"),
        written_report(headline="exact_match"),
        replace(
            written_report(),
            sections=TuningSections(replace(written_report().data, task="text", shown=())),
        ),
        hostile(),
    ],
    ids=["compare", "failed", "tune", "perplexity", "exact", "text", "hostile"],
)
def test_every_page_is_well_formed_and_loads_nothing(each: Report) -> None:
    page = render_page(each)
    checker = read(page)
    for tag, attributes in checker.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")  # type: ignore[union-attr]
    assert not re.search(r"https?://|url\(|@import", page.replace(HOSTILE, ""))
    ids = [a["id"] for _, a in checker.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"].lstrip("#") for _, a in checker.tags if a.get("href")} <= set(ids)  # type: ignore[union-attr]
    assert "nan" not in words(page).lower().split()


def test_hostile_text_stays_text() -> None:
    page = render_page(hostile())
    assert "<script>alert" not in page
    assert "<img" not in page
    assert words(page).count("alert(1)") > 30


def test_sections_in_reading_order(page: str) -> None:
    first = page[: page.index("</article>", page.index('id="arms"'))]
    first += page[page.rindex('<section id="trained-on"') :]
    headings = [re.sub("<.*?>", "", text) for text in re.findall(r"<h[1-4].*?</h[1-4]>", first)]
    assert headings == [
        "Use full",
        "Comparison", "Is the best really better?", "What was forgotten",
        "Side by side",
        "Each arm", "full recommended, best", "Learning", "Worst answers", "What was forgotten",
        "Seeds", "Saved run",
        "What the model is trained on", "Data", "Checks", "Reproduce",
    ]  # fmt: skip


def test_nothing_of_labels_is_shown(page: str) -> None:
    said = words(page)
    for absent in (
        "Confusion",
        "Calibration",
        "By class",
        "Classes",
        "macro-F1",
        "most confident first",
    ):
        assert absent not in said, absent
    assert "test texts" not in said


@pytest.mark.parametrize(
    "number",
    [
        "0.574", "0.550–0.598", "2.974", "22.4 %", "20.6–24.2", "token F1 on 300 test prompts",
        "Validation next-token accuracy 71.0 %", "to answer one prompt", "Test token F1",
        "test token F1 varied by 0.0", "the rows are instruction, input, output (Alpaca)",
        "Answered 300", "went from 10.1 to 16.5 (+63.9 %)",
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(page: str, number: str) -> None:
    assert number in words(page)


def test_labels_are_shown_as_before() -> None:
    page = render_page(sample_report(seeds=3))
    said = words(page)
    for part in ("Side by side", "What was forgotten", "trained on", "test prompt", "token F1"):
        assert part not in said, part
    assert ".agrees" not in page
    for part in (
        "Test macro-F1", "Validation accuracy", "accuracy on 300 test texts it never saw",
        "Per text", "to answer one text", "answering 10,000 texts together",
        "on the same test texts, in percentage points, with", "With only the seed changed, "
        "test accuracy varied by", "Higher is better, further left is cheaper",
    ):  # fmt: skip
        assert part in said, part


def test_base_and_the_recommended_arm_stand_side_by_side(report: Report) -> None:
    rows = answer_samples.side_by_side(report)
    assert [row.prompt for row in rows] == [asked.prompt for asked in ASKED]
    for row in rows:
        assert [cell.arm for cell in row.first] == ["base", "full"]
        assert len(row.others) == len(report.arms) - 2
        assert [c.arm for c in row.others][:2] == ["rag+lora", "lora"]  # best first


def test_leading_arms_without_a_base_or_with_it_recommended(report: Report) -> None:
    assert answer_samples.leading(replace(report, verdict=Verdict("full", "base", (), ""))) == [
        "base",
        "full",
    ]
    arms = tuple(arm for arm in report.arms if arm.name != "base")
    assert answer_samples.leading(replace(report, arms=arms)) == ["full", "rag+lora"]
    one = written_report(only="lora")
    assert answer_samples.leading(one) == ["lora"]
    assert all(row.others == [] for row in answer_samples.side_by_side(one))


def test_only_what_folds_is_folded(page: str) -> None:
    section = page[page.index('<section id="answers"') : page.index('<section id="arms"')]
    visible = section[: section.index('<details class="more">')]
    visible = re.sub(r"<details.*?</details>", "", visible, flags=re.S) + "</section>"
    assert words(visible).count("Reference") == 4
    assert "The code defines a function called mean" in words(visible)
    assert "<details open" not in section
    assert "2 more prompts" in words(section)
    assert "7 other arms: rag+lora 0.98" in words(section)


def test_empty_answers_are_named(report: Report) -> None:
    (cell,) = [c for r in answer_samples.side_by_side(report) for c in r.first if not c.output]
    assert cell.arm == "base"
    assert "Nothing was written." in render_page(report)


def test_arms_without_a_row_are_left_out(report: Report) -> None:
    lora = next(arm for arm in report.arms if arm.name == "lora")
    full = next(arm for arm in report.arms if arm.name == "full")
    some = replace(report, arms=(full, replace(lora, answers=lora.answers[1:])))
    first, second = answer_samples.side_by_side(some)[:2]
    assert [c.arm for c in first.first] == ["full"]
    assert [c.arm for c in second.first] == ["full", "lora"]


@pytest.mark.parametrize(
    ("output", "reference", "marked"),
    [
        ("Add return to the function", "Please add return there", ["Add return"]),
        ("the cat", "the dog", []),  # one short word says nothing
        ("a basket here", "one basket there", ["basket"]),
        ("x = 1, so n > 0", "so n > 0", ["so n > 0"]),
        ("first, so then", "last, so then", ["so then"]),  # no comma at the edge
        ("same words", "same words", ["same words"]),
        ("", "anything", []),
        ("überall Größe", "ÜBERALL größe", ["überall Größe"]),
    ],
)
def test_agreement(output: str, reference: str, marked: list[str]) -> None:
    stretches = answer_samples.agreement(output, reference)
    assert "".join(s.text for s in stretches) == output
    assert [s.text for s in stretches if s.agrees] == marked


def test_scores_of_shares_are_right_or_wrong() -> None:
    report = written_report(headline="exact_match")
    cells = [c for row in answer_samples.side_by_side(report) for c in (*row.first, *row.others)]
    assert {cell.score for cell in cells} <= {"right", "wrong"}
    assert "Right and wrong are by exact match" in words(render_page(report))


def test_trained_and_ignored_parts(report: Report) -> None:
    first = answer_samples.shown_examples(report)[0]
    assert "".join(b.text for b in first.bits) == "".join(p.text for p in report.data.shown[0])
    assert "".join(b.text for b in first.bits if b.trained) == ASKED[2].reference + "<|im_end|>"
    assert [b.text for b in first.bits if b.kind == "special"] == [
        "<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>",
    ]  # fmt: skip
    assert first.trained == len(ASKED[2].reference + "<|im_end|>")
    assert 0.4 < first.share < 0.5


@pytest.mark.parametrize(
    "token",
    ["<|im_end|>", "</s>", "<s>", "[INST]", "[/INST]", "<start_of_turn>", "<eos>", "<<SYS>>",
     "<｜User｜>", "<|eot_id|>", "<think>"],
)  # fmt: skip
def test_special_tokens_are_seen(report: Report, token: str) -> None:
    data = replace(report.data, shown=((Piece(f"a {token} b", False),),))
    (example,) = answer_samples.shown_examples(replace(report, sections=TuningSections(data)))
    assert [b.text for b in example.bits if b.kind == "special"] == [token]


@pytest.mark.parametrize("code", ["a < b and c > d", "xs[0]", "x | y", "List[INT]", "<b>bold</b>"])
def test_code_is_no_special_token(report: Report, code: str) -> None:
    data = replace(report.data, shown=((Piece(code, True),),))
    (example,) = answer_samples.shown_examples(replace(report, sections=TuningSections(data)))
    assert [b.kind for b in example.bits] == ["word"]


def test_trained_parts_differ_by_more_than_their_hue(page: str) -> None:
    section = page[page.index('<section id="trained-on"') : page.index('<section id="data"')]
    assert '<mark class="on">The default list is made once' in section
    assert '<span class="special on">&lt;|im_end|&gt;</span>' in section
    assert "<mark" not in section[section.index("system") : section.index("assistant")]
    assert section.count("↵") > 20
    rule = re.search(r"\.on \{([^}]*)\}", page)
    assert rule is not None
    assert {"background", "box-shadow", "color"} <= {
        part.split(":")[0].strip() for part in rule[1].split(";")
    }
    assert words(section).startswith("What the model is trained on")
    assert "% of its 483 characters are trained on." in words(section)


def test_an_example_without_a_trained_part_is_a_fault(report: Report) -> None:
    data = replace(report.data, shown=((Piece("all of it is read", False),),))
    assert "Nothing in this example is trained on" in render_page(
        replace(report, sections=TuningSections(data))
    )


def test_long_examples_keep_both_ends(report: Report) -> None:
    long = (Piece("start" + "x" * 90_000 + "end", False), Piece("answer", True))
    data = replace(report.data, shown=(long,))
    (example,) = answer_samples.shown_examples(replace(report, sections=TuningSections(data)))
    shown = "".join(bit.text for bit in example.bits)
    assert len(shown) < 2000
    assert shown.startswith("start")
    assert shown.endswith("endanswer")
    assert "… 88,508 characters …" in shown
    assert example.characters == 90_014


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
def test_marked_text_can_be_read(theme: dict[str, tuple[float, ...]]) -> None:
    assert contrast(theme["ink"], theme["accent-wash"]) >= 4.5
    assert contrast(theme["quiet"], theme["wash"]) >= 4.5
    assert contrast(theme["quiet"], theme["accent-wash"]) >= 4.5
    assert contrast(theme["accent"], theme["accent-wash"]) >= 3


def test_size_of_a_large_report(report: Report) -> None:
    def swollen(answer: WrittenAnswer) -> WrittenAnswer:
        return replace(answer, prompt=answer.prompt * 60, reference=answer.reference * 90,
                       output=answer.output * 90)  # fmt: skip

    arms = tuple(
        replace(
            arm,
            answers=tuple(swollen(replace(a, row=n * 10 + i)) for n in range(9)
                          for i, a in enumerate(arm.answers)),
            worst=tuple(swollen(a) for a in arm.worst * 9),
        )
        for arm in report.arms
    )  # fmt: skip
    page = render_page(replace(report, arms=arms))
    assert len(page.encode()) < 1_500_000
    assert page.count('<article class="question">') == answer_samples.ROWS
    assert "…" in page


def test_long_lines_wrap_inside_their_box(page: str) -> None:
    rule = re.search(r"\.prompt, \.tokens, \.cell pre[^{]*\{([^}]*)\}", page)
    assert rule is not None
    assert "pre-wrap" in rule[1] and "overflow-wrap: anywhere" in rule[1]
    assert re.search(r"\.cell \{ min-width: 0", page)


@pytest.mark.parametrize(
    ("after", "graded", "said"),
    [
        (2.0, "nothing", "predicts this text even better"),
        (2.31, "nothing", "No relevant change"),
        (2.35, "a little", "A little was forgotten"),
        (2.50, "some", "check other uses"),
        (2.80, "much", "use it for these prompts only"),
        (2000.0, "all", "not a number"),
        (float("nan"), "all", "not a number"),
    ],
)
def test_forgetting(after: float, graded: str, said: str) -> None:
    loss = Forgetting(2.31, after, 100, "a text")
    assert captions.how_much_forgotten(loss) == graded
    assert said in captions.forgetting(loss)


def test_forgetting_of_every_trained_arm_is_compared(page: str) -> None:
    table = page[page.index('<table class="forgotten">') :]
    table = table[: table.index("</table>")]
    rows = re.findall(r"<th scope=\"row\"><bdi>(.*?)</bdi>", table)
    assert set(rows) == set(FORGOTTEN)


def test_caution_is_for_the_recommended_arm(report: Report) -> None:
    caution = captions.caution(report)
    assert caution.startswith("full forgot much of what the base model could do: its perplexity")
    assert "10.1 to 16.5 (+63.9 %)" in caution  # exp(2.31), exp(2.804): what "much" goes by
    other = replace(report, verdict=Verdict("full", "lora", (), ""))
    assert captions.caution(other) == ""
    assert captions.caution(sample_report()) == ""
    assert 'class="caution"' in render_page(report)


def test_headline_and_second_metric(report: Report) -> None:
    assert (headline_metric(report), second_metric(report)) == ("token_f1", "perplexity")
    lower = written_report(headline="perplexity")
    assert (headline_metric(lower), second_metric(lower)) == ("perplexity", "token_f1")
    assert answered(report) == 300
    assert answered(sample_report()) == 300
    assert label(report, "accuracy") == "Next-token accuracy"
    assert label(sample_report(), "accuracy") == "Accuracy"


def test_better_is_up_also_where_less_is_better() -> None:
    picture = cost_scatter(written_report(headline="perplexity"))
    spots = {
        name: float(y)
        for y, name in re.findall(r'cy="([\d.]+)"[^>]*><title>([\w+]+):', picture)
    }  # fmt: skip
    assert spots["full"] < spots["lora"] < spots["rag"] < spots["prompt"] < spots["base"]
    assert "base 11.1 ↓" in picture
    caption = captions.scatter(written_report(headline="perplexity"))
    assert caption.startswith("Up is better (lower numbers)")
    assert caption.endswith("Far below the axis: base.")


def test_domain_of_an_open_scale() -> None:
    near = [Score(v, v, v) for v in (3.0, 3.4, 4.0)]
    far, lost = Score(40.0, 39.0, 41.0), Score(float("inf"), 5.0, float("inf"))
    low, high = score_domain([*near, far, lost], narrow=True, metric="perplexity")
    assert 2.9 < low < 3.0
    assert 4.0 < high < 4.2


def test_arm_without_the_headline_says_so() -> None:
    page = render_page(written_report(headline="perplexity"))
    assert "it has no perplexity" in words(page)


def test_infinite_perplexity_does_not_break_the_page() -> None:
    report = written_report(headline="perplexity")
    lost = Score(float("inf"), 5.0, float("inf"))
    arms = tuple(
        replace(a, test=a.test | {"perplexity": lost}) if a.name == "prompt" else a
        for a in report.arms
    )
    assert "inf" not in words(render_page(replace(report, arms=arms))).split()


def test_curve_of_next_tokens(report: Report) -> None:
    curve = next(arm for arm in report.arms if arm.name == "lora").curve
    assert "Next-token accuracy, validation" in render_page(report)
    assert "Validation accuracy" in accuracy_curve(curve)


def test_a_report_read_back_gives_the_same_page(report: Report, page: str) -> None:
    assert render_page(report_from_json(report.to_json())) == page


def test_seeds_without_validation_scores(report: Report) -> None:
    arms = tuple(
        replace(a, seeds=tuple(replace(s, validation={}) for s in a.seeds)) for a in report.arms
    )
    said = words(render_page(replace(report, arms=arms)))
    assert "Seed Test token F1 Test perplexity" in said
