"""`evalkit ruler`: the RULER benchmark on one model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes
from evalkit.errors import UsageError
from evalkit.running.replicas.options import REPLICA_OPTIONS
from evalkit.values import counted

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import RunOptions
    from evalkit.running.model_options import ModelOptions

EXAMPLES = (
    "Examples: evalkit ruler --ctx 65536 · evalkit ruler --ctx 4K,16K,64K --model ./my-checkpoint --samples 100 · "
    "evalkit ruler --ctx 4096 --tasks niah_single_2,vt --format json"
)

_OF_RUNS = ("baseline", "resume", "shard", "format", *REPLICA_OPTIONS)
"""Options that say how a run is made and shown."""


@takes(MODEL, RUN)
def ruler(
    ctx: str = typer.Option(..., "--ctx", help="Context lengths in tokens: 65536, or 4096,16384,64K."),
    tasks: str | None = typer.Option(
        None, "--tasks", help="Comma-separated tasks, such as niah_single_2,vt.", show_default="all 13"
    ),
    samples: int | None = options.samples("Samples per task and length", "100", quick="1"),
    seed: int = typer.Option(42, "--seed", help="Seed that draws the samples."),
    dialect: str = typer.Option(
        "nvidia", "--dialect", help="Prompt format and metrics: nvidia (the paper's) or olmes (Ai2's)."
    ),
    data: Path | None = typer.Option(
        None, "--data", help="Run prepared samples from this folder (<ctx>/<task>/validation.jsonl)."
    ),
    prepare_only: bool = typer.Option(
        False, "--prepare-only", help="Write the samples in RULER's layout to --out (or samples/), and exit."
    ),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Run RULER at the given context lengths, and report a score per task and length.

    Tasks: niah_single_1, _2, _3, niah_multikey_1, _2, _3, niah_multivalue, niah_multiquery, vt, cwe, fwe, qa_1, qa_2.
    The length includes prompt, answer prefix and generated tokens. Corpora come from the folder in EVALKIT_DATA, else
    from `evalkit data fetch`, else generated text is used and every table says so.
    """
    from evalkit.cli.shared.suite_command import run_suite

    values = {"ctx": ctx, "tasks": tasks, "samples": samples, "seed": seed, "dialect": dialect, "data": data}
    if prepare_only:
        for name in _OF_RUNS:
            if name in run_options.passed:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{flag} is for a run, and --prepare-only writes all samples without one; leave one out"
                )
        _prepare(values, model_options, run_options.out or Path("samples"))
        return
    raise typer.Exit(run_suite("ruler", values, model_options, run_options))


def _prepare(values: dict[str, Any], model_options: "ModelOptions", out: Path) -> None:
    from evalkit.errors import SampleDoesNotFitError
    from evalkit.running.model_options import ChatMode
    from model_adapters.opening import open_tokenizer
    from suites.ruler import SPEC, build
    from suites.ruler.prepared import PreparedWriter

    if model_options.chat is not ChatMode.OFF:
        raise UsageError(f"--chat {model_options.chat}: --prepare-only writes raw text; leave --chat out")
    settings = SPEC.read(values, [model_options.model], where="--")
    suite = build(settings, open_tokenizer(model_options))
    plan = suite.plan()
    left_out = 0
    with PreparedWriter(out) as writer:
        for key in plan.keys:
            try:
                writer.write(suite.ask(key).sample)
            except SampleDoesNotFitError as error:
                left_out += 1
                typer.echo(f"left out: {key.id}: {error}", err=True)
    for cell in plan.unscored:
        typer.echo(f"left out: {cell.task} at {cell.ctx:,}: {cell.reason}", err=True)
    typer.echo(f"wrote {counted(len(plan.keys) - left_out, 'sample')} to {out}")
