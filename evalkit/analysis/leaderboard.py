"""Many runs side by side: models × what they were measured on, ranked by the differences between them.

Samples are read only of the runs in the column that a table is ranked by. Of all others run.json is read and checked
against manifest.json and the number of lines of samples.jsonl, so that hundreds of runs take seconds.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evalkit.analysis.costs import describe_hardware
from evalkit.analysis.finished_run import StoredRun, check_record, load_run, run_folders
from evalkit.analysis.ranking import rank, worse_than
from evalkit.analysis.selectors import Selector
from evalkit.did_you_mean import did_you_mean
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import RunRecord
from evalkit.records.metrics import metric_of
from evalkit.running.store import RUN, SAMPLES, read_run
from evalkit.statistics.intervals import Interval

# Suites as readers look for them; others follow by name.
SUITE_ORDER = ("ruler", "mmlu", "track", "extend", "loss")
_CHUNK_BYTES = 1 << 20

Model = tuple[str, str]
"""Name and fingerprint."""


@dataclass(frozen=True, slots=True)
class BoardRun:
    """A run for the leaderboard: its record, and its samples on demand."""

    record: RunRecord
    load: Callable[[], StoredRun]


@dataclass(frozen=True, slots=True)
class Cell:
    """One model's value in one column."""

    value: float
    ci95: Interval | None
    n: int
    complete: bool
    """False where samples errored, so that the value is not of all that was asked."""


@dataclass(frozen=True, slots=True)
class Column:
    """Something that models are measured on."""

    suite: str
    name: str
    """A task or a figure; empty for the mean over tasks."""
    ctx: int | None
    unit: str
    higher_is_better: bool

    @property
    def label(self) -> str:
        """As a selector has it."""
        name = f"{self.suite}/{self.name}" if self.name else self.suite
        return f"{name}@{self.ctx}" if self.ctx else name


@dataclass(frozen=True, slots=True)
class Costs:
    """What a model's run cost, and on what."""

    prefill_tokens_per_second: float | None
    decode_tokens_per_second: float | None
    peak_bytes: float | None
    hardware: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model; two checkpoints under one name differ in their fingerprint, and forced positions are in the name."""

    model: str
    fingerprint: str
    rank: int | None
    """Models that share a rank are not significantly worse than its best; None if there is nothing to rank by."""
    cells: tuple[Cell | None, ...]
    costs: Costs
    trained: bool


@dataclass(frozen=True, slots=True)
class Protocol:
    """What two runs of a suite must share to stand in one column."""

    suite: str
    version: str
    dialect: str
    corpora: tuple[tuple[str, str], ...]
    """Role and sha256."""
    tasks: tuple[str, ...]

    @staticmethod
    def of(record: RunRecord) -> "Protocol":
        return Protocol(
            suite=record.suite,
            version=record.suite_version,
            dialect=record.dialect,
            corpora=tuple(sorted((corpus.role, corpus.sha256) for corpus in record.corpora)),
            tasks=tuple(sorted({row.task for row in record.results})),
        )


@dataclass(frozen=True, slots=True)
class Board:
    """One table: models that were measured by the same protocols."""

    protocols: tuple[Protocol, ...]
    columns: tuple[Column, ...]
    rows: tuple[ModelRow, ...]
    ranked_by: str | None


@dataclass(frozen=True, slots=True)
class UsedRun:
    """A run behind the tables."""

    model: str
    fingerprint: str
    run_id: str
    suite: str
    dialect: str
    seed: int
    n: int
    errors: int


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The main table, then one for each protocol that few runs share, and the runs behind them all."""

    boards: tuple[Board, ...]
    runs: tuple[UsedRun, ...]


Sources = Mapping[tuple[Model, Column], BoardRun]


def read_runs(paths: Sequence[Path]) -> list[BoardRun]:
    """All runs in `paths`, which are runs or folders of runs, whatever their order.

    Raises UsageError naming a folder that is no run, and IncompatibleRunError where a record is not of its folder's
    run, or counts other samples than samples.jsonl holds.
    """
    folders = {os.path.realpath(folder): folder for path in paths for folder in run_folders(path)}
    runs = []
    for folder in folders.values():
        record = read_run(folder)
        of_run = folder if os.path.isdir(folder) else folder.parent
        _check_lines(of_run, record)
        check_record(of_run, record)
        runs.append(BoardRun(record, partial(load_run, folder)))
    return runs


def build_leaderboard(runs: Sequence[BoardRun], rank_by: str | None = None) -> Leaderboard:
    """Tables of the same content for the same runs, in whatever order they are given.

    `rank_by` is a column, such as `ruler@65536`; by default the longest context of the first suite that most models
    share. Raises UsageError for an unknown column, and where two runs give one model's cell.
    """
    groups: dict[str, dict[Protocol, list[BoardRun]]] = defaultdict(lambda: defaultdict(list))
    ordered = sorted(runs, key=lambda run: _record_key(run.record))
    for run in ordered:
        groups[run.record.suite][Protocol.of(run.record)].append(run)
    main: list[Protocol] = []
    others: list[Protocol] = []
    for suite in sorted(groups, key=_suite_key):
        first, *rest = sorted(groups[suite], key=lambda protocol: _protocol_key(protocol, groups[suite][protocol]))
        main.append(first)
        others += rest
    chosen = [main, *([protocol] for protocol in others)]
    boards = [_board(protocols, groups, rank_by if number == 0 else None) for number, protocols in enumerate(chosen)]
    return Leaderboard(tuple(boards), tuple(_used(run.record) for run in ordered))


def _check_lines(folder: Path, record: RunRecord) -> None:
    path = folder / SAMPLES
    lines, last = 0, b"\n"
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                lines += chunk.count(b"\n")
                last = chunk[-1:]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if last != b"\n" or lines != record.counts.get("n"):
        part = "" if last == b"\n" else " and a part of one"
        raise IncompatibleRunError(
            f"{folder}: {RUN} counts {record.counts.get('n')} samples, {SAMPLES} holds {lines}{part}; run it again"
        )


def _record_key(record: RunRecord) -> tuple[str, ...]:
    seed = f"{record.seed:012d}" if record.seed >= 0 else str(record.seed)
    return record.model.name, record.model.fingerprint, record.suite, record.dialect, seed, record.run_id


def _suite_key(suite: str) -> tuple[int, str]:
    return (SUITE_ORDER.index(suite) if suite in SUITE_ORDER else len(SUITE_ORDER)), suite


def _protocol_key(protocol: Protocol, runs: Sequence[BoardRun]) -> tuple[int, int, str]:
    """Most models first, then most tasks, then by what it says."""
    models = {run.record.model.fingerprint for run in runs}
    return -len(models), -len(protocol.tasks), repr(protocol)


def _board(
    protocols: Sequence[Protocol],
    groups: Mapping[str, Mapping[Protocol, Sequence[BoardRun]]],
    rank_by: str | None,
) -> Board:
    runs = [run for protocol in protocols for run in groups[protocol.suite][protocol]]
    records = [run.record for run in runs]
    cells, sources = _collect(runs)
    columns = sorted({column for of_model in cells.values() for column in of_model}, key=_column_key)
    ranked = _ranked_column(columns, cells, rank_by)
    models = sorted(cells)
    ranks = {} if ranked is None else _ranks(ranked, cells, sources)
    rows = [
        ModelRow(
            model=model[0],
            fingerprint=model[1],
            rank=ranks.get(model),
            cells=tuple(cells[model].get(column) for column in columns),
            costs=_costs([record for record in records if _model(record) == model]),
            trained=all(record.model.trained for record in records if _model(record) == model),
        )
        for model in models
    ]
    rows.sort(key=lambda row: _row_key(row, None if ranked is None else (columns.index(ranked), ranked)))
    return Board(tuple(protocols), tuple(columns), tuple(rows), None if ranked is None else ranked.label)


def _model(record: RunRecord) -> Model:
    return record.model.name, record.model.fingerprint


def _ranks(ranked: Column, cells: Mapping[Model, Mapping[Column, Cell]], sources: Sources) -> dict[Model, int]:
    """The rank of every model that has samples in the column."""
    models = [model for model in sorted(cells) if ranked in cells[model] and cells[model][ranked].n > 0]
    sign = 1 if ranked.higher_is_better else -1
    values = [sign * cells[model][ranked].value for model in models]
    worse = worse_than(lambda index: sources[models[index], ranked].load(), ranked.name or None, ranked.ctx or 0)
    return dict(zip(models, rank(values, worse), strict=True))


def _collect(runs: Sequence[BoardRun]) -> tuple[dict[Model, dict[Column, Cell]], Sources]:
    """Every model's cells, and the run that each comes from."""
    cells: dict[Model, dict[Column, Cell]] = defaultdict(dict)
    sources: dict[tuple[Model, Column], BoardRun] = {}
    for run in runs:
        record = run.record
        for column, cell in _cells(record):
            before = sources.setdefault((_model(record), column), run)
            if before is not run:
                first, second = sorted((before.record.run_id, record.run_id))
                raise UsageError(
                    f"runs {first} and {second} both give {column.label} of {record.model.name}; name one of them"
                )
            cells[_model(record)][column] = cell
    return dict(cells), sources


def _cells(record: RunRecord) -> Iterator[tuple[Column, Cell]]:
    """Means where the suite has them, else its rows; and the effective length."""
    for mean in record.summary:
        if mean.mean is not None:
            here = [row for row in record.results if row.ctx == mean.ctx]
            column = Column(record.suite, "", mean.ctx or None, "points", higher_is_better=True)
            complete = not any(row.errors for row in here)
            yield column, Cell(mean.mean, mean.ci95, sum(row.n for row in here), complete)
    for row in record.results if not record.summary else ():
        if row.value is not None:
            metric = metric_of(row.metric)
            column = Column(record.suite, row.task, row.ctx or None, metric.unit, metric.higher_is_better)
            yield column, Cell(row.value, row.ci95, row.n, complete=not row.errors)
    if record.effective_length is not None:
        column = Column(record.suite, "effective_length", None, "tokens", higher_is_better=True)
        yield column, Cell(record.effective_length, None, 0, complete=True)


def _column_key(column: Column) -> tuple[tuple[int, str], bool, str, int]:
    """Suites in their order; figures of the whole run after its rows."""
    return _suite_key(column.suite), column.name == "effective_length", column.name, column.ctx or 0


def _ranked_column(
    columns: Sequence[Column], cells: Mapping[tuple[str, str], Mapping[Column, Cell]], rank_by: str | None
) -> Column | None:
    if rank_by is not None:
        labels = {column.label: column for column in columns}
        selector = Selector.parse(rank_by)
        name = selector.text if selector.ctx is None else f"{selector.text.partition('@')[0]}@{selector.ctx}"
        if name not in labels:
            raise UsageError(f"no column {rank_by!r} to rank by{did_you_mean(rank_by, labels)}")
        return labels[name]
    # Of the suite that stands first: what most models have, and of those the longest context.
    testable = [column for column in columns if any(column in of and of[column].n for of in cells.values())]
    of_first = [column for column in testable if column.suite == testable[0].suite]
    counts = {column: sum(column in of_model for of_model in cells.values()) for column in of_first}
    return max(of_first, key=lambda column: (counts[column], column.ctx or 0, column.label), default=None)


def _row_key(row: ModelRow, ranked: tuple[int, Column] | None) -> tuple[float, float, str, str]:
    """By rank, then by value, then by name: nothing depends on the order of the arguments."""
    cell = None if ranked is None else row.cells[ranked[0]]
    place = float("inf") if row.rank is None else float(row.rank)
    if cell is None or ranked is None:
        return place, float("inf"), row.model, row.fingerprint
    return place, -cell.value if ranked[1].higher_is_better else cell.value, row.model, row.fingerprint


def _costs(records: Sequence[RunRecord]) -> Costs:
    """Of the model's run with the longest context."""
    longest = max(records, key=lambda record: (max((row.ctx for row in record.results), default=0), record.run_id))
    peak = longest.memory.get("peak_bytes")
    return Costs(
        prefill_tokens_per_second=longest.timing.get("prefill_tokens_per_second"),
        decode_tokens_per_second=longest.timing.get("decode_tokens_per_second"),
        peak_bytes=float(peak) if isinstance(peak, int | float) and peak > 0 else None,
        hardware=describe_hardware(longest),
    )


def _used(record: RunRecord) -> UsedRun:
    return UsedRun(
        model=record.model.name,
        fingerprint=record.model.fingerprint,
        run_id=record.run_id,
        suite=record.suite,
        dialect=record.dialect,
        seed=record.seed,
        n=record.counts.get("n", 0),
        errors=record.counts.get("errors", 0),
    )
