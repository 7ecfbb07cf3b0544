"""Predictions that another tool made, in RULER's own format: a folder of <task>.jsonl with `pred` and `outputs`."""

from collections.abc import Iterator
from pathlib import Path

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from evalkit.records import SuiteSummary
from suites.ruler import metrics, tasks
from suites.ruler.json_lines import JsonLine, read_json_lines
from suites.ruler.summary import Cell, summarize_cells

NO_LENGTH = 0
"""Stands for the context length where no folder's name tells it."""


def score_folder(path: Path, dialect: str) -> SuiteSummary:
    """Scores of the predictions under `path`, 0-100 by task and length.

    The files stand in `path` itself or in folders named by their length, as `<ctx>/<task>.jsonl` or
    `<ctx>/pred/<task>.jsonl`. A task that is missing leaves its length's mean incomplete. Raises UsageError where
    there is nothing to score, a file names no task, or, by file and line, where a line is malformed or repeated.
    """
    check_known("dialect", [dialect], tasks.DIALECTS)
    chosen = next(known for known in tasks.DIALECTS if known == dialect)
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder; name one with <task>.jsonl in it")
    cells: dict[tuple[int, str], Cell] = {}
    for ctx, file in _files(path):
        check_known(f"task in {file}:", [file.stem], tasks.TASKS)
        if (ctx, file.stem) in cells:
            raise UsageError(f"{file}: {file.stem} at {ctx:,} tokens was found before; keep one of the two")
        cells[ctx, file.stem] = _score_file(file, chosen)
    if not cells:
        raise UsageError(f"{path} holds no predictions; it needs <task>.jsonl or <ctx>/<task>.jsonl")
    return summarize_cells(cells)


def _files(path: Path) -> Iterator[tuple[int, Path]]:
    """(length, file) of every .jsonl where predictions can stand."""
    own = path.parent.name if path.name == "pred" else path.name
    folders = [(int(own) if own.isdecimal() else NO_LENGTH, path)]
    folders += [(int(folder.name), folder) for folder in sorted(path.iterdir()) if folder.name.isdecimal()]
    for ctx, folder in folders:
        yield from ((ctx, file) for file in sorted((*folder.glob("*.jsonl"), *folder.glob("pred/*.jsonl"))))


def _score_file(path: Path, dialect: tasks.Dialect) -> Cell:
    metric = tasks.metric(dialect, path.stem)
    values: list[float] = []
    seen: dict[object, int] = {}
    for row in read_json_lines(path):
        _refuse_repeated(row, seen)
        prediction = metrics.postprocess(row.text("pred"))
        values.append(metrics.value_of(metrics.found(prediction, row.references(), metric), metric))
    if not values:
        raise UsageError(f"{path} holds no predictions")
    return Cell(metric, values)


def _refuse_repeated(row: JsonLine, seen: dict[object, int]) -> None:
    index = row.fields.get("index")
    if index is None:
        return
    if not isinstance(index, int | str):
        raise row.error(f"`index` is {index!r}; it must be a number")
    if index in seen:
        raise row.error(f"`index` {index} was on line {seen[index]} before; keep one of the two")
    seen[index] = row.number
