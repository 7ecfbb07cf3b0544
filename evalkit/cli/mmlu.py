"""`evalkit mmlu`: 57 subjects of four-choice questions."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli import options

if TYPE_CHECKING:
    from suites.mmlu import MmluSettings

EXAMPLES = (
    "Examples: evalkit mmlu --model ./my-checkpoint · evalkit mmlu --data ./mmlu --subjects stem,philosophy "
    "--samples 20 · evalkit mmlu --shots 0 --variant cloze --baseline ./transformer"
)


def mmlu(
    context: typer.Context,
    model: str = options.MODEL,
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
    out: Path | None = options.OUT,
    resume: bool = options.RESUME,
    device: str = options.DEVICE,
    dtype: options.Dtype = options.DTYPE,
    gdn_kernel: options.GdnKernel = options.GDN_KERNEL,
    segment_tokens: int | None = options.SEGMENT,
    batch_sequences: int | None = options.BATCH,
    skip_preflight: bool = options.SKIP_PREFLIGHT,
    trust_remote_code: bool = options.REMOTE_CODE,
    format: options.Format = options.FORMAT,
) -> None:
    """Ask MMLU with the prompts that lm-eval asks, and report accuracy over questions, subjects and groups.

    The examples of a subject are read once for all its questions. Chance (25) stands beside every score.
    """
    from evalkit.cli import STARTED_AT
    from evalkit.cli.against import execute_against
    from evalkit.cli.execution import ModelOptions, RunOptions, readable_tokens
    from suites import mmlu as suite

    passed = options.passed_options(context)
    settings = suite.MmluSettings.of(
        subjects=options.parse_names(subjects), shots=shots, samples=samples, variant=variant, data=data
    )
    code = execute_against(
        baseline,
        lambda loaded: suite.build(settings, loaded.tokenizer, max_tokens=readable_tokens(loaded.identity)),
        ModelOptions(
            model,
            device,
            str(dtype),
            segment_tokens,
            batch_sequences,
            trust_remote_code,
            skip_preflight=skip_preflight,
            gdn_kernel=str(gdn_kernel),
        ),
        RunOptions(out, resume, format, passed, STARTED_AT),
        settings=asdict(settings),
        headline=lambda name: _headline(settings, name),
    )
    raise typer.Exit(code)


def _headline(settings: "MmluSettings", model: str) -> str:
    number = "all questions" if settings.samples is None else f"{settings.samples} questions each"
    subjects = f"{len(settings.subjects)} subject{'' if len(settings.subjects) == 1 else 's'}"
    return f"mmlu: {subjects}, {number}, {settings.shots}-shot {settings.variant}, model {model}"
