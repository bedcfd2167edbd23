"""The words that fill the slots of the tutor's program templates."""

from __future__ import annotations

import keyword
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """One everyday subject and the names a short program about it would use.

    Attributes:
        nums: Name of a list of numbers.
        num: Name of one of those numbers.
        total: Name of a running total.
        words: Name of a list of strings.
        word: Name of one of those strings.
        values: Four such strings.
        table: Name of a dict from string to number.
        record: Name of a dict that describes one thing.
        keys: Three keys of that record.
        cls: Name of a class.
    """

    nums: str
    num: str
    total: str
    words: str
    word: str
    values: tuple[str, str, str, str]
    table: str
    record: str
    keys: tuple[str, str, str]
    cls: str


def _domain(names: str, values: str, keys: str) -> Domain:
    nums, num, total, words, word, table, record, cls = names.split()
    first, second, third, fourth = values.split()
    key1, key2, key3 = keys.split()
    return Domain(
        nums, num, total, words, word, (first, second, third, fourth),
        table, record, (key1, key2, key3), cls,
    )  # fmt: skip


DOMAINS = (
    _domain("prices price bill fruits fruit stock product Shop",
            "apple pear plum lemon", "cost size colour"),
    _domain("temps temp heat cities city rain report Station",
            "Oslo Lima Rome Cairo", "wind sun cloud"),
    _domain("marks mark points pupils pupil grades course School",
            "Ada Ben Clara Dan", "room teacher hour"),
    _domain("beats beat length songs song plays album Band",
            "waltz tango blues march", "artist year cover"),
    _domain("scores score gold players player lives level Game",
            "Mia Leo Nina Omar", "door enemy prize"),
    _domain("miles mile journey stops stop fares trip Train",
            "Paris Bern Milan Vienna", "seat gate driver"),
    _domain("heights height growth plants plant pots bed Garden",
            "rose fern ivy moss", "soil shade water"),
    _domain("pages page reading books book loans card Library",
            "poems novel atlas comic", "owner shelf fee"),
    _domain("grams gram weight spices spice jars recipe Kitchen",
            "salt pepper mint ginger", "oven minutes serves"),
    _domain("laps lap distance teams team goals match Club",
            "reds blues greens golds", "home away date"),
    _domain("loads load cargo animals animal cages keeper Zoo",
            "lion bear wolf seal", "name shift food"),
    _domain("coins coin savings friends friend debts wallet Bank",
            "Ravi Emma Kofi Ines", "cash owner bank"),
    _domain("orbits orbit flight planets planet moons probe Rocket",
            "Mars Venus Saturn Earth", "fuel speed crew"),
    _domain("seats seat crowd films film tickets show Cinema",
            "drama comedy western cartoon", "screen start end"),
    _domain("eggs egg basket hens hen nests barn Farm",
            "Daisy Pip Ruby Hazel", "hay roof lamp"),
    _domain("steps step walked days day habits diary Week",
            "Monday Tuesday Friday Sunday", "sleep mood meals"),
    _domain("boxes box freight parcels parcel shelves label Post",
            "lamp chair clock mirror", "street town stamp"),
    _domain("watts watt power rooms room bulbs meter House",
            "attic hall kitchen cellar", "night day rate"),
)  # fmt: skip

# Names that belong to no subject: loop variables, helpers, results.
POOLS: dict[str, tuple[str, ...]] = {
    "i": ("i", "j", "k", "spot", "index"),
    "x": ("x", "item", "value", "entry", "v"),
    "y": ("y", "other", "second", "extra"),
    "n": ("n", "number", "count", "m"),
    "acc": ("result", "out", "found", "kept", "answer"),
    "f": ("work", "handle", "update", "process", "run", "revise"),
    "g": ("helper", "check", "adjust", "convert", "measure"),
    "show": ("show", "report_on", "announce", "tell"),
    "sumf": ("total", "add_up", "combine", "gather", "collect"),
    "copy": ("copy", "backup", "saved", "before", "old"),
    "best": ("best", "top", "highest", "record_value"),
    "size": ("size", "half", "part", "share"),
    "text": ("text", "line", "typed", "reply", "field"),
    "limit": ("limit", "bound", "most", "goal"),
}

NAME_SLOTS = ("nums", "num", "total", "words", "word", "table", "rec", "cls")


def misspell(name: str, rng: random.Random) -> str:
    """Return `name` with one slip of the fingers, never the same and never a keyword."""
    ways: list[str] = []
    for at in range(1, len(name) - 1):
        ways.append(name[:at] + name[at + 1 :])
        ways.append(name[:at] + name[at] + name[at:])
        ways.append(name[:at] + name[at + 1] + name[at] + name[at + 2 :])
    good = sorted({way for way in ways if way != name and not keyword.iskeyword(way)})
    return rng.choice(good) if good else name + "s"


def slots(rng: random.Random, domain: Domain) -> dict[str, str]:
    """Draw one value for every slot a template may use."""
    names = {
        "nums": domain.nums, "num": domain.num, "total": domain.total,
        "words": domain.words, "word": domain.word, "table": domain.table,
        "rec": domain.record, "cls": domain.cls,
    }  # fmt: skip
    filled = dict(names)
    for slot, choices in POOLS.items():
        filled[slot] = rng.choice(choices)
    for slot in (*NAME_SLOTS, *POOLS):
        filled[f"{slot}_typo"] = misspell(filled[slot], rng)
    values = rng.sample(domain.values, 4)
    keys = rng.sample(domain.keys, 3)
    filled |= {f"w{at}": value for at, value in enumerate(values, 1)}
    filled |= {f"k{at}": key for at, key in enumerate(keys, 1)}
    filled |= {f"k{at}_typo": misspell(key, rng) for at, key in enumerate(keys, 1)}
    filled["cls_lower"] = domain.cls.lower()
    filled["words3"] = "[" + ", ".join(f'"{value}"' for value in values[:3]) + "]"
    filled["words2"] = "[" + ", ".join(f'"{value}"' for value in values[:2]) + "]"
    return filled | _numbers(rng)


def _numbers(rng: random.Random) -> dict[str, str]:
    """Draw the number slots: small ones apart from each other, larger ones, and lists."""
    small = rng.sample(range(2, 10), 5)
    large = rng.sample(range(11, 80), 4)
    even = rng.sample(range(2, 20, 2), 3)
    odd = rng.sample(range(3, 21, 2), 3)
    filled = {name: str(value) for name, value in zip("abcde", small, strict=True)}
    for prefix, values in (("big", large), ("even", even), ("odd", odd)):
        filled |= {f"{prefix}{at}": str(value) for at, value in enumerate(values, 1)}
    for size in (2, 3, 4, 5):
        filled[f"list{size}"] = str(rng.sample(range(1, 10), size))
        filled[f"up{size}"] = str(sorted(rng.sample(range(1, 10), size)))
    filled["biglist3"] = str(rng.sample(range(11, 99), 3))
    filled["cents"] = f"{rng.randint(1, 9)}.{rng.choice([25, 5, 75])}"
    filled["up"] = str(rng.randint(3, 6))
    return filled
