"""`evalkit run`: run a plan of models and suites, or one suite by name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared.option_groups import MODEL, RUN, takes
from evalkit.errors import UsageError
from evalkit.running.replicas.options import REPLICA_OPTIONS

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import RunOptions
    from evalkit.running.model_options import ModelOptions

EXAMPLES = (
    "Examples: evalkit run olmo-hybrid-7b --dry-run · evalkit run my-plan.yaml --out runs/mine · "
    "evalkit run --suite lm-eval:arc_challenge,hellaswag --model ./my-checkpoint · "
    "evalkit run --suite my-suite --set ctx=4096,64K --model ./my-checkpoint"
)
_OF_PLAN = ("plan", "out", "dry_run", "resume", "shard", "watch", "interval", "once", *REPLICA_OPTIONS)
_FLAGS = {"settings": "set", "batch_sequences": "batch"}
"""Options by the names of their parameters, if these differ."""
_OUTSIDE_SUITES = {
    "model": "write it among the models of the plan instead",
    "baseline": "write it among the models of the plan, and add a report that compares",
    "format": "leave it out",
}
"""What to do with options that cannot be written below a suite of a plan."""
SECONDS_BETWEEN_LOOKS = 60.0


@takes(MODEL, RUN)
def run(
    plan: str | None = typer.Argument(
        None, metavar="[PLAN]", help="A .yaml file, or the name of a plan that comes with evalkit."
    ),
    suite: str | None = typer.Option(
        None, "--suite", metavar="NAME[:TASKS]", help="Instead of a plan: a suite, including those of other packages."
    ),
    settings: list[str] = typer.Option(
        [], "--set", metavar="NAME=VALUE", help="With --suite: a setting of the suite; may be repeated."
    ),
    out: Path | None = typer.Option(
        None,
        "--out",
        "-o",
        help="Folder of the plan's runs and reports, or of the run.",
        show_default="runs/<name>",
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check the plan and list its runs, without running them."),
    watch: str | None = typer.Option(
        None,
        "--watch",
        metavar="FOLDER|HUB_ID",
        help="Run the plan on each checkpoint that appears there, once, until interrupted.",
    ),
    interval: float | None = typer.Option(
        None, "--interval", min=1.0, help="With --watch: seconds between two looks.", show_default="60"
    ),
    once: bool = typer.Option(False, "--once", help="With --watch: evaluate what is there now, and exit, as for cron."),
    shots: int | None = typer.Option(None, "--shots", help="The same as --set shots=N."),
    samples: int | None = typer.Option(None, "--samples", help="The same as --set samples=N."),
    include_path: str | None = typer.Option(None, "--include-path", help="The same as --set include_path=FOLDER."),
    seed: int | None = typer.Option(None, "--seed", help="The same as --set seed=N."),
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Run every model of a plan on every suite, then write the plan's reports; or run one suite with --suite.

    Running a plan again continues it, with or without --resume: a finished run is kept if model, corpora, settings and
    versions are unchanged, a started one is resumed, and one that cannot be continued is moved to superseded/ and run
    again. If a run fails, the others go on. Exits 2 if a run or report failed, 3 if samples errored, 1 if a gate of the
    plan failed.

    With --watch the models are the checkpoints of a training run, which the plan's reports call checkpoint and
    last-good. Each is evaluated once it is whole, in the order of steps.
    """
    if suite is None:
        named = _plan_name(plan, run_options)
        pause = _pause(watch, interval, once=once)
        if watch is not None:
            raise typer.Exit(_watch(named, out, watch, pause, dry_run=dry_run))
        raise typer.Exit(_run_plan(named, out, run_options, dry_run=dry_run))
    if plan is not None or dry_run or watch is not None or interval is not None or once:
        raise UsageError("--suite runs one suite and no plan; leave out the plan and its options, or --suite")
    from evalkit.cli.shared.suite_command import run_suite
    from evalkit.suite_spec import split_tasks

    name, tasks = split_tasks(suite)
    shorthands = {"shots": shots, "samples": samples, "include_path": include_path, "seed": seed, "tasks": tasks}
    values = _assigned(settings, {key: value for key, value in shorthands.items() if value is not None})
    raise typer.Exit(run_suite(name, values, model_options, run_options, where=""))


def _pause(watch: str | None, interval: float | None, *, once: bool) -> float | None:
    """Seconds between two looks for checkpoints, None for a single look; UsageError for options without --watch."""
    if once and interval is not None:
        raise UsageError("--once looks once, and --interval is the time between two looks; leave one of them out")
    if watch is None and (interval is not None or once):
        raise UsageError(f"--{'once' if once else 'interval'} goes with --watch, which names the checkpoints")
    return None if once else SECONDS_BETWEEN_LOOKS if interval is None else interval


def _assigned(settings: Sequence[str], shorthands: Mapping[str, str | int]) -> dict[str, str | int]:
    """`ctx=4096` as a name and its value, with those of other options; UsageError for anything else."""
    values = dict(shorthands)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {setting!r}: write NAME=VALUE, such as ctx=4096,64K")
        name = name.strip().replace("-", "_")
        if name in values:
            raise UsageError(f"{name} is given as {values[name]!r} and as {value!r}; leave one of them out")
        values[name] = value
    return values


def _plan_name(plan: str | None, run_options: "RunOptions") -> str:
    """The plan; UsageError if there is none, or with an option that a plan does not take."""
    if plan is None:
        raise UsageError("neither a plan nor --suite is named; see `evalkit run --help`")
    others = [name for name in run_options.passed if name not in _OF_PLAN]
    if others:
        flag = _FLAGS.get(others[0], others[0].replace("_", "-"))
        remedy = _OUTSIDE_SUITES.get(others[0], "write it below a suite of the plan instead")
        raise UsageError(f"--{flag} is an option of --suite; {remedy}")
    if {"watch", "shard"} <= run_options.passed.keys():
        raise UsageError("--shard cannot be combined with --watch; leave one of them out")
    if "watch" in run_options.passed and run_options.replicas is not None:
        raise UsageError("--replicas cannot be combined with --watch; write replicas below a suite of the plan instead")
    return plan


def _watch(plan: str, out: Path | None, where: str, interval: float | None, *, dry_run: bool) -> int:
    from evalkit.cli.shared.plan_run import check, check_questions
    from evalkit.cli.shared.watch_run import CheckpointWatch
    from evalkit.running.plan import CHECKPOINT, LAST_GOOD, named_in_errors
    from evalkit.running.watching import read_watching_plan
    from model_adapters.checkpoint_source import open_source

    read = read_watching_plan(plan, out)
    each = read.of(CHECKPOINT, CHECKPOINT, LAST_GOOD)
    with named_in_errors(plan):
        check(read.of_fixed())
        check(replace(each, runs=()))
        check_questions(each)
    watch = CheckpointWatch(read, open_source(where))
    if not dry_run:
        return watch.run(interval)
    for line in watch.describe():
        typer.echo(line)
    return 0


def _run_plan(plan: str, out: Path | None, run_options: "RunOptions", *, dry_run: bool) -> int:
    from evalkit.cli.shared.plan_run import carry_out, check, describe
    from evalkit.running.plan import named_in_errors, read_plan

    read = read_plan(plan, out, run_options.shard)
    if (replicas := run_options.replicas) is not None:
        read = replace(read, runs=tuple(replace(run, replicas=replicas.instead_of(run.replicas)) for run in read.runs))
    with named_in_errors(plan):
        check(read)
    if not dry_run:
        return carry_out(read)
    for planned in read.runs:
        typer.echo(describe(planned))
    return 0
