"""`evalkit export`: stored runs in the formats of other tools."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit import files
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun

app = typer.Typer(no_args_is_help=True, help="Write stored runs in the formats of other tools.")

RUNS = typer.Argument(..., metavar="RUNS…", help="Run folders, or folders of them.")


@app.command(
    "hub",
    epilog="Example: evalkit export hub runs/mmlu-model-1a2b3c4d --out ./model · "
    "evalkit export hub runs/ruler-model-1a2b3c4d --dataset lab/ruler --out ./model",
)
def hub(
    runs: list[Path] = RUNS,
    out: Path = typer.Option(
        ..., "--out", "-o", help="Folder of the model, as it is uploaded; files go to .eval_results below it."
    ),
    dataset: str | None = typer.Option(
        None, "--dataset", help="Benchmark's dataset on the hub.", show_default="cais/mmlu for mmlu"
    ),
    source_url: str | None = typer.Option(None, "--source-url", help="Address of the full results, to be linked."),
    tasks: bool = typer.Option(False, "--tasks", help="Also write an entry for each task."),
) -> None:
    """Write .eval_results/evalkit-SUITE.yaml, which the Hugging Face hub shows on the model's page.

    Each entry has its 95 % interval, number of samples, dialect and corpora in its notes. The hub accepts task ids
    that the benchmark's dataset declares: here they are `<suite>_<length>` and `<task>_<length>`.
    """
    from reports.exports.hub import eval_results

    stored = _load_one_model(runs)
    suites = [run.record.suite for run in stored]
    twice = next((suite for suite in suites if suites.count(suite) > 1), None)
    if twice is not None:
        raise UsageError(f"two of these runs are of {twice}; export one of them")
    texts = {run.record.suite: eval_results(run.record, dataset, source_url, tasks=tasks) for run in stored}
    for suite, text in texts.items():
        _write(out / ".eval_results" / f"evalkit-{files.plain_name(suite)}.yaml", text)


@app.command(
    "card",
    epilog="Examples: evalkit export card runs/ruler-model-1a2b3c4d · "
    "evalkit export card runs/ruler-model-1a2b3c4d runs/mmlu-model-1a2b3c4d --readme ./model/README.md",
)
def card(
    runs: list[Path] = RUNS,
    readme: Path | None = typer.Option(
        None, "--readme", help="Model card to update: the section of an earlier export is replaced, all else is kept."
    ),
) -> None:
    """Write a section of a model card: scores with 95 % interval and samples, dialect and corpora of each run."""
    from reports.exports.hub import card_section, with_section

    section = card_section([run.record for run in _load_one_model(runs)])
    if readme is None:
        print(section)
        return
    with files.reading(readme):
        before = readme.read_text(encoding="utf-8") if readme.exists() else ""
    _write(readme, with_section(before, section))


@app.command("lm-eval", epilog="Example: evalkit export lm-eval runs/mmlu-model-1a2b3c4d --out results.json")
def lm_eval(
    runs: list[Path] = RUNS,
    out: Path = typer.Option(..., "--out", "-o", help="JSON file to write."),
) -> None:
    """Write runs of one model as the result JSON of lm-eval."""
    from evalkit.records.codec import to_json
    from reports.exports.lm_eval import lm_eval_results

    _write(out, to_json(lm_eval_results(_load_one_model(runs)), indent=2) + "\n")


@app.command("parquet", epilog="Example: evalkit export parquet runs --out samples.parquet")
def parquet(
    runs: list[Path] = RUNS,
    out: Path = typer.Option(..., "--out", "-o", help="Parquet file to write."),
) -> None:
    """Write the samples of runs as one parquet file, a row per sample."""
    from reports.exports.parquet import write_parquet

    stored = _load(runs)
    with files.writing(out):
        rows = write_parquet(stored, out)
    typer.echo(f"wrote {out}: {rows:,} rows", err=True)


@app.command("inspect", epilog="Example: evalkit export inspect runs/ruler-model-1a2b3c4d --out logs/ruler.eval")
def inspect(
    run: Path = typer.Argument(..., help="A run folder."),
    out: Path = typer.Option(..., "--out", "-o", help="Log to write; .eval or .json."),
) -> None:
    """Write a run as a log of Inspect, for `inspect view` and its data frames."""
    from reports.exports.inspect_log import write_inspect_log

    if out.suffix not in (".eval", ".json"):
        raise UsageError(f"{out}: Inspect's logs end in .eval or .json")
    (stored,) = _load([run], one=True)
    with files.writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_inspect_log(stored, out)
    typer.echo(f"wrote {out}", err=True)


@app.command("wandb", epilog="Example: evalkit export wandb runs --project long-context")
def wandb(
    runs: list[Path] = RUNS,
    project: str = typer.Option("evalkit", "--project", help="W&B project."),
    entity: str | None = typer.Option(None, "--entity", help="W&B team or user.", show_default="yours"),
    offline: bool = typer.Option(False, "--offline", help="Write below ./wandb, for `wandb sync` later."),
) -> None:
    """Log runs to Weights & Biases: scores, settings, tables, the HTML page, and the folder as an artifact."""
    from evalkit.cli.shared.pages import run_page
    from reports.exports.trackers import log_to_wandb

    for run in _load(runs):
        place = log_to_wandb(run, run_page(run), project=project, entity=entity, offline=offline)
        typer.echo(f"{run.folder}: {place}", err=True)


@app.command("mlflow", epilog="Example: evalkit export mlflow runs --experiment long-context")
def mlflow(
    runs: list[Path] = RUNS,
    experiment: str = typer.Option("evalkit", "--experiment", help="MLflow experiment."),
    tracking_uri: str | None = typer.Option(
        None, "--tracking-uri", help="Address or folder of the tracking store.", show_default="MLFLOW_TRACKING_URI"
    ),
) -> None:
    """Log runs to MLflow: scores, settings, tables, the HTML page, and the folder's files."""
    from evalkit.cli.shared.pages import run_page
    from reports.exports.trackers import log_to_mlflow

    for run in _load(runs):
        run_id = log_to_mlflow(run, run_page(run), experiment=experiment, tracking_uri=tracking_uri)
        typer.echo(f"{run.folder}: MLflow run {run_id}", err=True)


def _load(paths: list[Path], *, one: bool = False) -> "list[StoredRun]":
    from evalkit.analysis.finished_run import all_run_folders, load_run

    folders = paths if one else [folder for path in paths for folder in all_run_folders(path)]
    return [load_run(folder) for folder in folders]


def _load_one_model(paths: list[Path]) -> "list[StoredRun]":
    """The runs, for formats that are of one model; UsageError for several models, and for two runs with one result."""
    from evalkit.analysis.selectors import spelled
    from evalkit.records import UNKNOWN

    stored = _load(paths)
    # Of answers that were made elsewhere the weights are not known.
    weights = {
        (one.name, one.fingerprint if one.family != UNKNOWN else "") for one in (run.record.model for run in stored)
    }
    if len(weights) > 1:
        alike = len({name for name, _ in weights}) == 1
        shown = sorted(f"{name} ({weight.removeprefix('sha256:')[:8]})" if alike else name for name, weight in weights)
        raise UsageError(f"this format is of one model, and these runs are of {', '.join(shown)}; name those of one")
    first: dict[str, Path] = {}
    for run in stored:
        for row in run.record.results:
            result = spelled(run.record.suite, row.name, row.ctx)
            if first.setdefault(result, run.folder) != run.folder:
                raise UsageError(f"{first[result]} and {run.folder} both have {result}; name one of them")
    return stored


def _write(path: Path, text: str) -> None:
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    typer.echo(f"wrote {path}", err=True)
