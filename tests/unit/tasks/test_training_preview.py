"""One batch on the terminal: at most a screen, trained parts marked with and without colour."""

from rich.cells import cell_len

from tailorbird.records import Piece
from tailorbird.tasks.fit_generative import LINES, WIDTH, lines_of, print_training_preview

SHORT = (Piece("User:\nHi\n", False), Piece("Ho</s>", True), Piece("\n", False))


def plain(*shown: tuple[Piece, ...], colour: bool = False) -> list[str]:
    return [line.plain for line in lines_of(shown, colour=colour)]


def test_without_colour_trained_parts_stand_in_brackets() -> None:
    assert plain(SHORT) == ["- User:⏎Hi⏎[[Ho</s>]]⏎"]


def test_with_colour_trained_parts_are_green_and_bold_and_the_rest_is_dim() -> None:
    (line,) = lines_of((SHORT,), colour=True)
    assert line.plain == "- User:⏎Hi⏎Ho</s>⏎"
    styles = {line.plain[span.start : span.end]: span.style for span in line.spans}
    assert styles == {"User:⏎Hi⏎": "dim", "Ho</s>": "bold green", "⏎": "dim"}


def test_brackets_are_closed_and_opened_at_line_ends() -> None:
    lines = plain((Piece("x" * 100, True),))
    assert lines == [f"- [[{'x' * 74}]]", f"  [[{'x' * 26}]]"]


def test_a_screen_at_most_and_both_ends_of_each() -> None:
    long = (Piece("begin " + "q" * 5000, False), Piece("你" * 5000 + " end", True))
    mixed = tuple(Piece("ab", i % 2 == 0) for i in range(3000))
    for colour in (True, False):
        lines = plain(long, mixed, long, SHORT, colour=colour)
        assert len(lines) <= LINES - 1
        assert all(cell_len(line) <= WIDTH for line in lines)
        assert lines[0].startswith("- begin")
        assert sum("end" in line for line in lines) == 2
        assert "  ..." in lines


def test_control_characters_of_the_data_do_not_reach_the_terminal() -> None:
    (line,) = plain((Piece("a\x1b[31mb\x07\t", False),))
    assert line == "- a·[31mb··"


def test_markup_in_the_data_is_not_obeyed_and_nothing_to_show_is_silent(capsys: object) -> None:
    from pytest import CaptureFixture

    assert isinstance(capsys, CaptureFixture)
    print_training_preview(())
    assert capsys.readouterr().err == ""
    print_training_preview(((Piece("[bold]x[/bold] ", False), Piece("y", True)),))
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "[bold]x[/bold] [[y]]" in seen.err
    assert "double brackets" in seen.err
