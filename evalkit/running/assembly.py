"""Assembly of a run's record from its start, its samples and its sessions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from evalkit.records import (
    SCHEMA,
    Counts,
    EngineDescription,
    Environment,
    MemoryUse,
    RunRecord,
    RunStart,
    SampleRecord,
    Session,
    SuiteSummary,
    Timing,
)
from evalkit.records.samples import total_seconds
from evalkit.statistics.thoughts import thought_figures


def assemble(
    start: RunStart, samples: Sequence[SampleRecord], summary: SuiteSummary, sessions: Sequence[Session]
) -> RunRecord:
    """The record; times and peak memory cover all sessions, and differences between sessions are warnings."""
    answered = Counter(sample.session for sample in samples)
    sessions = [replace(session, samples=answered[session.number]) for session in sessions]
    last = sessions[-1] if sessions else None
    failures = Counter(sample.failure for sample in samples if sample.failure is not None)
    return RunRecord(
        schema=SCHEMA,
        run_id=start.run_id,
        suite=start.suite,
        suite_version=start.suite_version,
        dialect=start.dialect,
        seed=start.seed,
        model=start.model,
        config=start.config,
        config_passed=start.config_passed,
        corpora=start.corpora,
        environment=last.environment if last else Environment(),
        engine=last.engine if last else EngineDescription(),
        results=summary.results,
        summary=summary.summary,
        failures=dict(sorted(failures.items())),
        unscored=(*start.unscored, *summary.unscored),
        counts=Counts.of(samples),
        timing=_timing(samples, sessions),
        memory=_memory(sessions),
        warnings=(*start.warnings, *summary.warnings, *_warnings(sessions)),
        tokens_seen=start.tokens_seen,
        figures=(*summary.figures, *thought_figures(samples)),
        preflight=start.preflight,
        sessions=tuple(sessions),
        question_settings=start.question_settings,
        planned=start.planned,
        shard=start.shard,
    )


def summary_of_part(summary: SuiteSummary) -> SuiteSummary:
    """The summary of some of a run's samples: its means are incomplete.

    Figures that follow from the rows of a whole run, such as the effective length, are left out.
    """
    means = tuple(replace(row, complete=False) for row in summary.summary)
    return replace(summary, summary=means, figures=tuple(figure for figure in summary.figures if figure.n))


def _timing(samples: Sequence[SampleRecord], sessions: Sequence[Session]) -> Timing:
    prefill_seconds = total_seconds(sample.prefill_seconds for sample in samples)
    decode_seconds = total_seconds(sample.decode_seconds for sample in samples)
    prompt_tokens = sum(sample.prompt_tokens for sample in samples)
    completion_tokens = sum(sample.completion_tokens for sample in samples)
    walls = [session.wall_seconds for session in sessions]
    first_prompts = [s.first_prompt_seconds for s in sessions if s.first_prompt_seconds is not None]
    return Timing(
        wall_seconds=None if None in walls else sum(wall for wall in walls if wall is not None),
        first_prompt_seconds=first_prompts[0] if first_prompts else None,
        prefill_seconds=prefill_seconds,
        decode_seconds=decode_seconds,
        prefill_tokens_per_second=prompt_tokens / prefill_seconds if prefill_seconds else None,
        decode_tokens_per_second=completion_tokens / decode_seconds if decode_seconds else None,
    )


def _memory(sessions: Sequence[Session]) -> MemoryUse:
    """Memory of the session with the highest peak; unknown if the peak of any session with samples is."""
    highest = max((session.memory for session in sessions), key=lambda use: use.peak_bytes or 0, default=MemoryUse())
    is_known = all(session.memory.peak_bytes is not None for session in sessions if session.samples)
    return highest if is_known else replace(highest, peak_bytes=None)


def _warnings(sessions: Sequence[Session]) -> Iterator[str]:
    with_samples = [session for session in sessions if session.samples]
    kinds = [kind for session in with_samples for kind in session.hardware_kinds]
    hardware = dict.fromkeys(kind or "hardware that was not recorded" for kind in kinds)
    if len(hardware) > 1:
        yield f"samples were answered on different hardware ({'; '.join(hardware)}): times are a mixture"
    versions: dict[str, dict[str, None]] = {}
    for session in with_samples:
        for name, version in session.environment.versions.items():
            versions.setdefault(name, {})[version] = None
    differing = [f"{name} {' and '.join(found)}" for name, found in versions.items() if len(found) > 1]
    if differing:
        yield f"samples were answered with different versions: {', '.join(differing)}"
