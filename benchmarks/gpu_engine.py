"""All measurements of `evalkit bench` of whole models, for both shapes in one process with one compilation.

    python benchmarks/gpu_engine.py --budget-seconds 300 --out records

Each part writes its record while it runs, and may fail or run out of time without ending the others.
"""

import argparse
import gc
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from transformers import PreTrainedModel

from evalkit.records import Request
from model_adapters.bench.decode import bench_decode
from model_adapters.bench.kernels import bench_kernels
from model_adapters.bench.memory import random_prompt
from model_adapters.bench.prefill import bench_prefill
from model_adapters.bench.record import BenchRecord, BenchRow, Ceilings, Timing
from model_adapters.bench.session import OURS, BenchSession, new_record
from model_adapters.bench.shapes import SHAPES, build_shape
from model_adapters.bench.suite import EngineOptions, bench_suite, random_case
from model_adapters.engine.engine import Engine
from model_adapters.engine.fast_modules.choose import choose_kernels
from model_adapters.engine.memory.allocation_counter import peak_bytes
from reports.bench_report import row_line

Part = Callable[[BenchSession, PreTrainedModel], None]


def parts(args: argparse.Namespace) -> dict[str, Part]:
    """Parts by name, the most important first and comparisons last."""
    short, long = args.ctx

    def suite(session: BenchSession, model: PreTrainedModel, *, ours: bool = True) -> None:
        cases = [random_case(model, short, args.samples), random_case(model, long, max(1, args.samples // 8))]
        bench_suite(session, model, cases, EngineOptions(), against=not ours, ours=ours)

    return {
        "prefill": lambda s, m: bench_prefill(
            s, m, (short, long - 1, long), segment_tokens=None, repeats=args.repeats, against=False
        ),
        "decode": lambda s, m: (
            bench_decode(s, m, (short, long), (1,), steps=args.steps, against=False),
            bench_decode(s, m, (short,), (args.batch,), steps=args.steps, against=False),
        )[0],
        "suite": suite,
        "scores": lambda s, m: bench_scores(s, m, long),
        "choices": lambda s, m: bench_choices(s, m, args.samples),
        "invariant": lambda s, m: bench_invariant(s, m, short, args.samples),
        "kernels": lambda s, m: bench_kernels(
            s, m, (short, long), (1, args.batch), repeats=args.repeats, against=False
        ),
        "beside-decode": lambda s, m: (
            bench_decode(s, m, (short,), (1, args.batch), steps=args.steps, against=True, ours=False),
            bench_decode(s, m, (long,), (1,), steps=args.steps, against=True, ours=False),
        )[0],
        "beside-prefill": lambda s, m: bench_prefill(
            s, m, (short, long), segment_tokens=None, repeats=2, against=True, ours=False
        ),
        "beside-suite": partial(suite, ours=False),
    }


def bench_scores(session: BenchSession, model: PreTrainedModel, tokens: int) -> None:
    """A row for the log-likelihood of every token of a long text: seconds, and memory above weights and cache."""
    row = BenchRow(what="scores", case=f"{tokens:,} tokens", by=OURS, tokens=tokens)

    def measure() -> BenchRow:
        engine = Engine(model)
        text = random_prompt(model, tokens)
        # Makes the cache, compiles what is compiled, and leaves the slot free.
        list(engine.generate([Request("first", tuple(text), 0, scored_from=1)]))
        started = time.perf_counter()
        peak, _ = peak_bytes(
            lambda: list(engine.generate([Request("again", tuple(text), 0, scored_from=1)])), model.device
        )
        seconds = time.perf_counter() - started
        engine.close()
        return replace(row, timing=Timing.of([seconds]), peak_bytes_above=peak)

    session.attempt(row, measure)


def bench_invariant(session: BenchSession, model: PreTrainedModel, tokens: int, samples: int) -> None:
    """Rows for samples decoded eight at a time: as usual, and with answers that do not depend on each other."""
    for invariant in (False, True):
        options = EngineOptions(slots=8, batch_invariant=invariant)
        bench_suite(session, model, [random_case(model, tokens, samples)], options, against=False)


def bench_choices(session: BenchSession, model: PreTrainedModel, subjects: int) -> None:
    """A row for questions with four choices each, five behind every header of 512 tokens: seconds per question."""
    requests = []
    for subject in range(subjects):
        header = random_prompt(model, 512, seed=subject)
        for question in range(5):
            text = random_prompt(model, 60 + (37 * subject + 23 * question) % 120, seed=1000 + question)
            shared = {"prefix_id": str(subject), "prefix_tokens": len(header)}
            choices = ((5,), (6,), (7,), (8,))
            requests.append(
                Request(f"{subject}/{question}", (*header, *text), 0, continuations=choices, **shared)  # type: ignore[arg-type]
            )
    row = BenchRow(what="choices", case=f"{len(requests)} questions", by=OURS, tokens=4 * len(requests))

    def measure() -> BenchRow:
        engine = Engine(model)
        list(engine.generate(requests[:10]))
        started = time.perf_counter()
        errors = [found.error for found in engine.generate(requests) if found.error is not None]
        seconds = time.perf_counter() - started
        engine.close()
        return replace(row, timing=Timing.of([seconds / len(requests)]), failure=errors[0] if errors else None)

    session.attempt(row, measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--parts", nargs="+", default=["prefill", "decode", "suite"])
    parser.add_argument("--ctx", nargs=2, type=int, default=[4096, 65_536], help="a short length and a long one")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--samples", type=int, default=64, help="at the short length; an eighth of it at the long")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget-seconds", type=float, default=300.0, help="of the whole run, starts included")
    parser.add_argument("--out", type=Path, default=Path("records"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + args.budget_seconds
    ceilings: Ceilings | None = None
    for shape in args.shapes:
        started = time.monotonic()
        model = build_shape(shape, device=args.device, dtype="auto", seed=args.seed)
        for line in choose_kernels(model):
            print(f"warning: {line}", flush=True)
        print(f"{shape}: made and checked in {time.monotonic() - started:.1f} s", flush=True)
        for name in args.parts:
            ceilings = run_part(args, shape, name, model, deadline, ceilings) or ceilings
        del model
        gc.collect()  # patched forwards and their modules hold each other
        torch.cuda.empty_cache()


def run_part(
    args: argparse.Namespace,
    shape: str,
    name: str,
    model: PreTrainedModel,
    deadline: float,
    ceilings: Ceilings | None,
) -> Ceilings | None:
    """One part of one shape, with its record in a file; the ceilings, which are measured once."""
    path = args.out / f"{shape}-{name}.json"
    record = new_record(name, shape, model, seed=args.seed, options={"argv": sys.argv[1:]})
    record.ceilings = ceilings

    def report(record: BenchRecord, row: BenchRow) -> None:
        print(row_line(row.to_json()), flush=True)
        path.write_text(json.dumps(record.to_json(), indent=2) + "\n")

    left = deadline - time.monotonic()
    session = BenchSession(record, model.device, budget_seconds=max(left, 1e-9), report=report)
    try:
        if not session.is_over:
            parts(args)[name](session, model)
    except Exception:  # noqa: BLE001 - whatever one part dies of, the others still have their time
        traceback.print_exc()
    session.close()
    path.write_text(json.dumps(record.to_json(), indent=2) + "\n")
    print(f"{shape} {name}: {record.seconds:.1f} s{' (stopped early)' if record.stopped_early else ''}", flush=True)
    return record.ceilings


if __name__ == "__main__":
    main()
