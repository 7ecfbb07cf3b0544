"""A run as a log of Inspect (inspect_ai), which its viewer and its data frames open."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.analysis.finished_run import StoredRun
from evalkit.installation import library
from evalkit.records import RunRecord, SampleRecord
from reports.exports.values import Value, description, prompt_text, settings_of, values_of

SCORER = "evalkit"
_UNKNOWN_DATE = "1970-01-01T00:00:00+00:00"
"""Inspect requires a date; runs of early versions have none."""
_STOP_REASONS: Mapping[str, str] = {"stop": "stop", "length": "max_tokens"}
"""How an answer ended, in Inspect's words."""


def write_inspect_log(run: StoredRun, out: Path) -> None:
    """Write the log; the suffix of `out` (.eval or .json) chooses Inspect's format.

    An input is the stored excerpts of its prompt. Scores are fractions, and metrics are in the run's own units, with
    their interval in the metadata.
    """
    log = library("inspect_ai.log", "inspect-ai")
    record = run.record
    started = next((session.started_at for session in record.sessions if session.started_at), None)
    ended = next((session.ended_at for session in reversed(record.sessions) if session.ended_at), None)
    samples = [_sample(log, record, sample) for sample in run.samples.values()]
    spec = log.EvalSpec(
        created=started or _UNKNOWN_DATE,
        task=record.suite,
        task_version=record.suite_version,
        run_id=record.run_id,
        model=f"evalkit/{record.model.name}",
        dataset=log.EvalDataset(name=description(record), samples=len(samples), sample_ids=[one.id for one in samples]),
        config=log.EvalConfig(),
        metadata=settings_of(record),
        packages=record.environment.versions,
    )
    values = list(values_of(record))
    results = log.EvalResults(
        total_samples=len(samples),
        completed_samples=sum(sample.error is None for sample in run.samples.values()),
        scores=[
            log.EvalScore(name=SCORER, scorer=SCORER, metrics={value.label: _metric(log, value) for value in values})
        ],
    )
    stats = log.EvalStats(started_at=started or "", completed_at=ended or "")
    log.write_eval_log(
        log.EvalLog(status="success", eval=spec, results=results, stats=stats, samples=samples), str(out)
    )


def _metric(log: Any, value: Value) -> Any:
    metadata = {"unit": value.unit, "ci95": value.ci95, "n": value.n}
    return log.EvalMetric(name=value.label, value=value.value, metadata=metadata)


def _sample(log: Any, record: RunRecord, sample: SampleRecord) -> Any:
    model, scorer = library("inspect_ai.model", "inspect-ai"), library("inspect_ai.scorer", "inspect-ai")
    output = model.ModelOutput.from_content(
        model=record.model.name,
        content=sample.prediction,
        stop_reason=_STOP_REASONS.get(sample.finish_reason, "unknown"),
    )
    output.usage = model.ModelUsage(
        input_tokens=sample.prompt_tokens,
        output_tokens=sample.completion_tokens,
        total_tokens=sample.prompt_tokens + sample.completion_tokens,
    )
    score = (
        None
        if sample.score is None
        else scorer.Score(
            value=sample.score, answer=sample.prediction, explanation=sample.failure, metadata={"metric": sample.metric}
        )
    )
    return log.EvalSample(
        id=sample.id,
        epoch=1,
        input=prompt_text(sample),
        target=list(sample.targets),
        output=output,
        scores=None if score is None else {SCORER: score},
        metadata={
            "task": sample.task,
            "ctx": sample.ctx,
            "depths": list(sample.depths),
            "failure": sample.failure,
            "error": sample.error,
            "unscored": sample.unscored,
            "prompt_sha256": sample.prompt_sha256,
            "thought": sample.thought,
            "thought_tokens": sample.thought_tokens,
            "thought_end": sample.thought_end,
        },
    )
