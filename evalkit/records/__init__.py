"""The records that pass between the stages of a run; all of them are frozen.

The flow is Asked (Sample and Requests) -> Completion -> Score -> SampleRecord -> RunRecord. Field names are a promise:
fields are added, never renamed.
"""

from evalkit.records.execution import EngineDescription, Environment, Gpu, MemoryUse, Timing
from evalkit.records.manifest import Manifest
from evalkit.records.results import (
    EFFECTIVE_LENGTH,
    Figure,
    Outcome,
    ResultRow,
    SuiteSummary,
    SummaryRow,
    UnscoredCell,
    Verdict,
)
from evalkit.records.runs import (
    SCHEMA,
    SERVED,
    START_SCHEMA,
    UNKNOWN,
    CorpusUse,
    ModelIdentity,
    PositionScheme,
    PreflightCheck,
    RunRecord,
    RunStart,
    SuitePlan,
    generated_roles,
)
from evalkit.records.samples import (
    Asked,
    Completion,
    ContinuationScore,
    Excerpt,
    FailureKind,
    FinishReason,
    PositionSums,
    Request,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
)
from evalkit.records.sessions import Session, SessionList
from evalkit.records.shards import KeySpan, Shard, keys_of, spans_of

__all__ = [
    "EFFECTIVE_LENGTH",
    "SCHEMA",
    "SERVED",
    "START_SCHEMA",
    "UNKNOWN",
    "Asked",
    "Completion",
    "ContinuationScore",
    "CorpusUse",
    "EngineDescription",
    "Environment",
    "Excerpt",
    "FailureKind",
    "Figure",
    "FinishReason",
    "Gpu",
    "KeySpan",
    "Manifest",
    "MemoryUse",
    "ModelIdentity",
    "Outcome",
    "PositionScheme",
    "PositionSums",
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
    "Shard",
    "SuitePlan",
    "SuiteSummary",
    "SummaryRow",
    "Timing",
    "UnscoredCell",
    "Verdict",
    "generated_roles",
    "keys_of",
    "spans_of",
]
