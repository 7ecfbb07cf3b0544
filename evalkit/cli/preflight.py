"""`evalkit preflight`: check that a model runs correctly, and that it fits."""

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import LOADING, takes
from evalkit.cli.shared.output import print_result
from evalkit.running.model_options import ModelOptions
from evalkit.values import read_value

EXAMPLES = (
    "Examples: evalkit preflight --model ./my-checkpoint --ctx 65536 · "
    "evalkit preflight --model allenai/Olmo-Hybrid-7B --ctx 64K --dtype bfloat16"
)
STOPPED = 1


@takes(LOADING)
def preflight(
    ctx: str = typer.Option(..., "--ctx", help="Longest context that will be run, in tokens."),
    format: options.Format = options.FORMAT,
    *,
    model_options: ModelOptions,
) -> None:
    """Check positions, tokenizer and memory, and that every way of running the model gives the same logits.

    Chunked prefill is compared with a single pass, a batch with single prompts, kernels with their definition, and a
    cached prefix with a fresh one, every time. Reports the largest logit gap, the first layer that differs and top-1
    agreement. Exits 1 if a check says stop.
    """
    from model_adapters.loading import load_model
    from model_adapters.preflight import Subject, full_preflight
    from reports.plain_text import one_line
    from reports.preflight_report import preflight_report

    length = read_value(ctx, int, "--ctx")
    loaded = load_model(model_options, ctxs=(length,))
    for warning in loaded.warnings:
        typer.echo(f"warning: {one_line(warning)}", err=True)
    checks = full_preflight(Subject(loaded.model, loaded.tokenizer, loaded.identity), length)
    print_result(format, checks, preflight_report(loaded.identity, length, checks))
    if any(check.outcome == "stop" for check in checks):
        raise typer.Exit(STOPPED)
