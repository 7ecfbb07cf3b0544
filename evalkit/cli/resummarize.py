"""`evalkit resummarize`: compute rows, intervals and verdicts of stored runs again, from their samples."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit import files
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.records import RunRecord

EXAMPLES = "Examples: evalkit resummarize runs · evalkit resummarize runs/ruler-reference-hybrid-1a2b3c4d"


def resummarize(
    runs: list[Path] = typer.Argument(..., metavar="RUNS…", help="Run folders, or folders of them."),
) -> None:
    """Compute rows, means, intervals and verdicts of stored runs again, with the statistics of this version.

    No model runs. In run.json only the fields computed from samples are replaced; report.md is written again.
    """
    from evalkit.analysis.finished_run import all_run_folders, load_run_or_shard
    from evalkit.running.folder_lock import FolderLock

    for folder in dict.fromkeys(folder for path in runs for folder in all_run_folders(path)):
        run = load_run_or_shard(folder)
        with FolderLock(run.folder, in_place=True):
            _replace(run.folder, _again(run))
        typer.echo(f"summarized again: {run.folder}", err=True)


def _again(run: "StoredRun") -> "RunRecord":
    """The record with everything that follows from its samples computed anew."""
    from dataclasses import replace

    from evalkit.cli.shared.stored_runs import summarize_stored
    from evalkit.running.assembly import summary_of_part
    from evalkit.statistics.thoughts import thought_figures

    record, samples = run.record, tuple(run.samples.values())
    summary = summarize_stored(record.suite, record.config, samples)
    if summary is None:
        raise UsageError(
            f"{run.folder}: a run of {record.suite} cannot be summarized from its files alone; "
            "run its command again with --resume"
        )
    summary = summary if record.shard is None else summary_of_part(summary)
    record = replace(
        record,
        results=summary.results,
        summary=summary.summary,
        figures=(*summary.figures, *thought_figures(samples)),
        warnings=tuple(dict.fromkeys((*record.warnings, *summary.warnings))),
    )
    return _conclude(run, record) if record.verdicts else record


def _conclude(run: "StoredRun", record: "RunRecord") -> "RunRecord":
    """The record with its verdicts made again; those against other models need these models' runs."""
    from dataclasses import replace

    from evalkit.suite_spec import find_suite

    spec = find_suite(record.suite)
    settings = spec.stored(record.config)
    others = [*spec.runs_first(settings), *(["baseline"] if record.config.get("baseline") is not None else [])]
    if others or spec.conclude is None:
        raise UsageError(
            f"{run.folder} was compared with other runs ({', '.join(others)}); run its command again with --resume"
        )
    return spec.conclude(settings, replace(run, record=record), {})


def _replace(folder: Path, record: "RunRecord") -> None:
    """Write the computed fields into run.json and leave all others, brought to this version's schema, as they are."""
    from evalkit.records import RunRecord
    from evalkit.records.codec import json_text, parse_json, to_dict
    from evalkit.records.migration import migrate
    from evalkit.running.store import REPORT, RUN
    from reports.markdown import render_run

    stored = migrate(RunRecord, parse_json((folder / RUN).read_text(encoding="utf-8")))
    computed = to_dict(record)
    _write(folder / RUN, json_text({**stored, **{name: computed[name] for name in _COMPUTED}}, indent=2) + "\n")
    if (folder / REPORT).exists():
        _write(folder / REPORT, render_run(record))


def _write(path: Path, text: str) -> None:
    with files.writing(path, "the file is unchanged"), files.replacing(path) as file:
        file.write(text.encode("utf-8"))


_COMPUTED = ("results", "summary", "figures", "verdicts", "warnings")
