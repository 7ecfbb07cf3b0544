"""`evalkit mmlu`: 57 subjects of four-choice questions."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import RunOptions
    from evalkit.running.model_options import ModelOptions

EXAMPLES = (
    "Examples: evalkit mmlu --model ./my-checkpoint · evalkit mmlu --data ./mmlu --subjects stem,philosophy "
    "--samples 20 · evalkit mmlu --shots 0 --variant cloze --baseline ./transformer"
)


@takes(MODEL, RUN)
def mmlu(
    subjects: str | None = typer.Option(
        None,
        "--subjects",
        help="Comma-separated subjects, or stem, humanities, social_sciences, other [default: all].",
    ),
    shots: int = typer.Option(5, "--shots", help="Worked examples before each question."),
    samples: int | None = options.samples("Questions per subject, from the first on", "all"),
    variant: str = typer.Option("mc", "--variant", help="mc scores a letter, cloze the choice itself."),
    data: Path | None = typer.Option(None, "--data", help="A folder of MMLU's CSV files [default: the hub]."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Ask MMLU with the prompts that lm-eval asks, and report accuracy over questions, subjects and groups.

    The examples of a subject are read once for all its questions. Chance (25) stands beside every score.
    """
    from evalkit.cli.shared.suite_command import run_suite

    values = {"subjects": subjects, "shots": shots, "samples": samples, "variant": variant, "data": data}
    raise typer.Exit(run_suite("mmlu", values, model_options, run_options))
