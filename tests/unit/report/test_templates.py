"""What holds of every page, whatever its report: seen from the templates."""

import re
from importlib.resources import files

import pytest

TEMPLATES = {
    file.name: file.read_text(encoding="utf-8")
    for file in files("tailorbird.report").joinpath("templates").iterdir()
    if file.name.endswith(".html.j2")
}
_SCROLLING = re.compile(
    r'<div class="scroll[\w ]*" tabindex="0" role="region" aria-label(?:ledby)?="[^"]+">\s*<table'
)


@pytest.mark.parametrize("name", [name for name, text in TEMPLATES.items() if "<table" in text])
def test_a_table_wider_than_a_phone_scrolls_by_itself_by_keyboard_too(name: str) -> None:
    text = TEMPLATES[name]
    assert len(_SCROLLING.findall(text)) == text.count("<table")
