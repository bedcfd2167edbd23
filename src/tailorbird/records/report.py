"""The report of a run: one record for all kinds, with sections of its kind."""

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
    """All results of a run; `report.json` stores it, `report.html` displays it.

    Attributes:
        kind: The kind of run; `KINDS` defines its arms and sections.
        sections: What only reports of this kind have.
        headline: The metric of the verdict, a key of every arm's scores.
        command: A command that repeats the run.
        created: When it began, ISO 8601.
        settings: The settings that differ from their defaults.
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
        """The labelled data."""
        return self.sections.data

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with the sections' fields beside the report's own."""
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
# Names of fields in `report.json`, if they differ; None: left out.
_NAMES: dict[str, dict[str, str | None]] = {
    "rag": {"arms": "sides", "verdict": None, "model": None},
    "retriever": {"model": "base", "comparisons": "tests", "arms": None, "verdict": None},
}


def report_from_json(plain: dict[str, Any]) -> "Report[Any, Any]":
    """Rebuild a `Report` from the output of `Report.to_json`.

    Raises:
        KeyError: Its kind is missing or unknown.
        ValidationError: A required field is missing, or a value has another type.
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
