"""Results of other tools, read as they wrote them: lm-eval's result JSON and RULER's summary.csv.

They asked in their own way, so they are shown in tables of their own and never ranked with ours.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.records.codec import RecordError, parse_json
from evalkit.statistics.intervals import Interval

# Fractions that lm-eval's tasks report; what else it reports is shown as it is.
_FRACTIONS = frozenset(("acc", "acc_norm", "exact_match", "em", "f1", "mc1", "mc2", "pass@1", "contains"))
_NOT_METRICS = frozenset(("alias", "name", "sample_len", "sample_count"))
_RULER_TASKS = 13
_NORMAL_95 = 1.959964
_HUGE = 1e300


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """One figure of another tool."""

    task: str
    ctx: int | None
    metric: str
    value: float
    """0-100 where the tool reported a fraction, else as it reported it."""
    ci95: Interval | None
    n: int | None


@dataclass(frozen=True, slots=True)
class ForeignResult:
    """All figures of one file."""

    path: str
    dialect: str
    """The tool and its version: figures of two dialects stand in two tables."""
    model: str
    rows: tuple[ForeignRow, ...]


def is_foreign(path: Path) -> bool:
    """Whether `path` is named like a result of another tool: a .csv, or a .json that is not a run.json."""
    return path.suffix == ".csv" or (path.suffix == ".json" and path.name != "run.json")


def read_foreign(path: Path) -> ForeignResult:
    """Raises UsageError naming the file where it is neither of the two."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path} cannot be read: {reason}") from None
    try:
        return _ruler_summary(path, text) if path.suffix == ".csv" else _lm_eval(path, text)
    except (RecordError, csv.Error, ValueError) as error:
        kind = "a summary.csv of RULER" if path.suffix == ".csv" else "a result of lm-eval"
        raise UsageError(f"{path} is not {kind}: {error}") from None


def _lm_eval(path: Path, text: str) -> ForeignResult:
    data = parse_json(text)
    results = data.get("results") if isinstance(data, dict) else None
    if not isinstance(results, dict) or not all(isinstance(metrics, dict) for metrics in results.values()):
        raise ValueError("it has no `results` of tasks and their metrics")
    config = data.get("config")
    model = data.get("model_name") or _model_argument(config if isinstance(config, dict) else {}) or path.stem
    version = data.get("lm_eval_version")
    rows = tuple(
        row for task, metrics in results.items() for row in _lm_eval_rows(str(task), metrics, _samples(data, task))
    )
    if not rows:
        raise ValueError("its `results` hold no number")
    return ForeignResult(str(path), f"lm-eval {version or 'of an unknown version'}", str(model), rows)


def _lm_eval_rows(task: str, metrics: Mapping[str, Any], n: int | None) -> Iterator[ForeignRow]:
    """Metrics are keyed `name,filter`, their errors `name_stderr,filter`; RULER's names are lengths, -1 is none."""
    for key, value in metrics.items():
        name, _, given_filter = key.partition(",")
        number = _number(value)
        if key in _NOT_METRICS or name.endswith("_stderr") or number is None:
            continue
        is_length = re.fullmatch(r"[0-9]{3,9}", name) is not None
        if is_length and number == -1:
            continue
        scale = 100.0 if is_length or name in _FRACTIONS else 1.0
        error = _number(metrics.get(f"{name}_stderr,{given_filter}"))
        half = None if error is None else _NORMAL_95 * scale * error
        shown = scale * number
        yield ForeignRow(
            task=task,
            ctx=int(name) if is_length else None,
            metric=("score" if is_length else name)
            + (f" ({given_filter})" if given_filter not in ("", "none") else ""),
            value=shown,
            ci95=None if half is None else (shown - half, shown + half),
            n=n,
        )


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else that stands in its place, such as `N/A`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE
    return float(value) if is_number else None


def _samples(data: Mapping[str, Any], task: Any) -> int | None:
    counts = data.get("n-samples")
    count = counts.get(task) if isinstance(counts, dict) else None
    effective = count.get("effective") if isinstance(count, dict) else None
    return effective if isinstance(effective, int) and not isinstance(effective, bool) else None


def _model_argument(config: Mapping[str, Any]) -> str | None:
    """The checkpoint in lm-eval's `model_args`, a mapping or `pretrained=…,dtype=…`."""
    arguments = config.get("model_args")
    if isinstance(arguments, dict):
        return next((str(arguments[name]) for name in ("pretrained", "model", "path") if name in arguments), None)
    match = re.search(r"(?:^|,)(?:pretrained|model|path)=([^,]+)", arguments) if isinstance(arguments, str) else None
    return None if match is None else match[1]


def _ruler_summary(path: Path, text: str) -> ForeignResult:
    """Rows `Tasks`, `Score` and `Nulls` (empty predictions of all), under a row of column numbers."""
    rows = {row[0].strip().lower(): row[1:] for row in csv.reader(text.splitlines()) if row}
    tasks, scores = rows.get("tasks"), rows.get("score")
    if tasks is None or scores is None or len(tasks) != len(scores) or not tasks:
        raise ValueError("it needs a row `Tasks` and a row `Score` of the same length")
    model, ctx = _ruler_place(path)
    counts = rows.get("nulls", [])
    found = [
        ForeignRow(task.strip(), ctx, "score", _score(score), None, _asked(counts, number))
        for number, (task, score) in enumerate(zip(tasks, scores, strict=True))
    ]
    if len({row.task for row in found}) == _RULER_TASKS:
        mean = sum(row.value for row in found) / _RULER_TASKS
        found.append(ForeignRow("mean of 13", ctx, "score", mean, None, None))
    return ForeignResult(str(path), "RULER's own scorer (summary.csv)", model, tuple(found))


def _score(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError(f"a score is {text}, not within 0-100")
    return value


def _asked(counts: Sequence[str], number: int) -> int | None:
    match = re.fullmatch(r"\s*\d+/(\d{1,9})\s*", counts[number]) if number < len(counts) else None
    return None if match is None else int(match[1])


def _ruler_place(path: Path) -> tuple[str, int | None]:
    """Model and length from RULER's layout, <model>/<benchmark>/<length>/pred/summary.csv."""
    parents = [parent.name for parent in path.resolve().parents]
    if len(parents) > 3 and parents[0] == "pred" and parents[1].isascii() and parents[1].isdigit():
        return parents[3], int(parents[1])
    return parents[0] or path.stem, None
