"""`evalkit merge`: join the shards of a run, or of all runs of a plan."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit import files
from evalkit.cli.shared import options
from evalkit.cli.shared.output import print_result
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.analysis.merging import MergedRun
    from evalkit.records import SuiteSummary

EXAMPLES = (
    "Examples: evalkit merge runs/shards/ruler-my-model-1a2b3c4d --out runs/ruler-my-model · "
    "evalkit merge shard1 shard2 shard3 --out merged · evalkit merge runs/nightly/shards --out runs/nightly"
)


def merge(
    shards: list[Path] = typer.Argument(
        ..., metavar="FOLDER…", help="All shards of a run or of a plan's runs, or the one folder that holds them."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the merged run, or of the merged runs of a plan."),
    format: options.Format = options.FORMAT,
) -> None:
    """Join the shards of a run into the run that one process would have stored.

    Shards are merged only if they are all there and agree in model, tokenizer, dtype, engine, kind of device, version,
    settings and corpora. Samples are in the order of the plan, and scores are computed from all of them; only times,
    sessions and memory differ from those of one process. The shards stay as they are. Exits 3 if samples errored.
    """
    from evalkit.cli.shared.suite_command import BASELINE, show_both
    from evalkit.cli.shared.suite_run import Finished, show_finished

    merged = [_merge(folders, out / name) for name, folders in _runs_of(_shards_in(shards)).items()]
    finished = [{role: Finished(run) for role, run in runs.items()} for runs in merged]
    if len(merged) > 1:
        from reports.run_report import run_report

        records = [runs[""].record for runs in merged]
        print_result(format, {"runs": records}, *map(run_report, records))
        codes = [runs[""].exit_code for runs in finished]
    elif BASELINE in finished[0]:
        codes = [show_both(finished[0][BASELINE], finished[0][""], format)]
    else:
        codes = [show_finished(finished[0][""], format)]
    raise typer.Exit(next((code for code in codes if code), 0))


def _shards_in(folders: Sequence[Path]) -> list[Path]:
    """The folders themselves; of a single one that is no run, those in it."""
    from evalkit.analysis.finished_run import all_run_folders

    if len(folders) != 1:
        return list(dict.fromkeys(folders))
    (folder,) = folders
    with files.reading(folder):
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [folder] if folder in all_run_folders(folder) else inside


def _runs_of(folders: Sequence[Path]) -> Mapping[Path, list[Path]]:
    """The folders to be merged by their path in each of `folders`; UsageError if one lacks a run of another."""
    found = {folder: _outermost(folder) for folder in folders}
    for folder, names in found.items():
        for other, theirs in found.items():
            if lacking := [name for name in theirs if name not in names]:
                raise UsageError(f"{folder / lacking[0]} does not exist, but {other / lacking[0]} does; run that shard")
    (first, *_) = found.values()
    return {name: [folder / name for folder in found] for name in first}


def _outermost(folder: Path) -> list[Path]:
    """Paths, relative to `folder`, of the runs in it that are in no other run."""
    from evalkit.analysis.finished_run import run_folders

    with files.reading(folder):
        os.listdir(folder)
    return [path.relative_to(folder) for path in run_folders(folder)]


def _merge(folders: Sequence[Path], out: Path) -> "dict[str, StoredRun]":
    """Store the merged run in `out`, and the runs of its other models below; returns all by role, its own without."""
    from evalkit.running.store import check_out

    if out.is_dir() and os.access(out, os.R_OK) and os.listdir(out):
        raise UsageError(f"{out} is not empty; use another --out")
    check_out(out, resume=False)
    with _taking_the_place_of(out) as place:
        runs = {role: _merge_one([folder / role for folder in folders], place / role, role) for role in _roles(folders)}
        runs[""] = _merge_one(folders, place, out.resolve().name, runs)
    return {role: replace(run, folder=out / role) for role, run in runs.items()}


def _roles(folders: Sequence[Path]) -> list[str]:
    """Names of the folders in a shard that hold the runs of other models."""
    from evalkit.analysis.finished_run import all_run_folders

    return [path.name for path in all_run_folders(folders[0]) if path.parent == folders[0]]


@contextlib.contextmanager
def _taking_the_place_of(out: Path) -> Iterator[Path]:
    """A new folder that becomes `out` when the block ends, and is removed if the block raises."""
    place = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        yield place
        with files.writing(out):
            place.rename(out)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _merge_one(
    folders: Sequence[Path], place: Path, run_id: str, others: "Mapping[str, StoredRun] | None" = None
) -> "StoredRun":
    """Merge one model's shards into `place`; `others` are the runs that its verdicts need."""
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.analysis.merging import merge_shards
    from evalkit.cli.shared.suite_run import make_reports, notes_console
    from evalkit.running.store import RunStore
    from evalkit.suite_spec import find_suite

    merged = merge_shards(folders)
    record = merged.record(run_id, _summary(merged))
    spec = find_suite(record.suite)
    run = StoredRun(place, record, {sample.id: sample for sample in merged.samples})
    if spec.conclude is not None and others is not None:
        run = replace(run, record=spec.conclude(spec.stored(record.config), run, others))
    with RunStore.open(place, merged.manifest, resume=False) as store:
        store.begin(replace(merged.start, run_id=run_id))
        for session in merged.sessions:
            store.record_session(session)
        for sample in merged.samples:
            store.append(sample)
        store.finish(run.record)
        make_reports(notes_console(), store, run, charts=spec.stores_charts)
    return run


def _summary(merged: "MergedRun") -> "SuiteSummary":
    """The suite's summary of all samples; a suite that needs more than these is built with the model's tokenizer."""
    from evalkit.cli.shared.prompt_remaker import suite_of
    from evalkit.cli.shared.stored_runs import summarize_stored

    summary = summarize_stored(merged.start.suite, merged.start.config, merged.samples)
    if summary is not None:
        return summary
    suite = suite_of(merged.start)
    suite.plan()
    return suite.summarize(merged.samples)
