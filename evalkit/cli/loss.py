"""`evalkit loss`: measure how well a model predicts a text."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import RunOptions
    from evalkit.running.model_options import ModelOptions

EXAMPLES = (
    "Examples: evalkit loss book.txt --model ./my-checkpoint · evalkit loss crawl.jsonl --ctx 8192 --samples 500 · "
    "evalkit loss crawl.jsonl --field content --overlap 1024"
)


@takes(MODEL.without("batch_sequences"), RUN)
def loss(
    path: Path | None = typer.Argument(
        None, help="A text file, or a .jsonl file with one document per line.", show_default="the essays"
    ),
    ctx: str = typer.Option("4096", "--ctx", help="Window length in tokens; every window is scored by itself."),
    overlap: int = typer.Option(
        0, "--overlap", help="Tokens before each window that are added as context and not scored."
    ),
    ngram: int = typer.Option(
        4, "--ngram", help="A token counts as copied if the n-gram it ends occurs earlier in the window."
    ),
    samples: int | None = options.samples("Windows from the beginning", "all of a file, 16 of the essays"),
    field: str = typer.Option("text", "--field", help="Field that holds the text in a .jsonl file."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Measure bits per byte and nats per token on a text, also split into copied tokens and the rest.

    The text is cut into windows that are scored in bounded memory. Losses in bits per byte are
    comparable between tokenizers; those in nats per token are not.
    """
    from evalkit.cli.shared.suite_command import run_suite

    values = {"path": path, "ctx": ctx, "overlap": overlap, "ngram": ngram, "samples": samples, "field": field}
    raise typer.Exit(run_suite("loss", values, model_options, run_options))
