"""Prints answers from a knowledge base."""

import textwrap
from collections.abc import Sequence

from tailorbird.records import Answer, Citation, Passage
from tailorbird.terminal import one_line

_WIDTH = 80
_QUOTE = 240


def show_answer(answer: Answer) -> None:
    """Print the answer, then its sources with their quotes."""
    print(_laid_out(answer.text))
    if answer.refused:
        print(_wrapped(f"Why: {answer.why}."))
        if answer.passages:
            print("\nNearest:")
            show_passages(answer.passages)
        return
    unsupported = sum(not claim.supported for claim in answer.claims)
    if unsupported:
        print(_wrapped(
            f"\n[?] {unsupported} of {len(answer.claims)} sentences are supported by no "
            "passage: do not rely on them."
        ))  # fmt: skip
    wrong = sorted({number for claim in answer.claims for number in claim.wrong})
    if wrong:
        named = ", ".join(f"[{number}]" for number in wrong)
        print(_wrapped(f"Citations removed because they do not hold: {named}."))
    cited = [citation for claim in answer.claims for citation in claim.citations]
    if cited:
        print("\nSources:")
        for number in dict.fromkeys(citation.number for citation in cited):
            _show_source([citation for citation in cited if citation.number == number])
    if answer.searched != answer.question:
        print(_wrapped(f"\nSearched for: {answer.searched}"))


def show_passages(passages: Sequence[Passage]) -> None:
    """Print passages, each with its place and beginning."""
    for p in passages:
        print(_wrapped(f"[{p.number}] {_place(p)} ({_similarity(p)})", "    "))
        print(_wrapped(_short(p.text), "    ", "    "))


def _show_source(citations: Sequence[Citation]) -> None:
    print(_wrapped(f"[{citations[0].number}] {_place(citations[0])}", "    "))
    for citation in citations:
        print(_quoted(citation.quote))


def _place(source: Citation | Passage) -> str:
    page = f", page {source.page}" if source.page is not None else ""
    trail = " > ".join(dict.fromkeys(part for part in (source.title, *source.headings) if part))
    return one_line(f"{source.source}{page}" + (f": {trail}" if trail else ""))


def _similarity(passage: Passage) -> str:
    if passage.dense is not None:
        return f"similarity {passage.dense:.2f}"
    return f"BM25 {passage.words:.1f}" if passage.words is not None else f"{passage.score:.2f}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE else f"{line[:_QUOTE].rsplit(' ', 1)[0]} ..."


def _quoted(quote: str) -> str:
    """Return a quote's beginning as one paragraph, or code line by line."""
    if not any(_is_fence(line) for line in quote.splitlines()):
        return _wrapped(f'"{_short(quote)}"', "     ", "    ")
    pieces, room = [], _QUOTE
    for line in quote.splitlines():
        if room < 0:
            pieces.append("...")
            break
        pieces.append(line)
        room -= len(line)
    return _laid_out('"' + "\n".join(pieces) + '"', "     ", "    ")


def _is_fence(line: str) -> bool:
    return line.lstrip(' "').startswith(("```", "~~~"))


def _laid_out(text: str, indent: str = "", first: str = "") -> str:
    """Return prose wrapped to 80 columns; fenced code is unchanged."""
    lines, in_code = [], False
    for line in text.splitlines():
        fence = _is_fence(line)
        lines.append(
            f"{first}{line}".rstrip() if in_code or fence else _wrapped(line, indent, first)
        )
        in_code ^= fence
    return "\n".join(lines)


def _wrapped(line: str, indent: str = "", first: str = "") -> str:
    """Return a line wrapped to 80 columns; indented lines are code and unchanged."""
    if not first and line.startswith((" ", "\t", "```")):
        return line
    blank = "\n" * (len(line) - len(line.lstrip("\n")))
    return blank + textwrap.fill(
        line.lstrip("\n"), _WIDTH, initial_indent=first, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
