"""The progress of runs, read from their files alone: pace, time left, and what is stored so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from evalkit.analysis.unfinished_run import is_unfinished
from evalkit.errors import EvalkitError
from evalkit.records import RunRecord, RunStart, SampleRecord, Session, Shard
from evalkit.running.replicas.work import cost_tokens
from evalkit.running.run_files import read_run, read_samples, read_sessions, read_start

State = Literal["finished", "running", "silent", "starting", "unreadable"]
"""`silent`: no sample ended for much longer than samples take; the process was stopped, or is at a long prompt."""
SHORTEST_SILENCE = timedelta(seconds=60)
SILENT_SAMPLES = 5
"""Number of samples that could have ended in a silence."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a process does per time, from its first prompt to the last time that its session was written."""

    samples_per_minute: float
    tokens_per_second: float
    """Of prompts and answers."""
    seconds_per_sample: float
    seconds_left: float | None
    """For the samples that are not stored, at this pace per requested token."""


@dataclass(frozen=True, slots=True)
class FollowedRun:
    """A run folder, as its files describe it now."""

    folder: str
    state: State
    reason: str = ""
    """Why it is unreadable."""
    suite: str = ""
    model: str = ""
    shard: Shard | None = None
    done: int = 0
    planned: int | None = None
    errors: int = 0
    pace: Pace | None = None
    """Of the last process that answered samples; None before its first one."""
    updated_at: datetime | None = None
    """When its last process last wrote its session."""
    hardware: str = ""


def follow(folder: Path, now: datetime) -> FollowedRun:
    """The run in `folder`; a folder that cannot be read is described, not refused."""
    try:
        return _unfinished(folder, now) if is_unfinished(folder) else _finished(folder)
    except EvalkitError as error:
        return FollowedRun(str(folder), "unreadable", reason=str(error))


def pace_of(start: RunStart, samples: Sequence[SampleRecord], sessions: Sequence[Session]) -> Pace | None:
    """The pace of the last session with samples; None if there is none, or if its times are not known."""
    session = next((session for session in reversed(sessions) if session.samples), None)
    if session is None or session.wall_seconds is None:
        return None
    seconds = session.wall_seconds - (session.first_prompt_seconds or 0.0)
    # Samples that ended after the session was written are left out, as its time is.
    here = [sample for sample in samples if sample.session == session.number][: session.samples]
    if not here or seconds <= 0:
        return None
    work = sum(map(cost_tokens, here))
    left = None
    if start.planned_tokens is not None:
        left = max(0, start.planned_tokens - sum(map(cost_tokens, samples))) * seconds / work
    return Pace(
        samples_per_minute=60 * len(here) / seconds,
        tokens_per_second=sum(sample.prompt_tokens + sample.completion_tokens for sample in here) / seconds,
        seconds_per_sample=seconds / len(here),
        seconds_left=left,
    )


def _finished(folder: Path) -> FollowedRun:
    record: RunRecord = read_run(folder)
    return FollowedRun(
        str(folder),
        "finished",
        suite=record.suite,
        model=record.model.name,
        shard=record.shard,
        done=record.counts.n,
        planned=record.planned,
        errors=record.counts.errors,
        updated_at=record.sessions[-1].written_at if record.sessions else None,
        hardware=_hardware(record.sessions),
    )


def _unfinished(folder: Path, now: datetime) -> FollowedRun:
    start, samples, sessions = read_start(folder), read_samples(folder), read_sessions(folder)
    pace = pace_of(start, samples, sessions)
    updated_at = sessions[-1].written_at if sessions else None
    return FollowedRun(
        str(folder),
        _state(pace, updated_at, now) if samples else "starting",
        suite=start.suite,
        model=start.model.name,
        shard=start.shard,
        done=len(samples),
        planned=start.planned,
        errors=sum(sample.error is not None for sample in samples),
        pace=pace,
        updated_at=updated_at,
        hardware=_hardware(sessions),
    )


def _state(pace: Pace | None, updated_at: datetime | None, now: datetime) -> State:
    if pace is None or updated_at is None:
        return "running"
    patience = max(SHORTEST_SILENCE, SILENT_SAMPLES * timedelta(seconds=pace.seconds_per_sample))
    return "silent" if now - updated_at > patience else "running"


def _hardware(sessions: Sequence[Session]) -> str:
    return sessions[-1].hardware if sessions else ""
