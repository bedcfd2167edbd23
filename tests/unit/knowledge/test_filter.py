"""Conditions against what Python says of the same rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailorbird.errors import UserError
from tailorbird.knowledge.filter import parse
from tailorbird.knowledge.schema import connect

ROWS: list[dict[str, Any]] = [
    {"year": 2019, "team": "billing", "draft": True},
    {"year": 2020, "team": "search", "draft": False},
    {"year": "2021", "team": "Billing", "day": "2024-05-01"},
    {"year": 2022, "team": None, "two words": "x"},
    {"team": "o'neil", "year": "unknown"},
]

CASES: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
    ("year >= 2020", lambda r: str(r.get("year")).isdigit() and int(r["year"]) >= 2020),
    ("year >= 2020 and team = 'search'", lambda r: r["team"] == "search"),
    ("team in ('billing', 'search')", lambda r: r["team"] in ("billing", "search")),
    ("team not in ('billing')", lambda r: r["team"] != "billing"),
    ("team contains 'BILL'", lambda r: "bill" in (r["team"] or "").lower()),
    ("team like 'b%'", lambda r: (r["team"] or "").lower().startswith("b")),
    ("team is null", lambda r: r["team"] is None),
    ("year is not null", lambda r: "year" in r),
    ("draft = true", lambda r: r.get("draft") is True),
    ("not (team = 'billing' or team = 'search')", lambda r: r["team"] not in ("billing", "search")),
    ("team = 'o''neil'", lambda r: r["team"] == "o'neil"),
    ("`two words` = 'x'", lambda r: r.get("two words") == "x"),
    ("day < '2024-06-01'", lambda r: r.get("day") is not None),
    ("page = 3", lambda r: r.get("year") == 2020),
    ("source != 's0'", lambda r: r.get("year") != 2019),
    ("year = 2019 or year = 2020 and team = 'nobody'", lambda r: r.get("year") == 2019),
]


@pytest.mark.parametrize(("condition", "holds"), CASES)
def test_conditions(
    condition: str, holds: Callable[[dict[str, Any]], bool], tmp_path: Path
) -> None:
    link = connect(tmp_path / "l.sqlite", create=True)
    for number, row in enumerate(ROWS):
        link.execute(
            "INSERT INTO documents (source, path, state, digest, made, title, metadata, marks, "
            "chunks) VALUES (?, '', 'live', '', '', 'T', ?, '[]', 1)",
            (f"s{number}", json.dumps(row)),
        )
        link.execute(
            'INSERT INTO chunks (version, position, id, start, "end", page, headings, tokens, '
            "text, said) VALUES (?, 0, '', 0, 0, ?, '[]', 0, '', x'')",
            (number + 1, 3 if number == 1 else None),
        )
    found = parse(condition)
    read = link.execute(
        "SELECT d.version - 1 FROM documents d JOIN chunks c ON c.version = d.version "
        f"WHERE {found.sql} ORDER BY 1",
        found.values,
    )
    assert [row[0] for row in read] == [n for n, row in enumerate(ROWS) if holds(row)]
    link.close()


@pytest.mark.parametrize(
    ("condition", "place"),
    [
        ("year >", 7), ("year 2020", 6), ("(year = 1", 10), ("year = 1 team = 2", 10),
        ("team = 'x", 8), ("team = billing", 8), ("year = 1; drop table chunks", 9),
        ("year in 3", 9), ("year is 3", 9), ("= 3", 1), ("year = null", 8), ("team like 3", 11),
        ("(" * 60 + "a = 1", 51),
    ],
)  # fmt: skip
def test_faults_are_placed(condition: str, place: int) -> None:
    with pytest.raises(UserError, match=rf"character {place}:"):
        parse(condition)


@pytest.mark.parametrize("evil", ["x' OR '1'='1", "'; DELETE FROM chunks; --", '"), 1=1 --'])
def test_values_are_bound(evil: str) -> None:
    doubled = evil.replace("'", "''")
    found = parse(f"team = '{doubled}'")
    assert evil in found.values
    assert evil not in found.sql


def test_an_empty_condition() -> None:
    with pytest.raises(UserError, match="empty"):
        parse("  ")
