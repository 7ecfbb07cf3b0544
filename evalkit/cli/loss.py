"""`evalkit loss`: how well a model predicts a text."""

from dataclasses import asdict
from pathlib import Path

import typer

from evalkit.cli import options

EXAMPLES = (
    "Examples: evalkit loss book.txt --model ./my-checkpoint · evalkit loss crawl.jsonl --ctx 8192 --samples 500 · "
    "evalkit loss crawl.jsonl --field content --overlap 1024"
)


def loss(
    context: typer.Context,
    path: Path | None = typer.Argument(
        None, help="A text file, or a .jsonl file with one document a line; the essays by default."
    ),
    model: str = options.MODEL,
    baseline: str | None = options.BASELINE,
    ctx: str = typer.Option("4096", "--ctx", help="Tokens of a window; each is predicted anew."),
    overlap: int = typer.Option(0, "--overlap", help="Tokens before each window that are read again as context."),
    ngram: int = typer.Option(4, "--ngram", help="A token is a copy where the n-gram that it ends stands earlier."),
    samples: int | None = typer.Option(
        None, "--samples", help="Windows from the beginning: all of a file, 16 of the essays."
    ),
    field: str = typer.Option("text", "--field", help="Of a JSONL line, the field with the text."),
    out: Path | None = options.OUT,
    resume: bool = options.RESUME,
    device: str = options.DEVICE,
    dtype: options.Dtype = options.DTYPE,
    gdn_kernel: options.GdnKernel = options.GDN_KERNEL,
    segment_tokens: int | None = options.SEGMENT,
    skip_preflight: bool = options.SKIP_PREFLIGHT,
    trust_remote_code: bool = options.REMOTE_CODE,
    format: options.Format = options.FORMAT,
) -> None:
    """Measure bits per byte and nats per token on a text, also split into copied tokens and the rest.

    The text is cut into windows that are scored in bounded memory, whatever its length. Losses in bits per byte are
    comparable between tokenizers; those in nats per token are not.
    """
    from evalkit.cli import STARTED_AT
    from evalkit.cli.against import execute_against
    from evalkit.cli.execution import ModelOptions, RunOptions
    from suites import text_loss as suite

    passed = options.passed_options(context)
    settings = suite.TextLossSettings.of(
        path=path,
        ctx=options.parse_context("--ctx", ctx),
        overlap=overlap,
        ngram=ngram,
        samples=samples,
        field=field,
    )
    code = execute_against(
        baseline,
        lambda loaded: suite.build(settings, loaded.tokenizer),
        ModelOptions(
            model,
            device,
            str(dtype),
            segment_tokens,
            1,
            trust_remote_code,
            skip_preflight=skip_preflight,
            gdn_kernel=str(gdn_kernel),
        ),
        RunOptions(out, resume, format, passed, STARTED_AT),
        settings=asdict(settings),
        headline=lambda name: f"loss: {path or 'the essays'} in windows of {settings.ctxs[0]:,} tokens, model {name}",
    )
    raise typer.Exit(code)
