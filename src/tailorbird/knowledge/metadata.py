"""What documents say about themselves: as JSON in the ledger, as rows for conditions."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from tailorbird.knowledge.filter import canonical

# Python writes no longer number in decimal.
_LONGEST_BITS = 14_000


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Return metadata as JSON; what JSON has no word for (NaN, the infinities) as text."""
    plain = {name: _expressible(value) for name, value in metadata.items()}
    return json.dumps(plain, ensure_ascii=False)


# Chunks of a document lie beside each other, and so do documents with the same metadata.
@lru_cache(maxsize=256)
def metadata_of(text: str) -> Mapping[str, Any]:
    """Return what `metadata_text` wrote."""
    read: dict[str, Any] = _PLAIN.decode(text)
    return read


@lru_cache(maxsize=256)
def comparable(text: str) -> Mapping[str, Any]:
    """Return metadata for conditions: decimals by their digits, names composed."""
    return {canonical(name): value for name, value in _EXACT.decode(text).items()}


def row_of(metadata: str, source: str, title: str, page: int | None) -> dict[str, Any]:
    """Return what conditions are held against."""
    return {**comparable(metadata), "source": source, "title": title, "page": page}


def _expressible(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _LONGEST_BITS:
        return hex(value)
    return value


def _constant(name: str) -> str:
    """Return NaN or an infinity, which earlier versions wrote as no JSON allows it."""
    return str(float(name))


_PLAIN = json.JSONDecoder(parse_constant=_constant)
_EXACT = json.JSONDecoder(parse_float=Decimal, parse_constant=_constant)
