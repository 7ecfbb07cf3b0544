"""`evalkit bench`: time and memory of a model, compared with the hardware's limits and with plain transformers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from evalkit import files
from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import LOADING, Bundle, takes
from evalkit.cli.shared.output import print_result
from evalkit.running.model_options import ModelOptions
from evalkit.values import parse_contexts, read_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from evalkit.running.protocols import Tokenizer
    from model_adapters.bench.session import BenchSession
    from model_adapters.bench.suite import SuiteCase

app = typer.Typer(
    no_args_is_help=True,
    help="Measure prefill, decoding, kernels, products and whole suites, and compare them with the hardware's limits.",
)

SHAPE = typer.Option(
    None, "--shape", help="Instead of --model: olmo-hybrid-7b or olmo3-7b with random weights, made on the device."
)
SEED = typer.Option(0, "--seed", help="Seed of random weights and prompts.")
AGAINST = typer.Option(
    "transformers", "--against", help="What to compare with: transformers (with FLA too, if installed) or none."
)
REPEATS = typer.Option(5, "--repeats", min=1, help="Number of measurements; the median and quartiles are reported.")
BUDGET = typer.Option(
    None, "--budget-seconds", min=1.0, help="Stop after this many seconds and report what was measured."
)
JSON = typer.Option(None, "--json", help="Write the record to this file, updated after every row.")
CTX = typer.Option("4096,16384,65536", "--ctx", help="Lengths in tokens, such as 4096,64K.")
PREFILL_CTX = typer.Option(
    "4096,16384,65535,65536", "--ctx", help="Lengths in tokens, such as 4096,64K; real prompts are no round numbers."
)
BATCHES = typer.Option("1", "--batch", help="Batch sizes, such as 1 or 1,32.")


class Target(NamedTuple):
    """What to measure, and where to write the record."""

    options: ModelOptions
    shape: str | None
    seed: int
    against: str
    budget_seconds: float | None
    json: Path | None
    format: options.Format


def _target(_: typer.Context, values: dict[str, Any]) -> Target:
    loading = {name: values.pop(name) for name in LOADING.options}
    return Target(ModelOptions(**loading), **values)


TARGET = Bundle(
    "target",
    {
        **LOADING.options,
        "shape": (str | None, SHAPE),
        "seed": (int, SEED),
        "against": (str, AGAINST),
        "budget_seconds": (float | None, BUDGET),
        "json": (Path | None, JSON),
        "format": (options.Format, options.FORMAT),
    },
    _target,
)


class Opened(NamedTuple):
    """A model to measure, and the record of its measurements."""

    session: "BenchSession"
    model: "PreTrainedModel"
    tokenizer: "Tokenizer | None"
    """None for random weights."""
    against: bool


@app.command("prefill", epilog="Example: evalkit bench prefill --shape olmo-hybrid-7b --ctx 4096,65536 --json f.json")
@takes(TARGET)
def prefill(
    ctx: str = PREFILL_CTX,
    segment_tokens: int | None = options.SEGMENT,
    repeats: int = REPEATS,
    *,
    target: Target,
) -> None:
    """Measure prefill by prompt length: seconds, and peak memory beyond weights and KV cache.

    On a GPU the peak is that of CUDA's allocator; on a CPU every tensor allocation is counted.
    """
    from model_adapters.bench.prefill import bench_prefill

    contexts = parse_contexts(ctx)
    opened = _open("prefill", target, {"ctx": contexts, "segment_tokens": segment_tokens, "repeats": repeats})
    bench_prefill(
        opened.session,
        opened.model,
        contexts,
        segment_tokens=segment_tokens,
        repeats=repeats,
        against=opened.against,
    )
    _finish(opened.session, target)


@app.command("decode", epilog="Example: evalkit bench decode --shape olmo-hybrid-7b --ctx 4096,65536 --batch 1,32")
@takes(TARGET)
def decode(
    ctx: str = CTX,
    batch: str = BATCHES,
    steps: int = typer.Option(64, "--steps", min=2, help="Decode steps to time."),
    *,
    target: Target,
) -> None:
    """Measure a decode step: the time to generate one token for each sequence of a batch, by context length."""
    from model_adapters.bench.decode import bench_decode

    contexts, batches = parse_contexts(ctx), _batches(batch)
    opened = _open("decode", target, {"ctx": contexts, "batch": batches, "steps": steps})
    bench_decode(opened.session, opened.model, contexts, batches, steps=steps, against=opened.against)
    _finish(opened.session, target)


@app.command("kernels", epilog="Example: evalkit bench kernels --shape olmo-hybrid-7b --ctx 8192,65536 --batch 1,32")
@takes(TARGET)
def kernels(
    ctx: str = CTX,
    batch: str = BATCHES,
    repeats: int = REPEATS,
    *,
    target: Target,
) -> None:
    """Measure the operators of one layer with the model's head sizes.

    They are compared with PyTorch's attention, and with FLA if it is installed. An operator is timed only if its result
    is correct.
    """
    from model_adapters.bench.kernels import bench_kernels

    contexts, batches = parse_contexts(ctx), _batches(batch)
    opened = _open("kernels", target, {"ctx": contexts, "batch": batches, "repeats": repeats})
    bench_kernels(opened.session, opened.model, contexts, batches, repeats=repeats, against=opened.against)
    _finish(opened.session, target)


@app.command("products", epilog="Example: evalkit bench products --shape olmo-hybrid-7b --keep")
@takes(TARGET)
def products(
    keep: bool = typer.Option(
        False, "--keep", help="Use the fastest algorithms in later runs on this kind of GPU (kept in the kernel cache)."
    ),
    *,
    target: Target,
) -> None:
    """Measure cuBLAS's algorithms for the products of long prompts, under a lasting load.

    A row for the fastest algorithm that gives the bits of cuBLAS's own choice, by tokens and matrix, and unless
    --against is none one for that choice.
    """
    from model_adapters.bench.products import bench_products, place_of_algorithms
    from model_adapters.kernels.large_product.kept_algorithms import MEASURED_TOKENS
    from model_adapters.loading import find_device

    place_of_algorithms(find_device(target.options.device), keep=keep)  # before a model is made or loaded
    opened = _open("products", target, {"ctx": MEASURED_TOKENS, "keep": keep})
    bench_products(opened.session, opened.model, keep=keep, against=opened.against)
    _finish(opened.session, target)


@app.command("suite", epilog="Example: evalkit bench suite --shape olmo3-7b --ctx 4096 --samples 64")
@takes(TARGET)
def suite(
    ctx: str = CTX,
    task: str = typer.Option(
        "niah_single_2", "--task", help="RULER task; with --shape, prompts of random tokens are used instead."
    ),
    samples: int = typer.Option(8, "--samples", min=1, help="Samples per length."),
    segment_tokens: int | None = options.SEGMENT,
    slots: int | None = options.BATCH,
    batch_invariant: bool = options.BATCH_INVARIANT,
    *,
    target: Target,
) -> None:
    """Measure RULER samples per minute after warm-up, with the engine and with transformers' generate.

    Every answer uses its whole budget of new tokens. With --shape the prompts are random tokens, 128 fewer than the
    length.
    """
    from model_adapters.bench.suite import EngineOptions, bench_suite

    contexts = parse_contexts(ctx)
    chosen = {"ctx": contexts, "task": task, "samples": samples, "slots": slots, "batch_invariant": batch_invariant}
    opened = _open("suite", target, chosen)
    cases = [_suite_case(opened, task, length, samples, target.seed) for length in contexts]
    ours = EngineOptions(segment_tokens, slots, batch_invariant)
    bench_suite(opened.session, opened.model, cases, ours, against=opened.against)
    _finish(opened.session, target)


def _batches(text: str) -> tuple[int, ...]:
    from evalkit.errors import UsageError

    batches: tuple[int, ...] = read_value(text, tuple[int, ...], "--batch")
    if min(batches) < 1:
        raise UsageError(f"--batch: {min(batches)} sequences decode nothing; write 1 or 1,32")
    return tuple(sorted(batches))


def _suite_case(opened: Opened, task: str, ctx: int, samples: int, seed: int) -> "SuiteCase":
    from model_adapters.bench.suite import SuiteCase, random_case

    if opened.tokenizer is None:
        return random_case(opened.model, ctx, samples)
    from suites import ruler

    names = read_value(task, tuple[str, ...], "--task")
    settings = ruler.RulerSettings.of(ctx=(ctx,), tasks=names, samples=samples, seed=seed, dialect="nvidia", data=None)
    built = ruler.build(settings, opened.tokenizer)
    return SuiteCase(task, ctx, tuple(request for key in built.plan().keys for request in built.ask(key).requests))


def _open(mode: str, target: Target, chosen: dict[str, Any]) -> Opened:
    """Load or make the model, and begin its record."""
    from evalkit.errors import UsageError
    from model_adapters.bench.session import BenchSession, new_record

    if target.against not in ("transformers", "none"):
        raise UsageError(f"--against {target.against!r} is unknown; write transformers or none")
    _check_json(target.json)
    model, tokenizer, name = _model(target, chosen["ctx"])
    record = new_record(mode, name, model, seed=target.seed, options={**chosen, "against": target.against})
    session = BenchSession(
        record, model.device, budget_seconds=target.budget_seconds, report=lambda *made: _report(target, *made)
    )
    return Opened(session, model, tokenizer, target.against != "none")


def _check_json(path: Path | None) -> None:
    """Raise UsageError if the file cannot be written, before minutes are spent on measuring."""
    if path is not None:
        with files.writing(f"--json {path}", "name another file"):
            path.open("a").close()


def _model(target: Target, ctxs: "Sequence[int]") -> "tuple[PreTrainedModel, Tokenizer | None, str]":
    from model_adapters.loading import load_model

    if target.shape is None:
        loaded = load_model(target.options, ctxs=ctxs)
        for warning in loaded.warnings:
            typer.echo(f"warning: {warning}", err=True)
        return loaded.model, loaded.tokenizer, target.options.model
    from model_adapters.bench.shapes import build_shape
    from model_adapters.engine.fast_modules.choose import choose_kernels

    model = build_shape(target.shape, device=target.options.device, dtype=target.options.dtype, seed=target.seed)
    for line in choose_kernels(model, target.options.gdn_kernel):
        typer.echo(f"warning: {line}", err=True)
    return model, None, target.shape


def _report(target: Target, record: Any, row: Any) -> None:
    """Write each row as soon as it is measured, so that a run that is stopped loses nothing."""
    from reports.bench_report import row_line

    typer.echo(row_line(row.to_json()), err=True)
    _write(target, record)


def _write(target: Target, record: Any) -> None:
    import json

    if target.json is not None:
        target.json.write_text(json.dumps(record.to_json(), indent=2) + "\n", encoding="utf-8")


def _finish(session: "BenchSession", target: Target) -> None:
    from reports.bench_report import bench_report

    session.close()
    _write(target, session.record)
    record = session.record.to_json()
    print_result(target.format, record, bench_report(record))
