"""`evalkit track`: does a model still know a state after so many updates?"""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import ModelOptions, RunOptions
    from suites.state_tracking import StateTrackingSettings

EXAMPLES = (
    "Examples: evalkit track · evalkit track --tasks parity,state_recall --updates 4,64,512 --model ./my-checkpoint · "
    "evalkit track --ctx 4096,65536 --samples 100"
)
EMBEDDED_SAMPLES = 10


@takes(MODEL, RUN)
def track(
    baseline: str | None = options.BASELINE,
    tasks: str | None = typer.Option(None, "--tasks", help="Comma-separated tasks; all nine by default."),
    updates: str = typer.Option("4,8,16,32,64,128,256,512", "--updates", help="Numbers of state updates to ask."),
    ctx: str | None = typer.Option(
        None, "--ctx", help="Fill these contexts with other text between the updates; none by default."
    ),
    samples: int | None = typer.Option(
        None, "--samples", help="Samples a cell: 50 for a named model, 10 for the embedded default."
    ),
    shots: int = typer.Option(3, "--shots", help="Worked examples before the question."),
    seed: int = typer.Option(42, "--seed", help="Another seed asks other questions."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Ask for a state after a growing number of updates, and report accuracy against it.

    Tasks: parity, a modular counter, five things permuted (S5 and A5, as a shell game and as bare symbols), a
    register machine, entities in boxes, and recall of a value by a tracked slot. Chance is shown beside every score.
    """
    from evalkit.cli.shared.baseline_run import execute_against
    from suites import state_tracking as suite

    named = "model" in run_options.passed or baseline is not None
    settings = suite.StateTrackingSettings.of(
        tasks=options.parse_names(tasks),
        updates=options.parse_counts("--updates", updates),
        ctxs=None if ctx is None else options.parse_contexts(ctx),
        samples=EMBEDDED_SAMPLES if samples is None and not named else samples,
        seed=seed,
        shots=shots,
    )
    code = execute_against(
        baseline,
        lambda loaded: suite.build(settings, loaded.tokenizer),
        model_options,
        run_options,
        settings=asdict(settings),
        headline=lambda name: _headline(settings, name),
    )
    raise typer.Exit(code)


def _headline(settings: "StateTrackingSettings", model: str) -> str:
    prompts = len(settings.tasks) * len(settings.updates) * len(settings.ctxs) * settings.samples
    return (
        f"track: {prompts:,} prompts ({len(settings.tasks)} tasks, {settings.updates[0]:,} to "
        f"{settings.updates[-1]:,} updates, {settings.samples} samples each), model {model}"
    )
