"""Options that several commands share, and how their text is read."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from evalkit.running.model_options import REFERENCE_PREFIX, Dtype, GdnKernel

DEFAULT_MODEL = f"{REFERENCE_PREFIX}hybrid"


class Format(StrEnum):
    """How a result is printed."""

    TERMINAL = "terminal"
    JSON = "json"


MODEL = typer.Option(
    DEFAULT_MODEL,
    "--model",
    "-m",
    help="Checkpoint directory, hub id (ORG/NAME[@REVISION]), reference:NAME (see `evalkit models list`), or "
    "scripted:FILE for tests.",
)
BASELINE = typer.Option(None, "--baseline", help="Run this model on the same samples first, and compare.")
DEVICE = typer.Option("auto", "--device", help="Where the model runs: auto, cpu, cuda, cuda:1 …")
DTYPE = typer.Option(Dtype.AUTO, "--dtype", help="auto: the checkpoint's own on a GPU, float32 on a CPU.")
GDN_KERNEL = typer.Option(
    GdnKernel.AUTO,
    "--gdn-kernel",
    help="What runs the gated delta rule; auto: triton on a GPU where it proves right there, torch elsewhere.",
)
SEGMENT = typer.Option(
    None, "--segment-tokens", min=1, help="Prompt tokens per prefill step [default: the engine chooses]."
)
BATCH = typer.Option(None, "--batch", min=1, help="Sequences decoded together [default: the engine chooses].")
OUT = typer.Option(None, "--out", "-o", help="Run folder; runs/<id> by default.")
RESUME = typer.Option(False, "--resume", help="Continue a run that was stopped; starts one where there is none.")
REMOTE_CODE = typer.Option(False, "--trust-remote-code", help="Run Python code that comes with the checkpoint.")
SKIP_PREFLIGHT = typer.Option(
    False, "--skip-preflight", help="Do not check first that the model is run correctly; the run says so."
)
FORMAT = typer.Option(Format.TERMINAL, "--format", help="json prints the run record on stdout.")


def samples(what: str, default: str, *, quick: str | None = None, flag: str = "--samples") -> Any:
    """The option for a number of samples: `default`, and `quick` if every model comes with evalkit."""
    shown = default if quick is None else f"{default}; {quick} if every model comes with evalkit"
    return typer.Option(None, flag, help=f"{what} [default: {shown}].")


def passed_options(context: typer.Context) -> dict[str, Any]:
    """The options that the user gave on the command line, as plain JSON values."""
    return {
        name: str(value) if isinstance(value, StrEnum | Path) else value
        for name, value in context.params.items()
        if _was_given(context, name)
    }


def _was_given(context: typer.Context, name: str) -> bool:
    # By name: the enumeration itself stands in a private module of typer.
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
