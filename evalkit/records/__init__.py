"""The records that pass between the stages of a run; all of them are frozen.

The flow is Sample -> Request -> Completion -> Score -> SampleRecord -> RunRecord. Field names are a promise:
fields are added, never renamed.
"""

from evalkit.records.runs import (
    SCHEMA,
    CorpusUse,
    Figure,
    ModelIdentity,
    PositionScheme,
    PreflightCheck,
    ResultRow,
    RunRecord,
    SuitePlan,
    SuiteSummary,
    SummaryRow,
    UnscoredCell,
    Verdict,
)
from evalkit.records.samples import (
    Completion,
    ContinuationScore,
    FailureKind,
    FinishReason,
    Request,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
)

__all__ = [
    "SCHEMA",
    "Completion",
    "ContinuationScore",
    "CorpusUse",
    "FailureKind",
    "Figure",
    "FinishReason",
    "ModelIdentity",
    "PositionScheme",
    "PreflightCheck",
    "Request",
    "ResultRow",
    "RunRecord",
    "Sample",
    "SampleKey",
    "SampleRecord",
    "Score",
    "SuitePlan",
    "SuiteSummary",
    "SummaryRow",
    "UnscoredCell",
    "Verdict",
]
