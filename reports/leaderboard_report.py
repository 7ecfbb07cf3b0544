"""Leaderboards as tables, and as rows of a CSV file."""

import csv
import io
from collections.abc import Iterator, Sequence

from evalkit.analysis.foreign_results import ForeignResult, ForeignRow
from evalkit.analysis.leaderboard import Board, Cell, Column, Leaderboard, ModelRow, Protocol
from evalkit.values import counted
from reports.numbers import between, decimals, measured, tested_length
from reports.plain_text import one_line
from reports.report import Report, Table
from reports.run_report import describe_origin, generated_label
from reports.verdicts import board_verdict

CSV_COLUMNS = ("table", "rank", "model", "fingerprint", "what", "unit", "value", "ci95_low", "ci95_high", "n", "note")
# A spreadsheet reads a cell that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
UNTRAINED = "untrained weights"


def leaderboard_report(leaderboard: Leaderboard, foreign: Sequence[ForeignResult] = ()) -> Report:
    """The tables of a leaderboard, then those of other tools, then the runs behind it."""
    boards = [_board_table(board, number) for number, board in enumerate(leaderboard.boards)]
    foreign_tables = [_foreign_table(dialect, results) for dialect, results in by_dialect(foreign)]
    return Report(
        headline="Leaderboard",
        notices=tuple(_notices(leaderboard, foreign)),
        tables=(
            *boards,
            *foreign_tables,
            *([_runs_table(leaderboard)] if leaderboard.runs else []),
            *([_left_out_table(leaderboard)] if leaderboard.left_out else []),
        ),
        facts=tuple(fact for number, board in enumerate(leaderboard.boards) for fact in _protocol_facts(board, number)),
        verdicts=tuple(filter(None, map(board_verdict, leaderboard.boards[:1]))),
    )


def render_csv(leaderboard: Leaderboard, foreign: Sequence[ForeignResult] = ()) -> str:
    """One line per figure; an apostrophe keeps a spreadsheet from running text as a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for number, board in enumerate(leaderboard.boards):
        writer.writerows(_csv_rows(board, board_title(board, number)))
    for dialect, results in by_dialect(foreign):
        for result in results:
            writer.writerows(_foreign_csv_row(dialect, result, row) for row in result.rows)
    return text.getvalue()


def by_dialect(foreign: Sequence[ForeignResult]) -> list[tuple[str, list[ForeignResult]]]:
    """Results of other tools, one entry per dialect, in an order that does not depend on that of the arguments."""
    ordered = sorted(foreign, key=lambda result: (result.dialect, result.model, result.path))
    dialects = dict.fromkeys(result.dialect for result in ordered)
    return [(dialect, [result for result in ordered if result.dialect == dialect]) for dialect in dialects]


def board_title(board: Board, number: int) -> str:
    if number == 0:
        return "Models"
    return f"Other protocol: {' and '.join(describe_protocol(protocol) for protocol in board.protocols)}"


def describe_protocol(protocol: Protocol) -> str:
    return f"{protocol.suite}, {_details(protocol)}"


def _details(protocol: Protocol) -> str:
    settings = "".join(f", {name} {value}" for name, value in protocol.settings)
    return f"dialect {protocol.dialect}, version {protocol.version}{settings}, {counted(len(protocol.tasks), 'task')}"


def _notices(leaderboard: Leaderboard, foreign: Sequence[ForeignResult]) -> Iterator[str]:
    hardware = {row.costs.hardware for board in leaderboard.boards for row in board.rows}
    if len(hardware) > 1:
        yield "Times and memory were measured on different hardware and cannot be compared."
    if any(len({row.costs.longest_context for row in board.rows}) > 1 for board in leaderboard.boards):
        yield "Times and memory of models with different longest contexts cannot be compared."
    if any(not row.trained for board in leaderboard.boards for row in board.rows):
        yield "Models marked UNTRAINED WEIGHTS have random weights: their scores test the harness, not a model."
    if any(
        cell is not None and not cell.complete
        for board in leaderboard.boards
        for row in board.rows
        for cell in row.cells
    ):
        yield "Values marked incomplete do not cover all tasks of the table, or all their samples."
    if leaderboard.older:
        yield (
            f"Older runs of the same model are left out: {', '.join(leaderboard.older)}; name one of them alone to "
            "see it."
        )
    if foreign:
        yield "Results of other tools are not comparable with the rest: their questions and prompts differ."


def _board_table(board: Board, number: int) -> Table:
    return Table(
        board_title(board, number)
        + generated_label(role for protocol in board.protocols for role in protocol.generated),
        ("rank", "model", *(column_title(column) for column in board.columns), *COST_COLUMNS),
        tuple(_row(row, board.columns) for row in board.rows),
        note=""
        if board.ranked_by is None
        else f"Ranked by {board.ranked_by}: models that share a rank are not significantly worse than its best (Holm, "
        "5 %); values are with 95 % interval.",
    )


COST_COLUMNS = ("prefill tokens/s", "decode tokens/s", "peak memory", "hardware")


def column_title(column: Column) -> str:
    name = column.suite if not column.name else f"{column.suite} {column.name.replace('_', ' ')}"
    unit = "" if column.unit == "points" else f", {column.unit}"
    return f"{name}{f' {column.ctx:,}' if column.ctx else ''}{unit}"


def _row(row: ModelRow, columns: Sequence[Column]) -> tuple[str, ...]:
    costs = row.costs
    return (
        "-" if row.rank is None else str(row.rank),
        f"{row.model} ({row.fingerprint.removeprefix('sha256:')[:8]}){'' if row.trained else f', {UNTRAINED}'}",
        *(_cell(cell, column) for cell, column in zip(row.cells, columns, strict=True)),
        _rate(costs.prefill_tokens_per_second),
        _rate(costs.decode_tokens_per_second),
        "-" if costs.peak_bytes is None else f"{costs.peak_bytes / 2**30:.1f} GiB",
        costs.hardware or "-",
    )


def _cell(cell: Cell | None, column: Column) -> str:
    if cell is None:
        return "-"
    if column.unit == "tokens":
        return f"{'at least ' if cell.at_least else ''}{tested_length(cell.value, ())}"
    shown = measured(cell.value, cell.ci95, decimals(column.unit))
    return shown if cell.complete else f"{shown}, incomplete"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _foreign_table(dialect: str, results: Sequence[ForeignResult]) -> Table:
    """One row per figure and one column per model, which may come from several files, such as RULER's by length."""
    models = list(dict.fromkeys(result.model for result in results))
    cells = {(result.model, _figure_key(row)): row for result in results for row in result.rows}
    figures = sorted(
        {_figure_key(row) for result in results for row in result.rows}, key=lambda key: (key[1], key[0], key[2])
    )
    return Table(
        f"By {dialect}",
        ("figure", *models),
        tuple((_figure_name(key), *(_foreign_cell(cells.get((model, key))) for model in models)) for key in figures),
    )


def _figure_key(row: ForeignRow) -> tuple[str, int, str]:
    return row.task, row.ctx or 0, row.metric


def _figure_name(key: tuple[str, int, str]) -> str:
    task, ctx, metric = key
    return f"{task}{f' {ctx:,}' if ctx else ''}, {metric}"


def _foreign_cell(row: ForeignRow | None) -> str:
    if row is None:
        return "-"
    return f"{row.value:.4g}{between(row.ci95, 1)}{'' if row.n is None else f' (n={row.n})'}"


def _runs_table(leaderboard: Leaderboard) -> Table:
    return Table(
        "Runs behind these tables",
        ("run", "model", "suite", "dialect", "seed", "samples", "errors", "made"),
        tuple(
            (
                run.run_id,
                f"{run.model} ({run.fingerprint.removeprefix('sha256:')[:8]})",
                run.suite,
                run.dialect,
                str(run.seed),
                str(run.n),
                str(run.errors),
                describe_origin(run.started_at, run.hardware, run.evalkit),
            )
            for run in leaderboard.runs
        ),
    )


def _left_out_table(leaderboard: Leaderboard) -> Table:
    return Table("Left out", ("folder", "reason"), tuple((one.folder, one.reason) for one in leaderboard.left_out))


def _protocol_facts(board: Board, number: int) -> Iterator[tuple[str, str]]:
    for protocol in board.protocols:
        corpora = ", ".join(f"{role} {sha256[:12]}" for role, sha256 in protocol.corpora) or "none"
        yield f"{'Models' if number == 0 else 'Other'}: {protocol.suite}", f"{_details(protocol)}, corpora: {corpora}"


def _csv_rows(board: Board, title: str) -> Iterator[tuple[str, ...]]:
    for row in board.rows:
        for column, cell in zip(board.columns, row.cells, strict=True):
            if cell is not None:
                yield _csv_line(
                    (title, "" if row.rank is None else str(row.rank), row.model, row.fingerprint, column.label),
                    column.unit,
                    (cell.value, cell.ci95),
                    cell.n or None,
                    _note(row, cell),
                )
        for name, unit, value in (
            ("prefill_tokens_per_second", "tokens/s", row.costs.prefill_tokens_per_second),
            ("decode_tokens_per_second", "tokens/s", row.costs.decode_tokens_per_second),
            ("peak_memory", "bytes", row.costs.peak_bytes),
        ):
            if value is not None:
                place = (title, "", row.model, row.fingerprint, name)
                yield _csv_line(place, unit, (value, None), None, row.costs.hardware)


def _note(row: ModelRow, cell: Cell) -> str:
    notes = (
        "" if row.trained else UNTRAINED,
        "" if cell.complete else "incomplete",
        "at least" if cell.at_least else "",
    )
    return ", ".join(filter(None, notes))


def _foreign_csv_row(dialect: str, result: ForeignResult, row: ForeignRow) -> tuple[str, ...]:
    what = f"{row.task}@{row.ctx}" if row.ctx else row.task
    return _csv_line((dialect, "", result.model, "", what), row.metric, (row.value, row.ci95), row.n, result.path)


def _csv_line(
    place: tuple[str, ...],
    unit: str,
    figure: tuple[float, tuple[float, float] | None],
    n: int | None,
    note: str,
) -> tuple[str, ...]:
    value, interval = figure
    low, high = ("", "") if interval is None else (_number(interval[0]), _number(interval[1]))
    return (
        *(_text(text) for text in place),
        _text(unit),
        _number(value),
        low,
        high,
        "" if n is None else str(n),
        _text(note),
    )


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.10g}"


def _text(text: str) -> str:
    safe = one_line(text)
    return f"'{safe}" if safe.startswith(_FORMULA) else safe
