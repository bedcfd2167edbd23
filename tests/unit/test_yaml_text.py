"""YAML from strangers is parsed within bounds, whichever file it stands in."""

import time
from pathlib import Path
from typing import Any

import pytest

from tailorbird.config import load_config
from tailorbird.data.split_files import _configurations
from tailorbird.documents.markdown import markdown
from tailorbird.errors import UserError
from tailorbird.yaml_text import YamlFault, parse_yaml, write_yaml


def doubling(levels: int, first: str = "[word, word]", many: str = "[{0}, {0}]") -> str:
    """Return lists of lists by aliases: level n stands for 2^n times the first."""
    lines = [f"l0: &l0 {first}"]
    lines += [f"l{i}: &l{i} {many.format(f'*l{i - 1}')}" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


HOSTILE = {
    "aliases of aliases": (doubling(40), "aliases stand for"),
    "merged aliases": (doubling(40, "{a: 1}", "{{<<: [{0}, {0}]}}"), "aliases stand for"),
    "an alias of a long word": (
        f"w: &w {'x' * 10_000}\nall: [{', '.join(['*w'] * 500)}]",
        "aliases stand for",
    ),
    "a list in itself": ("a: &a [*a]", "contains itself"),
    "brackets": ("a: " + "[" * 2_000 + "]" * 2_000, "deeper than 50"),
    "dashes": ("- " * 3_000, "deeper than 50"),
    "a hexadecimal number": ("a: 0x" + "e" * 9_000, "a number has 9,002 characters"),
    "a decimal number": ("a: " + "7" * 6_000, "a number has 6,000 characters"),
    "base 60": ("a: 1" + ":59" * 3_000, "a number has"),
    "a long text": ("a: " + "x" * (1 << 20), "more than 1,048,576"),
    "a date that is none": ("a: 2023-02-31", "does not fit its type"),
    "a tag that does not fit": ("a: !!bool perhaps", "does not fit its type"),
    "a Python object": ("a: !!python/object/apply:os.getcwd []", "python/object"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_beyond_the_bounds_is_refused_at_once(name: str, tmp_path: Path) -> None:
    text, reason = HOSTILE[name]
    started = time.monotonic()
    with pytest.raises(YamlFault, match=reason):
        parse_yaml(text)
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match="is not YAML"):
        load_config(tmp_path / "c.yaml")
    assert _configurations(f"---\n{text}\n---\n") == []
    notes: list[str] = []
    parsed = markdown(f"---\n{text}\n---\nbody", notes)
    assert parsed.metadata == {} and "body" in parsed.text
    # Longer than any front matter is a rule and a text: nothing was tried.
    assert len(notes) == (len(text) < 1 << 16)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: {b: [1, 2.5, x, null, true]}", {"a": {"b": [1, 2.5, "x", None, True]}}),
        ("base: &b {x: 1}\nmore: {<<: *b, y: 2}", {"base": {"x": 1}, "more": {"x": 1, "y": 2}}),
        ("a: 0x1F\nb: 1_000\nc: 18446744073709551616", {"a": 31, "b": 1000, "c": 2**64}),
        ("[" * 20 + "]" * 20, None),
    ],
)
def test_what_people_write_is_read(text: str, value: Any) -> None:
    parsed = parse_yaml(text)
    assert parsed == value if value is not None or not text else parsed


def test_rare_line_breaks_are_read_back() -> None:
    assert parse_yaml(write_yaml({"a": "x\u2028y", "b": "é"})) == {"a": "x\u2028y", "b": "é"}


def test_a_config_without_end_is_not_read_to_it() -> None:
    with pytest.raises(UserError, match="more than 1,048,576"):
        load_config(Path("/dev/zero"))


def test_a_setting_of_thousands_of_digits_is_named_briefly() -> None:
    with pytest.raises(UserError, match=r"train\.seed is '444") as fault:
        load_config(settings=[f"train.seed={'4' * 5_000}"])
    assert len(str(fault.value)) < 800
