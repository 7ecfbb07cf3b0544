"""Grids of scores: task by length, and needle depth by length."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.analysis.comparison import Comparison
from evalkit.analysis.pairing import Pairing
from evalkit.records import Figure, RunRecord, SampleRecord
from evalkit.records.metrics import metric_of
from evalkit.statistics.rows import depth_bin

DEPTH_BINS = 10
MEAN = "mean over tasks"
"""The row of means in a grid of tasks."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Values in points by row and column; None if nothing was scored."""

    rows: tuple[str, ...]
    columns: tuple[int, ...]
    """Context lengths, ascending."""
    values: tuple[tuple[float | None, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    """Number of samples of each value."""
    marks: tuple[tuple[bool, ...], ...] = ()
    """Which values are significant differences; empty for scores."""


def task_grid(record: RunRecord) -> Grid:
    """Scores by task and length, in the order of the run's table, after their mean; losses are left out."""
    rows = [row for row in record.results if metric_of(row.metric).bounded or row.value is None]
    cells = {row.cell: (row.value, row.n) for row in rows}
    names = list(dict.fromkeys(row.name for row in rows))
    if len(names) < 2 or not record.summary:
        return grid_of(names, cells)
    sizes = {row.ctx: sum(one.n for one in rows if one.ctx == row.ctx) for row in record.summary}
    means = {(MEAN, row.ctx): (row.mean, sizes[row.ctx]) for row in record.summary}
    return grid_of([MEAN, *names], {**means, **cells})


def difference_grid(comparison: Comparison) -> Grid:
    """NEW - BASE in points by task and length, after the difference of the means, with significant ones marked."""
    rows = [row for row in comparison.rows if row.difference is not None and row.unit == "points"]
    found = {(MEAN if row.task is None else row.task, row.ctx): row for row in rows}
    grid = grid_of(
        sorted(dict.fromkeys(name for name, _ in found), key=lambda name: name != MEAN),
        {cell: (row.difference, row.n) for cell, row in found.items()},
    )
    told = {cell for cell, row in found.items() if row.change != "~"}
    return replace(grid, marks=tuple(tuple((row, ctx) in told for ctx in grid.columns) for row in grid.rows))


def depth_grid(samples: Iterable[SampleRecord]) -> Grid:
    """Mean score by length and depth of the requested needle, over samples with one target."""
    return _depth_grid((sample, sample.score) for sample in samples)


def depth_difference_grid(pairing: Pairing) -> Grid:
    """Mean of NEW - BASE by needle depth and length."""
    return _depth_grid((pair.base, pair.change) for pair in pairing.pairs())


def _depth_grid(scored: Iterable[tuple[SampleRecord, float | None]]) -> Grid:
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for sample, value in scored:
        if value is not None and len(sample.targets) == 1 and sample.depths and metric_of(sample.metric).bounded:
            found[depth_bin(sample.depths[0], DEPTH_BINS), sample.ctx].append(100 * value)
    names = [_bin_name(place) for place in range(DEPTH_BINS)]
    cells = {(names[place], ctx): (sum(values) / len(values), len(values)) for (place, ctx), values in found.items()}
    return grid_of(names if cells else [], cells)


def depth_label(depth: float) -> str:
    """The row of a grid by depth that a needle at `depth` counts in."""
    return _bin_name(depth_bin(depth, DEPTH_BINS))


def _bin_name(place: int) -> str:
    return f"{place / DEPTH_BINS:.1f}-{(place + 1) / DEPTH_BINS:.1f}"


def figure_grid(figures: Iterable[Figure]) -> Grid:
    """The figures of a run by needle depth and length."""
    cells = {
        (f"{low:.3g}-{high:.3g}", figure.ctx or 0): (figure.value, figure.n)
        for figure in sorted(figures, key=lambda figure: figure.depth or ())
        if figure.depth is not None
        for low, high in [figure.depth]
    }
    return grid_of(list(dict.fromkeys(depth for depth, _ in cells)), cells)


def grid_of(rows: Sequence[str], cells: Mapping[tuple[str, int], tuple[float | None, int]]) -> Grid:
    """A grid of these rows and all lengths of `cells`, which maps (row, length) to value and number of samples."""
    columns = sorted({ctx for _, ctx in cells})
    empty = (None, 0)
    return Grid(
        rows=tuple(rows),
        columns=tuple(columns),
        values=tuple(tuple(cells.get((row, ctx), empty)[0] for ctx in columns) for row in rows),
        counts=tuple(tuple(cells.get((row, ctx), empty)[1] for ctx in columns) for row in rows),
    )
