"""`bench products`: cuBLAS's algorithms for a model's products of thousands of tokens, under a lasting load.

A GPU that multiplies for seconds is limited by power, so the algorithm that is fastest on a rested one may then be
slower than another. Windows of each algorithm therefore alternate with windows of cuBLAS's own choice, which run at the
same clock, and are compared with them.

Shape suffixes: M tokens, N rows of the matrix, K features.
"""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from evalkit import files
from evalkit.errors import UsageError
from model_adapters.bench.device_time import Call, call_seconds
from model_adapters.bench.memory import random_prompt
from model_adapters.bench.record import BenchRow, Timing
from model_adapters.bench.session import OURS, BenchSession
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.kernels.large_product.cublas_lt import ProductShape
from model_adapters.kernels.large_product.kept_algorithms import MEASURED_TOKENS, KeptAlgorithms, kept_algorithms
from model_adapters.kernels.large_product.product import multiplier, products_noted

CUBLAS = "cuBLAS's choice"
CANDIDATES = 8
ROUNDS = 3
WINDOW_SECONDS = 0.04
WARM_UP_SECONDS = 2.0
LEAST_GAIN = 0.015
"""Part of the time that another algorithm must save; windows of one algorithm differ by a percent."""


class Compared(NamedTuple):
    """Seconds of single products, one number per window."""

    own: list[float]
    """By cuBLAS's choice."""
    fastest: bytes | None
    """The algorithm to use instead; None if no other saves LEAST_GAIN."""
    seconds: list[float]
    """By that algorithm, or by cuBLAS's choice."""


def bench_products(session: BenchSession, model: PreTrainedModel, *, keep: bool, against: bool) -> None:
    """Rows for the fastest algorithm that gives the bits of cuBLAS's choice, by tokens and matrix.

    `keep` stores the fastest for later processes on this kind of GPU; `against` adds rows for cuBLAS's choice. Raises
    UsageError as `place_of_algorithms` does, and if the model has no such products.
    """
    kept = place_of_algorithms(model.device, keep=keep)
    shapes = product_shapes(model)
    if not shapes:
        raise UsageError(f"no product of this model in {model.dtype} can have another algorithm; use --dtype bfloat16")
    warm_up(model.device)
    for shape in sorted(shapes, key=str):
        for tokens in MEASURED_TOKENS:
            measure(session, model.device, shape, tokens, kept if keep else None, against=against)


def place_of_algorithms(device: torch.device, *, keep: bool) -> KeptAlgorithms:
    """Where the algorithms for a device are kept; UsageError if it has none, or if `keep` could not write there."""
    kept = kept_algorithms(device)
    if kept is None:
        raise UsageError(f"products need a CUDA device, and this is {device}; use --device cuda")
    if keep:
        with files.writing(f"--keep {kept.path}", "let EVALKIT_CACHE name another folder"):
            kept.rewrite()
    return kept


def product_shapes(model: PreTrainedModel) -> set[ProductShape]:
    """The products that the model computes for a prompt of thousands of tokens."""
    runner, tokens = ModelRunner(model), MEASURED_TOKENS[0]
    with products_noted() as noted:
        runner.prefill(runner.new_cache(slots=1, max_tokens=tokens), 0, random_prompt(model, tokens), tokens)
    return noted


def warm_up(device: torch.device) -> None:
    """Multiply until the GPU's clock is limited by its power."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    spent = 0.0
    while spent < WARM_UP_SECONDS:
        spent += sum(call_seconds(lambda: torch.mm(a, b), device, 50))


def measure(
    session: BenchSession,
    device: torch.device,
    shape: ProductShape,
    tokens: int,
    kept: KeptAlgorithms | None,
    *,
    against: bool,
) -> None:
    """The rows for one number of tokens, and the fastest algorithm in `kept`."""
    row = BenchRow(what="product", case=f"{tokens:,} × {shape}", by=OURS, tokens=tokens)

    def attempt() -> BenchRow:
        own, others = calls(device, shape, tokens)
        found = compared(own, others, lambda call: window_seconds(call, device))
        if kept is not None:
            kept.keep(shape, tokens, found.fastest)
        if against:
            session.add(replace(row, by=CUBLAS, timing=Timing.of(found.own)))
        return replace(row, timing=Timing.of(found.seconds), details={"algorithms": 1 + len(others)})

    session.attempt(row, attempt)


def calls(device: torch.device, shape: ProductShape, tokens: int) -> tuple[Call, Mapping[bytes, Call]]:
    """The product by cuBLAS's choice, and by the proposed algorithms that give the same bits."""
    x_MK, weight_NK, held_MN = (
        torch.randn(sizes, device=device, dtype=shape.dtype)
        for sizes in ((tokens, shape.features), (shape.rows, shape.features), (tokens, shape.rows))
    )
    out_MN, products = held_MN.clone(), multiplier(device, shape)

    def own() -> object:
        return out_MN.addmm_(x_MK, weight_NK.t()) if shape.added else torch.mm(x_MK, weight_NK.t(), out=out_MN)

    own()
    others, expected_MN = dict[bytes, Call](), out_MN.clone()
    for algorithm in products.candidates(tokens, CANDIDATES):

        def call(algorithm: bytes = algorithm) -> bool:
            return products.multiply(algorithm, x_MK, weight_NK, out_MN)

        out_MN.copy_(held_MN)
        if call() and torch.equal(out_MN, expected_MN):
            others[algorithm] = call
    out_MN.zero_()  # sums do not grow beyond what the dtype holds
    return own, others


def compared(own: Call, others: Mapping[bytes, Call], window: Callable[[Call], float]) -> Compared:
    """The fastest call: the one whose windows are the shortest compared with those of `own` around them."""
    before, seconds = [window(own)], {algorithm: list[float]() for algorithm in others}
    gains = {algorithm: list[float]() for algorithm in others}
    for _ in range(ROUNDS):
        for algorithm, call in others.items():
            seconds[algorithm].append(window(call))
            before.append(window(own))
            gains[algorithm].append(1 - 2 * seconds[algorithm][-1] / (before[-2] + before[-1]))
    best = max(others, key=lambda algorithm: statistics.median(gains[algorithm]), default=None)
    if best is None or statistics.median(gains[best]) < LEAST_GAIN:
        return Compared(before, None, before)
    return Compared(before, best, seconds[best])


def window_seconds(call: Call, device: torch.device) -> float:
    """The average time of calls one after another that take WINDOW_SECONDS together."""
    count = max(1, math.ceil(WINDOW_SECONDS / call_seconds(call, device, 1)[0]))
    return call_seconds(lambda: [call() for _ in range(count)], device, 1)[0] / count
