import io
from dataclasses import replace

import pytest
from rich.console import Console
from sample_written import written_report

from tailorbird.records import ArmReport, DataSummary, Report, Score, TuningSections, Verdict
from tailorbird.report.comparison_table import ReportTable, print_report, table_rows


def shown(report: Report, width: int, **options: object) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=width, **options))  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_fits_and_keeps_every_name(troubled: Report, width: int) -> None:
    words = shown(troubled, width)
    assert max(map(len, words.splitlines())) <= width
    assert "…" not in words
    for arm in troubled.arms:
        assert any(line.split()[:1] == [arm.name] or line.split()[1:2] == [arm.name]
                   for line in words.splitlines()), arm.name  # fmt: skip


def test_eighty_columns_hold_every_number(report: Report) -> None:
    words = shown(report, 80)
    lora = next(line for line in words.splitlines() if line.startswith("→"))
    assert lora.split("  ")[0:1] == ["→"]
    for cell in ("lora", "88.7 %", "0.875", "4.6 min", "702 MB", "1.2 M", "5.1 ms"):
        assert cell in lora
    assert "wider terminal" not in words


def test_narrow_terminal_says_what_it_left_out(report: Report) -> None:
    words = " ".join(shown(report, 50).split())
    assert "A wider terminal also shows:" in words
    assert "time per text" in words


def test_long_names_fold_and_are_not_cut(report: Report) -> None:
    name = "a-method-with-a-really-very-long-name-of-its-own-that-goes-on-and-on"
    arms = (replace(report.arms[0], name=name), *report.arms[1:])
    words = shown(replace(report, arms=arms), 80)
    assert max(map(len, words.splitlines())) <= 80
    assert "…" not in words
    assert name in "".join(line[3:73].split("  ")[0].strip() for line in words.splitlines())


def test_plain_when_not_a_terminal(report: Report) -> None:
    assert "\x1b" not in shown(report, 80)
    assert "\x1b[1m" in shown(report, 80, force_terminal=True, color_system="standard")


def test_ascii_terminal(troubled: Report) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_report(troubled, Console(file=out, width=80))
    out.flush()


def test_unfinished_arms_say_why(troubled: Report) -> None:
    words = " ".join(shown(troubled, 80).split())
    assert "qlora failed: out of memory at step 3: the machine has 16 GB" in words
    assert "rag+best skipped: the 20 minutes of the budget were over" in words


def test_verdict_is_said_once(report: Report) -> None:
    words = " ".join(shown(report, 80).split())
    assert words.count("Use lora") == 1
    assert report.verdict.reason in words


def test_markup_in_words_is_not_obeyed(report: Report) -> None:
    arm = ArmReport("[red]x[/red]", "failed", "[bold]oops[/bold] :smile: [/]")
    words = shown(replace(report, arms=(*report.arms, arm)), 100)
    assert "[red]x[/red]" in words
    assert "[bold]oops[/bold] :smile: [/]" in words


def test_nothing_finished() -> None:
    data = DataSummary("x.csv", {}, (), {}, {}, "")
    arms = (ArmReport("lora", "failed", "no memory"), ArmReport("full", "skipped"))
    verdict = Verdict(None, None, (), "Nothing.")
    nothing = Report(kind="compare", sections=TuningSections(data), arms=arms, verdict=verdict)
    words = shown(nothing, 80)
    assert "lora failed: no memory" in words
    assert "full skipped: no reason was recorded" in words
    assert "No arm finished: Nothing." in words


def test_one_arm(report: Report) -> None:
    arm = next(a for a in report.arms if a.name == "lora")
    one = replace(report, kind="tune", arms=(arm,), comparisons=())
    words = shown(one, 80)
    assert "recommended" not in words
    assert "88.7 %" in words


def test_rows_for_markdown(troubled: Report) -> None:
    heading, rows = table_rows(troubled)
    assert heading[:3] == ["arm", "accuracy", "95 % interval"]
    assert [len(row) for row in rows] == [len(heading)] * len(troubled.arms)
    assert rows[0][:2] == ["full", "89.3 %"]
    assert rows[-2][:3] == ["qlora", "failed", ""]
    assert "–" not in rows[-2]


def test_other_metrics(report: Report) -> None:
    arms = tuple(
        ArmReport(name, "ok", test={"rmse": Score(value, value - 0.1, value + 0.1)})
        for name, value in (("rag", 2.5), ("lora", 1.25))
    )
    heading, rows = table_rows(replace(report, arms=arms))
    assert heading[1] == "rmse"
    assert [row[:3] for row in rows] == [
        ["lora", "1.250", "1.150–1.350"], ["rag", "2.500", "2.400–2.600"],
    ]  # fmt: skip


def test_renderable_has_no_state(report: Report) -> None:
    table = ReportTable(report)
    out = [io.StringIO(), io.StringIO()]
    for file in out:
        Console(file=file, width=80).print(table)
    assert out[0].getvalue() == out[1].getvalue()


@pytest.mark.parametrize("headline", ["token_f1", "exact_match", "perplexity"])
def test_eighty_columns_hold_a_comparison_of_writers(headline: str) -> None:
    words = shown(written_report(headline=headline), 80)
    assert max(map(len, words.splitlines())) <= 80
    assert "wider terminal" not in words
    lora = next(line for line in words.splitlines() if " lora " in line)
    for cell in ("5.3 min", "1.4 GB", "2.4 M", "1.2 s", "3.064"):
        assert cell in lora, cell
    heading = " ".join(words.split("arm")[1].split("──")[0].split())
    assert "plexity" in heading
    assert "answer" in heading


def test_standing_of_writers_is_told_by_marks() -> None:
    lines = shown(written_report(), 80).splitlines()
    marks = {line.split()[1]: line[0] for line in lines if line[:1] in "→*~" and line.strip()}
    assert marks == {"full": "→", "rag+lora": "~", "lora": "~", "qlora": "~"}
    assert any("~ could equal the best" in line for line in lines)


def test_forgetting_of_the_recommended_arm_is_told() -> None:
    words = " ".join(shown(written_report(), 80).split())
    assert "Warning: full forgot much of what the base model could do" in words


def test_verdict_of_writers_reads_as_one_sentence() -> None:
    said = " ".join(shown(written_report(), 80).split())
    assert "Use full: token F1 0.574 (0.550 to 0.598), the best;" in said
    one = " ".join(shown(written_report(only="lora"), 80).split())
    assert one.count("lora reaches token F1 0.561") == 1
    assert "lora: lora" not in one


def test_legend_advises_nothing_where_a_lookup_wins() -> None:
    verdict = Verdict("nearest", "lora", (), "No model beats it.")
    said = " ".join(shown(replace(written_report(), verdict=verdict), 80).split())
    assert "→ closest model * best score" in said
    assert "recommended" not in said


def test_rows_of_writers_for_markdown() -> None:
    heading, rows = table_rows(written_report(failed=True))
    assert heading[:4] == ["arm", "token F1", "95 % interval", "perplexity"]
    assert "time per answer" in heading
    assert rows[-2][:2] == ["full", "failed"]


def test_narrow_terminal_names_whole_columns() -> None:
    words = " ".join(shown(written_report(), 40).split())
    assert "perplexity" in words
