"""Chooses the text and label columns: named by the user, or guessed with a note."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from tailorbird.data.message_words import name_list
from tailorbird.data.raw_rows import Table
from tailorbird.errors import Faults, UserError, did_you_mean

# The first of these names wins; the user must break any other tie.
TEXT_NAMES = (
    *("text", "sentence", "content", "body", "review", "message", "question", "utterance"),
    *("query", "comment", "document", "description", "title", "tweet", "post", "sms"),
    *("input", "prompt", "texts", "sentences"),
)
LABEL_NAMES = (
    *("label", "labels", "category", "class", "intent", "sentiment", "target", "topic"),
    *("label_text", "label_name", "class_name", "categories", "emotion", "tag", "y"),
)
_GUESS_ROWS = 1000


@dataclass(frozen=True, slots=True)
class TextColumns:
    """The columns to read: one or two texts; none, one or several labels."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The single text column."""
        return self.texts[0]

    @property
    def label(self) -> str | None:
        """The single label column, or None if there is none."""
        return self.labels[0] if self.labels else None

    def as_dict(self) -> dict[str, str]:
        """Return ``{"text": ..., "pair": ..., "label": ...}``."""
        roles = dict(zip(("text", "pair"), self.texts, strict=False))
        return roles | ({"label": ",".join(self.labels)} if self.labels else {})


def choose_columns(
    table: Table,
    text: str | None,
    label: str | None,
    *,
    need_label: bool,
    like: Mapping[str, str] | None = None,
) -> TextColumns:
    """Return the user's columns, or those suggested by names and values.

    Raises:
        UserError: A named column does not exist, or the guess is uncertain.
    """
    check_named(table, text, label)
    other = {role: name for role, name in (like or {}).items() if name in table.columns}
    text, label = text or other.get("text"), label or other.get("label")
    free = [name for name in table.columns if name not in (text, label)]
    found_text = text or by_name(free, TEXT_NAMES)
    found_label = label or by_name([c for c in free if c != found_text], LABEL_NAMES)
    if not need_label and found_text is None and len(free) == 1:
        found_text = free[0]
    if found_text is None or (need_label and found_label is None):
        if _header_missing(table):
            raise _no_header(table)
        found_text, found_label = _by_values(table, found_text, found_label)
    if found_text is None or (need_label and found_label is None):
        raise _doubt(table, found_text, found_label, need_label=need_label)
    columns = TextColumns((found_text,), (found_label,) if found_label is not None else ())
    if text is None or (label is None and found_label is not None):
        roles = ", ".join(f"{role}={name!r}" for role, name in columns.as_dict().items())
        note = f"{table.path}: columns guessed: {roles}; set --text/--label for others"
        columns = replace(columns, notes=(note,))
    return columns


def check_named(table: Table, text: str | None, label: str | None) -> None:
    """Check that named columns exist and differ.

    Raises:
        UserError: They do not.
    """
    faults = Faults()
    for flag, name in (("--text", text), ("--label", label)):
        if name is not None and name not in table.columns:
            if _header_missing(table):
                raise _no_header(table)
            faults.add(
                f"{table.path}: there is no column {name!r}{did_you_mean(name, table.columns)}",
                f"{flag} takes one of: {name_list(table.columns)}",
            )
    if text is not None and text == label:
        faults.add(
            f"{table.path}: the column {text!r} is named as both text and label",
            f"name two of: {name_list(table.columns)}",
        )
    faults.raise_if_any()


def by_name(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    """Return the column with the first of the usual names, or the only match."""
    hits = [name for name in columns if name.strip().casefold() in usual]
    best = [name for name in hits if name.strip().casefold() == usual[0]]
    for group in (best, hits):
        if len(group) == 1:
            return group[0]
    return None


def _by_values(table: Table, text: str | None, label: str | None) -> tuple[str | None, str | None]:
    """Fill in missing columns if exactly two columns are certain, else return the arguments."""
    if len(table.columns) != 2 or len(table.rows) < 2:
        return text, label
    first, second = table.columns
    pairs = [(t, c) for t, c in ((first, second), (second, first)) if text in (None, t)]
    pairs = [(t, c) for t, c in pairs if label in (None, c) and _fits(table, t, c)]
    return pairs[0] if len(pairs) == 1 else (text, label)


def _fits(table: Table, text: str, label: str) -> bool:
    """Return whether one column reads like texts and the other like their labels."""
    texts = [str(value) for value in table.column(text)[:_GUESS_ROWS] if value is not None]
    labels = [str(value) for value in table.column(label)[:_GUESS_ROWS] if value is not None]
    if not texts or not labels:
        return False
    few = len(set(labels)) <= max(2, len(labels) // 2)
    many = len(set(texts)) > max(len(set(labels)), len(texts) // 2)
    longer = fmean(map(len, texts)) > 1.5 * fmean(map(len, labels))
    return few and many and longer


def _doubt(table: Table, text: str | None, label: str | None, *, need_label: bool) -> UserError:
    """Return the error for ambiguous columns."""
    names = name_list(table.columns)
    if need_label and len(table.columns) == 1:
        return UserError(
            f"{table.path}: {names} is the only column, so there are no labels",
            "add a column of labels; the first line must name the columns, such as text,label",
        )
    roles = {"text": text, "label": label} if need_label else {"text": text}
    lacking = [role for role, column in roles.items() if column is None]
    flags = " ".join(f"--{role} NAME" for role in roles)
    return UserError(
        f"{table.path}: which column is the {' and which the '.join(lacking)}? "
        f"The columns are: {names}",
        f"say {flags}"
        + ("; for written answers add --set data.task=generation" if need_label else ""),
    )


def _header_missing(table: Table) -> bool:
    """Return whether the first line is certainly data.

    It is if one cell recurs below as a label while another is a sentence. Either alone may be a
    real header: a column ``spam`` with the value ``spam``, a survey's question.
    """
    if not table.headed or any(
        name.casefold() in (*TEXT_NAMES, *LABEL_NAMES) for name in table.columns
    ):
        return False
    columns = {name: table.column(name)[:_GUESS_ROWS] for name in table.columns}
    recurs = {
        name
        for name, values in columns.items()
        if name in values and len(set(values)) <= max(2, len(values) // 2)
    }
    prose = {name for name in columns if len(name.split()) >= 4 or len(name) > 40}
    return bool(recurs) and bool(prose - recurs)


def _no_header(table: Table) -> UserError:
    first = " | ".join(name if len(name) <= 40 else f"{name[:37]}..." for name in table.columns)
    return UserError(
        f"{table.path}: the header is missing: the first line looks like data: {first}",
        "put a line with column names above it, such as text,label",
    )
