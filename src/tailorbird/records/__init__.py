"""Frozen, plain records that the other packages exchange."""

from tailorbird.records.knowledge import (
    Answer as Answer,
    Chunk as Chunk,
    Citation as Citation,
    Claim as Claim,
    Document as Document,
    Hit as Hit,
    Mark as Mark,
    Passage as Passage,
)
from tailorbird.records.questions import (
    BreakEven as BreakEven,
    ChangeScores as ChangeScores,
    QuestionArmReport as QuestionArmReport,
    QuestionCost as QuestionCost,
    QuestionSections as QuestionSections,
    SampleAnswer as SampleAnswer,
    SampleQuestion as SampleQuestion,
)
from tailorbird.records.report import (
    KINDS as KINDS,
    JudgeReport as JudgeReport,
    QuestionsReport as QuestionsReport,
    Report as Report,
    RetrieverReport as RetrieverReport,
    report_from_json as report_from_json,
)
from tailorbird.records.retrieval import (
    Failure as Failure,
    QueryChange as QueryChange,
    Question as Question,
    RankingPair as RankingPair,
    RankingSections as RankingSections,
    RetrieverPoint as RetrieverPoint,
    RetrieverSections as RetrieverSections,
    SideReport as SideReport,
    Threshold as Threshold,
)
from tailorbird.records.scores import (
    CalibrationBin as CalibrationBin,
    ClassScore as ClassScore,
    Forgetting as Forgetting,
    LearningCurve as LearningCurve,
    Luck as Luck,
    Neighbour as Neighbour,
    Residual as Residual,
    Score as Score,
    Slice as Slice,
    WrittenAnswer as WrittenAnswer,
    WrongExample as WrongExample,
)
from tailorbird.records.tasks import (
    TASKS as TASKS,
    Target as Target,
    TaskSpec as TaskSpec,
    has_head as has_head,
)
from tailorbird.records.tuning import (
    THOUGHTS as THOUGHTS,
    ArmReport as ArmReport,
    Comparison as Comparison,
    Cost as Cost,
    CurvePoint as CurvePoint,
    DataSummary as DataSummary,
    Example as Example,
    ExamplesOnDisk as ExamplesOnDisk,
    Finding as Finding,
    Level as Level,
    Message as Message,
    Piece as Piece,
    ReloadCheck as ReloadCheck,
    Search as Search,
    SeedScore as SeedScore,
    Split as Split,
    Status as Status,
    TaskName as TaskName,
    Trial as Trial,
    TuningSections as TuningSections,
    Verdict as Verdict,
)
