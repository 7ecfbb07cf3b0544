"""The report of a comparison of two runs."""

from collections.abc import Sequence

from evalkit.analysis.comparison import ComparedRun, Comparison, FigureComparison, Flip, RowComparison
from evalkit.analysis.costs import CostComparison
from reports.numbers import amount, figure, signed
from reports.report import Report, Table
from reports.run_report import describe_model, generated_label, labelled

SHOWN_FLIPS = 20


def comparison_report(comparison: Comparison, *, flips: int = SHOWN_FLIPS) -> Report:
    """The report of one comparison, with at most `flips` of the samples that changed each way."""
    generated = (*comparison.base.generated, *comparison.new.generated)
    tables = [_rows_table(comparison)]
    if comparison.flips:
        tables.append(_flips_table(comparison.flips, flips))
    if comparison.costs:
        tables.append(_costs_table(comparison.costs))
    if comparison.figures:
        tables.append(_figures_table(comparison.figures))
    return Report(
        headline=f"{comparison.suite} · {comparison.base.model.name} → {comparison.new.model.name}"
        + generated_label(generated),
        notices=(_verdict(comparison), *comparison.notes),
        tables=tuple(
            labelled(table, {"BASE": comparison.base.model, "NEW": comparison.new.model}, generated) for table in tables
        ),
        facts=tuple(_facts(comparison)),
    )


def row_name(task: str | None) -> str:
    return "mean over tasks" if task is None else task


def probability(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


def _verdict(comparison: Comparison) -> str:
    """One sentence on the significant rows, beginning with the mean at the longest context."""
    better = [row for row in comparison.rows if row.change == "better"]
    worse = [row for row in comparison.rows if row.change == "worse"]
    same = len(comparison.rows) - len(better) - len(worse)
    unchanged = f"{same} row{' shows' if same == 1 else 's show'} no significant difference"
    if not better and not worse:
        return f"{unchanged}."
    named = " and ".join(f"{word} {_named(rows)}" for rows, word in ((worse, "worse"), (better, "better")) if rows)
    return f"NEW is {named}; {unchanged}."


def _named(rows: Sequence[RowComparison]) -> str:
    first = min(rows, key=lambda row: (row.task is not None, -row.ctx))
    more = len(rows) - 1
    others = f" and on {more} other row{'' if more == 1 else 's'}" if more else ""
    return f"on {'the ' if first.task is None else ''}{row_name(first.task)} at {first.ctx:,}{others}"


def _rows_table(comparison: Comparison) -> Table:
    how = "paired by sample" if comparison.paired else "NOT PAIRED"
    return Table(
        f"{comparison.suite}: difference is NEW - BASE, {how}, with {comparison.confidence:.0%} interval; "
        "~: not significant after Holm's correction over the table",
        (
            "task",
            "length",
            "BASE",
            "NEW",
            "difference",
            "verdict",
            "p",
            "p (Holm)",
            "n",
            "changed (+/−)",
            "detectable (80 % power)",
        ),
        tuple(_row(row, paired=comparison.paired) for row in comparison.rows),
    )


def _row(row: RowComparison, *, paired: bool) -> tuple[str, ...]:
    return (
        row_name(row.task),
        f"{row.ctx:,}",
        figure(row.base, row.unit),
        figure(row.new, row.unit),
        signed(row.difference, row.ci95, row.unit),
        row.change,
        probability(row.p),
        probability(row.p_holm),
        str(row.n),
        f"+{row.improved} -{row.worsened}" if paired else "-",
        figure(row.detectable, row.unit),
    )


def _flips_table(flips: Sequence[Flip], shown: int) -> Table:
    worse = [flip for flip in flips if not flip.improved]
    better = [flip for flip in flips if flip.improved]
    listed = worse[:shown] + better[:shown]
    left_out = len(flips) - len(listed)
    rest = f"; {left_out} more with --flips {max(len(worse), len(better))}" if left_out else ""
    return Table(
        f"Samples that changed: {len(worse)} worse, {len(better)} better{rest}",
        ("sample", "change", "BASE", "NEW", "BASE's failure", "NEW's failure"),
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
    )


def _costs_table(costs: Sequence[CostComparison]) -> Table:
    return Table(
        "Times and memory on the same hardware (times: medians per sample; change: median over pairs)",
        ("what", "length", "BASE", "NEW", "change", "n"),
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


def _figures_table(figures: Sequence[FigureComparison]) -> Table:
    return Table(
        "Derived figures (not tested)",
        ("figure", "BASE", "NEW"),
        tuple((figure.name.replace("_", " "), _plain(figure.base), _plain(figure.new)) for figure in figures),
    )


def _plain(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    facts = [
        ("BASE", describe_run(comparison.base)),
        ("NEW", describe_run(comparison.new)),
        ("dialect", comparison.dialect),
    ]
    if comparison.paired:
        facts.append(("p", "exact sign test for right and wrong answers, seeded paired bootstrap for fractions"))
    else:
        facts.append(("p", "two samples of questions; one right-or-wrong task: Fisher's exact test"))
    facts.append(("detectable", "the true difference that is found with 80 % power, before the correction"))
    if comparison.flips:
        facts.append(("see a sample", f"evalkit show {comparison.new.folder} --sample ID"))
    return facts


def describe_run(run: ComparedRun) -> str:
    return f"{run.run_id}: {run.model.name}; {describe_model(run.model)}"
