"""`bench prefill`: seconds and memory of reading a prompt, ours and through transformers alone."""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from model_adapters.bench.floors import prefill_work
from model_adapters.bench.memory import measure_prefill, random_prompt
from model_adapters.bench.plain import plain_prefill, plain_transformers, plain_variants
from model_adapters.bench.record import BenchRow, Timing
from model_adapters.bench.session import OURS, BenchSession
from model_adapters.engine.forward.activations import needs_of
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.allocation_counter import peak_bytes
from model_adapters.engine.scheduling.fixed_shapes import GPU_SEGMENT_TOKENS
from model_adapters.engine.scheduling.memory_plan import GivenSizes, choose_plan

PLAIN_SECONDS = 10.0
"""Above this duration, transformers is measured fewer times."""


def bench_prefill(
    session: BenchSession,
    model: PreTrainedModel,
    contexts: Sequence[int],
    *,
    segment_tokens: int | None,
    repeats: int,
    against: bool,
    ours: bool = True,
) -> None:
    """A row for each length and implementation; ours first, so that a short budget measures it at every length."""
    for tokens in contexts if ours else ():
        row = _row(session, model, tokens, OURS)
        session.attempt(row, lambda row=row: _ours(session, model, row, segment_tokens, repeats))  # type: ignore[misc]
    for variant in plain_variants(model) if against else ():
        for tokens in contexts:
            row = _row(session, model, tokens, variant)
            session.attempt(row, lambda row=row: _plain(session, model, row, repeats))  # type: ignore[misc]


def _row(session: BenchSession, model: PreTrainedModel, tokens: int, by: str) -> BenchRow:
    floor = prefill_work(model, tokens).floor_seconds(session.ceilings)
    return BenchRow(what="prefill", case=f"{tokens:,} tokens", by=by, tokens=tokens, floor_seconds=floor)


def _ours(
    session: BenchSession, model: PreTrainedModel, row: BenchRow, segment_tokens: int | None, repeats: int
) -> BenchRow:
    needs = needs_of(ModelRunner(model), segment_tokens or GPU_SEGMENT_TOKENS)
    segment = segment_tokens or choose_plan(needs, model.device, row.tokens, GivenSizes(slots=1)).segment_tokens
    found = measure_prefill(model, row.tokens, segment, repeats=repeats, enough=lambda: session.is_over)
    return replace(
        row,
        timing=Timing.of(found.all_seconds),
        peak_bytes_above=found.peak_bytes_above_weights_and_kv,
        details={
            "segment_tokens": segment,
            "first_seconds": found.first_seconds,
            "kv_bytes": found.kv_bytes,
            "state_bytes": found.state_bytes,
            "weights_bytes": found.weights_bytes,
            "memory": found.method,
        },
    )


def _plain(session: BenchSession, model: PreTrainedModel, row: BenchRow, repeats: int) -> BenchRow:
    id_1T = torch.tensor([random_prompt(model, row.tokens)], device=model.device)
    with plain_transformers(model, row.by):
        # The first call tunes and compiles, so its time is reported separately.
        started = time.perf_counter()
        kept = cache_bytes(plain_prefill(model, id_1T))
        first = time.perf_counter() - started
        if model.device.type == "cuda":
            peak, timing = peak_bytes(lambda: _timed(session, model, id_1T, repeats), model.device)
        else:
            # Counting every allocation takes time of its own.
            peak, _ = peak_bytes(lambda: plain_prefill(model, id_1T), model.device)
            timing = _timed(session, model, id_1T, repeats)
    return replace(row, timing=timing, peak_bytes_above=peak - kept, details={"first_seconds": first, "kv_bytes": kept})


def _timed(session: BenchSession, model: PreTrainedModel, id_1T: torch.Tensor, repeats: int) -> Timing:
    return session.time(lambda: plain_prefill(model, id_1T), repeats=repeats, warmups=0, enough_seconds=PLAIN_SECONDS)


def cache_bytes(cache: object) -> int:
    """Bytes of the KV cache in transformers."""
    layers = getattr(cache, "layers", [])
    tensors = (getattr(layer, name, None) for layer in layers for name in ("keys", "values"))
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))
