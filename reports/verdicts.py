"""The result of a run or of a comparison in one sentence with its numbers."""

from collections.abc import Iterator, Sequence

from evalkit.analysis.comparison import Comparison, RowComparison
from evalkit.analysis.leaderboard import Board
from evalkit.records import EFFECTIVE_LENGTH, ResultRow, RunRecord, SummaryRow
from evalkit.records.metrics import metric_of
from evalkit.values import counted
from evalkit.views.names import short_names
from reports.numbers import between, decimals, measured, signed_interval, tested_length

_MOST_NAMED = 3
"""Rows that a sentence names one by one."""


def run_verdict(record: RunRecord) -> str:
    """What one run scored; empty if nothing was scored."""
    (name,) = short_names([record.model], [record.run_id])
    found = _checks(record) or _updates_held(record) or _means(record) or _rows(record)
    return f"{name} {found}." if found else ""


def _checks(record: RunRecord) -> str:
    outcomes = [verdict.outcome for verdict in record.verdicts]
    if not outcomes:
        return ""
    words = (("pass", "passes"), ("fail", "fails"), ("undecided", "leaves undecided"))
    found = [f"{word} {outcomes.count(outcome)}" for outcome, word in words if outcome in outcomes]
    return f"{_joined(found)} of {counted(len(outcomes), 'check')}"


def _updates_held(record: RunRecord) -> str:
    figures = [figure for figure in record.figures if figure.name == "updates_held"]
    if not figures:
        return ""
    held = [
        f"{figure.value:,.0f} updates in {figure.part}{f' in {figure.ctx:,} tokens' if figure.ctx else ''}"
        for figure in sorted(figures, key=lambda figure: -(figure.value or 0))
        if figure.value
    ]
    never = len(figures) - len(held)
    if not held:
        return f"holds 90 % accuracy at no number of updates in {counted(never, 'task')}"
    rest = f"; at no number of updates in {never} of {counted(len(figures), 'task')}" if never else ""
    return f"holds 90 % accuracy up to {_listed(held)}{rest}"


def _means(record: RunRecord) -> str:
    means = sorted((row for row in record.summary if row.mean is not None), key=lambda row: -row.ctx)
    if not means:
        return ""
    sizes = {row.tasks for row in means}
    of_tasks = f"mean of {counted(max(sizes), 'task')}" if len(sizes) == 1 else "mean over tasks"
    of = "all questions alike" if means[0].by_sample else of_tasks
    return f"scores {_listed([_mean(row) for row in means])} ({of}){_effective(record)}"


def _mean(row: SummaryRow) -> str:
    return f"{row.mean:.1f}{f' at {row.ctx:,}' if row.ctx else ''}{between(row.ci95, 1)}"


def _effective(record: RunRecord) -> str:
    length = record.figure(EFFECTIVE_LENGTH)
    if length is None or length.value is None:
        return ""
    return f"; effective length {tested_length(length.value, [row.ctx for row in record.results])}"


def _rows(record: RunRecord) -> str:
    rows = [row for row in record.results if row.value is not None]
    return f"scores {_listed([_row(row) for row in rows])}" if rows else ""


def _row(row: ResultRow) -> str:
    unit = metric_of(row.metric).unit
    shown = measured(row.value, row.ci95, decimals(unit))
    return f"{shown}{'' if unit == 'points' else f' {unit}'} on {row.name}{f' at {row.ctx:,}' if row.ctx else ''}"


def comparison_verdict(comparison: Comparison, name: str) -> str:
    """How `name` differs from BASE: the means by length, longest first, then the tasks that differ."""
    rows = [row for row in comparison.rows if row.difference is not None]
    means = [row for row in rows if row.task is None]
    main = sorted(means or rows, key=lambda row: -row.ctx)
    told = [row for row in main if row.change != "~"]
    parts = list(_changes(told, with_task=not means))
    same = [row for row in main if row.change == "~"]
    if same:
        parts.append(f"no significant difference {_places(same, with_task=not means)}")
    tasks = [row for row in rows if row.task is not None and row.change != "~"] if means else []
    for change in ("worse", "better"):
        here = sorted((row for row in tasks if row.change == change), key=lambda row: -abs(row.difference or 0.0))
        if here:
            lengths = sorted({row.ctx for row in here}, reverse=True)
            parts.append(f"{change} on {_listed([_tasks(here, ctx) for ctx in lengths])}")
    return f"{name} {_and_level(parts)}." if parts else ""


def _tasks(rows: Sequence[RowComparison], ctx: int) -> str:
    here = [row for row in rows if row.ctx == ctx]
    return f"{_listed([str(row.task) for row in here])}{_at(here[0])}"


def _and_level(parts: Sequence[str]) -> str:
    """The parts as one sentence after a name."""
    first, *rest = parts
    verb = "shows " if first.startswith("no ") else "is " if first.startswith(("worse", "better")) else ""
    return "; ".join([verb + first, *rest])


def _changes(rows: Sequence[RowComparison], *, with_task: bool) -> Iterator[str]:
    """`loses 50.3 points at 65,536 [34.4, 62.9] and 17.4 at 16,384 [5.4, 28.8]`."""
    for change, points, word in (("worse", "loses", "is worse by"), ("better", "gains", "is better by")):
        found = [row for row in rows if row.change == change]
        if not found:
            continue
        unit = found[0].unit
        sizes = [
            f"{_size(row, unit if place == 0 else '')}{_where(row, with_task)}{_range(row)}"
            for place, row in enumerate(found)
        ]
        yield f"{points if unit == 'points' else word} {_listed(sizes)}"


def _size(row: RowComparison, unit: str) -> str:
    return f"{abs(row.difference or 0.0):.{decimals(row.unit)}f}{f' {unit}' if unit else ''}"


def _range(row: RowComparison) -> str:
    """The interval of the size of a change."""
    if row.ci95 is None:
        return ""
    low, high = sorted(abs(end) for end in row.ci95)
    return between((low, high), decimals(row.unit))


def _places(rows: Sequence[RowComparison], *, with_task: bool) -> str:
    if len(rows) == 1:
        row = rows[0]
        return f"{_where(row, with_task).strip() or 'in the mean over tasks'}{signed_interval(row.ci95, row.unit)}"
    if with_task and len({row.task for row in rows}) > 1:
        return f"in {counted(len(rows), 'row')}"
    return f"at {_listed([f'{row.ctx:,}' for row in sorted(rows, key=lambda row: row.ctx)])}"


def _where(row: RowComparison, with_task: bool) -> str:
    return f"{f' on {row.task}' if with_task and row.task else ''}{_at(row)}"


def _at(row: RowComparison) -> str:
    return f" at {row.ctx:,}" if row.ctx else ""


def board_verdict(board: Board) -> str:
    """Who leads a leaderboard, with its values; empty if nothing ranks the models."""
    place = next((at for at, column in enumerate(board.columns) if column.label == board.ranked_by), None)
    first = [row for row in board.rows if row.rank == 1]
    if place is None or not first:
        return ""
    unit = board.columns[place].unit
    cells = [(row.model, row.cells[place]) for row in first]
    values = [f"{name} ({measured(cell.value, cell.ci95, decimals(unit))})" for name, cell in cells if cell is not None]
    ranks = "ranks first" if len(first) == 1 else "share the first rank"
    ranked = sum(row.rank is not None for row in board.rows)
    return f"{_listed(values)} {ranks} of {counted(ranked, 'model')} by {board.ranked_by}."


def _listed(items: Sequence[str]) -> str:
    """`a, b and c`; of many the first ones."""
    if len(items) > _MOST_NAMED + 1:
        return f"{', '.join(items[:_MOST_NAMED])} and {len(items) - _MOST_NAMED} more"
    return _joined(items)


def _joined(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
