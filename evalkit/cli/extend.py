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
    ctx: str = typer.Option(..., "--ctx", help="The length that is tested; the grid doubles from 4096 up to it."),
    trained: str | None = typer.Option(
        None, "--trained", help="Trained window before the extension [default: what the checkpoint says]."
    ),
    before: str | None = typer.Option(None, "--before", help="The checkpoint before its extension: what was lost?"),
    override: str | None = typer.Option(
        None,
        "--override",
        help="Control experiment: none, rope:theta=T, linear:factor=F, ntk:factor=F or yarn:factor=F,original=N.",
    ),
    tasks: str | None = typer.Option(
        None,
        "--tasks",
        help="RULER tasks of the grid [default: niah_single_2, niah_multikey_1 and niah_multikey_3].",
    ),
    samples: int | None = options.samples("Samples per task and length", "40", quick="4"),
    depths: int = typer.Option(10, "--depths", help="Bins of needle depth."),
    windows: int | None = options.samples("Long documents whose loss is measured", "8", quick="2", flag="--windows"),
    text: Path | None = typer.Option(
        None, "--text", help="Text or .jsonl file for the long documents [default: the essays]."
    ),
    field: str = typer.Option("text", "--field", help="The field of a JSONL line that holds the text."),
    mmlu: int | None = typer.Option(None, "--mmlu", min=1, help="With --before: MMLU questions per subject, 5-shot."),
    mmlu_data: Path | None = typer.Option(None, "--mmlu-data", help="MMLU's CSV files [default: the hub]."),
    margin: float = typer.Option(
        0.05, "--margin", min=0.0, help="Nats per token that the loss may rise past the window."
    ),
    margin_points: float = typer.Option(
        2.0, "--margin-points", min=0.0, help="Points that may be lost at 4096 and on MMLU."
    ),
    margin_bits: float = typer.Option(0.02, "--margin-bits", min=0.0, help="Bits per byte that may be lost at 4096."),
    seed: int = typer.Option(42, "--seed", help="Another seed asks other questions."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Check a context extension: loss by position, needles by depth and length, effective length, what was lost.

    Each check passes, fails, or cannot be decided from this many samples, and reports the smallest difference it could
    have detected. Charts are written into the run folder.
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
