"""`evalkit show`: a stored run, or one of its samples, shown again."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit import files
from evalkit.cli.shared import options
from evalkit.cli.shared.output import write_chart_files
from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.records import RunRecord

EXAMPLES = (
    "Examples: evalkit show runs/ruler-reference-hybrid-1a2b3c4d · "
    "evalkit show runs/ruler-reference-hybrid-1a2b3c4d --sample vt/65536/3/42 · "
    "evalkit show runs/ruler-reference-hybrid-1a2b3c4d --html report.html"
)


def show(
    run: Path = typer.Argument(..., help="A run folder, or its run.json."),
    sample: str | None = typer.Option(None, "--sample", metavar="ID", help="Show this sample: task/length/index/seed."),
    failed: bool = typer.Option(
        False, "--failed", help="List the samples that are not fully right, longest context and lowest score first."
    ),
    html: Path | None = typer.Option(None, "--html", help="Write a page with tables, charts and samples here."),
    figures: Path | None = typer.Option(None, "--figures", help="Write charts of the run here, as PNG and SVG."),
    format: options.Format = options.FORMAT,
) -> None:
    """Show the report of a run, or one sample with its prompt, targets and answer.

    A run that was stopped or is still at work is shown with the samples it has, marked UNFINISHED.
    A sample is shown with excerpts of its prompt. With --format json the whole prompt is built again from the suite,
    the corpora and the model's tokenizer, and checked against the stored sha256.
    """
    from evalkit.cli.shared.suite_run import show_record

    _refuse_idle(
        {"--sample": sample is not None, "--failed": failed},
        {"--html": html is not None, "--figures": figures is not None, "--format json": format is options.Format.JSON},
    )
    if sample is not None:
        _show_sample(run, sample, format)
        return
    if failed:
        _list_failed(run)
        return
    record = _checked(run)
    # Whoever asks for files has seen the report, or will in the page.
    if format is options.Format.JSON or (html is None and figures is None):
        show_record(record, format)
    if figures is not None:
        _draw(run, figures)
    if html is not None:
        _write_page(run, html)


def _refuse_idle(chosen: Mapping[str, bool], of_run: Mapping[str, bool]) -> None:
    """Raise UsageError for an option that would be ignored: what it writes is of a whole run, or of one sample."""
    passed = [option for option, is_passed in chosen.items() if is_passed]
    if len(passed) > 1:
        raise UsageError(f"{passed[0]} and {passed[1]} print different things; leave one of them out")
    idle = [option for option, is_passed in of_run.items() if is_passed]
    if passed == ["--sample"]:
        idle = [option for option in idle if option != "--format json"]
    if passed and idle:
        raise UsageError(f"{idle[0]} does nothing with {passed[0]}; leave one of them out")


def _checked(run: Path) -> "RunRecord":
    """The record, compared with its samples; alone if only run.json was kept, with a note."""
    from evalkit.cli.shared.stored_runs import open_run
    from evalkit.running.run_files import RUN, SAMPLES, read_run

    _check_is_run(run)
    folder, file = (run, run / RUN) if run.is_dir() else (run.parent, run)
    if (folder / SAMPLES).exists() or not file.exists():
        return open_run(run).record
    typer.echo(f"{folder / SAMPLES} is not there, so the record below is not checked against it", err=True)
    return read_run(run)


def _check_is_run(run: Path) -> None:
    """Raise UsageError for a folder of runs, naming some of them, and for a file that is no run.json."""
    from evalkit.analysis.finished_run import all_run_folders
    from evalkit.running.run_files import RUN

    if run.is_file() and run.name != RUN:
        raise UsageError(f"{run} is not a run; name the run's folder, or its {RUN}")
    folders = all_run_folders(run) if run.is_dir() else [run]
    if run not in folders:
        more = f" and {len(folders) - 3} more" if len(folders) > 3 else ""
        raise UsageError(f"{run} is not a run, but holds {', '.join(map(str, folders[:3]))}{more}; name one of them")


def _list_failed(run: Path) -> None:
    from evalkit.cli.shared.stored_runs import open_run
    from evalkit.views.samples import run_views
    from reports.sample_report import failed_rows
    from reports.terminal import print_rows

    views = run_views(open_run(run).samples.values())
    rows = failed_rows(views)
    if not rows:
        typer.echo(f"{run}: none of its {len(views):,} samples failed", err=True)
        return
    print_rows(("sample", "score", "failure", "answer"), rows)


def _write_page(run: Path, page: Path) -> None:
    from evalkit.cli.shared.pages import run_page
    from evalkit.cli.shared.stored_runs import open_run

    text = run_page(open_run(run))
    with files.writing(page):
        page.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {page}", err=True)


def _draw(run: Path, folder: Path) -> None:
    from evalkit.cli.shared.stored_runs import open_run
    from reports.run_charts import run_charts

    stored = open_run(run)
    write_chart_files(run_charts(stored.record, list(stored.samples.values())), folder)


def _show_sample(run: Path, sample_id: str, format: options.Format) -> None:
    from evalkit.cli.shared.stored_runs import open_run
    from evalkit.running.excerpts import excerpts
    from evalkit.views.samples import pieces_of
    from reports.sample_report import sample_report
    from reports.terminal import print_report, stdout_console

    stored = open_run(run)
    sample = stored.samples.get(sample_id)
    if sample is None:
        hint = did_you_mean(sample_id, stored.samples, "an ID is task/length/index/seed, such as vt/65536/3/42")
        raise UsageError(f"{stored.folder} has no sample {sample_id!r}{hint}")
    pieces, prompt, reason = sample.excerpts, None, None
    if sample.unscored is None and (format is options.Format.JSON or not pieces):
        from evalkit.cli.shared.prompt_remaker import remake
        from evalkit.installation import light_install_error

        try:
            remade = remake(stored.record, sample)
            prompt, pieces = remade.prompt, excerpts(remade)
        except UsageError as error:
            reason = str(error)
        except ModuleNotFoundError as error:
            reason = str(light_install_error(error) or error)
    if format is options.Format.JSON:
        import json

        from evalkit.records.codec import to_dict

        print(json.dumps({**to_dict(sample), "prompt": prompt, "prompt_missing": reason}, indent=2))
        return
    print_report(stdout_console(), sample_report(stored.record, sample, pieces_of(pieces), reason))
