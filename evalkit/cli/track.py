"""`evalkit track`: measure how many updates of a state a model can follow."""

from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import RunOptions
    from evalkit.running.model_options import ModelOptions

EXAMPLES = (
    "Examples: evalkit track · evalkit track --tasks parity,state_recall --updates 4,64,512 --model ./my-checkpoint · "
    "evalkit track --ctx 4096,65536 --samples 100"
)


@takes(MODEL, RUN)
def track(
    tasks: str | None = typer.Option(
        None, "--tasks", help="Comma-separated tasks, such as parity,state_recall.", show_default="all nine"
    ),
    updates: str = typer.Option("4,8,16,32,64,128,256,512", "--updates", help="Numbers of state updates to test."),
    ctx: str | None = typer.Option(
        None, "--ctx", help="Context lengths to fill with other text between the updates.", show_default="none"
    ),
    samples: int | None = options.samples("Samples per task, number of updates and context", "50", quick="10"),
    shots: int = typer.Option(3, "--shots", help="Number of worked examples before the question."),
    seed: int = typer.Option(42, "--seed", help="Seed that draws the samples."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Measure state tracking: accuracy after a growing number of state updates.

    Tasks: parity, a modular counter, permutations of five objects (S5 and A5, as a shell game and as bare symbols), a
    register machine, entities in boxes, and recall of a value by a tracked slot. Every score is shown with chance.
    """
    from evalkit.cli.shared.suite_command import run_suite

    values = {"tasks": tasks, "updates": updates, "ctx": ctx, "samples": samples, "shots": shots, "seed": seed}
    raise typer.Exit(run_suite("track", values, model_options, run_options))
