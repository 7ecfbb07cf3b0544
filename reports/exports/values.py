"""What all exports share: the numbers of a run with their names, and a description of how they came about."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evalkit.analysis.selectors import spelled
from evalkit.records import RunRecord, SampleRecord, generated_roles
from evalkit.records.metrics import metric_of
from evalkit.statistics.intervals import Interval
from evalkit.values import counted
from reports.run_report import UNTRAINED


@dataclass(frozen=True, slots=True)
class Value:
    """One number of a run."""

    label: str
    """Its selector, such as `ruler@65536`, `ruler/vt@65536` or `ruler/effective_length`."""
    task: str
    """Empty for the suite's mean and for figures."""
    ctx: int
    value: float
    unit: str
    ci95: Interval | None
    n: int


def values_of(record: RunRecord) -> Iterator[Value]:
    """Means, then rows, then figures; those without a value are left out."""
    for mean in record.summary:
        if mean.mean is not None:
            n = sum(row.n for row in record.results if row.ctx == mean.ctx)
            yield Value(spelled(record.suite, "", mean.ctx), "", mean.ctx, mean.mean, "points", mean.ci95, n)
    for row in record.results:
        if row.value is not None:
            label = spelled(record.suite, row.name, row.ctx)
            yield Value(label, row.name, row.ctx, row.value, metric_of(row.metric).unit, row.ci95, row.n)
    for figure in record.figures:
        if figure.value is not None:
            label = spelled(record.suite, figure.path, figure.at)
            yield Value(label, "", figure.ctx or 0, figure.value, figure.unit, figure.ci95, figure.n)


def settings_of(record: RunRecord) -> dict[str, str | int | float | bool]:
    """What a reader needs to know with the scores, flat and by name."""
    model = record.model
    known: dict[str, Any] = {
        "suite": record.suite,
        "suite_version": record.suite_version,
        "dialect": record.dialect,
        "seed": record.seed,
        "model": model.name,
        "fingerprint": model.fingerprint,
        "dtype": model.dtype,
        "positions": model.positions.description,
        "quantization": model.quantization,
        "commit": model.commit,
        "tokens_seen": record.tokens_seen,
        "engine": record.engine.engine,
        "gpu": record.environment.gpu.name if record.environment.gpu else None,
        "run_id": record.run_id,
        "errors": record.counts.errors,
        "trained_weights": model.trained,
        "part_of_suite": _part_of_suite(record) or None,
        **{f"corpus.{corpus.role}": f"{corpus.name} {corpus.sha256}" for corpus in record.corpora},
        **{f"version.{name}": version for name, version in record.environment.versions.items()},
    }
    return {name: value for name, value in known.items() if value is not None}


def description(record: RunRecord) -> str:
    """Dialect, corpora and evalkit's version in one line, with what makes the scores incomparable first."""
    generated = generated_roles(record.corpora)
    parts = [
        "" if record.model.trained else UNTRAINED.partition(":")[0],
        f"GENERATED CORPORA: {', '.join(generated)}" if generated else "",
        _part_of_suite(record),
        f"dialect {record.dialect}",
        f"suite version {record.suite_version}",
        "corpora " + (", ".join(f"{corpus.role} {corpus.sha256[:19]}" for corpus in record.corpora) or "none"),
        f"evalkit {record.environment.evalkit}" if record.environment.evalkit else "",
    ]
    return "; ".join(part for part in parts if part)


def _part_of_suite(record: RunRecord) -> str:
    """Which means are not those of the whole suite, such as `part of the suite: 512 (3 tasks)`; empty if all are."""
    partial = [mean for mean in record.summary if mean.mean is not None and not mean.complete]
    means = (f"{f'{mean.ctx:,}' if mean.ctx else 'mean'} ({counted(mean.tasks, 'task')})" for mean in partial)
    return f"part of the suite: {', '.join(means)}" if partial else ""


def prompt_text(sample: SampleRecord) -> str:
    """The stored excerpts of a prompt, with the number of characters left out between them."""
    text, end = "", 0
    for excerpt in sample.excerpts:
        gap = excerpt.start - end
        text += (f"\n[… {gap:,} characters …]\n" if gap > 0 else "") + excerpt.text
        end = excerpt.start + len(excerpt.text)
    return text
