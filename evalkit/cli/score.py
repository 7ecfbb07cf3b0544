"""`evalkit score`: score predictions that were made by other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.output import print_result
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.records import RunRecord
    from suites.ruler.predictions import Predictions

app = typer.Typer(no_args_is_help=True, help="Score predictions that were made by another tool.")


@app.callback()
def _root() -> None:
    """Keep `ruler` a subcommand while it is the only one."""


@app.command(
    "ruler",
    epilog="Examples: evalkit score ruler ./predictions · "
    "evalkit score ruler ./predictions --out runs/vllm --model lab/model-7b",
)
def ruler(
    path: Path = typer.Argument(
        ..., help="Folder of <task>.jsonl files with `pred` and `outputs`, as RULER writes them."
    ),
    dialect: str = typer.Option("nvidia", "--dialect", help="nvidia (substring) or olmes (Ai2's QA metric)."),
    out: Path | None = typer.Option(
        None,
        "--out",
        "-o",
        help="Store the predictions as a run in this folder, for show, compare, gate and leaderboard.",
    ),
    model: str | None = typer.Option(
        None, "--model", "-m", help="With --out: name of the model.", show_default="predictions:PATH"
    ),
    format: options.Format = options.FORMAT,
) -> None:
    """Score RULER predictions: a score with its interval per task and length.

    With --out they become a run like any other. Sample IDs are those of the data (`index`), so that two sets of
    predictions on the same data are compared sample by sample. Weights, tokenizer, times and memory stay unknown.
    """
    from suites.ruler.predictions import read_predictions

    if model is not None and out is None:
        raise UsageError(f"--model {model}: it names the model of a stored run; add --out")
    if out is not None:
        _check_out(out)
    predictions = read_predictions(path, dialect)
    if out is not None:
        _store(predictions, path, out, model, format)
        return
    scored = predictions.summary()
    from reports.run_report import scores_report

    print_result(format, scored, scores_report(f"ruler predictions in {path} · dialect {dialect}", scored))


def _check_out(out: Path) -> None:
    from evalkit.running.store import MANIFEST, check_out

    if (out / MANIFEST).exists():
        raise UsageError(f"{out} already holds a run; choose another folder with --out")
    check_out(out, resume=False)


def _store(predictions: "Predictions", path: Path, out: Path, model: str | None, format: options.Format) -> None:
    from evalkit.cli.shared.suite_run import make_of_stored, notes_console, show_record
    from evalkit.running.store import Manifest, RunStore
    from reports import markdown

    passed = {"path": str(path), "dialect": predictions.dialect, "out": str(out), "model": model}
    record = _record(predictions, path, out.resolve().name, model or f"predictions:{path}", passed)
    with RunStore.open(out, Manifest.of_record(record), resume=False) as store:
        for sample in predictions.records:
            store.append(sample)
        store.finish(record)
        make_of_stored(notes_console(), "report.md", out, lambda: store.write_report(markdown.render_run(record)))
    show_record(record, format)
    typer.echo(f"stored in {out}", err=True)


def _record(predictions: "Predictions", path: Path, run_id: str, name: str, passed: dict[str, Any]) -> "RunRecord":
    """The record of predictions that were made by another tool: without times, memory or hardware."""
    from dataclasses import asdict, replace

    from evalkit import __version__
    from evalkit.records import SCHEMA, Environment, ModelIdentity, RunStart, Timing
    from evalkit.running.assembly import assemble
    from suites.ruler.predictions import SEED
    from suites.ruler.settings import RulerSettings
    from suites.ruler.suite import VERSION

    summary = predictions.summary()
    settings = RulerSettings(
        ctxs=tuple(sorted({row.ctx for row in summary.results})),
        tasks=tuple(dict.fromkeys(row.task for row in summary.results)),
        samples=None,
        seed=SEED,
        dialect=predictions.dialect,
    )
    start = RunStart(
        schema=SCHEMA,
        run_id=run_id,
        suite="ruler",
        suite_version=VERSION,
        dialect=predictions.dialect,
        seed=SEED,
        model=ModelIdentity.by_name(name, predictions.fingerprint),
        config={**asdict(settings), "predictions": str(path)},
        config_passed={key: value for key, value in passed.items() if value is not None},
        corpora=predictions.corpora,
        planned=len(predictions.records),
        unscored=(),
        warnings=(
            "the predictions were made by another tool: weights, tokenizer and times are unknown, and the fingerprint "
            "is that of the predictions",
        ),
    )
    record = assemble(start, predictions.records, summary, sessions=())
    return replace(record, environment=Environment(evalkit=__version__), timing=Timing())
