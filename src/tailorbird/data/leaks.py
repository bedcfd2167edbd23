"""Equal and nearly equal texts shared by training, validation and test rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from tailorbird.data.message_words import listing, rows, shorten
from tailorbird.data.near_duplicates import NEAR, NearTexts, clusters, outer_key, text_key
from tailorbird.data.targets import classes_of
from tailorbird.errors import Faults, UserError
from tailorbird.records import TASKS, Example, Finding, Split

Overlap = Literal["drop", "keep", "error"]

_SAMPLES = 5
_SHARE_ALIKE = 0.05
_MOST_ROWS, _MOST_CHARACTERS = 20_000, 3_000_000


class _Part(NamedTuple):
    name: str
    examples: Sequence[Example]


def overlaps(split: Split, overlap: Overlap) -> tuple[Split, list[Finding]]:
    """Find rows whose text is also in a later part, and drop them unless they are kept.

    Raises:
        UserError: There are such rows and ``overlap`` is ``error``, or too few rows are left.
    """
    faults = Faults()
    test = _Part("test", split.test)
    all_findings: list[Finding] = []

    def settle(part: _Part, judge: _Part) -> _Part:
        findings = list(_shared_texts(part, judge, overlap))
        all_findings.extend(findings)
        if overlap == "error":
            for finding in findings:
                faults.add(
                    f"{finding.message} {'; '.join(finding.samples)}",
                    "remove these rows from one of the files, or let --overlap drop do it",
                )
        keys = {text_key(e.text) for e in judge.examples} if overlap == "drop" else set()
        return _Part(part.name, [e for e in part.examples if text_key(e.text) not in keys])

    validation = settle(_Part("validation", split.validation), test)
    train = settle(settle(_Part("training", split.train), test), validation)
    faults.raise_if_any()
    _check_left(split, train, validation)
    cleaned = replace(split, train=tuple(train.examples), validation=tuple(validation.examples))
    return cleaned, all_findings


def _shared_texts(part: _Part, judge: _Part, overlap: Overlap) -> Iterable[Finding]:
    """Yield the texts that two parts share, each counted once.

    Texts that differ only in whitespace between words are counted separately from those equal up to
    case and surrounding whitespace, which are what other tools count.
    """
    keys = {text_key(e.text) for e in judge.examples}
    strict = {outer_key(e.text) for e in judge.examples}
    shared = [e for e in part.examples if text_key(e.text) in keys]
    same = [e for e in shared if outer_key(e.text) in strict]
    spaced = [e for e in shared if outer_key(e.text) not in strict]
    consequence = {
        "drop": f"; dropped from the {part.name} rows",
        "keep": "; kept, so scores are too optimistic",
        "error": "",
    }[overlap]
    for code, examples, but_for in (
        ("overlap", same, "case and surrounding white space"),
        ("overlap_spacing", spaced, "the white space between words"),
    ):
        if examples:
            texts = len({text_key(e.text) for e in examples})
            stand = "text also occurs" if texts == 1 else "texts also occur"
            yield Finding(
                code,
                "warning",
                f"{texts:,} {judge.name} {stand} in {rows(len(examples), part.name)}, the same "
                f"except for {but_for}{consequence}.",
                texts,
                tuple(f"row {e.row}: {shorten(e.text)}" for e in examples[:_SAMPLES]),
            )


def _check_left(split: Split, train: _Part, validation: _Part) -> None:
    """Refuse a split that dropping left without training or validation rows."""
    if not train.examples:
        raise UserError(
            "every training row also occurs in the validation or test rows",
            "give other training rows, or set --overlap keep (the scores are then too optimistic)",
        )
    left = {label for e in train.examples for label in classes_of(e, split.task)}
    spec = TASKS[split.task]
    classes = split.labels if spec.one_label or spec.several_labels else ()
    missing = [label for label in classes if label not in left]
    if missing:
        raise UserError(
            "dropping the training rows whose text also occurs in the validation or test rows "
            f"leaves no training row with the label {listing([*map(repr, missing)])}",
            "give validation and test rows that are not in the training file, or set --overlap "
            "keep (the scores are then too optimistic)",
        )
    if split.validation and not validation.examples:
        raise UserError(
            "every validation row also occurs in the test rows",
            "give other validation rows, or none: then they are split off the training rows",
        )


def near_duplicates(split: Split) -> Iterable[Finding]:
    """Yield nearly equal texts in training and in a later part.

    Validation and test are not compared with each other, since nothing is learnt from either.
    """
    train = _subsample(split.train, _MOST_ROWS)
    index = NearTexts([e.text for e in train])
    for judge in (_Part("test", split.test), _Part("validation", split.validation)):
        sample = _subsample(judge.examples, _MOST_ROWS // 4)
        pairs, looked = index.search([e.text for e in sample])
        if not pairs:
            continue
        sampled = (
            f" Compared {looked:,} of {rows(len(judge.examples), judge.name)} with "
            f"{len(train):,} of {rows(len(split.train), 'training')}."
        )
        complete = (looked, len(train)) == (len(judge.examples), len(split.train))
        yield Finding(
            "near_duplicates",
            "warning",
            f"{rows(len(pairs), judge.name)} of {looked:,} {'is' if len(pairs) == 1 else 'are'} "
            "almost the same as a training row (80 % or more of their letter sequences are "
            "shared): scores may be higher there than on new texts. "
            f"Kept.{'' if complete else sampled}",
            len(pairs),
            tuple(
                f"{shorten(train[pair.indexed].text)} | {shorten(sample[pair.query].text)}"
                for pair in pairs[:_SAMPLES]
            ),
        )


def near_groups(split: Split) -> Iterable[Finding]:
    """Yield nearly equal test rows that no group joins yet."""
    sample = _subsample(split.test, _MOST_ROWS // 4)
    if any(example.group for example in sample):
        return
    sizes = Counter(filter(None, clusters([example.text for example in sample])))
    count = sum(sizes.values())
    if sizes and count >= _SHARE_ALIKE * len(sample):
        yield Finding(
            "near_groups",
            "info",
            f"{rows(count, 'test')} of {len(sample):,} are almost the same as another, in "
            f"{len(sizes):,} {'group' if len(sizes) == 1 else 'groups'}: they carry less "
            "information than independent rows. For intervals that count each group once: "
            f"--group {NEAR}.",
            count,
        )


def _subsample(examples: Sequence[Example], most: int) -> Sequence[Example]:
    """Return every n-th example, few enough to compare in seconds."""
    characters = sum(len(e.text) for e in examples)
    step = max(-(-len(examples) // most), -(-characters // _MOST_CHARACTERS), 1)
    return examples[::step]
