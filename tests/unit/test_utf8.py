"""What is no UTF-8 is refused where it comes in: by name, with exit code 2."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import tailorbird
from tailorbird import terminal
from tailorbird.cli import main
from tailorbird.config import load_config
from tailorbird.errors import UserError, check_utf8
from tailorbird.flows.knowledge_api import KnowledgeBase
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.filter import parse

ODD = os.fsdecode(b"caf\xe9")
"""How Python reads an argument or a file name in Latin-1."""


def test_what_holds_no_utf8_is_named() -> None:
    check_utf8({"train": ["café", 3, None]}, "config")
    with pytest.raises(UserError, match=r"^config\.train is 'caf\\udce9'") as caught:
        check_utf8({"train": ["ok", ODD]}, "config")
    assert str(caught.value).encode(), "the message itself can be printed"
    with pytest.raises(UserError, match="a name in config"):
        check_utf8({ODD: 1}, "config")
    with pytest.raises(UserError, match=r"'a{80}\.\.\.'"):
        check_utf8("a" * 200 + ODD, "text")


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "RUN", ODD],
        ["tune", f"{ODD}.csv"],
        ["index", "--store", "KB", "--remove", ODD],
        ["ask", "refunds", "--store", "KB", "--where", f"kind = '{ODD}'"],
        [ODD],
    ],
    ids=lambda arguments: arguments[0],
)
def test_arguments(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tailor", *arguments])
    with pytest.raises(SystemExit) as end:
        main.run()
    assert end.value.code == 2
    told = capsys.readouterr().err
    place = next(n for n, argument in enumerate(arguments, 1) if ODD in argument)
    assert told.startswith(f"error: argument {place} is ")
    assert "fix:" in told


def test_bytes_on_stdin_are_kept_until_they_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tailor"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), "utf-8"))
    terminal.check_given()
    assert next(sys.stdin) == f"{ODD}\n"


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ({"flags": {"data.train": f"{ODD}.csv"}}, "config.data.train"),
        ({"settings": [f"model.name={ODD}"]}, "config.model.name"),
        ({"settings": ['model.name="\\ud83d"']}, "config.model.name"),
        ({"settings": [f"{ODD}=1"]}, "a name in config"),
    ],
)
def test_settings(how: dict[str, Any], name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is .* not UTF-8"):
        load_config(**how)


def test_a_config_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text('model:\n  name: "\\uD83D"\n')
    with pytest.raises(UserError, match=r"config\.model\.name"):
        load_config(file)


def test_verbs_from_python(tmp_path: Path) -> None:
    for call in (
        lambda: tailorbird.tune(f"{ODD}.csv"),
        lambda: tailorbird.compare(str(tmp_path), output=ODD),
        lambda: tailorbird.load(ODD),
        lambda: tailorbird.evaluate("RUN", Path(ODD)),
        lambda: tailorbird.evaluate("RUN", text=ODD),
        lambda: parse(f"kind = '{ODD}'"),
        lambda: KnowledgeFolder(tmp_path / ODD),
    ):
        with pytest.raises(UserError, match="not UTF-8"):
            call()


def test_a_place_that_is_no_utf8_is_the_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lance would look for its index elsewhere, and say that it is missing."""
    (tmp_path / ODD).mkdir()
    monkeypatch.chdir(tmp_path / ODD)
    with pytest.raises(UserError, match=r"the knowledge base's folder .* not UTF-8"):
        KnowledgeBase("KB")
    assert not list((tmp_path / ODD).iterdir())
