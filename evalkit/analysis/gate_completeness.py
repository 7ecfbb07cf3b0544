"""Whether runs have all results that a check needs: a mean over fewer tasks or samples is a different number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from evalkit.analysis.finished_run import Cell
from evalkit.analysis.gate_targets import Target
from evalkit.analysis.policy import Check, Expectation
from evalkit.records import ResultRow, RunRecord, SummaryRow

_SHOWN = 4
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Part:
    """One row that a check needs, in one run."""

    task: str
    ctx: int
    wanted: int
    """Number of samples that the run should have."""
    held: int
    row: ResultRow | None
    """None if the run has no such row."""

    @property
    def label(self) -> str:
        return f"{self.task}@{self.ctx}" if self.ctx else self.task


def rows_by_cell(record: RunRecord | None) -> dict[Cell, ResultRow]:
    return {} if record is None else {row.cell: row for row in record.results}


def asked(row: ResultRow | None) -> int:
    """Samples of a row, scored or not."""
    return 0 if row is None else row.n + row.errors + row.unscored


def cells_behind(target: Target, records: Iterable[RunRecord | None], expectation: Expectation) -> list[Cell]:
    """Task and length of every row that `target` needs, in any of `records`.

    The expected tasks restrict means, figures and costs; an expected name that no run has is listed as missing.
    """
    cells = list(dict.fromkeys(cell for record in records for cell in rows_by_cell(record)))
    if target.role == "row":
        return [(target.name, target.ctx or 0)]
    here = [cell for cell in cells if target.ctx is None or cell[1] == target.ctx]
    if not expectation.tasks:
        return here
    ctxs = list(dict.fromkeys(ctx for _, ctx in here)) or [target.ctx or 0]
    absent = [
        (pattern, ctx)
        for pattern in expectation.tasks
        for ctx in ctxs
        if not any(of == ctx and fnmatchcase(task, pattern) for task, of in here)
    ]
    return [cell for cell in here if _is_expected(cell[0], expectation)] + absent


def _is_expected(task: str, expectation: Expectation) -> bool:
    return any(fnmatchcase(task, pattern) for pattern in expectation.tasks)


def parts_of(record: RunRecord, base: RunRecord | None, cells: Sequence[Cell], expectation: Expectation) -> list[Part]:
    """The rows of `cells` in `record`, which should have the expected number of samples, or as many as `base`."""
    own, of_base = rows_by_cell(record), rows_by_cell(base)
    return [
        Part(
            task,
            ctx,
            wanted=expectation.samples or max(1, asked(of_base.get((task, ctx)))),
            held=asked(own.get((task, ctx))),
            row=own.get((task, ctx)),
        )
        for task, ctx in cells
    ]


def shortfall(parts: Sequence[Part], check: Check, suite: str, side: str, reasons: Mapping[Cell, str]) -> str | None:
    """Why the results of `side` are not complete, naming tasks and samples; None if they are.

    `reasons` explain cells that could not be run.
    """
    absent = [part for part in parts if part.held == 0]
    if absent:
        return f"missing in {side}: {_listed(_with_reason(part, reasons) for part in absent)}"
    fewer = [part for part in parts if part.held < part.wanted]
    if fewer:
        least = min(part.held for part in parts)
        return (
            f"fewer samples in {side}: {_listed(f'{part.label} {part.held} of {part.wanted}' for part in fewer)}; "
            f"run them all, or state `expect: {{{suite}: {{samples: {least}}}}}` in the policy"
        )
    lost = [
        part.row for part in parts if part.row is not None and _share_lost(part.row) > check.max_unscored + _ROUNDING
    ]
    if not lost:
        return None
    errors, unscored = sum(row.errors for row in lost), sum(row.unscored for row in lost)
    counts = [f"{number} {name}" for number, name in ((errors, "errored"), (unscored, "unscored")) if number]
    remedy = f"; run {side} again with --resume" if errors else ""
    return (
        f"{' and '.join(counts)} of {sum(map(asked, lost)):,} samples in {side} ({_listed(row.name for row in lost)}), "
        f"more than max_unscored: {100 * check.max_unscored:g}%{remedy}"
    )


def not_whole(target: Target, new: RunRecord, base: RunRecord | None, expectation: Expectation) -> str | None:
    """Why a mean or figure of NEW is not that of the whole suite; None if it is, or if the policy names the tasks."""
    if target.role == "row" or expectation.tasks:
        return _unexpected(target, new, expectation) if target.role == "figure" else None
    whole_in_base = {row.ctx for row in base.summary if row.complete} if base is not None else set()
    # If BASE is whole, NEW has been held to each of its rows already, so that only lost samples make NEW incomplete.
    partial = [row for row in _summary(target, new) if not row.complete and row.ctx not in whole_in_base]
    if not partial:
        return None
    first = partial[0]
    tasks = [row.name for row in new.results if row.ctx == first.ctx and row.value is not None]
    lost = [f"{cell.task} ({cell.reason})" for cell in new.unscored if cell.ctx == first.ctx and cell.task not in tasks]
    at = f" at {first.ctx}" if first.ctx else ""
    left_out = f", without {_listed(dict.fromkeys(lost))}" if lost else ""
    expected = f"[{', '.join(tasks)}]" if len(tasks) <= _SHOWN else "'*'"
    return (
        f"NEW's mean{at} is not that of the whole suite: its record is incomplete and covers {_listed(tasks)}"
        f"{left_out}; run the whole suite, or state `expect: {{{target.suite}: {{tasks: {expected}}}}}` in the policy"
    )


def _unexpected(target: Target, new: RunRecord, expectation: Expectation) -> str | None:
    """A figure covers all tasks of its run, so a run with additional tasks has a different figure."""
    beside = dict.fromkeys(row.name for row in new.results if not _is_expected(row.name, expectation))
    if not beside:
        return None
    return f"{target.name} in NEW also covers tasks that the policy does not expect: {_listed(beside)}"


def _summary(target: Target, record: RunRecord) -> Iterator[SummaryRow]:
    yield from (row for row in record.summary if target.ctx is None or row.ctx == target.ctx)


def unscored_reasons(record: RunRecord) -> dict[Cell, str]:
    """Reasons why cells of a run could not be run."""
    return {(cell.task, cell.ctx): cell.reason for cell in record.unscored}


def _with_reason(part: Part, reasons: Mapping[Cell, str]) -> str:
    reason = reasons.get((part.task, part.ctx))
    return part.label if reason is None else f"{part.label} ({reason})"


def _share_lost(row: ResultRow) -> float:
    return (row.errors + row.unscored) / max(1, asked(row))


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"{', '.join(known[:_SHOWN])}{more}"
