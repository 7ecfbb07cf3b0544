"""Samples of runs as a parquet file, through `datasets`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evalkit.analysis.finished_run import StoredRun
from evalkit.installation import library
from evalkit.records.codec import to_dict
from reports.exports.values import prompt_text


def write_parquet(runs: Sequence[StoredRun], out: Path) -> int:
    """Write one row per sample, with columns that say which run it is from; returns the number of rows.

    Excerpts become the column `prompt_excerpts`; measures, positions and continuations, whose fields differ between
    suites, are JSON.
    """
    rows = list(_rows(runs))
    datasets = library("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows).to_parquet(str(out))
    return len(rows)


def _rows(runs: Sequence[StoredRun]) -> Iterator[dict[str, Any]]:
    for run in runs:
        record = run.record
        of_run = {
            "run_id": record.run_id,
            "suite": record.suite,
            "suite_version": record.suite_version,
            "dialect": record.dialect,
            "model": record.model.name,
            "fingerprint": record.model.fingerprint,
        }
        for sample in run.samples.values():
            fields = to_dict(sample)
            del fields["excerpts"]
            for name in ("measures", "positions", "continuations"):
                fields[name] = json.dumps(fields[name])
            yield {**of_run, **fields, "prompt_excerpts": prompt_text(sample)}
