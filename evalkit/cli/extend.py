"""`evalkit extend`: does a model's context extension hold?"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import RunOptions
    from evalkit.running.model_options import ModelOptions

EXAMPLES = (
    "Examples: evalkit extend --ctx 65536 --trained 8192 · "
    "evalkit extend --ctx 64K --model ./extended --before ./base --baseline ./transformer · "
    "evalkit extend --ctx 32K --model ./base --override yarn:factor=4,original=8192"
)


@takes(MODEL, RUN)
def extend(
    ctx: str = typer.Option(
        ..., "--ctx", help="Longest context to test, in tokens; tests run at 4096, 8192, … up to it."
    ),
    trained: str | None = typer.Option(
        None,
        "--trained",
        help="Trained length before the extension, in tokens.",
        show_default="as the checkpoint states",
    ),
    before: str | None = typer.Option(
        None, "--before", help="The checkpoint before its extension; reports what the extension lost."
    ),
    override: str | None = typer.Option(
        None,
        "--override",
        help="Control experiment with other positions: none, rope:theta=T, linear:factor=F, ntk:factor=F or "
        "yarn:factor=F,original=N.",
    ),
    tasks: str | None = typer.Option(
        None,
        "--tasks",
        help="Comma-separated RULER tasks of the grid.",
        show_default="niah_single_2, niah_multikey_1 and niah_multikey_3",
    ),
    samples: int | None = options.samples("Samples per task and length", "40", quick="4"),
    depths: int | None = typer.Option(
        None,
        "--depths",
        help="Number of bins of needle depth, at most one per sample.",
        show_default="10, or one per sample if these are fewer",
    ),
    windows: int | None = options.samples(
        "Number of long documents whose loss is measured", "8", quick="2", flag="--windows"
    ),
    text: Path | None = typer.Option(
        None, "--text", help="Text or .jsonl file for the long documents.", show_default="the essays"
    ),
    field: str = typer.Option("text", "--field", help="Field that holds the text in a .jsonl file."),
    mmlu: int | None = typer.Option(None, "--mmlu", min=1, help="With --before: MMLU questions per subject, 5-shot."),
    mmlu_data: Path | None = typer.Option(
        None, "--mmlu-data", help="Folder of MMLU's CSV files.", show_default="the hub"
    ),
    margin: float = typer.Option(
        0.05, "--margin", min=0.0, help="Accepted rise of the loss beyond the trained length, in nats per token."
    ),
    margin_points: float = typer.Option(
        2.0, "--margin-points", min=0.0, help="Accepted drop at 4096 tokens and on MMLU, in points of 100."
    ),
    margin_bits: float = typer.Option(
        0.02, "--margin-bits", min=0.0, help="Accepted rise of the loss at 4096 tokens, in bits per byte."
    ),
    seed: int = typer.Option(42, "--seed", help="Seed that draws the samples."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Check a context extension: loss by position, needles by depth and length, effective length, what was lost.

    Each check passes, fails or is undecided, and reports the difference it detects with 80 % power. Charts are written
    into the run folder. The command exits 1 if a check fails.
    """
    from evalkit.cli.shared.suite_command import run_suite

    if mmlu is not None and before is None:
        raise UsageError(f"--mmlu {mmlu} is for what was lost since a checkpoint; name it with --before")
    values = {
        "ctx": ctx,
        "trained": trained,
        "before": before,
        "tasks": tasks,
        "samples": samples,
        "depths": depths,
        "windows": windows,
        "text": text,
        "field": field,
        "mmlu": mmlu,
        "mmlu_data": mmlu_data,
        "margin": margin,
        "margin_points": margin_points,
        "margin_bits": margin_bits,
        "seed": seed,
    }
    raise typer.Exit(run_suite("extend", values, replace(model_options, override=override), run_options))
