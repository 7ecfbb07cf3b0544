"""The report of a comparison of runs with BASE."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from evalkit.analysis.comparison import ComparedRun, Comparison, Flip, RowComparison
from evalkit.analysis.costs import CostComparison
from evalkit.values import counted
from evalkit.views.names import short_names
from reports.length_chart import compared_lines
from reports.numbers import amount, figure, signed
from reports.report import Report, Table, Tone
from reports.run_report import describe_origin, generated_label, labelled
from reports.subject_facts import describe_model
from reports.verdicts import comparison_verdict

SHOWN_FLIPS = 20


def comparison_report(*comparisons: Comparison, flips: int = SHOWN_FLIPS) -> Report:
    """The report of runs of one suite against one BASE, with at most `flips` of the samples that changed each way."""
    first = comparisons[0]
    runs = [first.base, *(one.new for one in comparisons)]
    names = comparison_names(comparisons)
    generated = [role for run in runs for role in run.generated]
    tables = [*_mean_tables(comparisons, names), *_cost_tables(comparisons, names), *_figure_tables(comparisons, names)]
    for comparison, name in zip(comparisons, names[1:], strict=True):
        tables += _task_tables(comparison, (names[0], name), several=len(comparisons) > 1)
    for comparison, name in zip(comparisons, names[1:], strict=True):
        if comparison.flips:
            tables.append(_flips_table(comparison.flips, flips, names[0], name))
    # Each table of differences is read alike, so that the first one alone says how.
    first_of_rows = next(place for place, table in enumerate(tables) if "verdict" in table.columns)
    tables[first_of_rows] = replace(tables[first_of_rows], note=_how(first, names))
    models = dict(zip(names, (run.model for run in runs), strict=True))
    return Report(
        headline=f"{first.suite} · {first.base.model.name} → {', '.join(one.new.model.name for one in comparisons)}"
        + generated_label(generated),
        notices=tuple(dict.fromkeys(_notices(comparisons, names))),
        tables=tuple(labelled(table, models, generated) for table in tables),
        facts=tuple(_facts(comparisons, names)),
        verdicts=tuple(comparison_verdict(one, name) for one, name in zip(comparisons, names[1:], strict=True)),
        bars=compared_lines(comparisons, names, {}, least=1),
        origin=tuple(f"{name}: {_origin(run)}" for name, run in zip(names, runs, strict=True)),
    )


def comparison_names(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """A short name for BASE and for each run that is compared with it."""
    runs = [comparisons[0].base, *(one.new for one in comparisons)]
    return short_names([run.model for run in runs], [run.folder for run in runs])


def probability(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


def _origin(run: ComparedRun) -> str:
    return describe_origin(run.started_at, run.hardware, run.evalkit)


def _notices(comparisons: Sequence[Comparison], names: Sequence[str]) -> Iterator[str]:
    """The notes of each comparison, with the name of the run if there are several."""
    for comparison, name in zip(comparisons, names[1:], strict=True):
        alone = sum(row.difference is None for row in comparison.rows)
        left_out = [f"{counted(alone, 'row')} without a sample that both runs scored: left out."] if alone else []
        for note in (*comparison.notes, *left_out):
            yield note if len(comparisons) == 1 else f"{name}: {note}"


def _mean_tables(comparisons: Sequence[Comparison], names: Sequence[str]) -> Iterator[Table]:
    """The means over tasks by length; of several runs in one table with a row each."""
    means = [[row for row in one.rows if row.task is None] for one in comparisons]
    if not any(means):
        return
    if len(comparisons) == 1:
        yield _rows_table("Mean over tasks", comparisons[0], means[0], names)
        return
    lines: list[tuple[str, ...]] = []
    tones: list[Tone] = []
    for ctx in sorted({row.ctx for rows in means for row in rows}):
        found = [(name, row) for name, rows in zip(names[1:], means, strict=True) for row in rows if row.ctx == ctx]
        length = f"{ctx:,}" if ctx else "all"
        most, before = max(row.n for _, row in found), None
        for name, row in found:
            # A run that lacks samples is compared with BASE on the others alone, where BASE has another mean.
            if row.base != before:
                base = names[0] if row.n == most else f"{names[0]} (samples of {name})"
                lines.append((length, base, figure(row.base, row.unit), "", "", "", "", ""))
                tones.append("")
            lines.append((length, name, *_against_base(row)))
            tones.append(_tone(row))
            before = row.base
    columns = ("length", "model", "mean", "difference", "verdict", "p (Holm)", "n", "detectable (80 % power)")
    yield Table("Mean over tasks", columns, tuple(lines), tones=tuple(tones))


def _against_base(row: RowComparison) -> tuple[str, ...]:
    return (
        figure(row.new, row.unit),
        signed(row.difference, row.ci95, row.unit),
        _verdict(row),
        probability(row.p_holm),
        str(row.n),
        figure(row.detectable, row.unit),
    )


def _verdict(row: RowComparison) -> str:
    """The change, and why an interval without zero may be none."""
    apart = row.ci95 is not None and (row.ci95[0] > 0 or row.ci95[1] < 0)
    return "~ (only before correction)" if row.change == "~" and apart else row.change


def _tone(row: RowComparison) -> Tone:
    return "" if row.change == "~" else row.change


def _task_tables(comparison: Comparison, names: tuple[str, str], *, several: bool) -> Iterator[Table]:
    """The tasks, one table per length if there are several lengths."""
    tasks = [row for row in comparison.rows if row.task is not None and row.difference is not None]
    lengths = sorted({row.ctx for row in tasks})
    has_means = any(row.task is None for row in comparison.rows)
    for ctx in lengths:
        rows = [row for row in tasks if row.ctx == ctx]
        place = f" at {ctx:,}" if ctx else ""
        told = sum(row.change != "~" for row in rows)
        of = f"{names[1]}, tasks" if several else "Tasks"
        title = f"{of}{place}: {counted(told, 'significant difference') if told else 'no significant difference'}"
        yield replace(_rows_table(title, comparison, rows, names), is_detail=has_means or len(lengths) > 1)


def _how(comparison: Comparison, names: Sequence[str]) -> str:
    difference = f"is {names[1]} - {names[0]}" if len(names) == 2 else f"from {names[0]}"
    return (
        f"difference {difference}, {_paired(comparison)}, with {comparison.confidence:.0%} interval; "
        "~: not significant after Holm's correction over all tables"
    )


def _paired(comparison: Comparison) -> str:
    return "paired by sample" if comparison.paired else "NOT PAIRED"


def _rows_table(title: str, comparison: Comparison, rows: Sequence[RowComparison], names: Sequence[str]) -> Table:
    """Rows of means by length, or of tasks at one length."""
    by_length = rows[0].task is None
    return Table(
        title,
        (
            "length" if by_length else "task",
            *names,
            "difference",
            "verdict",
            "p",
            "p (Holm)",
            "n",
            "changed (+/−)",
            "detectable (80 % power)",
        ),
        tuple(
            (
                row.task or (f"{row.ctx:,}" if row.ctx else "all"),
                figure(row.base, row.unit),
                figure(row.new, row.unit),
                signed(row.difference, row.ci95, row.unit),
                _verdict(row),
                probability(row.p),
                probability(row.p_holm),
                str(row.n),
                f"+{row.improved} -{row.worsened}" if comparison.paired else "-",
                figure(row.detectable, row.unit),
            )
            for row in rows
        ),
        tones=tuple(map(_tone, rows)),
    )


def _flips_table(flips: Sequence[Flip], shown: int, base: str, new: str) -> Table:
    """Samples that changed, first what got worse at the longest context."""
    ordered = sorted(flips, key=lambda flip: (flip.improved, -flip.ctx, -abs(flip.new_score - flip.base_score)))
    worse = [flip for flip in ordered if not flip.improved]
    better = [flip for flip in ordered if flip.improved]
    listed = worse[:shown] + better[:shown]
    left_out = len(flips) - len(listed)
    rest = f"; {left_out} more with --flips {max(len(worse), len(better))}" if left_out else ""
    return Table(
        f"Samples that changed: {new} is worse on {len(worse)}, better on {len(better)}{rest}",
        ("sample", "change", base, new, f"failure of {base}", f"failure of {new}"),
        tuple(
            (
                flip.id,
                "better" if flip.improved else "worse",
                f"{flip.base_score:.2f}",
                f"{flip.new_score:.2f}",
                (flip.base_failure or "-").replace("_", " "),
                (flip.new_failure or "-").replace("_", " "),
            )
            for flip in listed
        ),
        is_detail=True,
    )


def _cost_tables(comparisons: Sequence[Comparison], names: Sequence[str]) -> Iterator[Table]:
    for comparison, name in zip(comparisons, names[1:], strict=True):
        if comparison.costs:
            of = f" of {name}" if len(comparisons) > 1 else ""
            yield _costs_table(
                f"Times and memory{of} on the same hardware (times: medians per sample; change: median over pairs)",
                comparison.costs,
                (names[0], name),
            )


def _costs_table(title: str, costs: Sequence[CostComparison], names: Sequence[str]) -> Table:
    return Table(
        title,
        ("what", "length", *names, "change", "n"),
        tuple(
            (
                cost.name.replace("_", " "),
                "-" if cost.ctx is None else f"{cost.ctx:,}",
                amount(cost.base, cost.unit),
                amount(cost.new, cost.unit),
                f"{cost.change:+.1%}",
                str(cost.n),
            )
            for cost in costs
        ),
    )


def _figure_tables(comparisons: Sequence[Comparison], names: Sequence[str]) -> Iterator[Table]:
    """Figures of all runs, if any run has one."""
    labels = dict.fromkeys(one.name for comparison in comparisons for one in comparison.figures)
    rows = []
    for label in labels:
        found = [next((one for one in comparison.figures if one.name == label), None) for comparison in comparisons]
        base = next((_plain(one.base) for one in found if one is not None), "none")
        rows.append((label.replace("_", " "), base, *("none" if one is None else _plain(one.new) for one in found)))
    if rows:
        yield Table("Derived figures (not tested)", ("figure", *names), tuple(rows))


def _plain(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def _facts(comparisons: Sequence[Comparison], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    first = comparisons[0]
    yield f"BASE, {names[0]}", describe_run(first.base)
    for comparison, name in zip(comparisons, names[1:], strict=True):
        yield f"NEW, {name}", describe_run(comparison.new)
    yield "dialect", first.dialect
    if first.paired:
        yield "p", "exact sign test for right and wrong answers, seeded paired bootstrap for fractions"
    else:
        yield "p", "two samples of questions; one right-or-wrong task: Fisher's exact test"
    yield "detectable", "the true difference that is found with 80 % power, before the correction"
    for comparison, name in zip(comparisons, names[1:], strict=True):
        if comparison.flips:
            of = f" of {name}" if len(comparisons) > 1 else ""
            yield f"see a sample{of}", f"evalkit show {comparison.new.folder} --sample ID"


def describe_run(run: ComparedRun) -> str:
    """A run in one line: its id, model and origin."""
    return f"{run.run_id}: {run.model.name}; {describe_model(run.model)}; {_origin(run)}"
