"""What the report of one run says."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalkit.records import (
    UNKNOWN,
    CorpusUse,
    ModelIdentity,
    ResultRow,
    RunRecord,
    Session,
    SuiteSummary,
    SummaryRow,
    UnscoredCell,
)
from reports.context_extension import TEXTS, extension_tables, verdict_table
from reports.lm_eval_tasks import lm_eval_tables
from reports.mmlu import chance_facts, mmlu_tables
from reports.preflight_report import preflight_fact
from reports.report import Report, Table
from reports.state_tracking import updates_tables
from reports.text_loss import loss_facts, loss_table

UNTRAINED = "UNTRAINED WEIGHTS: the scores below show that the harness runs, not what a model can do."


def run_report(record: RunRecord) -> Report:
    """The report of one run."""
    tables = _tables(record)
    if record.failures:
        rows = tuple((kind.replace("_", " "), str(count)) for kind, count in record.failures.items())
        tables.append(Table("Why answers were wrong", ("failure", "samples"), rows))
    return Report(
        headline=f"{record.suite} · {record.model.path} · dialect {record.dialect}",
        notices=_notices(record),
        tables=tuple(_labelled(table, record) for table in tables),
        facts=(
            *_own_facts(record),
            *_run_facts(record),
        ),
    )


def _tables(record: RunRecord) -> list[Table]:
    """The tables of the suite that ran."""
    match record.suite:
        case "track":
            return updates_tables(record.results, record.derived)
        case "mmlu":
            return mmlu_tables(record.results, record.summary, record.figures)
        case "lm-eval":
            return lm_eval_tables(record.results, record.figures)
        case "loss":
            return [loss_table(record.results, record.figures)]
        case "extend":
            found = [row for row in record.results if row.task not in TEXTS]
            losses = [row for row in record.results if row.task in TEXTS]
            return [
                verdict_table(record.verdicts),
                _score_table(found, (), record.unscored),
                *extension_tables(record.figures),
                *([loss_table(losses, ())] if losses else []),
            ]
        case _:
            return [_score_table(record.results, record.summary, record.unscored)]


def _labelled(table: Table, record: RunRecord) -> Table:
    return labelled(table, {"": record.model})


def labelled(table: Table, models: Mapping[str, ModelIdentity]) -> Table:
    """With the control experiments behind it in its title, by side (empty where there is one)."""
    forced = [
        f"{side + ' with ' if side else ''}positions forced to {model.positions.override}"
        for side, model in models.items()
        if model.positions.override is not None
    ]
    return replace(table, title=f"{table.title} · CONTROL EXPERIMENT: {', '.join(forced)}") if forced else table


def _own_facts(record: RunRecord) -> tuple[tuple[str, str], ...]:
    match record.suite:
        case "track" | "extend" | "lm-eval":
            return ()
        case "mmlu":
            return chance_facts(record.results, record.summary)
        case "loss":
            return loss_facts(record.derived)
        case _:
            return _derived_facts(record.summary, record.effective_length, record.derived)


def scores_report(headline: str, scores: SuiteSummary) -> Report:
    """The report of scores that stand behind no run of ours, such as those of predictions made elsewhere."""
    return Report(
        headline=headline,
        notices=(),
        tables=(_score_table(scores.results, scores.summary, ()),),
        facts=_derived_facts(scores.summary, scores.effective_length, scores.derived),
    )


def _notices(record: RunRecord) -> tuple[str, ...]:
    notices = [] if record.model.trained else [UNTRAINED]
    if record.unfinished:
        notices.append(
            f"UNFINISHED: {record.counts['n']:,} of {record.planned or 0:,} samples; the tables are of these. "
            "Continue the run with --resume."
        )
    errors = record.counts["errors"]
    if errors:
        notices.append(
            f"INCOMPLETE: {errors} of {record.counts['n']} samples errored and are not in the scores; "
            "run again with --resume to repeat them."
        )
    notices.extend(
        f"Unscored: {cell.task}{f' at {cell.ctx:,}' if cell.ctx else ''}: {cell.reason}" for cell in record.unscored
    )
    notices.extend(f"Warning: {warning}" for warning in record.warnings)
    return tuple(notices)


def _score_table(
    results: Sequence[ResultRow], summary: Sequence[SummaryRow], unscored: Sequence[UnscoredCell]
) -> Table:
    ctxs = sorted({row.ctx for row in results} | {cell.ctx for cell in unscored})
    tasks = dict.fromkeys([row.task for row in results] + [cell.task for cell in unscored])
    cells = {(row.task, row.ctx): row for row in results}
    counts = {row.n for row in results if row.value is not None}
    chances = {row.task: f"{row.chance:.1f}" for row in results if row.chance is not None}
    chance = [*(("chance",) if chances else ())]
    rows = [
        (
            task,
            *(chances.get(task, "") for _ in chance),
            *(_result(cells.get((task, ctx)), show_n=len(counts) > 1) for ctx in ctxs),
        )
        for task in tasks
    ]
    means = {row.ctx: row for row in summary}
    sizes = {row.tasks for row in summary}
    if means:
        label = f"mean of {_tasks(sizes.pop())}" if len(sizes) == 1 else "mean"
        rows.append((label, *("" for _ in chance), *(_mean(means.get(ctx), show_tasks=bool(sizes)) for ctx in ctxs)))
    return Table(
        _score_title(results, counts), ("task", *chance, *(f"{ctx:,}" if ctx else "score" for ctx in ctxs)), tuple(rows)
    )


def _score_title(results: Sequence[ResultRow], counts: set[int]) -> str:
    interval = ", with 95 % interval" if any(row.ci95 is not None for row in results) else ""
    samples = ""
    if len(counts) == 1:
        (n,) = counts
        samples = f"; {n:,} sample{'' if n == 1 else 's'} each"
    return f"Score (0-100) by task and context length{interval}{samples}"


def _result(row: ResultRow | None, *, show_n: bool) -> str:
    if row is None or (row.value is None and not row.errors):
        return "unscored"
    if row.value is None:
        return f"all {row.errors} errored"
    remarks = [f"n={row.n:,}"] if show_n else []
    remarks += [f"{row.errors} errored"] if row.errors else []
    return f"{row.value:.1f}{_interval(row.ci95)}" + (f" ({', '.join(remarks)})" if remarks else "")


def _mean(row: SummaryRow | None, *, show_tasks: bool) -> str:
    if row is None or row.mean is None:
        return "unscored"
    remarks = [f"of {_tasks(row.tasks)}"] if show_tasks else []
    remarks += [] if row.complete else ["incomplete"]
    return f"{row.mean:.1f}{_interval(row.ci95)}" + (f" ({', '.join(remarks)})" if remarks else "")


def _tasks(number: int) -> str:
    return f"{number} task{'' if number == 1 else 's'}"


def _interval(ci95: tuple[float, float] | None) -> str:
    return "" if ci95 is None else f" [{ci95[0]:.1f}, {ci95[1]:.1f}]"


def _derived_facts(
    summary: Sequence[SummaryRow], effective_length: int | None, derived: dict[str, float | None]
) -> tuple[tuple[str, str], ...]:
    facts = []
    if any(row.complete for row in summary):
        shown = "below the shortest length" if effective_length is None else f"{effective_length:,}"
        facts.append(("effective length", shown))
    facts += [(name.replace("_", " "), f"{value:.1f}") for name, value in derived.items() if value is not None]
    return tuple(facts)


def _run_facts(record: RunRecord) -> list[tuple[str, str]]:
    facts = [("model", describe_model(record.model)), ("positions", record.model.positions.description)]
    facts.append(preflight_fact(record.preflight))
    facts += _corpus_facts(record.corpora)
    facts += _cost_facts(record)
    facts += _session_facts(record.sessions)
    facts.append(("run", f"{record.run_id}, seed {record.seed}, suite version {record.suite_version}"))
    return facts


def _corpus_facts(corpora: Sequence[CorpusUse]) -> list[tuple[str, str]]:
    """A line for each corpus; those of one kind, such as mmlu/anatomy and mmlu/virology, are one of them all."""
    kinds: dict[str, list[CorpusUse]] = {}
    for corpus in corpora:
        kinds.setdefault(corpus.role.partition("/")[0], []).append(corpus)
    facts = []
    for kind, here in kinds.items():
        if len(here) == 1:
            (corpus,) = here
            described = f"{corpus.name} ({corpus.source}, sha256 {_digest(corpus.sha256)})"
            facts.append((f"corpus: {corpus.role}", described))
        else:
            sources = ", ".join(dict.fromkeys(corpus.source for corpus in here))
            listed = "".join(f"{corpus.role} {corpus.sha256}\n" for corpus in here)
            digest = hashlib.sha256(listed.encode()).hexdigest()
            facts.append((f"corpus: {kind}", f"{len(here)} parts ({sources}, sha256 of them all {_digest(digest)})"))
    return facts


def describe_model(model: ModelIdentity) -> str:
    """One line that names a model: family, size, dtype and quantization, trained length, fingerprint."""
    length = "no stated trained length" if model.trained_length is None else f"trained to {model.trained_length:,}"
    if model.family == UNKNOWN:
        return f"unknown, fingerprint of its answers {_digest(model.fingerprint)}"
    size = f"{model.parameters / 1e6:,.1f}M parameters"
    dtype = model.dtype if model.quantization is None else f"{model.dtype} ({model.quantization})"
    return f"{model.family}, {size}, {dtype}, {length}, fingerprint {_digest(model.fingerprint)}"


def _digest(sha256: str) -> str:
    return sha256.removeprefix("sha256:")[:12]


def _cost_facts(record: RunRecord) -> list[tuple[str, str]]:
    facts = []
    memory = record.memory
    peak = memory.get("peak_bytes")
    if isinstance(peak, int | float):
        facts.append(("peak memory", f"{peak / 2**30:.2f} GiB ({memory.get('method', 'unknown method')})"))
    for phase in ("prefill", "decode"):
        rate = record.timing.get(f"{phase}_tokens_per_second")
        seconds = record.timing.get(f"{phase}_seconds")
        if seconds is not None:
            per_second = "" if rate is None else f", {rate:,.0f} tokens/s"
            facts.append((phase, f"{seconds:,.1f} s{per_second}"))
    for name, label in (("first_prompt_seconds", "start to first prompt"), ("wall_seconds", "wall time")):
        value = record.timing.get(name)
        if value is not None:
            facts.append((label, f"{value:,.1f} s"))
    return facts


def _session_facts(sessions: Sequence[Session]) -> list[tuple[str, str]]:
    """A line for each process that worked on a run, if there were several."""
    if len(sessions) < 2:
        return []
    return [(f"session {session.number}", _session(session)) for session in sessions]


def _session(session: Session) -> str:
    parts = [
        "" if session.started_at is None else f"started {session.started_at}",
        f"{session.samples:,} samples",
        "" if session.wall_seconds is None else f"{session.wall_seconds:,.1f} s",
        session.hardware or "hardware not recorded",
        "" if session.ended else "stopped before its end",
    ]
    return ", ".join(part for part in parts if part)
