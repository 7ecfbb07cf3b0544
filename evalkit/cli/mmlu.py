"""`evalkit mmlu`: MMLU, four-choice questions on 57 subjects."""

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
        help="Comma-separated subjects, or groups: stem, humanities, social_sciences, other.",
        show_default="all",
    ),
    shots: int = typer.Option(5, "--shots", help="Number of worked examples before each question."),
    samples: int | None = options.samples("Questions per subject, taken from the start", "all"),
    variant: str = typer.Option("mc", "--variant", help="mc scores the letter of a choice, cloze its text."),
    data: Path | None = typer.Option(None, "--data", help="Folder of MMLU's CSV files.", show_default="the hub"),
    fewshot_as_multiturn: bool | None = options.MULTITURN,
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Run MMLU with lm-eval's prompts, and report accuracy over questions, subjects and groups.

    Every score is shown with chance (25). The worked examples of a subject are a cached prefix of its questions.
    """
    from evalkit.cli.shared.suite_command import run_suite

    values = {"subjects": subjects, "shots": shots, "samples": samples, "variant": variant, "data": data}
    values["fewshot_as_multiturn"] = fewshot_as_multiturn
    raise typer.Exit(run_suite("mmlu", values, model_options, run_options))
