"""Runs as the result JSON of lm-eval 0.4: tasks, metrics as fractions, standard errors, numbers of samples."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from evalkit.analysis.finished_run import StoredRun
from evalkit.records import ResultRow
from evalkit.records.metrics import metric_of
from evalkit.statistics.rows import cells_of
from reports.exports.values import settings_of


def lm_eval_results(runs: Sequence[StoredRun]) -> dict[str, Any]:
    """Results of one model's runs.

    As in lm-eval's own RULER, a row with a length is the metric `<length>,none` of its task. Scores are fractions;
    losses stay in their unit. Standard errors are those of a mean of samples.
    """
    results: dict[str, dict[str, Any]] = {}
    samples: dict[str, dict[str, int]] = {}
    versions: dict[str, str] = {}
    higher: dict[str, dict[str, bool]] = {}
    for run in runs:
        cells = cells_of(list(run.samples.values()))
        for row in run.record.results:
            if row.value is None:
                continue
            task = row.name if row.name.startswith(run.record.suite) else f"{run.record.suite}_{row.name}"
            name = str(row.ctx) if row.ctx else row.metric
            scores = [sample.score for sample in cells.get(row.cell, ()) if sample.score is not None]
            metrics = results.setdefault(task, {"alias": task})
            metrics[f"{name},none"] = row.value / metric_of(row.metric).scale
            metrics[f"{name}_stderr,none"] = _standard_error(row, scores)
            counts = samples.setdefault(task, {"original": 0, "effective": 0})
            counts["original"] += row.n + row.errors + row.unscored
            counts["effective"] += row.n
            versions[task] = run.record.suite_version
            higher.setdefault(task, {})[name] = metric_of(row.metric).higher_is_better
    record = runs[0].record
    return {
        "results": results,
        "versions": versions,
        "n-samples": samples,
        "higher_is_better": higher,
        "group_subtasks": {},
        "config": {
            "model": "evalkit",
            "model_args": f"pretrained={record.model.path}",
            "model_dtype": record.model.dtype,
            "model_sha": record.model.commit or "",
            "evalkit": [settings_of(run.record) for run in runs],
        },
        "model_name": record.model.name,
        "evalkit_version": record.environment.evalkit,
    }


def _standard_error(row: ResultRow, scores: Sequence[float]) -> float | str:
    """Sample standard deviation over √n, as lm-eval's `mean_stderr`; N/A for one sample and for weighted means."""
    if len(scores) < 2 or metric_of(row.metric).weight is not None:
        return "N/A"
    return statistics.stdev(scores) / math.sqrt(len(scores))
