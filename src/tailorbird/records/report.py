"""What a run found: one record for every kind of it, whose own facts stand in its sections."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Generic, Literal, get_args

from typing_extensions import TypeVar

from tailorbird.records.questions import QuestionArmReport, QuestionSections
from tailorbird.records.retrieval import RankingSections, RetrieverSections, SideReport
from tailorbird.records.tuning import ArmReport, Comparison, DataSummary, TuningSections, Verdict

Arm = TypeVar("Arm", default=ArmReport)
Sections = TypeVar("Sections", default=TuningSections)
Kind = Literal["tune", "compare", "questions", "rag", "retriever"]


@dataclass(frozen=True, kw_only=True)
class Report(Generic[Arm, Sections]):
    """Everything a run found; `report.json` is this, `report.html` draws it.

    Attributes:
        kind: What was run; `KINDS` says what its arms and sections are.
        sections: What only reports of this kind have.
        headline: The metric that the verdict is decided on, a key of every arm's scores.
        command: What repeats the run.
        created: When it began, ISO 8601.
        settings: What was set to other than its default.
    """

    kind: Kind
    arms: tuple[Arm, ...] = ()
    sections: Sections
    verdict: Verdict = Verdict(None, None, (), "")
    comparisons: tuple[Comparison, ...] = ()
    model: str = ""
    command: str = ""
    created: str = ""
    seconds: float = 0.0
    environment: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    headline: str = "accuracy"
    schema_version: int = 1

    @property
    def data(self: "Report[ArmReport, TuningSections]") -> DataSummary:
        """What the labelled data was."""
        return self.sections.data

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the sections' fields stand beside the report's own."""
        plain = asdict(self)
        head = {"schema_version": plain.pop("schema_version"), "kind": plain.pop("kind")}
        flat: dict[str, Any] = head | plain.pop("sections") | plain
        for name, other in _NAMES.get(self.kind, {}).items():
            value = flat.pop(name)
            if other:
                flat[other] = value
        return flat


QuestionsReport = Report[QuestionArmReport, QuestionSections]
JudgeReport = Report[SideReport, RankingSections]
RetrieverReport = Report[SideReport, RetrieverSections]

KINDS: dict[str, Any] = {
    "tune": Report[ArmReport, TuningSections],
    "compare": Report[ArmReport, TuningSections],
    "questions": QuestionsReport,
    "rag": JudgeReport,
    "retriever": RetrieverReport,
}
# What fields are called in `report.json` where not by their name; None: they are left out.
_NAMES: dict[str, dict[str, str | None]] = {
    "rag": {"arms": "sides", "verdict": None, "model": None},
    "retriever": {"model": "base", "comparisons": "tests", "arms": None, "verdict": None},
}


def report_from_json(plain: dict[str, Any]) -> "Report[Any, Any]":
    """Rebuild a `Report` from what `Report.to_json` made.

    Raises:
        KeyError: Its kind is missing or not known.
        ValidationError: A required field is missing, or a value is of another type.
    """
    from pydantic import TypeAdapter

    kind = KINDS[plain["kind"]]
    own = {item.name for item in fields(get_args(kind)[1])}
    back = {other: name for name, other in _NAMES.get(plain["kind"], {}).items()}
    named = {back.get(name, name): value for name, value in plain.items()}
    values = {name: value for name, value in named.items() if name not in own}
    values["sections"] = {name: value for name, value in named.items() if name in own}
    report: Report[Any, Any] = TypeAdapter(kind).validate_python(values)
    return report
