"""Checks a split for leaks, contradictions, duplicates and rare classes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, median, pstdev

from tailorbird.data.leaks import Overlap, near_duplicates, near_groups, overlaps
from tailorbird.data.message_words import rows, shorten
from tailorbird.data.near_duplicates import text_key
from tailorbird.data.targets import classes_of
from tailorbird.records import TASKS, DataSummary, Example, Finding, Split, TaskName

_SAMPLES = 5
_IMBALANCE = 10
_FEW_ROWS = 5
_LONG_TIMES, _LONG_CHARACTERS = 10, 2000


def check_split(split: Split, *, overlap: Overlap = "drop") -> Split:
    """Return the split with its leaks resolved and its findings.

    Args:
        overlap: What happens to training rows whose text is also in the validation or test rows,
            and to validation rows whose text is also in the test rows: drop them, keep them, or
            refuse the data. Each case adds a finding.

    Raises:
        UserError: There is an overlap and ``overlap`` is ``error``, or dropping it leaves a class
            without training rows.
    """
    spec = TASKS[split.task]
    classes = spec.one_label or spec.several_labels
    checks = (_imbalance, _rare_classes, _untested_classes) if classes else ()
    findings = [
        *(_similar_labels(split) if classes else ()),
        *(_contradictions(split) if spec.one_label else _several_answers(split)),
        *_duplicates(split),
        *_ranges(split),
    ]
    cleaned, leaks = overlaps(split, overlap)
    findings += [
        *leaks,
        *near_duplicates(cleaned),
        *near_groups(cleaned),
        *(finding for check in checks for finding in check(cleaned)),
        *_long_texts(cleaned),
    ]
    return replace(cleaned, findings=(*split.findings, *findings))


def summarise(split: Split, source: str, columns: dict[str, str]) -> DataSummary:
    """Return the report's summary of the data."""
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    counts = {part: _class_counts(examples, split.task) for part, examples in parts.items()}
    labels = () if TASKS[split.task].numbers else split.labels
    return DataSummary(
        source=source,
        columns=dict(columns),
        labels=split.labels,
        counts={part: len(examples) for part, examples in parts.items()},
        class_counts={x: {part: counts[part][x] for part in parts} for x in labels},
        how=split.how,
        findings=split.findings,
        task=split.task,
        form=split.form,
    )


def _class_counts(examples: Sequence[Example], task: TaskName) -> Counter[str]:
    """Count the rows of each label."""
    return Counter(label for e in examples for label in classes_of(e, task))


def _several_answers(split: Split) -> Iterable[Finding]:
    """Yield texts with several answers, which are normal in generation."""
    answers: dict[str, set[str | None]] = defaultdict(set)
    for example in split.train:
        answers[text_key(example.text)].add(example.label)
    several = [text for text, labels in answers.items() if len(labels) > 1]
    if several:
        noun = "prompt" if TASKS[split.task].prompts else "text"
        prompts = f"{noun} has" if len(several) == 1 else f"{noun}s have"
        yield Finding(
            "several_answers",
            "info",
            f"{len(several):,} training {prompts} more than one answer; all are kept.",
            len(several),
            tuple(map(shorten, several[:_SAMPLES])),
        )


def _contradictions(split: Split) -> Iterable[Finding]:
    by_text: dict[str, list[Example]] = defaultdict(list)
    for example in split.train:
        by_text[text_key(example.text)].append(example)
    groups = [group for group in by_text.values() if len({e.label for e in group}) > 1]
    if groups:
        yield Finding(
            "contradictory_labels",
            "warning",
            f"{len(groups):,} training {'text has' if len(groups) == 1 else 'texts have'} "
            "different labels in different rows; a model can only learn one of them.",
            sum(map(len, groups)),
            tuple(
                f"{shorten(g[0].text)} | " + ", ".join(f"row {e.row}: {e.label}" for e in g[:4])
                for g in groups[:_SAMPLES]
            ),
        )


def _duplicates(split: Split) -> Iterable[Finding]:
    counts = Counter((text_key(e.text), e.label) for e in split.train)
    twice = [(text, n) for (text, _), n in counts.items() if n > 1]
    if twice:
        extra = sum(n - 1 for _, n in twice)
        spec = TASKS[split.task]
        what = "prompt and answer" if spec.prompts else "text"
        what = "text and label" if spec.head else what
        yield Finding(
            "duplicates",
            "info",
            f"{rows(extra, 'training')} repeated an earlier row with the same {what}; kept.",
            extra,
            tuple(f"{n} x {shorten(text)}" for text, n in twice[:_SAMPLES]),
        )


def _ranges(split: Split) -> Iterable[Finding]:
    """Yield the range of regression targets, which reveals a wrong column."""
    for i, name in enumerate(split.labels if TASKS[split.task].numbers else ()):
        values = [example.values[i] for example in split.train]
        limits = f"{min(values):.6g} to {max(values):.6g}"
        yield Finding(
            "target_range",
            "info",
            f"In the training rows {name} ranges from {limits}, mean {fmean(values):.4g}, "
            f"standard deviation {pstdev(values):.4g}.",
            len(values),
        )


def _imbalance(split: Split) -> Iterable[Finding]:
    counts = _class_counts(split.train, split.task)
    if not counts:
        return
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many > _IMBALANCE * few:
        yield Finding(
            "imbalance",
            "warning",
            f"The largest class, {most!r}, has {many / few:.0f} times the training rows of "
            f"the smallest, {least!r} ({many:,} to {few:,}): look at macro F1, "
            f"not at {'micro F1' if TASKS[split.task].several_labels else 'accuracy'}.",
            few,
            tuple(f"{label}: {n:,}" for label, n in counts.most_common()[: -_SAMPLES - 1 : -1]),
        )


def _rare_classes(split: Split) -> Iterable[Finding]:
    counts = _class_counts(split.train, split.task)
    rare = [(label, counts[label]) for label in split.labels if counts[label] < _FEW_ROWS]
    if rare:
        have = _have(split, len(rare))
        yield Finding(
            "rare_classes",
            "warning",
            f"{len(rare):,} {have} fewer than {_FEW_ROWS} training rows; their scores are "
            "unreliable. Add rows or merge classes.",
            sum(n for _, n in rare),
            tuple(f"{label}: {n}" for label, n in rare[:_SAMPLES]),
        )


def _have(split: Split, count: int) -> str:
    """Return a count of labels in words, with its verb."""
    one, many = ("label", "labels") if TASKS[split.task].several_labels else ("class", "classes")
    return f"{one} has" if count == 1 else f"{many} have"


def _untested_classes(split: Split) -> Iterable[Finding]:
    tested = _class_counts(split.test, split.task)
    absent = [label for label in split.labels if label not in tested]
    if split.test and absent:
        have, them = _have(split, len(absent)), "it" if len(absent) == 1 else "them"
        yield Finding(
            "untested_classes",
            "warning",
            f"{len(absent):,} {have} no test row, so nothing is measured for {them}.",
            len(absent),
            tuple(absent[:_SAMPLES]),
        )


def _similar_labels(split: Split) -> Iterable[Finding]:
    by_key: dict[str, list[str]] = defaultdict(list)
    for label in split.labels:
        by_key[text_key(label)].append(label)
    alike = [labels for labels in by_key.values() if len(labels) > 1]
    if alike:
        yield Finding(
            "similar_labels",
            "warning",
            "Some labels differ only in case or white space and count as different classes; use "
            "one spelling if they mean the same.",
            len(alike),
            tuple(" / ".join(map(repr, labels)) for labels in alike[:_SAMPLES]),
        )


def _long_texts(split: Split) -> Iterable[Finding]:
    usual = median(len(example.text) for example in split.train)
    limit = max(_LONG_CHARACTERS, _LONG_TIMES * usual)
    every = (*split.train, *split.validation, *split.test)
    long = [example for example in every if len(example.text) > limit]
    if long:
        yield Finding(
            "long_texts",
            "info",
            f"{rows(len(long))} more than {limit:,.0f} characters long, against a median of "
            f"{usual:,.0f} in training: were several texts joined by mistake?",
            len(long),
            tuple(
                f"row {e.row}, {len(e.text):,} characters: {shorten(e.text, 40)}"
                for e in long[:_SAMPLES]
            ),
        )
