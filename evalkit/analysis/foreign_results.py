"""Results of other tools in their own formats: lm-eval's result JSON and RULER's summary.csv.

Their questions and prompts differ from ours, so they are shown in separate tables and never ranked with ours.
"""

import csv
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.analysis.foreign_records import ForeignResult, ForeignRow
from evalkit.analysis.lm_eval_results import read_lm_eval
from evalkit.errors import UsageError
from evalkit.files import reading

__all__ = ["ForeignResult", "ForeignRow", "is_foreign", "read_foreign", "read_foreign_results"]

_RULER_TASKS = 13
_BENCHMARK = "synthetic"
"""RULER's own folder between a model's and its lengths'."""


def is_foreign(path: Path) -> bool:
    """Whether `path` is named like a result of another tool: a .csv, or a .json that is not a run.json."""
    return path.suffix == ".csv" or (path.suffix == ".json" and path.name != "run.json")


def read_foreign_results(paths: Iterable[Path]) -> list[ForeignResult]:
    """The results in `paths`, each file once, under distinct names.

    Raises UsageError naming a file that is neither of the two.
    """
    files = {os.path.realpath(path): path for path in paths}
    results = [read_foreign(path) for path in files.values()]
    return _named_apart(sorted(results, key=lambda result: (result.dialect, result.model, result.path)))


def read_foreign(path: Path) -> ForeignResult:
    """Raises UsageError naming the file if it is neither."""
    with reading(path):
        text = path.read_text(encoding="utf-8-sig")
    try:
        return _ruler_summary(path, text) if path.suffix == ".csv" else read_lm_eval(path, text)
    except (csv.Error, ValueError) as error:
        kind = "a summary.csv of RULER" if path.suffix == ".csv" else "a result of lm-eval"
        raise UsageError(f"{path} is not {kind}: {error}") from None


def _named_apart(results: Sequence[ForeignResult]) -> list[ForeignResult]:
    """The same results, with longer names if two files give the same figure of one model.

    The settings that differ are added to the name, or the files if none differs.
    """
    groups: dict[tuple[str, str], list[ForeignResult]] = defaultdict(list)
    for result in results:
        groups[result.dialect, result.model].append(result)
    return [
        replace(result, model=f"{result.model} ({added})") if added else result
        for group in groups.values()
        for result, added in zip(group, _additions(group), strict=True)
    ]


def _additions(group: Sequence[ForeignResult]) -> list[str]:
    """What distinguishes the files of one model; empty if no figure is in two of them."""
    figures = Counter(figure for result in group for figure in {(row.task, row.ctx, row.metric) for row in result.rows})
    if all(count == 1 for count in figures.values()):
        return [""] * len(group)
    details = [dict(result.details) for result in group]
    differing = [
        name
        for name in dict.fromkeys(name for named in details for name in named)
        if len({named.get(name) for named in details}) > 1
    ]
    for names in (*((name,) for name in differing), differing):
        added = [", ".join(f"{name}={named.get(name, 'none')}" for name in names) for named in details]
        if len(set(added)) == len(group):
            return added
    return [result.path for result in group]


def _ruler_summary(path: Path, text: str) -> ForeignResult:
    """Rows `Tasks`, `Score` and `Nulls` (empty predictions of all), under a row of column numbers."""
    rows = {row[0].strip().lower(): row[1:] for row in csv.reader(text.splitlines()) if row}
    tasks, scores = rows.get("tasks"), rows.get("score")
    if tasks is None or scores is None or len(tasks) != len(scores) or not tasks:
        raise ValueError("it needs a row `Tasks` and a row `Score` of the same length")
    model, ctx = _ruler_place(path)
    counts = rows.get("nulls", [])
    found = [
        ForeignRow(task.strip(), ctx, "score", value, None, _asked(counts, number))
        for number, (task, score) in enumerate(zip(tasks, scores, strict=True))
        if (value := _score(score)) is not None
    ]
    if not found:
        raise ValueError("its row `Score` holds no number")
    if len({row.task for row in found}) == _RULER_TASKS:
        mean = sum(row.value for row in found) / _RULER_TASKS
        found.append(ForeignRow("mean of 13", ctx, "score", mean, None, None))
    return ForeignResult(str(path), "RULER's own scorer (summary.csv)", model, tuple(found))


def _score(text: str) -> float | None:
    """A score in 0-100, None if there is none."""
    value = float(text.strip() or "nan")
    if math.isnan(value):
        return None
    if not 0 <= value <= 100:
        raise ValueError(f"a score is {text}, not within 0-100")
    return value


def _asked(counts: Sequence[str], number: int) -> int | None:
    match = re.fullmatch(r"\s*\d+/(\d{1,9})\s*", counts[number]) if number < len(counts) else None
    return None if match is None else int(match[1])


def _ruler_place(path: Path) -> tuple[str, int | None]:
    """Model and length from RULER's layout, <model>/synthetic/<length>/pred/summary.csv, or one with fewer folders."""
    folders = [parent.name for parent in path.resolve().parents]
    if folders[0] == "pred":
        del folders[0]
    ctx = int(folders[0]) if re.fullmatch(r"[0-9]{3,9}", folders[0]) else None
    if ctx is not None:
        del folders[0]
        if folders[0] == _BENCHMARK:
            del folders[0]
    return folders[0] or path.stem, ctx
