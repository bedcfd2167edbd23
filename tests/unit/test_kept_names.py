"""Names that programs of others import stay where they were."""

from importlib import import_module
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "flows.ask.make_writer",
        "rag.augment.pack",
        "rag.ledger.Ledger",
        "metrics.text.METRICS",
        "models.builtin.resolve",
    ],
)
def test_it_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(f"tailorbird.{module}"), attribute)


def test_a_ledger_of_a_file_is_made_and_opened(tmp_path: Path) -> None:
    from tailorbird.rag.ledger import Ledger

    path = tmp_path / "ledger.sqlite"
    made = Ledger(path, create=True)
    made.keep({"words": [1]})
    made.close()
    assert Ledger(path).setting("words") == [1]
