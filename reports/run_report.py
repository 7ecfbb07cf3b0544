"""The report of one run."""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from evalkit.analysis.costs import describe_hardware
from evalkit.records import (
    ModelIdentity,
    ReplicaUse,
    RunRecord,
    Session,
    SuiteSummary,
    generated_roles,
)
from evalkit.suite_spec import find_hook
from reports.length_chart import mean_lines
from reports.preflight_report import preflight_fact
from reports.report import Report, SuiteReport, Table
from reports.scores import figure_facts, score_table
from reports.subject_facts import corpus_facts, describe_model
from reports.thoughts import thought_table
from reports.verdicts import run_verdict

UNTRAINED = "UNTRAINED WEIGHTS: the scores below test the harness, not a model."

LISTED_REPLICAS = 16


def run_report(record: RunRecord) -> Report:
    """The report of one run."""
    of_suite: SuiteReport = find_hook(record.suite, "report")(record)
    tables = list(of_suite.tables)
    if (thoughts := thought_table(record)) is not None:
        tables.append(thoughts)
    if record.failures:
        rows = tuple((kind.replace("_", " "), str(count)) for kind, count in record.failures.items())
        tables.append(Table("Why answers were wrong", ("failure", "samples"), rows))
    return Report(
        headline=f"{record.suite} · {record.model.path} · dialect {record.dialect}"
        + generated_label(generated_roles(record.corpora)),
        notices=_notices(record),
        tables=tuple(_labelled(table, record) for table in tables),
        facts=(*of_suite.facts, *_run_facts(record)),
        verdicts=tuple(filter(None, (run_verdict(record),))),
        bars=mean_lines({record.model.name: record}, least=1),
        origin=(_origin(record),),
    )


def _labelled(table: Table, record: RunRecord) -> Table:
    return labelled(table, {"": record.model}, generated_roles(record.corpora))


def generated_label(roles: Iterable[str]) -> str:
    """The end of a title if generated text fills some of these roles, else empty."""
    named = ", ".join(dict.fromkeys(roles))
    return f" · GENERATED CORPORA: {named}" if named else ""


def labelled(table: Table, models: Mapping[str, ModelIdentity], generated: Iterable[str] = ()) -> Table:
    """The table with control experiments (by side, empty for a single run) and generated corpora in its title."""
    table = replace(table, title=table.title + generated_label(generated))
    forced = [
        f"{side + ' with ' if side else ''}positions forced to {model.positions.override}"
        for side, model in models.items()
        if model.positions.override is not None
    ]
    return replace(table, title=f"{table.title} · CONTROL EXPERIMENT: {', '.join(forced)}") if forced else table


def scores_report(headline: str, summary: SuiteSummary) -> Report:
    """The report of scores without a run, such as those of predictions made by another tool."""
    return Report(
        headline=headline,
        notices=(),
        tables=(score_table(summary.results, summary.summary, ()),),
        facts=figure_facts(summary.figures, summary.results),
    )


def _notices(record: RunRecord) -> tuple[str, ...]:
    notices = [] if record.model.trained else [UNTRAINED]
    if record.unfinished:
        notices.append(
            f"UNFINISHED: {record.counts.n:,} of {record.planned or 0:,} samples so far. "
            "Continue the run with --resume."
        )
    if record.shard is not None:
        notices.append(
            f"PART: {record.shard.label}, with {record.counts.n:,} of {record.shard.planned:,} samples. "
            "Merge all shards with `evalkit merge`."
        )
    errors = record.counts.errors
    if errors:
        notices.append(
            f"INCOMPLETE: {errors} of {record.counts.n} samples errored and are not in the scores; "
            "evalkit show RUN --failed lists them, and --resume repeats them."
        )
    notices.extend(
        f"Unscored: {cell.task}{f' at {cell.ctx:,}' if cell.ctx else ''}: {cell.reason}" for cell in record.unscored
    )
    notices.extend(f"Warning: {warning}" for warning in record.warnings)
    return tuple(notices)


def describe_origin(started_at: str | None, hardware: str, version: str | None) -> str:
    """When and on what a run was made, and by which version of evalkit."""
    parts = (
        "date not recorded" if started_at is None else started_at.replace("T", " ").replace("Z", " UTC"),
        hardware or "hardware not recorded",
        "" if version is None else f"evalkit {version}",
    )
    return " · ".join(filter(None, parts))


def _origin(record: RunRecord) -> str:
    return describe_origin(record.started_at, describe_hardware(record), record.environment.evalkit)


def _command_fact(record: RunRecord) -> tuple[str, str]:
    """The command line of the last session; of a run that did not record it, the options."""
    commands = [session.command for session in record.sessions if session.command]
    if commands:
        return "command" if record.merged_shards is None else "command of the last shard", commands[-1]
    given = {name: value for name, value in record.config_passed.items() if value not in (None, False)}
    options = [f"{name}" if value is True else f"{name}={value}" for name, value in given.items()]
    return "options", " ".join(shlex.quote(option) for option in options) or "none"


def _run_facts(record: RunRecord) -> list[tuple[str, str]]:
    facts = [("model", describe_model(record.model)), ("positions", record.model.positions.description)]
    if record.model.thinking is not None:
        facts.append(("thinking", record.model.thinking.description))
    facts.append(preflight_fact(record.preflight))
    facts += corpus_facts(record.corpora)
    facts += _cost_facts(record)
    facts += _session_facts(record.sessions) if record.merged_shards is None else _shard_facts(record)
    facts.append(("run", f"{record.run_id}, seed {record.seed}, suite version {record.suite_version}"))
    facts += [("made", _origin(record)), _command_fact(record)]
    return facts


def _cost_facts(record: RunRecord) -> list[tuple[str, str]]:
    memory, timing = record.memory, record.timing
    facts = []
    if memory.peak_bytes is not None:
        facts.append(("peak memory", f"{memory.peak_bytes / 2**30:.2f} GiB ({memory.method or 'unknown method'})"))
    for phase, seconds, rate in (
        ("prefill", timing.prefill_seconds, timing.prefill_tokens_per_second),
        ("decode", timing.decode_seconds, timing.decode_tokens_per_second),
        ("start to first prompt", timing.first_prompt_seconds, None),
        (
            "wall time" if record.merged_shards is None else "wall time of all shards together",
            timing.wall_seconds,
            None,
        ),
    ):
        if seconds is not None:
            facts.append((phase, f"{seconds:,.1f} s" + ("" if rate is None else f", {rate:,.0f} tokens/s")))
    return facts


def _session_facts(sessions: Sequence[Session]) -> list[tuple[str, str]]:
    """One line per process that worked on the run, if there were several, and one per replica."""
    facts = []
    for session in sessions:
        if len(sessions) > 1:
            facts.append((f"session {session.number}", _session(session)))
        place = f"session {session.number}, " if len(sessions) > 1 else ""
        facts += [(f"{place}{name}", text) for name, text in _replica_facts(session.replicas)]
    return facts


def _replica_facts(replicas: Sequence[ReplicaUse]) -> Iterator[tuple[str, str]]:
    """All replicas in one line, then one line for each of the first LISTED_REPLICAS."""
    if not replicas:
        return
    hosts, lost = len({replica.host for replica in replicas}), sum(replica.lost is not None for replica in replicas)
    returned = sum(replica.returned for replica in replicas)
    seconds, busy = (math.fsum(getattr(replica, name) for replica in replicas) for name in ("seconds", "busy_seconds"))
    parts = [
        f"{len(replicas):,} on {hosts:,} host{'s' * (hosts > 1)}",
        f"busy {busy / seconds:.0%} of the time" if seconds else "",
        f"{lost:,} lost" if lost else "",
        f"{returned:,} samples handed to others" if returned else "",
    ]
    yield "replicas", ", ".join(part for part in parts if part)
    for replica in replicas[:LISTED_REPLICAS]:
        yield f"replica {replica.number}", _replica(replica)


def _replica(replica: ReplicaUse) -> str:
    tokens = replica.prompt_tokens + replica.completion_tokens
    parts = [
        replica.host,
        replica.hardware or "hardware not recorded",
        f"{replica.samples:,} samples",
        f"{tokens:,} tokens",
        f"busy {replica.busy_seconds / replica.seconds:.0%} of {replica.seconds:,.1f} s" if replica.seconds else "",
        "" if replica.lost is None else f"lost: {replica.lost}",
    ]
    return ", ".join(part for part in parts if part)


def _shard_facts(record: RunRecord) -> list[tuple[str, str]]:
    """One line for the shards of each kind of hardware."""
    by_hardware: dict[str, dict[int, int]] = {}
    for session in record.sessions:
        here = by_hardware.setdefault(session.hardware or "hardware not recorded", {})
        here[session.shard or 0] = here.get(session.shard or 0, 0) + session.samples
    return [
        (f"merged from {record.merged_shards} shards", f"{len(here)} on {hardware}, {sum(here.values()):,} samples")
        for hardware, here in by_hardware.items()
    ]


def _session(session: Session) -> str:
    parts = [
        "" if session.started_at is None else f"started {session.started_at}",
        f"{session.samples:,} samples",
        "" if session.wall_seconds is None else f"{session.wall_seconds:,.1f} s",
        session.hardware or "hardware not recorded",
        "" if session.ended else "stopped early",
    ]
    return ", ".join(part for part in parts if part)
