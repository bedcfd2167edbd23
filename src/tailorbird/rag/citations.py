"""Whether an answer's sentences stand in what they cite: marks read, support found, quotes placed.

The check is lexical: a sentence is held by a passage when one to three neighbouring sentences of
it contain most of its content words (stemmed), all of its numbers, and negate the same words. It
accepts what is said in the passage's own words and refuses what is not, quickly and with no model;
a true paraphrase in other words is marked as unsupported rather than let through.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tailorbird.rag.sentences import Sentence, plain, split_sentences
from tailorbird.rag.words import content_words, held_numbers, negated, numbers, share_held
from tailorbird.records import Citation, Claim, Passage

UNSUPPORTED = "[?]"
"""What stands after a sentence that no passage holds."""

_WIDEST = 3
# White space only from its beginning on, or a long run would be read again at each of its places.
_MARK = re.compile(
    r"(?:(?<!\s)\s+)?(?:\[(\d{1,3}(?:\s*(?:,|;|and|&|-|\u2013)\s*\d{1,3})*)\]|\[\^(\d{1,3})\])"
)
_ONLY_MARKS = re.compile(rf"(?:{_MARK.pattern})+[.\s]*")


@dataclass(frozen=True, slots=True)
class Support:
    """How well a passage holds a sentence, and where: offsets are of the document's text."""

    share: float
    start: int
    end: int
    quote: str
    agrees: bool

    def holds(self, least: float) -> bool:
        """Say whether it is support: enough of the words, every number, nothing negated."""
        return self.agrees and self.share >= least


def cited_numbers(text: str) -> list[int]:
    """Return the numbers of the marks ``[1]``, ``[2, 3]`` and ``[4-6]``, each once, in order."""
    found: list[int] = []
    for mark in _MARK.finditer(text):
        for part in re.split(r",|;|and|&", mark.group(1) or mark.group(2)):
            ends = [int(number) for number in re.findall(r"\d+", part)]
            found += range(ends[0], min(ends[-1], ends[0] + 20) + 1)
    return list(dict.fromkeys(found))


def without_marks(text: str) -> str:
    """Return a sentence without its citation marks."""
    return _MARK.sub("", text).strip()


def check_answer(
    text: str, passages: Sequence[Passage], least: float
) -> tuple[str, tuple[Claim, ...]]:
    """Check every sentence of an answer against the passages it cites.

    A sentence that cites nothing is looked for in all passages: what it is then given is as
    checked as the writer's own citations.

    Args:
        text: As it was written, with marks.
        passages: What the writer was given, numbered.
        least: Share of a sentence's content words that a passage must hold.

    Returns:
        The text with the citations that stood the check, unsupported sentences marked ``[?]``,
        and the sentences.
    """
    known = {passage.number: passage for passage in passages}
    split = {passage.number: split_sentences(passage.text) for passage in passages}
    claims: list[Claim] = []
    shown: list[str] = []
    at = 0
    for start, end in _claim_spans(text):
        written = text[start:end]
        claim = _check(written, known, split, least)
        claims.append(claim)
        shown += [text[at:start], _with_marks(written, claim)]
        at = end
    return "".join([*shown, text[at:]]).strip(), tuple(claims)


def find_support(
    sentence: str, passage: Passage, sentences: Sequence[Sentence] | None = None
) -> Support:
    """Return the place of a passage that holds most of a sentence's content words.

    Of places that hold equally much, one with all its numbers and no other negation comes first,
    then the shortest.

    Args:
        sentence: Without citation marks.
        passage: Where to look; its title and headings count as said in every place of it.
        sentences: The passage's, when they were split before.
    """
    parts = split_sentences(passage.text) if sentences is None else sentences
    parts = [part for part in parts if part.kind != "aside"]
    trail = " ".join((passage.title, *passage.headings))
    around, around_numbers = set(content_words(trail)), held_numbers(trail)
    said = plain(sentence) if "```" not in sentence else sentence
    wanted, counted, denied = set(content_words(said)), numbers(said), negated(said)
    best, best_key = Support(0.0, passage.start, passage.start, "", False), (False, 0.0, 0, 0)
    own = [(set(content_words(p.text)), held_numbers(p.text), negated(p.text)) for p in parts]
    for width in range(1, _WIDEST + 1):
        for first in range(len(parts) - width + 1):
            window = own[first : first + width]
            words = set().union(*(w for w, _, _ in window))
            held = set().union(around_numbers, *(n for _, n, _ in window))
            refused = set().union(*(d for _, _, d in window))
            here = words & wanted if wanted else words
            share = share_held(wanted, words | around) if here or not wanted else 0.0
            if not wanted:  # nothing but numbers
                share = share_held(counted, held)
            agrees = counted <= held and not _contradicts(wanted & words, denied, refused)
            key = (agrees, round(share, 6), -width, len(here))
            if key > best_key:
                a, b = parts[first].start, parts[first + width - 1].end
                best = Support(
                    share, passage.start + a, passage.start + b, passage.text[a:b], agrees
                )
                best_key = key
    return best


def cite(passage: Passage, support: Support) -> Citation:
    """Return a citation of the place that was found."""
    return Citation(
        number=passage.number,
        source=passage.source,
        title=passage.title,
        page=passage.page,
        headings=trail_at(passage, support.start),
        start=support.start,
        end=support.end,
        quote=support.quote,
        support=round(support.share, 4),
    )


def trail_at(passage: Passage, start: int) -> tuple[str, ...]:
    """Return the trail of headings at a place of a passage, which may hold headings itself.

    Args:
        passage: Its own trail is that of its first character.
        start: Offset in the document's text.
    """
    trail = list(passage.headings)
    for part in split_sentences(passage.text):
        if passage.start + part.start >= start:
            break
        level = len(part.text) - len(part.text.lstrip("#"))
        if part.kind == "heading" and level:
            trail[level - 1 :] = [part.text.lstrip("# ").strip()]
    return tuple(trail)


def _contradicts(common: set[str], denied: set[str], refused: set[str]) -> bool:
    """Say whether one denies a word that both hold and the other does not."""
    return bool(common & (denied ^ refused))


def _check(
    written: str,
    known: dict[int, Passage],
    split: dict[int, list[Sentence]],
    least: float,
) -> Claim:
    bare = without_marks(written)
    asked = cited_numbers(written)
    kept: list[Citation] = []
    wrong: list[int] = []
    for number in asked:
        if number not in known:
            wrong.append(number)
            continue
        support = find_support(bare, known[number], split[number])
        if support.holds(least):
            kept.append(cite(known[number], support))
        else:
            wrong.append(number)
    if not kept:
        others = [p for n, p in known.items() if n not in asked]
        found = [(find_support(bare, p, split[p.number]), p) for p in others]
        good = [(s.share, -p.number, s, p) for s, p in found if s.holds(least)]
        kept = [cite(p, s) for _, _, s, p in sorted(good, key=lambda g: g[:2])[-1:]]
    return Claim(_one_line(bare), tuple(kept), bool(kept), tuple(wrong))


def _claim_spans(text: str) -> list[tuple[int, int]]:
    """Return where the claims are: sentences, each with the marks that follow it.

    Words that claim nothing (``Yes.``, ``Sure:``) go with the sentence after them.
    """
    spans: list[tuple[int, int]] = []
    waiting: int | None = None
    for sentence in split_sentences(text):
        if sentence.kind in ("heading", "aside"):
            continue
        if _ONLY_MARKS.fullmatch(sentence.text):
            if spans and waiting is None:
                spans[-1] = (spans[-1][0], sentence.end)
            continue
        start = sentence.start if waiting is None else waiting
        bare = without_marks(sentence.text)
        if not content_words(bare) and not numbers(bare):
            waiting = start
            continue
        spans.append((start, sentence.end))
        waiting = None
    if waiting is not None:
        spans.append((waiting, len(text.rstrip())))
    return spans


def _with_marks(written: str, claim: Claim) -> str:
    """Return what was written with the citations that stood, or the mark of unsupported."""
    marks = "".join(f"[{citation.number}]" for citation in claim.citations) or UNSUPPORTED
    bare = _MARK.sub("", written).rstrip()
    if bare.endswith(("```", "~~~")):
        return f"{bare}\n{marks}"
    return f"{bare} {marks}"


def _one_line(text: str) -> str:
    return text if "\n```" in text or text.startswith("```") else " ".join(text.split())
