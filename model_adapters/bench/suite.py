"""`bench suite`: samples per minute after warm-up, with the engine and with `transformers.generate`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from transformers import PreTrainedModel

from evalkit.records import Request
from model_adapters.bench.floors import decode_work, prefill_work
from model_adapters.bench.memory import random_prompt
from model_adapters.bench.plain import plain_generate, plain_transformers, plain_variants
from model_adapters.bench.record import BenchRow, Timing
from model_adapters.bench.session import OURS, BenchSession
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.activations import needs_of
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.scheduling.fixed_shapes import GPU_SEGMENT_TOKENS
from model_adapters.engine.scheduling.memory_plan import GivenSizes, choose_plan
from model_adapters.engine.scheduling.sequence import Generation

NEW_TOKENS = 128
"""The budget of RULER's needle tasks."""
WARM_PROMPT, WARM_TOKENS, WARM_SAMPLES = 256, 3, 257
PLAIN_BATCH, PLAIN_BATCH_TOKENS = 16, 8192
"""Batch size of `generate` for prompts up to this length; longer prompts are run one at a time."""


class EngineOptions(NamedTuple):
    """The engine's own arguments."""

    segment_tokens: int | None = None
    slots: int | None = None
    batch_invariant: bool = False


@dataclass(frozen=True, slots=True)
class SuiteCase:
    """Samples of one task and length, as requests."""

    task: str
    context_tokens: int
    requests: tuple[Request, ...]

    @property
    def new_tokens(self) -> int:
        """Generation budget of the first sample, which all samples of a task share."""
        return self.requests[0].generation_tokens


def random_case(model: PreTrainedModel, context_tokens: int, samples: int) -> SuiteCase:
    """Random prompts of one length and answers of full length; the cost of a sample does not depend on its text."""
    new_tokens = min(NEW_TOKENS, context_tokens // 2)
    prompts = [random_prompt(model, context_tokens - new_tokens, seed=seed) for seed in range(samples)]
    requests = tuple(Request(str(seed), tuple(prompt), new_tokens) for seed, prompt in enumerate(prompts))
    return SuiteCase("random tokens", context_tokens, requests)


def bench_suite(
    session: BenchSession,
    model: PreTrainedModel,
    cases: Sequence[SuiteCase],
    options: EngineOptions,
    *,
    against: bool,
    ours: bool = True,
) -> None:
    """A row for each case and implementation, ours first; the time is that of one sample, on average over a case.

    No stop token ends an answer before its budget, whoever answers.
    """
    for case in cases if ours else ():
        row = _row(session, model, case, options.slots)
        engine = Engine(model, **options._asdict())
        session.attempt(row, lambda row=row, case=case, engine=engine: _ours(session, engine, row, case))  # type: ignore[misc]
        engine.close()
        session.free()
    for variant in plain_variants(model) if against else ():
        for case in cases:
            row = replace(_row(session, model, case, options.slots), by=variant)
            session.attempt(row, lambda row=row, case=case: _plain(session, model, row, case))  # type: ignore[misc]


def _row(session: BenchSession, model: PreTrainedModel, case: SuiteCase, slots: int | None) -> BenchRow:
    """The floor: each prompt is read once, and decode steps are shared by as many sequences as fit."""
    needs = needs_of(ModelRunner(model), GPU_SEGMENT_TOKENS)
    plan = choose_plan(needs, model.device, case.context_tokens, GivenSizes(slots=slots))
    together = min(plan.slots, len(case.requests))
    step = decode_work(model, case.context_tokens, together).floor_seconds(session.ceilings) / together
    floor = prefill_work(model, case.context_tokens).floor_seconds(session.ceilings) + case.new_tokens * step
    name = f"{case.task} at {case.context_tokens:,} × {len(case.requests)}"
    return BenchRow(what="suite", case=name, by=OURS, tokens=case.new_tokens, floor_seconds=floor)


def _ours(session: BenchSession, engine: Engine, row: BenchRow, case: SuiteCase) -> BenchRow:
    engine.stop_ids = frozenset()
    # One whole sample decides the cache that all then share; the others, short, record every size of decode step.
    short = (replace(r, token_ids=r.token_ids[:WARM_PROMPT], generation_tokens=WARM_TOKENS) for r in case.requests[1:])
    warm = [case.requests[0], *short]
    first = session.time(lambda: list(engine.generate(warm[:WARM_SAMPLES])), repeats=1, warmups=0)
    answers: list[Generation] = []
    timing = session.time(lambda: answers.extend(engine.generate(case.requests)), repeats=1, warmups=0)
    errors = [answer.error for answer in answers if answer.error is not None]
    if errors:
        return replace(row, failure=f"{len(errors)} of {len(answers)} samples failed: {errors[0]}")
    details = {
        "samples": len(answers),
        "samples_per_minute": 60 * len(answers) / timing.median_seconds,
        "warmup_seconds": first.median_seconds,
        "prefill_seconds": sum(answer.prefill_seconds for answer in answers),
        "decode_seconds": sum(answer.decode_seconds for answer in answers),
        "new_tokens": sum(len(answer.token_ids) for answer in answers),
        "slots": None if engine.plan is None else engine.plan.slots,
        "batch_invariant": engine.shapes is not None,
        "steps": engine.decoder.path,
    }
    return replace(row, timing=Timing.of([timing.median_seconds / len(answers)]), details=details)


def _plain(session: BenchSession, model: PreTrainedModel, row: BenchRow, case: SuiteCase) -> BenchRow:
    batch = PLAIN_BATCH if case.context_tokens <= PLAIN_BATCH_TOKENS else 1
    prompts = [request.token_ids for request in case.requests[:batch]]
    with plain_transformers(model, row.by):
        first = session.time(lambda: plain_generate(model, prompts, WARM_TOKENS), repeats=1, warmups=0)
        timing = session.time(lambda: plain_generate(model, prompts, case.new_tokens), repeats=1, warmups=0)
    seconds = timing.median_seconds / len(prompts)
    details = {
        "samples": len(prompts),
        "samples_per_minute": 60 / seconds,
        "batch": len(prompts),
        "warmup_seconds": first.median_seconds,
    }
    return replace(row, timing=Timing.of([seconds]), details=details)
