"""The metadata of documents: stored as JSON in the ledger, read as rows by filters."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from tailorbird.knowledge.filter import canonical

# Python refuses to write longer numbers in decimal.
_LONGEST_BITS = 14_000


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Return metadata as JSON; values without a JSON form (NaN, infinities) become texts."""
    plain = {name: _expressible(value) for name, value in metadata.items()}
    return json.dumps(plain, ensure_ascii=False)


# Cached, since neighbouring chunks and documents often share their metadata.
@lru_cache(maxsize=256)
def metadata_of(text: str) -> Mapping[str, Any]:
    """Parse the output of `metadata_text`."""
    read: dict[str, Any] = _PLAIN.decode(text)
    return read


@lru_cache(maxsize=256)
def comparable(text: str) -> Mapping[str, Any]:
    """Return metadata for filters: exact decimals, composed names."""
    return {canonical(name): value for name, value in _EXACT.decode(text).items()}


def row_of(metadata: str, source: str, title: str, page: int | None) -> dict[str, Any]:
    """Return the row that filters are evaluated on."""
    return {**comparable(metadata), "source": source, "title": title, "page": page}


def _expressible(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _LONGEST_BITS:
        return hex(value)
    return value


def _constant(name: str) -> str:
    """Return NaN or an infinity as text; earlier versions wrote such invalid JSON."""
    return str(float(name))


_PLAIN = json.JSONDecoder(parse_constant=_constant)
_EXACT = json.JSONDecoder(parse_float=Decimal, parse_constant=_constant)
