"""`bench decode`: the time of one new token for each of some sequences, ours and through transformers alone."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from model_adapters.bench.floors import decode_work
from model_adapters.bench.memory import random_prompt
from model_adapters.bench.plain import plain_filled_cache, plain_step, plain_transformers, plain_variants
from model_adapters.bench.record import BenchRow, Timing
from model_adapters.bench.session import OURS, BenchSession
from model_adapters.engine.forward.decode_graph import DecodeSteps
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.cost import rounded_length
from model_adapters.engine.memory.slotted_cache import SlottedCache

WARM_STEPS = 4
PLAIN_STEPS = 16
CHECK_TOKENS, CHECK_STEPS = 200, 8


def bench_decode(
    session: BenchSession,
    model: PreTrainedModel,
    contexts: Sequence[int],
    batches: Sequence[int],
    *,
    steps: int,
    against: bool,
    ours: bool = True,
) -> None:
    """A row for each length, number of sequences and implementation; ours first.

    Sequences hold a short prompt and, up to the length, random keys and values, because the cost of a step does not
    depend on their values.
    """
    cases = [(tokens, sequences) for tokens in contexts for sequences in batches]
    for tokens, sequences in cases if ours else ():
        row = _row(session, model, tokens, sequences, OURS)
        session.attempt(row, lambda row=row, n=sequences, t=tokens: _ours(session, model, row, t, n, steps))  # type: ignore[misc]
    for variant in plain_variants(model) if against else ():
        for tokens, sequences in cases:
            row = _row(session, model, tokens, sequences, variant)
            session.attempt(row, lambda row=row, n=sequences, t=tokens: _plain(session, model, row, t, n))  # type: ignore[misc]


def _row(session: BenchSession, model: PreTrainedModel, tokens: int, sequences: int, by: str) -> BenchRow:
    floor = decode_work(model, tokens, sequences).floor_seconds(session.ceilings)
    case = f"{tokens:,} tokens × {sequences}"
    return BenchRow(what="decode", case=case, by=by, tokens=sequences, floor_seconds=floor)


def _ours(
    session: BenchSession, model: PreTrainedModel, row: BenchRow, tokens: int, sequences: int, steps: int
) -> BenchRow:
    runner = ModelRunner(model)
    agreement = check_steps(runner, sequences)
    cache = filled_cache(runner, tokens, sequences, spare_tokens=WARM_STEPS + steps)
    decoder, ids = DecodeSteps(runner), [1] * sequences
    first = time.perf_counter()
    decoder.start(cache, ids).read()
    first_seconds = time.perf_counter() - first
    seconds: list[float] = []
    for step, taken in enumerate(step_seconds(decoder, cache, ids, WARM_STEPS - 2 + steps)):
        if step >= WARM_STEPS - 2:
            seconds.append(taken)
        if len(seconds) > 1 and session.is_over:
            break
    details = {"steps": decoder.path, "first_step_seconds": first_seconds, "agreement": agreement}
    if decoder.refused is not None:
        details["refused"] = decoder.refused
    decoder.drop()
    return replace(row, timing=Timing.of(seconds), details=details)


def step_seconds(decoder: DecodeSteps, cache: SlottedCache, token_ids: Sequence[int], steps: int) -> Iterator[float]:
    """Seconds from the tokens of one step to those of the next, after one more step that is not counted.

    As in the engine, the next step is started before the tokens are read, if the decoder can do so.
    """
    newest = decoder.start(cache, token_ids)
    before = time.perf_counter()
    for _ in range(steps):
        if decoder.runs_ahead:
            following = decoder.start_next()
            newest.read()
            newest = following
        else:
            decoder.start(cache, token_ids).read()
        now = time.perf_counter()
        yield now - before
        before = now


def filled_cache(runner: ModelRunner, tokens: int, sequences: int, *, spare_tokens: int) -> SlottedCache:
    """A cache whose slots hold `tokens` tokens each, random keys and values after the first few."""
    max_tokens = rounded_length(tokens + spare_tokens)
    cache = runner.new_cache(slots=sequences, max_tokens=max_tokens)
    prompt = random_prompt(runner.model, min(16, tokens))
    for slot in range(sequences):
        runner.prefill(cache, slot, prompt, len(prompt))
        for buffer in cache.buffers.values():
            for places in buffer.tensors(slot, tokens):
                places[:, len(prompt) :].normal_()
        cache.advance_slot(slot, tokens - len(prompt))
    return cache


def check_steps(runner: ModelRunner, sequences: int) -> str:
    """How many tokens of recorded steps equal those of single launches, on prompts of different lengths.

    In half precision close logits may change places, so this is only reported.
    """
    sequences = min(sequences, 4)
    found: list[list[list[int | None]]] = []
    for decoder in (DecodeSteps(runner), DecodeSteps(runner, recorded=False)):
        max_tokens = CHECK_TOKENS + CHECK_STEPS + sequences
        cache = runner.new_cache(slots=sequences, max_tokens=max_tokens)
        for slot in range(sequences):
            runner.prefill(cache, slot, random_prompt(runner.model, CHECK_TOKENS - 10 * slot, seed=slot), CHECK_TOKENS)
        # The same tokens to both, so that one difference does not make all that follows it differ.
        ids_of_steps = [[step + slot for slot in range(sequences)] for step in range(CHECK_STEPS)]
        found.append([decoder.start(cache, ids).read() for ids in ids_of_steps])
        decoder.drop()
    equal = sum(a == b for one, other in zip(*found, strict=True) for a, b in zip(one, other, strict=True))
    return f"{equal} of {CHECK_STEPS * sequences} tokens equal those of single launches"


def _plain(session: BenchSession, model: PreTrainedModel, row: BenchRow, tokens: int, sequences: int) -> BenchRow:
    id_1T = torch.tensor([random_prompt(model, tokens)], device=model.device)
    with plain_transformers(model, row.by):
        cache = plain_filled_cache(model, id_1T, sequences)
        id_B1 = torch.ones((sequences, 1), dtype=torch.long, device=model.device)
        timing = session.time(lambda: plain_step(model, cache, id_B1), repeats=PLAIN_STEPS, warmups=2)
    return replace(row, timing=timing)
