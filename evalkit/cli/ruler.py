"""`evalkit ruler`: the RULER benchmark on one model."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import ModelOptions, RunOptions
    from suites.ruler import RulerSettings

EXAMPLES = (
    "Examples: evalkit ruler --ctx 65536 · evalkit ruler --ctx 4K,16K,64K --model ./my-checkpoint --samples 100 · "
    "evalkit ruler --ctx 4096 --tasks niah_single_2,vt --format json"
)


@takes(MODEL, RUN)
def ruler(
    ctx: str = typer.Option(..., "--ctx", help="Context lengths in tokens: 65536, or 4096,16384,64K."),
    baseline: str | None = options.BASELINE,
    tasks: str | None = typer.Option(None, "--tasks", help="Comma-separated tasks; all 13 by default."),
    samples: int | None = typer.Option(
        None, "--samples", help="Samples a task and length: 100 for a named model, 1 for the embedded default."
    ),
    seed: int = typer.Option(42, "--seed", help="Another seed asks other questions."),
    dialect: str = typer.Option("nvidia", "--dialect", help="nvidia (the paper's) or olmes (Ai2's)."),
    data: Path | None = typer.Option(None, "--data", help="Run samples prepared elsewhere, from this folder."),
    prepare_only: bool = typer.Option(
        False, "--prepare-only", help="Write the samples in RULER's layout to --out (default samples/) and stop."
    ),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Run RULER's 13 tasks at the given context lengths and report the scores.

    The requested length includes prompt, answer prefix and generation budget. Corpora come from the folder in
    EVALKIT_DATA, else from those fetched with `evalkit data fetch`, else from the embedded corpus.
    """
    from evalkit.cli.shared.baseline_run import execute_against
    from suites import ruler as suite

    settings = suite.RulerSettings.of(
        ctxs=options.parse_contexts(ctx),
        tasks=options.parse_names(tasks),
        samples=_samples(samples, data, named_model="model" in run_options.passed or baseline is not None),
        seed=seed,
        dialect=dialect,
        data=data,
    )
    if prepare_only:
        _prepare(settings, model_options.model, run_options.out or Path("samples"), model_options.trust_remote_code)
        return
    code = execute_against(
        baseline,
        lambda loaded: suite.build(settings, loaded.tokenizer),
        model_options,
        run_options,
        settings={**asdict(settings), "data": None if data is None else str(data)},
        headline=lambda name: _headline(settings, name),
    )
    raise typer.Exit(code)


def _samples(samples: int | None, data: Path | None, *, named_model: bool) -> int | None:
    """Samples a task and length; None means all that the prepared files hold."""
    if samples is not None or data is not None:
        return samples
    return 100 if named_model else 1


def _headline(settings: "RulerSettings", model: str) -> str:
    lengths = ", ".join(f"{ctx:,}" for ctx in settings.ctxs)
    if settings.samples is None:
        return f"ruler: all prepared samples of {len(settings.tasks)} tasks at {lengths} tokens, model {model}"
    prompts = len(settings.tasks) * len(settings.ctxs) * settings.samples
    return (
        f"ruler: {prompts:,} prompts ({len(settings.tasks)} tasks × {settings.samples} samples at {lengths} tokens), "
        f"model {model}; the time it takes is told after the first"
    )


def _prepare(settings: "RulerSettings", model: str, out: Path, trust_remote_code: bool) -> None:
    from evalkit.errors import SampleDoesNotFitError
    from model_adapters.loading import load_tokenizer
    from suites.ruler import build
    from suites.ruler.prepared import PreparedWriter

    suite = build(settings, load_tokenizer(model, trust_remote_code=trust_remote_code))
    plan = suite.plan()
    left_out = 0
    with PreparedWriter(out) as writer:
        for key in plan.keys:
            try:
                writer.write(suite.sample(key))
            except SampleDoesNotFitError as error:
                left_out += 1
                typer.echo(f"left out: {key.id}: {error}", err=True)
    for cell in plan.unscored:
        typer.echo(f"left out: {cell.task} at {cell.ctx:,}: {cell.reason}", err=True)
    typer.echo(f"wrote {len(plan.keys) - left_out} samples to {out}")
