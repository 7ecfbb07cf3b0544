"""The common part of suite commands: runs, output and exit code."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.compare import show_compared
from evalkit.cli.shared import options
from evalkit.cli.shared.suite_run import (
    CHECK_FAILED,
    INTERRUPTED,
    Finished,
    Interrupted,
    RunOptions,
    check_place,
    make_of_stored,
    note,
    notes_console,
    perform,
    show_finished,
    show_record,
)
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.running.model_options import ModelOptions
from evalkit.suite_spec import find_suite

if TYPE_CHECKING:
    from evalkit.analysis.compared_runs import ComparedRuns
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.suite_spec import SuiteSpec

BASELINE = "baseline"
COMPARISON = "comparison.md"


def run_suite(
    name: str, values: Mapping[str, Any], model_options: ModelOptions, run_options: RunOptions, *, where: str = "--"
) -> int:
    """Run the suite called `name` with the settings in `values`, after the models that it is compared with.

    Returns the exit code; raises UsageError for a wrong setting, named after `where`.
    """
    from model_adapters.keeping import ModelKeeper

    spec = find_suite(name)
    models = [model_options.model, *([run_options.baseline] if run_options.baseline else [])]
    settings = spec.read(values, models, where=where)
    with closing(ModelKeeper()) as keeper:  # frees the model, which takes a while, once the results are shown
        try:
            runs = run_all(spec, settings, model_options, replace(run_options, keeper=keeper))
        except Interrupted as stopped:
            hint = "run the same command again"
            if stopped.folder is not None:
                hint = f"continue with: {_resume_command(stopped.folder, run_options)}"
            note(notes_console(), f"stopped; {hint}")
            return INTERRUPTED
        if BASELINE in runs and run_options.shard is None:
            return show_both(runs[BASELINE], runs[""], run_options.format)
        return show_finished(runs[""], run_options.format)


def run_all(
    spec: "SuiteSpec[Any]", settings: Any, model_options: ModelOptions, run_options: RunOptions
) -> dict[str, Finished]:
    """Runs by role: those of models named by the settings and --baseline, then the model's own with an empty role."""
    from model_adapters.opening import check_options

    others = dict(spec.runs_first(settings))
    if run_options.baseline is not None:
        others[BASELINE] = (run_options.baseline, settings)
    if others and run_options.shard is not None and run_options.out is None:
        raise UsageError(
            f"--shard {run_options.shard.name} with --{next(iter(others))}: name the folder of the shard with --out, "
            "so that both runs are merged together"
        )
    places = {role: _place(run_options, role) for role in others}
    for place in (run_options, *places.values()):
        check_place(place)
    if spec.check_inputs is not None:
        spec.check_inputs(settings)
    by_role = {role: model_options.of_other(model) for role, (model, _) in others.items()}
    for each in (*by_role.values(), model_options):
        check_options(each, run_options.replicas)
    runs: dict[str, Finished] = {}
    for role, (_, asked) in others.items():
        timed = replace(places[role], started_at=time.perf_counter()) if runs else places[role]
        runs[role] = perform(spec, asked, by_role[role], timed, role=role)
    # The time of the other models is not part of this run.
    timed = replace(run_options, started_at=time.perf_counter()) if runs else run_options
    runs[""] = perform(
        spec, settings, model_options, timed, others={role: finished.run for role, finished in runs.items()}
    )
    return runs


def show_both(base: Finished, new: Finished, format: options.Format) -> int:
    """Show two finished runs and their comparison, write it into the folder of NEW, and return the exit code.

    If one side errored throughout, nothing can be compared, and the exit code is that of a run with errors.
    """
    notes, folder = notes_console(), new.run.folder
    # The verdicts of BASE are not what was asked for.
    codes = [0 if base.exit_code == CHECK_FAILED else base.exit_code, new.exit_code]
    compared: list[ComparedRuns] = []

    def make(what: str, action: Callable[[], object]) -> None:
        codes.append(make_of_stored(notes, what, folder, action))

    if format is options.Format.TERMINAL:
        make("the tables of BASE", lambda: show_record(base.run.record, format))
        make("the tables of NEW", lambda: show_record(new.run.record, format))
    make("the comparison", lambda: compared.append(_compare(base.run, new.run)))
    make("the comparison's tables", lambda: show_compared(compared, format))
    make(COMPARISON, lambda: _write(folder / COMPARISON, compared))
    note(notes, f"stored in {base.run.folder} and {folder}")
    return next((code for code in codes if code), 0)


def _place(run_options: RunOptions, role: str) -> RunOptions:
    return replace(run_options, out=None if run_options.out is None else run_options.out / role)


def _compare(base: "StoredRun", new: "StoredRun") -> "ComparedRuns":
    """Compare two runs, paired if their questions are equal; windows of text differ between tokenizers."""
    from evalkit.analysis.compared_runs import compare_with_base

    try:
        return compare_with_base(base, [new])
    except IncompatibleRunError as error:
        apart = compare_with_base(base, [new], unpaired=True)
        (comparison,) = apart.comparisons
        noted = replace(comparison, notes=(*comparison.notes, f"Not paired: {error}."))
        return replace(apart, comparisons=(noted,))


def _write(path: Path, compared: "Sequence[ComparedRuns]") -> None:
    from reports.comparison_report import comparison_report
    from reports.markdown import render

    for one in compared:
        path.write_text(render(comparison_report(*one.comparisons)), encoding="utf-8")


def _resume_command(folder: Path, run_options: RunOptions) -> str:
    """The typed command with the options that continue the run in its folder."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    # The folders of several models are derived from their options.
    found = run_options.passed.keys() & {"out", BASELINE, "before"}
    out = [] if found else ["--out", str(folder)]
    return shlex.join(["evalkit", *arguments, *out, "--resume"])
