"""Options that several commands share, and how their text is read."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from evalkit.errors import UsageError

DEFAULT_MODEL = "reference:hybrid"
# No one means more, and int() refuses thousands of digits with an error of its own.
MAX_CONTEXT_DIGITS = 9


class Format(StrEnum):
    """How a result is printed."""

    TERMINAL = "terminal"
    JSON = "json"


class Dtype(StrEnum):
    """Number format of weights and activations; `auto` is the checkpoint's own on a GPU, float32 on a CPU."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class GdnKernel(StrEnum):
    """What runs the gated delta rule; `auto` is triton on a GPU where it proves right there, torch elsewhere."""

    AUTO = "auto"
    TRITON = "triton"
    FLA = "fla"
    TORCH = "torch"


MODEL = typer.Option(
    DEFAULT_MODEL, "--model", "-m", help="Checkpoint directory, hub id, or reference:NAME (see `evalkit models list`)."
)
BASELINE = typer.Option(None, "--baseline", help="Run this model on the same samples too, and end in the comparison.")
DEVICE = typer.Option("auto", "--device", help="Where the model runs: auto, cpu, cuda, cuda:1 …")
DTYPE = typer.Option(Dtype.AUTO, "--dtype", help="auto: the checkpoint's own on a GPU, float32 on a CPU.")
GDN_KERNEL = typer.Option(
    GdnKernel.AUTO,
    "--gdn-kernel",
    help="What runs the gated delta rule; auto: triton on a GPU where it proves right there, torch elsewhere.",
)
SEGMENT = typer.Option(None, "--segment-tokens", min=1, help="Prompt tokens per prefill step; the engine chooses.")
BATCH = typer.Option(None, "--batch", min=1, help="Sequences decoded together; the engine chooses.")
OUT = typer.Option(None, "--out", "-o", help="Run folder; runs/<id> by default.")
RESUME = typer.Option(False, "--resume", help="Continue a run that was stopped; starts one where there is none.")
REMOTE_CODE = typer.Option(False, "--trust-remote-code", help="Run Python code that comes with the checkpoint.")
SKIP_PREFLIGHT = typer.Option(
    False, "--skip-preflight", help="Do not check first that the model is run correctly; the run says so."
)
FORMAT = typer.Option(Format.TERMINAL, "--format", help="json prints the run record on stdout.")


def parse_contexts(text: str) -> tuple[int, ...]:
    """Context lengths from `4096,16384,64K`, ascending and without repeats; UsageError for anything else."""
    lengths = set()
    for part in text.split(","):
        match = re.fullmatch(rf"\s*([0-9]{{1,{MAX_CONTEXT_DIGITS}}})\s*([kK]?)\s*", part)
        length = int(match[1]) * (1024 if match[2] else 1) if match else 0
        if length == 0:
            raise UsageError(f"--ctx: {part.strip()!r} is not a context length; write 65536, 64K or 4096,16384")
        lengths.add(length)
    return tuple(sorted(lengths))


def parse_context(option: str, text: str) -> int:
    """One context length; UsageError where `text` names several, or none."""
    lengths = parse_contexts(text)
    if len(lengths) != 1:
        raise UsageError(f"{option} {text!r}: one context length is needed, not {len(lengths)}")
    return lengths[0]


def parse_counts(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers from `4,8,16`, ascending and without repeats; UsageError naming `option` for anything else."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not re.fullmatch(rf"[0-9]{{1,{MAX_CONTEXT_DIGITS}}}", part):
            raise UsageError(f"{option}: {part!r} is not a whole number; write 64 or 4,16,64")
    return tuple(sorted({int(part) for part in parts}))


def parse_names(text: str | None) -> tuple[str, ...] | None:
    """Comma-separated names without repeats, in the order given; None stays None."""
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{text!r} names nothing; separate names with commas")
    return names


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
