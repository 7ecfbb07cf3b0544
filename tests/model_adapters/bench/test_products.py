"""`bench products`: the choice among algorithms, by times that a test sets."""

import time
from itertools import count
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.bench import products
from model_adapters.bench import session as session_module
from model_adapters.bench.products import (
    CUBLAS,
    LEAST_GAIN,
    ROUNDS,
    WINDOW_SECONDS,
    Compared,
    bench_products,
    calls,
    compared,
    measure,
    window_seconds,
)
from model_adapters.bench.session import OURS, BenchSession, new_record
from model_adapters.kernels.large_product import kept_algorithms
from model_adapters.kernels.large_product.cublas_lt import ALGORITHM_BYTES, ProductShape
from model_adapters.kernels.large_product.kept_algorithms import KeptAlgorithms
from tests.model_adapters.small_models import small_model

ONE, OTHER = b"one", b"other"


def own() -> None: ...
def one() -> None: ...
def other() -> None: ...


def session_of(model: PreTrainedModel) -> BenchSession:
    return BenchSession(new_record("products", "small", model, seed=0, options={}), model.device, budget_seconds=None)


def test_the_fastest_compared_with_what_runs_around_it() -> None:
    # The clock falls all the time; the first algorithm is only ever measured before the second.
    clock = count(100)
    speed = {own: 1.0, one: 0.97, other: 0.95}
    found = compared(own, {ONE: one, OTHER: other}, lambda call: speed[call] * next(clock))  # type: ignore[index]
    assert found.fastest == OTHER
    assert len(found.seconds) == ROUNDS
    assert len(found.own) == 1 + 2 * ROUNDS


@pytest.mark.parametrize(("seconds", "fastest"), [(1 - LEAST_GAIN / 2, None), (1 - 2 * LEAST_GAIN, ONE), (1.2, None)])
def test_a_gain_within_noise_is_none(seconds: float, fastest: bytes | None) -> None:
    found = compared(own, {ONE: one}, lambda call: seconds if call is one else 1.0)
    assert found.fastest == fastest
    assert found.seconds == ([1.0] * (1 + ROUNDS) if fastest is None else [seconds] * ROUNDS)


def test_one_window_that_was_disturbed_decides_nothing() -> None:
    times = iter([1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert compared(own, {ONE: one}, lambda call: next(times)).fastest is None


def test_without_other_algorithms_the_choice_is_cublas_own() -> None:
    assert compared(own, {}, lambda call: 2.0) == Compared([2.0], None, [2.0])


def test_a_window_has_at_least_one_call() -> None:
    called: list[int] = []

    def slow() -> None:
        called.append(0)
        time.sleep(WINDOW_SECONDS)

    assert window_seconds(slow, torch.device("cpu")) >= WINDOW_SECONDS
    assert len(called) == 2  # the first says how many fit


def test_a_cpu_is_refused_in_one_line() -> None:
    model = small_model("olmo_hybrid")
    session = session_of(model)
    with pytest.raises(UsageError, match=r"^products need a CUDA device, and this is cpu; use --device cuda$"):
        bench_products(session, model, keep=False, against=True)


class StandIn:
    """cuBLASLt with an algorithm that gives PyTorch's bits, one that does not, and one that it refuses."""

    def __init__(self, adds: bool) -> None:
        self.adds = adds

    def candidates(self, tokens: int, most: int) -> tuple[bytes, ...]:
        return ONE, OTHER, b"refused"

    def multiply(self, algorithm: bytes, x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> bool:
        if algorithm == b"refused":
            return False
        torch.addmm(out if self.adds else torch.zeros_like(out), x, weight.t(), out=out)
        out += 0.5 * (algorithm == OTHER)
        return True


@pytest.mark.parametrize("added", [False, True])
def test_only_algorithms_with_the_same_bits_are_compared(monkeypatch: pytest.MonkeyPatch, added: bool) -> None:
    monkeypatch.setattr(products, "multiplier", lambda device, shape: StandIn(shape.added))
    _, others = calls(torch.device("cpu"), ProductShape(8, 16, added, torch.bfloat16), 32)
    assert list(others) == [ONE]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KeptAlgorithms:
    monkeypatch.setattr(kept_algorithms, "kernel_folder", lambda: tmp_path / "kernels")
    return KeptAlgorithms({"gpu": "test"})


def test_a_cache_that_cannot_be_written_is_refused_before_anything_is_measured(
    kept: KeptAlgorithms, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.path.parent.write_text("a file, not a folder")
    monkeypatch.setattr(products, "kept_algorithms", lambda device: kept)
    model = small_model("llama")
    session = session_of(model)
    with pytest.raises(UsageError, match=r"^--keep \S+ cannot be written: .*; let EVALKIT_CACHE name another folder$"):
        bench_products(session, model, keep=True, against=True)
    assert session.record.rows == []


@pytest.mark.parametrize(("against", "by"), [(True, [CUBLAS, OURS]), (False, [OURS])])
def test_the_fastest_is_kept_and_has_a_row_beside_cublas(
    kept: KeptAlgorithms, monkeypatch: pytest.MonkeyPatch, against: bool, by: list[str]
) -> None:
    shape, algorithm = ProductShape(8, 16, False, torch.bfloat16), bytes(ALGORITHM_BYTES)
    monkeypatch.setattr(products, "calls", lambda *_: (own, {algorithm: one}))
    monkeypatch.setattr(products, "window_seconds", lambda call, _: 0.5 if call is one else 1.0)
    model = small_model("llama")
    session = session_of(model)
    measure(session, model.device, shape, 4096, kept, against=against)
    assert [row.by for row in session.record.rows] == by
    assert [row.timing.median_seconds for row in session.record.rows if row.timing] == [1.0, 0.5][-len(by) :]
    assert kept.find(shape, 4096) == algorithm


def test_a_record_says_that_algorithms_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    assert "product algorithms" not in new_record("prefill", "small", model, seed=0, options={}).versions
    monkeypatch.setattr(session_module, "described_algorithms", lambda device: {"one": "00", "other": "01"})
    versions = new_record("prefill", "small", model, seed=0, options={}).versions
    assert versions["product algorithms"] == "2 kept"
