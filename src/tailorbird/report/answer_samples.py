"""The view of generated answers: trained parts of examples, and all arms' answers side by side."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import groupby

from tailorbird.metrics import display
from tailorbird.metrics.cost import BASE
from tailorbird.metrics.metric_facts import is_at_most_one, is_share
from tailorbird.records import ArmReport, Neighbour, Piece, Report, WrittenAnswer
from tailorbird.report.report_facts import by_interest, by_score, headline_metric, standing

# Together these bound the page: ten arms with long answers stay under 1.5 MB.
ROWS = 12
ROWS_OPEN = 4
EXAMPLES = 3
PIECE_CHARACTERS = 1500
PROMPT_CHARACTERS = 1600
ANSWER_CHARACTERS = 1200
NEAR_CHARACTERS = 240
WORST_OF_CHOSEN = 20
WORST_OF_OTHERS = 8
WORST_OPEN = 4

# Control tokens of common chat templates and tokenizers: <|im_start|>, [INST], </s>,
# <start_of_turn>, <<SYS>>, and DeepSeek's with full-width bars.
_SPECIAL = re.compile(
    r"<[|｜][^<>\n]{1,40}[|｜]>|</?s>|</?(?:bos|eos|pad|unk|mask|think|(?:start|end)_of_turn)>"
    r"|\[/?(?:INST|CLS|SEP|PAD|UNK|MASK|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]|<</?SYS>>"
)
_WORD = re.compile(r"\w+|[^\w\s]")
_LONG_WORD = 4


@dataclass(frozen=True, slots=True)
class Bit:
    """Characters with the same style.

    Attributes:
        kind: ``word``, ``special`` for a token of the template, or ``line`` for a line break.
    """

    text: str
    trained: bool
    kind: str


@dataclass(frozen=True, slots=True)
class ExampleView:
    """A decoded training example."""

    bits: list[Bit]
    trained: int
    characters: int

    @property
    def share(self) -> float:
        """The share of trained characters."""
        return self.trained / self.characters if self.characters else 0.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of an answer, and whether it agrees with the reference."""

    text: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class AnswerView:
    """One arm's answer for display; ``level`` is its score in percent, if it has a scale."""

    arm: str
    standing: str
    output: list[Stretch]
    score: str
    level: int | None
    answer: WrittenAnswer


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One test prompt: the visible answers, and the folded ones."""

    prompt: str
    reference: str
    row: int
    first: list[AnswerView]
    others: list[AnswerView]


def shown_examples(report: Report) -> list[ExampleView]:
    """Return the first training examples; long ones lose their middle."""
    return [_example_view(example) for example in report.data.shown[:EXAMPLES]]


def side_by_side(report: Report) -> list[PromptRow]:
    """Return the test prompts with the arms' answers, in the order of the data.

    Visible are the base model's and the recommended arm's; if they are one, or the first is
    missing, the next best replaces it.
    """
    arms = [arm for arm in by_score(report) if arm.answers]
    keys = list(dict.fromkeys((a.row, a.prompt) for arm in arms for a in arm.answers))[:ROWS]
    first = leading(report)
    rows = []
    for row, prompt in keys:
        answers = {
            arm.name: answer_view(report, arm, answer)
            for arm in arms
            for answer in arm.answers
            if (answer.row, answer.prompt) == (row, prompt)
        }
        reference = next(iter(answers.values())).answer.reference
        rows.append(
            PromptRow(
                prompt=clip(prompt, PROMPT_CHARACTERS),
                reference=clip(reference, ANSWER_CHARACTERS),
                row=row,
                first=[answers[name] for name in first if name in answers],
                others=[cell for name, cell in answers.items() if name not in first],
            )
        )
    return rows


def leading(report: Report) -> list[str]:
    """Return the arms whose answers are always visible: before and after tuning, in this order."""
    names = [arm.name for arm in by_interest(report) if arm.answers]
    if BASE in names:
        names.remove(BASE)
        return [BASE, *names[:1]]
    return names[:2]


def answer_view(report: Report, arm: ArmReport, answer: WrittenAnswer) -> AnswerView:
    """Return one clipped answer, with its agreement with the reference marked."""
    name = headline_metric(report)
    scaled = is_at_most_one(name) and 0 <= answer.score <= 1
    output = clip(answer.output, ANSWER_CHARACTERS)
    reference = clip(answer.reference, ANSWER_CHARACTERS)
    near = tuple(
        Neighbour(
            clip(n.text, NEAR_CHARACTERS), clip(n.label, NEAR_CHARACTERS), n.similarity, n.row
        )
        for n in answer.nearest
    )
    prompt = clip(answer.prompt, PROMPT_CHARACTERS)
    return AnswerView(
        arm=arm.name,
        standing=standing(report, arm),
        output=agreement(output, reference),
        score=_score(name, answer.score),
        level=round(100 * answer.score) if scaled else None,
        answer=replace(answer, prompt=prompt, reference=reference, output=output, nearest=near),
    )


def worst(report: Report, arm: ArmReport) -> list[AnswerView]:
    """Return an arm's worst answers; more for the recommended arm."""
    most = WORST_OF_CHOSEN if arm.name == report.verdict.recommended else WORST_OF_OTHERS
    return [answer_view(report, arm, answer) for answer in arm.worst[:most]]


def agreement(output: str, reference: str) -> list[Stretch]:
    """Mark the words of an answer that occur in the reference, in the same order.

    A single short match (``the``, a comma) is insignificant and left unmarked.
    """
    spans, expected = list(_WORD.finditer(output)), _WORD.findall(reference.lower())
    matcher = SequenceMatcher(None, [m.group().lower() for m in spans], expected, autojunk=False)
    stretches: list[Stretch] = []
    end = 0
    for block in matcher.get_matching_blocks():
        run = spans[block.a : block.a + block.size]
        while run and run[0].group() in ",.;:)":
            run = run[1:]
        words = [m.group() for m in run if m.group()[0].isalnum()]
        if not words or (len(words) == 1 and len(words[0]) < _LONG_WORD):
            continue
        start, stop = run[0].start(), run[-1].end()
        stretches += [Stretch(output[end:start], False), Stretch(output[start:stop], True)]
        end = stop
    stretches.append(Stretch(output[end:], False))
    return [stretch for stretch in stretches if stretch.text]


def clip(text: str, most: int) -> str:
    """Shorten a text that is too long for the page."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _score(name: str, score: float) -> str:
    if is_share(name) and score in (0, 1):
        return "right" if score else "wrong"
    if is_at_most_one(name) and not is_share(name):
        return f"{score:.2f}"  # one answer's score has no more precision
    return display.metric(name, score)


def _example_view(example: Sequence[Piece]) -> ExampleView:
    bits: list[Bit] = []
    for trained, pieces in groupby(example, key=lambda piece: piece.trained):
        bits += _bits(_cut("".join(piece.text for piece in pieces)), trained)
    trained_on = sum(len(piece.text) for piece in example if piece.trained)
    return ExampleView(bits, trained_on, sum(len(piece.text) for piece in example))


def _cut(text: str) -> str:
    """Leave out the middle of a long part, since training begins and ends at its ends."""
    if len(text) <= PIECE_CHARACTERS:
        return text
    head, tail = 2 * PIECE_CHARACTERS // 3, PIECE_CHARACTERS // 3
    left_out = len(text) - head - tail
    return f"{text[:head]} … {left_out:,} characters … {text[-tail:]}"


def _bits(text: str, trained: bool) -> list[Bit]:
    bits: list[Bit] = []
    for part in re.split(f"({_SPECIAL.pattern}|\n)", text):
        if part:
            special = "special" if _SPECIAL.fullmatch(part) else "word"
            bits.append(Bit(part, trained, "line" if part == "\n" else special))
    return bits
