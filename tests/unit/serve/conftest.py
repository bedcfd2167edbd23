"""A small knowledge base that several files of tests ask."""

from pathlib import Path

import pytest

from tailorbird.config import load_config
from tailorbird.flows.index import index
from tailorbird.knowledge.base import KnowledgeFolder

PAGES = {
    "trains.md": "---\nteam: office\nyear: 2024\n---\n# Trains\n\nThe office books trains.\n",
    "hotels.md": "---\nteam: office\nyear: 2026\n---\n# Hotels\n\nA hotel may cost 120 euros.\n",
    "late.md": "---\nteam: money\nyear: 2025\n---\n# Fees\n\nLate payers pay 5 euros.\n",
}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a knowledge base of three pages with metadata."""
    place = tmp_path_factory.mktemp("pages")
    for name, text in PAGES.items():
        (place / name).write_text(text, encoding="utf-8")
    config = load_config()
    with KnowledgeFolder(place / "kb", config.index) as kb:
        index(kb, [place / name for name in PAGES], config.index)
    return place / "kb"
