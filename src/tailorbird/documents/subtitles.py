"""Reader of subtitles (SubRip, WebVTT): speech in paragraphs that begin with their time."""

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tailorbird.documents.decode_text import read_text, squeeze
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions, Unreadable
from tailorbird.documents.text_builder import TextBuilder

_TIMES = re.compile(
    r"\s*((?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3})\s*-->\s*((?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3})"
)
_VOICE = re.compile(r"<v(?:\.[\w.-]{0,99})?\s+([^<>]{1,200})>")
_TAG = re.compile(r"</?[a-z][^<>]{0,200}>|<[\d:.]{5,20}>|\{\\[^{}]{0,99}\}", re.I)
_PAUSE_SECONDS = 4.0
_BLINK_SECONDS = 0.2
_LONG_PARAGRAPH = 600


def read_subtitles(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read subtitles.

    The speech, in paragraphs that begin with their time, with the speaker if named.
    """
    builder = TextBuilder()
    for start, words in _paragraphs(_cues(read_text(path, notes))):
        builder.block(f"[{start}] {words}")
    text, marks = builder.result()
    if not text:
        raise Unreadable("no subtitles in it: no line has times such as 00:01:02.0 --> 00:01:04.5")
    yield Parsed(text, marks)


def _cues(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield start, end and lines of each cue."""
    lines = iter([*text.split("\n"), ""])
    for line in lines:
        times = _TIMES.match(line)
        if times is None:
            continue  # the number of a cue, a note, a style
        texts: list[str] = []
        for words in lines:
            if not words.strip():
                break
            texts.append(words)
        yield times.group(1), times.group(2), texts


def _paragraphs(cues: Iterable[tuple[str, str, list[str]]]) -> Iterator[tuple[str, str]]:
    """Yield start and words of each paragraph, without the repeated lines of rolling captions."""
    begin, words, speaker, last = "", "", "", 0.0
    before: list[str] = []
    for start, end, texts in cues:
        voice = next((v.group(1).strip() for v in map(_VOICE.search, texts) if v), speaker)
        lines = [squeeze(html.unescape(_TAG.sub("", line))) for line in texts]
        fresh = _fresh(list(filter(None, lines)), before, _seconds(end) - _seconds(start))
        apart = _seconds(start) - last > _PAUSE_SECONDS or voice != speaker
        full = len(words) > _LONG_PARAGRAPH and words[-1] in '.!?…"”。！？'
        if words and fresh and (apart or full):
            yield begin, words
            words = ""
        if fresh:
            name = f"{voice}: " if voice and (voice != speaker or not words) else ""
            begin = begin if words else start.replace(",", ".").partition(".")[0]
            words = f"{words} {name}{' '.join(fresh)}".strip()
        before, speaker, last = lines or before, voice, _seconds(end)
    if words:
        yield begin, words


def _fresh(lines: list[str], before: list[str], seconds: float) -> list[str]:
    """Return the lines of a cue that do not repeat the end of the one before."""
    for count in range(min(len(lines), len(before)), 0, -1):
        rolls = len(lines) > count or seconds < _BLINK_SECONDS
        if rolls and lines[:count] == before[-count:]:
            return lines[count:]
    return lines


def _seconds(time: str) -> float:
    seconds = 0.0
    for part in time.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds
