"""`evalkit bench`: what the engine costs in time and memory."""

import json
from dataclasses import asdict

import typer

from evalkit.cli import options

app = typer.Typer(no_args_is_help=True, help="Measure the engine.")


@app.callback()
def _root() -> None:
    """Keep `prefill` a subcommand while it is the only one."""


@app.command("prefill", epilog="Example: evalkit bench prefill --ctx 4096,16384,65536 --segment-tokens 2048")
def prefill(
    ctx: str = typer.Option("4096,16384,65536", "--ctx", help="Prompt lengths in tokens."),
    model: str = options.MODEL,
    segment_tokens: int = typer.Option(2048, "--segment-tokens", min=1, help="Prompt tokens per prefill step."),
    device: str = options.DEVICE,
    dtype: options.Dtype = options.DTYPE,
    trust_remote_code: bool = options.REMOTE_CODE,
    format: options.Format = options.FORMAT,
) -> None:
    """Measure prefill time and the peak of memory above weights and keys/values, by prompt length.

    On a GPU the peak is its allocator's; on a CPU every tensor allocation is counted.
    """
    from model_adapters.engine.memory_bench import measure_prefill
    from model_adapters.loading import load_model

    lengths = options.parse_contexts(ctx)
    loaded = load_model(model, device=device, dtype=str(dtype), trust_remote_code=trust_remote_code)
    measured = [measure_prefill(loaded.model, length, segment_tokens) for length in lengths]
    if format is options.Format.JSON:
        typer.echo(json.dumps([asdict(row) for row in measured], indent=2))
        return
    from reports.report import Report, Table
    from reports.terminal import print_report, stdout_console

    columns = ("tokens", "seconds", "tokens/s", "above weights + keys/values", "keys/values", "states", "weights")
    rows = tuple(
        (
            f"{row.context_tokens:,}",
            f"{row.seconds:.2f}",
            f"{row.context_tokens / row.seconds:,.0f}",
            *(_mebibytes(size) for size in (row.peak_bytes_above_weights_and_kv, row.kv_bytes, row.state_bytes)),
            _mebibytes(row.weights_bytes),
        )
        for row in measured
    )
    title = f"Prefill time and peak memory, segments of {segment_tokens:,} tokens, memory by {measured[0].method}"
    print_report(stdout_console(), Report(f"bench prefill · {model}", (), (Table(title, columns, rows),), ()))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
