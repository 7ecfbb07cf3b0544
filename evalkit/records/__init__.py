"""The records that pass between the stages of a run; all of them are frozen.

The flow is Asked (Sample and Requests) -> Completion -> Score -> SampleRecord -> RunRecord. Field names are a promise:
fields are added, never renamed.
"""

from evalkit.records.manifest import Manifest
from evalkit.records.runs import (
    SCHEMA,
    START_SCHEMA,
    UNKNOWN,
    CorpusUse,
    Figure,
    ModelIdentity,
    PositionScheme,
    PreflightCheck,
    ResultRow,
    RunRecord,
    RunStart,
    SuitePlan,
    SuiteSummary,
    SummaryRow,
    UnscoredCell,
    Verdict,
    generated_roles,
)
from evalkit.records.samples import (
    Asked,
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
from evalkit.records.sessions import Session, SessionList

__all__ = [
    "SCHEMA",
    "START_SCHEMA",
    "UNKNOWN",
    "Asked",
    "Completion",
    "ContinuationScore",
    "CorpusUse",
    "FailureKind",
    "Figure",
    "FinishReason",
    "Manifest",
    "ModelIdentity",
    "PositionScheme",
    "PreflightCheck",
    "Request",
    "ResultRow",
    "RunRecord",
    "RunStart",
    "Sample",
    "SampleKey",
    "SampleRecord",
    "Score",
    "Session",
    "SessionList",
    "SuitePlan",
    "SuiteSummary",
    "SummaryRow",
    "UnscoredCell",
    "Verdict",
    "generated_roles",
]
