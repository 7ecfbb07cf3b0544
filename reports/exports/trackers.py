"""Runs in experiment trackers: Weights & Biases and MLflow."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evalkit.analysis.finished_run import StoredRun
from evalkit.errors import UsageError
from evalkit.installation import library
from evalkit.records import SampleRecord
from reports.exports.values import prompt_text, settings_of, values_of
from reports.plain_text import one_line

SAMPLE_COLUMNS = ("id", "task", "ctx", "score", "failure", "prediction", "targets", "prompt_excerpts")
VALUE_COLUMNS = ("name", "value", "unit", "ci95_low", "ci95_high", "n")
PAGE = "report.html"


def log_to_wandb(run: StoredRun, page: str, *, project: str, entity: str | None, offline: bool) -> str:
    """One W&B run with summary, config, tables, the HTML page, and the run's folder as an artifact; returns its place.

    A run that is exported again replaces itself, because its id follows from the run's contents.
    """
    wandb = library("wandb")
    record = run.record
    with (
        _one_line(wandb.errors.Error, "W&B"),
        wandb.init(
            project=project,
            entity=entity,
            id=_stable_id(run),
            name=record.run_id,
            job_type=record.suite,
            config=settings_of(record),
            resume="allow",
            mode="offline" if offline else "online",
            settings=wandb.Settings(console="off", silent=True),
        ) as logged,
    ):
        for value in values_of(record):
            logged.summary[value.label] = value.value
        samples = [_sample_row(sample) for sample in run.samples.values()]
        logged.log(
            {
                "results": wandb.Table(columns=list(VALUE_COLUMNS), data=_value_rows(run)),
                "samples": wandb.Table(columns=list(SAMPLE_COLUMNS), data=samples),
                "report": wandb.Html(page, inject=False),
            }
        )
        artifact = wandb.Artifact(f"evalkit-{record.suite}-{_stable_id(run)}", type="evalkit-run")
        artifact.add_dir(str(run.folder))
        logged.log_artifact(artifact)
        return str(logged.dir if offline else logged.url)


def log_to_mlflow(run: StoredRun, page: str, *, experiment: str, tracking_uri: str | None) -> str:
    """One MLflow run with metrics, parameters, tables, the HTML page and the run's folder; returns its id."""
    mlflow = library("mlflow", "mlflow-skinny")
    record = run.record
    if tracking_uri is not None:
        mlflow.set_tracking_uri(tracking_uri)
    with _one_line(mlflow.exceptions.MlflowException, "MLflow"):
        mlflow.set_experiment(experiment)
        with mlflow.start_run(run_name=record.run_id) as logged:
            mlflow.log_params(settings_of(record))
            mlflow.log_metrics({_mlflow_name(value.label): value.value for value in values_of(record)})
            mlflow.set_tags({"evalkit.suite": record.suite, "evalkit.dialect": record.dialect})
            mlflow.log_dict({"columns": VALUE_COLUMNS, "data": _value_rows(run)}, "results.json")
            samples = [_sample_row(sample) for sample in run.samples.values()]
            mlflow.log_dict({"columns": SAMPLE_COLUMNS, "data": samples}, "samples.json")
            mlflow.log_text(page, PAGE)
            mlflow.log_artifacts(str(run.folder), "run")
            return str(logged.info.run_id)


@contextmanager
def _one_line(error: type[Exception], tracker: str) -> Iterator[None]:
    """Show a tracker's own error, such as a missing key, in one line."""
    try:
        yield
    except error as raised:
        raise UsageError(f"{tracker}: {one_line(str(raised))}") from None


def _value_rows(run: StoredRun) -> list[list[Any]]:
    return [
        [value.label, value.value, value.unit, *(value.ci95 or (None, None)), value.n]
        for value in values_of(run.record)
    ]


def _sample_row(sample: SampleRecord) -> list[Any]:
    shown = sample.prediction, ", ".join(sample.targets), prompt_text(sample)
    return [sample.id, sample.task, sample.ctx, sample.score, sample.failure or sample.error, *shown]


def _mlflow_name(label: str) -> str:
    """MLflow allows letters, digits and `_-. :/` in names."""
    return re.sub(r"[^A-Za-z0-9_\-. :/]", "_", label.replace("@", "/"))


def _stable_id(run: StoredRun) -> str:
    return hashlib.sha256((Path(run.folder) / "run.json").read_bytes()).hexdigest()[:16]
