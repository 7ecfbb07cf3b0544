"""A suite command with --baseline: both models on the same samples, ending in the comparison."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.compare import Compared, ReportFormat, show_compared
from evalkit.cli.shared import options
from evalkit.cli.shared.suite_run import (
    BuildSuite,
    Finished,
    ModelOptions,
    RunOptions,
    check_place,
    execute,
    make_of_stored,
    perform,
    show_record,
    stderr_console,
)
from evalkit.errors import IncompatibleRunError

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
    check_place(run_options)
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
    """Show two finished runs and how they compare, write the comparison beside NEW, and return the exit code.

    If one side errored throughout, nothing can be compared, and the exit code is that of a run with errors.
    """
    from reports.plain_text import one_line

    notes = stderr_console()
    codes = [base.exit_code, new.exit_code]
    compared: list[Compared] = []

    def make(what: str, action: Callable[[], object]) -> None:
        codes.append(make_of_stored(notes, what, new.folder, action))

    if format is options.Format.TERMINAL:
        make("the tables of BASE", lambda: show_record(base.record, format))
        make("the tables of NEW", lambda: show_record(new.record, format))
    make("the comparison", lambda: compared.append(_compare(_stored(base), _stored(new))))
    shown = ReportFormat.JSON if format is options.Format.JSON else ReportFormat.TERMINAL
    make("the comparison's tables", lambda: show_compared(compared, shown))
    make(COMPARISON, lambda: _write(new.folder / COMPARISON, compared))
    print(one_line(f"stored in {base.folder} and {new.folder}"), file=sys.stderr)
    return next((code for code in codes if code), 0)


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


def _write(path: Path, compared: Sequence[Compared]) -> None:
    from reports.comparison_report import comparison_report
    from reports.markdown import render

    for one in compared:
        path.write_text(render(comparison_report(one.comparison)), encoding="utf-8")
