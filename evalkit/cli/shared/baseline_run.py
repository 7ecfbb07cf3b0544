"""A suite command with --baseline: both models on the same samples, ending in the comparison."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.compare import Compared, ReportFormat, show_compared
from evalkit.cli.shared import options
from evalkit.cli.shared.suite_run import (
    HAS_ERRORS,
    BuildSuite,
    Finished,
    ModelOptions,
    RunOptions,
    execute,
    perform,
    show_record,
)
from evalkit.errors import IncompatibleRunError, UsageError

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun

FOLDER = "baseline"
"""Where the baseline's run stands in the folder of --out."""
COMPARISON = "comparison.md"


def execute_against(
    baseline: str | None,
    build: BuildSuite,
    model_options: ModelOptions,
    run_options: RunOptions,
    *,
    settings: Mapping[str, Any],
    headline: Callable[[str], str],
) -> int:
    """Run a suite on a model, after `baseline` where one is named, and return the exit code.

    `headline` makes the first line of output from a model's name.
    """
    if baseline is None:
        return execute(build, model_options, run_options, settings=settings, headline=headline(model_options.model))
    base = perform(
        build,
        replace(model_options, model=baseline),
        replace(run_options, out=None if run_options.out is None else run_options.out / FOLDER),
        settings=settings,
        headline=headline(f"{baseline} (baseline)"),
    )
    if not isinstance(base, Finished):
        return base
    # The baseline's time is not this model's.
    timed = replace(run_options, started_at=time.perf_counter())
    new = perform(build, model_options, timed, settings=settings, headline=headline(model_options.model))
    if not isinstance(new, Finished):
        return new
    return show_both(base, new, run_options.format)


def show_both(base: Finished, new: Finished, format: options.Format) -> int:
    """Show two finished runs and how they compare, write the comparison beside NEW, and return the exit code."""
    from reports.plain_text import one_line

    if format is options.Format.TERMINAL:
        show_record(base.record, format)
        show_record(new.record, format)
    compared = _compare(_stored(base), _stored(new))
    show_compared([compared], ReportFormat.JSON if format is options.Format.JSON else ReportFormat.TERMINAL)
    _write(new.folder / COMPARISON, compared)
    print(one_line(f"stored in {base.folder} and {new.folder}"), file=sys.stderr)
    return HAS_ERRORS if base.record.counts["errors"] or new.record.counts["errors"] else 0


def _stored(finished: Finished) -> "StoredRun":
    from evalkit.analysis.finished_run import StoredRun

    return StoredRun(finished.folder, finished.record, {sample.id: sample for sample in finished.samples})


def _compare(base: "StoredRun", new: "StoredRun") -> Compared:
    """Paired where both were asked the same; windows of text differ between tokenizers, and are then compared apart."""
    from evalkit.analysis.comparison import compare
    from evalkit.analysis.pairing import pair_runs
    from evalkit.analysis.unpaired_comparison import compare_unpaired

    try:
        pairing = pair_runs(base, new)
    except IncompatibleRunError as error:
        apart = compare_unpaired(base, new)
        return Compared(replace(apart, notes=(*apart.notes, f"Not paired: {error}.")), None)
    return Compared(compare(pairing), pairing)


def _write(path: Path, compared: Compared) -> None:
    from reports.comparison_report import comparison_report
    from reports.markdown import render

    try:
        path.write_text(render(comparison_report(compared.comparison)), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; both runs are stored") from None
