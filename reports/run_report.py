"""What the report of one run says, as neutral blocks that every renderer shows alike."""

from dataclasses import dataclass

from evalkit.records import ModelIdentity, ResultRow, RunRecord, SummaryRow

UNTRAINED = "UNTRAINED WEIGHTS: the scores below show that the harness runs, not what a model can do."


@dataclass(frozen=True, slots=True)
class Table:
    """A titled grid of plain text; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A headline, notices that must be read with the scores, tables, and facts as name and value."""

    headline: str
    notices: tuple[str, ...]
    tables: tuple[Table, ...]
    facts: tuple[tuple[str, str], ...]


def run_report(record: RunRecord) -> Report:
    """The report of one run."""
    tables = [_score_table(record)]
    if record.failures:
        rows = tuple((kind.replace("_", " "), str(count)) for kind, count in record.failures.items())
        tables.append(Table("Why answers were wrong", ("failure", "samples"), rows))
    return Report(
        headline=f"{record.suite} · {record.model.path} · dialect {record.dialect}",
        notices=_notices(record),
        tables=tuple(tables),
        facts=tuple(_facts(record)),
    )


def _notices(record: RunRecord) -> tuple[str, ...]:
    notices = [] if record.model.trained else [UNTRAINED]
    errors = record.counts["errors"]
    if errors:
        notices.append(
            f"INCOMPLETE: {errors} of {record.counts['n']} samples errored and are not in the scores; "
            "run again with --resume to repeat them."
        )
    notices.extend(f"Unscored: {cell.task} at {cell.ctx:,}: {cell.reason}" for cell in record.unscored)
    notices.extend(f"Warning: {warning}" for warning in record.warnings)
    return tuple(notices)


def _score_table(record: RunRecord) -> Table:
    ctxs = sorted({row.ctx for row in record.results} | {cell.ctx for cell in record.unscored})
    cells = {(row.task, row.ctx): row for row in record.results}
    tasks = list(dict.fromkeys(row.task for row in record.results))
    tasks += [cell.task for cell in record.unscored if cell.task not in tasks]
    rows = [(task, *(_result(cells.get((task, ctx))) for ctx in ctxs)) for task in dict.fromkeys(tasks)]
    summary = {row.ctx: row for row in record.summary}
    rows.append(("mean", *(_mean(summary.get(ctx)) for ctx in ctxs)))
    return Table(
        "Score (0-100) by task and context length, with 95 % bootstrap interval",
        ("task", *(f"{ctx:,}" for ctx in ctxs)),
        tuple(rows),
    )


def _result(row: ResultRow | None) -> str:
    if row is None or (row.value is None and not row.errors):
        return "unscored"
    if row.value is None:
        return f"all {row.errors} errored"
    errors = f", {row.errors} errored" if row.errors else ""
    return f"{row.value:.1f}{_interval(row.ci95)} (n={row.n}{errors})"


def _mean(row: SummaryRow | None) -> str:
    if row is None or row.mean is None:
        return "unscored"
    return f"{row.mean:.1f}{_interval(row.ci95)} of {row.tasks} tasks{'' if row.complete else ', incomplete'}"


def _interval(ci95: tuple[float, float] | None) -> str:
    return "" if ci95 is None else f" [{ci95[0]:.1f}, {ci95[1]:.1f}]"


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    facts = []
    if any(row.complete for row in record.summary):
        effective = record.effective_length
        facts.append(("effective length", "below the shortest length" if effective is None else f"{effective:,}"))
    facts += [(name.replace("_", " "), f"{value:.1f}") for name, value in record.derived.items() if value is not None]
    facts += [("model", describe_model(record.model)), ("positions", record.model.positions.description)]
    facts += [(f"corpus: {c.role}", f"{c.name} ({c.source}, sha256 {c.sha256[:12]})") for c in record.corpora]
    facts += _cost_facts(record)
    facts.append(("run", f"{record.run_id}, seed {record.seed}, suite version {record.suite_version}"))
    return facts


def describe_model(model: ModelIdentity) -> str:
    """One line that names a model: family, size, dtype, trained length, fingerprint."""
    length = "no stated trained length" if model.trained_length is None else f"trained to {model.trained_length:,}"
    fingerprint = model.fingerprint.removeprefix("sha256:")[:12]
    return f"{model.family}, {model.parameters / 1e6:,.1f}M parameters, {model.dtype}, {length}, {fingerprint}"


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
