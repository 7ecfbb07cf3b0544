"""`evalkit loss`: how well a model predicts a text."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import ModelOptions, RunOptions

EXAMPLES = (
    "Examples: evalkit loss book.txt --model ./my-checkpoint · evalkit loss crawl.jsonl --ctx 8192 --samples 500 · "
    "evalkit loss crawl.jsonl --field content --overlap 1024"
)


@takes(MODEL.fix(batch_sequences=1), RUN)
def loss(
    path: Path | None = typer.Argument(
        None, help="A text file, or a .jsonl file with one document a line; the essays by default."
    ),
    baseline: str | None = options.BASELINE,
    ctx: str = typer.Option("4096", "--ctx", help="Tokens of a window; each is predicted anew."),
    overlap: int = typer.Option(0, "--overlap", help="Tokens before each window that are read again as context."),
    ngram: int = typer.Option(4, "--ngram", help="A token is a copy where the n-gram that it ends stands earlier."),
    samples: int | None = typer.Option(
        None, "--samples", help="Windows from the beginning: all of a file, 16 of the essays."
    ),
    field: str = typer.Option("text", "--field", help="Of a JSONL line, the field with the text."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Measure bits per byte and nats per token on a text, also split into copied tokens and the rest.

    The text is cut into windows that are scored in bounded memory, whatever its length. Losses in bits per byte are
    comparable between tokenizers; those in nats per token are not.
    """
    from evalkit.cli.shared.baseline_run import execute_against
    from suites import text_loss as suite

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
        model_options,
        run_options,
        settings=asdict(settings),
        headline=lambda name: f"loss: {path or 'the essays'} in windows of {settings.ctxs[0]:,} tokens, model {name}",
    )
    raise typer.Exit(code)
