"""Figures stated in a text, in comparable form: values with sign and unit, and dates.

``1,200``, ``1 200`` and ``1200`` are one value, ``3,5`` and ``3.5`` another; ``-18`` is not ``18``,
``1/2`` is not ``2``, and 14 days are not 14 months. Whether ``1.200`` is 1200 or 1.2 depends on the
convention, which is taken from the other figures of the text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Literal

from tailorbird.knowledge.index_terms import fold

Point = Literal[".", ","]
"""The decimal separator of a text; the other one groups thousands."""

Key = Fraction | str
_POINTS: tuple[Point, Point] = (".", ",")
_MOST_DIGITS = 60


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure; two figures are equal if their keys are equal and their units do not differ.

    Attributes:
        key: Its value; a time, a version or a day of the year as a text.
        unit: What it counts; empty if unknown.
    """

    key: Key
    unit: str = ""


_MONTHS = """
january januar janvier enero gennaio janeiro januari stycznia января jan
february februar février febrero febbraio fevereiro februari lutego февраля feb
march märz mars marzo março maart marca марта mar
april avril abril aprile kwietnia апреля apr
may mai mayo maggio maio mei maja мая
june juni juin junio giugno junho czerwca июня jun
july juli juillet julio luglio julho lipca июля jul
august août agosto augustus sierpnia августа aug
september septembre septiembre settembre setembro września сентября sept sep
october oktober octobre octubre ottobre outubro października октября oct
november novembre noviembre listopada ноября novembro nov
december dezember décembre diciembre dicembre dezembro grudnia декабря dec
"""
_MONTH = {
    name: number
    for number, names in enumerate(_MONTHS.strip().splitlines(), 1)
    for name in names.split()
}
# "one" and "once" are often no counts. Words that are common in another language (due, sei, sex,
# neuf, on) are left out too.
_SPELLED_IN = """
zero one two three four five six seven eight nine ten eleven twelve
- - zwei drei vier fünf sechs sieben acht neun zehn elf zwölf
zéro - deux trois quatre cinq - sept huit - dix onze douze
- - dos tres cuatro cinco seis siete ocho nueve diez - doce
- - - tre quattro cinque - sette otto nove dieci undici dodici
- - dois três quatro cinco seis sete oito nove dez onze doze
- - twee drie vier vijf zes zeven acht negen tien elf twaalf
noll - två tre fyra fem - sju åtta nio tio elva tolv
zero - dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć jedenaście dwanaście
ноль - два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать
sıfır - iki üç dört beş altı yedi sekiz dokuz - - -
"""
_SPELLED = {
    word: value
    for line in _SPELLED_IN.strip().splitlines()
    for value, word in enumerate(line.split())
    if word != "-"
}
_TEENS = "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPELLED |= {word: value for value, word in enumerate(_TEENS.split(), 13)}
_SPELLED |= {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
_ORDINALS = "second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ORDINAL = {word: value for value, word in enumerate(_ORDINALS.split(), 2)}
_SCALES = """
hundred hundert cent cento cien
thousand tausend mille mil mila duizend tusen tysiąc tysiące tysięcy тысяча тысячи тысяч k
million millions millionen mio mn millón millones milione milioni milhão milhões miljoen miljon \
miljoner milion miliony milionów миллион миллиона миллионов milyon m
billion billions bn milliarde milliarden mrd milliard milliards miliardo miliardi bilhão bilhões \
miljard miljarder miliard miliardów миллиард миллиарда миллиардов milyar
trillion trillions
"""
_SCALE = {
    word: value
    for value, words in zip(
        (10**2, 10**3, 10**6, 10**9, 10**12), _SCALES.strip().splitlines(), strict=True
    )
    for word in words.split()
}
_UNITS = """
% percent prozent pourcent procent procenta процент процента процентов
celsius c °c
fahrenheit f °f
second seconds sec s sekunde sekunden seconde secondes segundos secondi секунд
minute minutes min minuten minutos minuti минут
hour hours hr hrs h stunde stunden heure heures hora horas ora ore uur часа часов
day days tag tage tagen jour jours día días giorno giorni dia dias dag dagen dni дня дней gün
week weeks woche wochen semaine semaines semana semanas settimana settimane weken недель hafta
month months monat monate monaten mois mes meses mese mesi mês maand maanden месяца месяцев ay
year years jahr jahre jahren an ans année années año años anno anni ano anos jaar lat лет yıl
millimetre millimetres millimeter millimeters mm
centimetre centimetres centimeter centimeters cm
metre metres meter meters metern m
kilometre kilometres kilometer kilometers km
mile miles
inch inches
foot feet ft
milligram milligrams mg
gram grams gramm g
kilogram kilograms kilogramm kilo kilos kg
tonne tonnes ton tons t
lb lbs
ounce ounces oz
millilitre millilitres milliliter milliliters ml
litre litres liter liters litern litro litros litri l
gallon gallons
€ euro euros eur
$ dollar dollars usd
£ gbp sterling
¥ yen jpy
kb kilobytes
mb megabytes
gb gigabytes
tb terabytes
am
pm
st nd rd th
"""
_UNIT = {word: line.split()[0] for line in _UNITS.strip().splitlines() for word in line.split()}
_ORDINAL_UNIT = "st"


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_NAMED_DAY = r"(?:st|nd|rd|th|er|\.)?(?:\s(?:of|de))?\s"
_FIGURE = re.compile(
    rf"""
      (?P<iso>\b\d{{4}}-\d{{1,2}}-\d{{1,2}}\b)
    | (?P<dotted>(?<![\d.])\d{{1,2}}\.\s?\d{{1,2}}\.\s?\d{{4}}\b)
    | (?P<slashed>(?<![\d/])\d{{1,2}}/\d{{1,2}}/\d{{4}}\b)
    | \b(?P<day>\d{{1,2}}){_NAMED_DAY}(?P<month>{_any(_MONTH)})\b
      (?:,?\s(?:de\s)?(?P<year>\d{{4}})\b)?
    | \b(?P<month2>{_any(_MONTH)})\.?\s(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?\b(?![.,]\d)
      (?:,?\s(?P<year2>\d{{4}})\b)?
    | \b(?P<month3>{_any(_MONTH)})\s(?P<year3>\d{{4}})\b
    | (?P<time>\b\d{{1,2}}:\d{{2}}(?::\d{{2}})?\b)
    | (?P<sign>\b(?:minus|moins|menos|meno|минус)\s|(?<![\w)\]%°/.,'])[-\u2212\u2013])?
      (?P<money>[$€£¥]\s?)?(?:
        (?P<mixed>(?<![\d.,/])(?:\d{{1,3}}\s)?\d{{1,9}}/\d{{1,9}}(?![\d/]))
      | (?P<digits>(?<![\d.])\.\d+|\d{{1,3}}(?:[\s']\d{{3}})+(?!\d)(?:[.,]\d+)?(?![.,]?\d)
        |\d+(?:[.,]\d+)*)
        (?:\s?[x×*]\s?10(?:\^|\*\*)(?P<times>[-\u2212]?\d{{1,3}})|(?:\^|\*\*)(?P<power>\d{{1,3}})
        |e(?P<exponent>[-+]?\d{{1,3}})\b)?
      | \b(?P<tens>{"|".join(_TENS.split())})[- ](?P<ones>{"|".join(list(_SPELLED)[1:10])})\b
      | \b(?P<ordinal>{_any(_ORDINAL)})\b | \b(?P<word>{_any(_SPELLED)})\b
      )
    """,
    re.X | re.I,
)
_AFTER = re.compile(
    rf"""(?:\s?(?P<scale>(?i:{_any(w for w in _SCALE if len(w) > 1)})\b|[kKM]\b)\.?)?
    (?:[\s-]?(?P<unit>°\s?[CF]\b|per\s?cent\b|pour\s?cent\b|por\s?ciento\b|per\s?cento\b|por\s?cento\b
    |[ap]\.m\.|%|[^\W\d_]++(?!\w)|[€$£¥]))?""",
    re.X,
)
_HUNDREDTHS = re.compile(r"p(?:er|our|or)\s?c(?:ent|iento|ento)")
_BELOW = re.compile(
    r"(?:\s?°\s?[CF]?)?(?:\s[^\W\d_]+){0,2}\s(?:below zero|below freezing|unter null|sous zéro"
    r"|bajo cero|sotto zero|abaixo de zero|onder nul|under noll|poniżej zera|ниже нуля)\b",
    re.I,
)
_RANGE = re.compile(r"\s?(?:-|\u2013|to|bis|à|a|or|and|oder|und|ou|et|o|y|e|tot|до)?\s?", re.I)
_LONGEST_GAP = 12


def is_month(word: str) -> bool:
    """Return whether a word is a month: "4. M\u00e4rz" is one date, not the end of a sentence."""
    return word.casefold() in _MONTH


def points(text: str) -> frozenset[Point]:
    """Return the decimal separators that a text's figures allow; both if none decides."""
    votes = {vote for match in _FIGURE.finditer(fold(text)) if (vote := _vote(match["digits"]))}
    return frozenset(votes or _POINTS)


def figures(text: str, point: Point, *, claimed: bool = False) -> frozenset[Figure]:
    """Return the figures of a text.

    Args:
        point: The decimal separator for ambiguous figures.
        claimed: Leave out words that need not be figures: one, second, half.
    """
    return frozenset(f for each, _, _ in _placed(fold(text), point, claimed=claimed) for f in each)


def without_figures(text: str) -> str:
    """Return a claim without its figures and their units, to compare the rest as words."""
    folded, rest, at = fold(text), "", 0
    for several, start, end in _placed(folded, ".", claimed=True):
        if several:
            rest += folded[at:start] + " "
            at = end
    return rest + folded[at:]


def holds(claimed: Iterable[Figure], stated: Iterable[Figure]) -> bool:
    """Return whether `stated` contains every figure of a claim, with no other unit."""
    by_key: dict[Key, set[str]] = {}
    for figure in stated:
        by_key.setdefault(figure.key, set()).add(figure.unit)
    return all(_fits(figure.unit, by_key.get(figure.key)) for figure in claimed)


def readings(claim: str, passage: str) -> list[tuple[Point, Point]]:
    """Return the decimal separators to try for a claim and a passage: equal ones if possible."""
    one, other = points(claim), points(passage)
    same = [(p, p) for p in _POINTS if p in one & other]
    return same or list(product(sorted(one), sorted(other)))


def _placed(
    folded: str, point: Point, *, claimed: bool
) -> list[tuple[tuple[Figure, ...], int, int]]:
    """Return the figures at each place of a folded text, with its start and end."""
    places: list[tuple[tuple[Figure, ...], int, int]] = []
    for match in _FIGURE.finditer(folded):
        own, end = _of(match, folded, point, claimed=claimed)
        places.append((tuple(own), match.start(), end))
    # In "20 to 30 percent" the first figure is a percentage too.
    for place in range(len(places) - 2, -1, -1):
        several, start, end = places[place]
        following, begin, _ = places[place + 1]
        gap = folded[end:begin]
        if gap and len(gap) <= _LONGEST_GAP and following and _RANGE.fullmatch(gap):
            unit = following[0].unit
            places[place] = tuple(replace(f, unit=f.unit or unit) for f in several), start, end
    return places


def _fits(unit: str, units: set[str] | None) -> bool:
    if not units:
        return False
    # A percentage never equals a count, even if a unit is missing.
    if unit in units or (unit == "" and units != {"%"}):
        return True
    return "" in units


def _of(
    match: re.Match[str], text: str, point: Point, *, claimed: bool
) -> tuple[list[Figure], int]:
    """Return the figures of one match, and the end of the text that belongs to it."""
    dates = list(_date(match, claimed=claimed))
    if dates:
        return dates, match.end()
    after = _AFTER.match(text, match.end())
    assert after is not None
    scale = _SCALE.get((after["scale"] or "").casefold(), 1)
    unit, end = _unit(match, after)
    keys = _keys(match, point, claimed=claimed)
    negative = bool(match["sign"]) or _BELOW.match(text, match.end()) is not None
    own_figures = [
        Figure((-key if negative else key) * scale if isinstance(key, Fraction) else key, unit)
        for key in keys
    ]
    return own_figures, end


def _unit(match: re.Match[str], after: re.Match[str]) -> tuple[str, int]:
    end = after.end("scale") if after["scale"] else match.end()
    if match["ordinal"]:
        return _ORDINAL_UNIT, end
    word = "".join((after["unit"] or "").casefold().replace(".", "").split())
    unit = "%" if _HUNDREDTHS.fullmatch(word) else _UNIT.get(word, "")
    if unit:
        return unit, after.end("unit")
    return _UNIT.get((match["money"] or "").strip(), ""), end


def _date(match: re.Match[str], *, claimed: bool) -> Iterator[Figure]:
    """Yield the day of the year, the month and the year of a date: each may be stated alone."""
    kind = match.lastgroup
    if kind in ("iso", "dotted", "slashed"):
        a, b, c = (int(part) for part in re.findall(r"\d+", match.group()))
        if kind == "iso":
            yield from _calendar(a, b, c, claimed=claimed)
        elif kind == "dotted" or a > 12:
            yield from _calendar(c, b, a, claimed=claimed)
        else:
            yield from _calendar(c, a, b, claimed=claimed)
        return
    for suffix in ("", "2", "3"):
        if name := match["month" + suffix]:
            year = match["year" + suffix]
            day = match["day" + suffix] if suffix != "3" else None
            number = _MONTH[name.casefold()]
            yield from _calendar(int(year or 0), number, int(day or 0), claimed=claimed)


def _calendar(year: int, month: int, day: int, *, claimed: bool) -> Iterator[Figure]:
    if year:
        yield Figure(Fraction(year))
    if day:
        yield Figure(f"{month}/{day}")
    if not (day and claimed):
        yield Figure(f"month {month}")


def _keys(match: re.Match[str], point: Point, *, claimed: bool) -> list[Key]:
    if match["time"]:
        return [match["time"].lstrip("0")]
    if match["mixed"]:
        *whole, share = match["mixed"].split()
        top, bottom = map(int, share.split("/"))
        return [int(whole[0] if whole else 0) + Fraction(top, bottom) if bottom else share]
    if match["tens"]:
        return [Fraction(_SPELLED[match["tens"].casefold()] + _SPELLED[match["ones"].casefold()])]
    if match["ordinal"]:
        value = _ORDINAL[match["ordinal"].casefold()]
        return [Fraction(value)] if value > 2 or not claimed else []
    if match["word"]:
        value = _SPELLED[match["word"].casefold()]
        return [Fraction(value)] if value != 1 or not claimed else []
    keys = _values(match["digits"], point)
    exponent = match["times"] or match["exponent"]
    if exponent and isinstance(keys[-1], Fraction):
        keys[-1] *= Fraction(10) ** int(exponent.replace("\u2212", "-"))
    elif match["power"] and isinstance(keys[-1], Fraction) and len(match["digits"]) < _MOST_DIGITS:
        keys[-1] **= int(match["power"])
    return keys


def _values(digits: str, point: Point) -> list[Key]:
    """Return the values of digits with their points, commas and spaces."""
    bare = re.sub(r"[\s']", "", digits)
    if len(bare) > _MOST_DIGITS:
        return [bare]
    parts = re.split(r"[.,]", bare)
    marks = re.findall(r"[.,]", bare)
    if not marks:
        return [Fraction(int(bare))]
    if len(marks) == 1:
        decimal = point if _is_either(bare) else marks[0]
        return [Fraction(bare.replace(",", "."))] if decimal == marks[0] else [_whole(parts)]
    if len(set(marks)) == 1 and _are_groups(parts):
        return [_whole(parts)]
    if len(set(marks[:-1])) == 1 and marks[-1] != marks[0] and _are_groups(parts[:-1]):
        return [Fraction(f"{''.join(parts[:-1])}.{parts[-1]}")]
    # A list without spaces, or a version number.
    return [Fraction(int(part)) for part in parts] if set(marks) == {","} else [bare]


def _whole(parts: Sequence[str]) -> Fraction:
    return Fraction(int("".join(parts)))


def _is_either(bare: str) -> bool:
    """Return whether a single point or comma is ambiguous, as in 1.200."""
    return re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", bare) is not None


def _are_groups(parts: Sequence[str]) -> bool:
    """Return whether digits are grouped as thousands or lakhs (1,00,000)."""
    return (
        1 <= len(parts[0]) <= 3
        and len(parts[-1]) == 3
        and all(len(part) in (2, 3) for part in parts[1:])
        and len({len(part) for part in parts[1:-1]}) <= 1
    )


def _vote(digits: str | None) -> Point | None:
    """Return the decimal separator that a figure proves, if any."""
    bare = re.sub(r"[\s']", "", digits or "")
    marks = re.findall(r"[.,]", bare)
    if not marks or (len(marks) == 1 and _is_either(bare)):
        return None
    parts = re.split(r"[.,]", bare)
    if len(marks) > 1 and len(set(marks)) == 1:
        if not _are_groups(parts):
            return None
        return "," if marks[0] == "." else "."
    return "." if marks[-1] == "." else ","
