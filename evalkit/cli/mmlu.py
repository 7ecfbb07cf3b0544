"""`evalkit mmlu`: 57 subjects of four-choice questions."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import ModelOptions, RunOptions
    from suites.mmlu import MmluSettings

EXAMPLES = (
    "Examples: evalkit mmlu --model ./my-checkpoint · evalkit mmlu --data ./mmlu --subjects stem,philosophy "
    "--samples 20 · evalkit mmlu --shots 0 --variant cloze --baseline ./transformer"
)


@takes(MODEL, RUN)
def mmlu(
    baseline: str | None = options.BASELINE,
    subjects: str | None = typer.Option(
        None,
        "--subjects",
        help="Comma-separated subjects, or stem, humanities, social_sciences, other; all by default.",
    ),
    shots: int = typer.Option(5, "--shots", help="Worked examples before each question."),
    samples: int | None = typer.Option(None, "--samples", help="Questions a subject, from the first on; all of them."),
    variant: str = typer.Option("mc", "--variant", help="mc scores a letter, cloze the choice itself."),
    data: Path | None = typer.Option(None, "--data", help="A folder of MMLU's CSV files; the hub by default."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Ask MMLU with the prompts that lm-eval asks, and report accuracy over questions, subjects and groups.

    The examples of a subject are read once for all its questions. Chance (25) stands beside every score.
    """
    from evalkit.cli.shared.baseline_run import execute_against
    from evalkit.cli.shared.suite_run import readable_tokens
    from suites import mmlu as suite

    settings = suite.MmluSettings.of(
        subjects=options.parse_names(subjects), shots=shots, samples=samples, variant=variant, data=data
    )
    code = execute_against(
        baseline,
        lambda loaded: suite.build(settings, loaded.tokenizer, max_tokens=readable_tokens(loaded.identity)),
        model_options,
        run_options,
        settings=asdict(settings),
        headline=lambda name: _headline(settings, name),
    )
    raise typer.Exit(code)


def _headline(settings: "MmluSettings", model: str) -> str:
    number = "all questions" if settings.samples is None else f"{settings.samples} questions each"
    subjects = f"{len(settings.subjects)} subject{'' if len(settings.subjects) == 1 else 's'}"
    return f"mmlu: {subjects}, {number}, {settings.shots}-shot {settings.variant}, model {model}"
