"""`bench products`: the choice among algorithms, by times that a test sets."""

from itertools import count

import pytest
import torch

from evalkit.errors import UsageError
from model_adapters.bench import session as session_module
from model_adapters.bench.products import LEAST_GAIN, ROUNDS, Compared, bench_products, compared, window_seconds
from model_adapters.bench.session import BenchSession, new_record
from tests.model_adapters.small_models import small_model

ONE, OTHER = b"one", b"other"


def own() -> None: ...
def one() -> None: ...
def other() -> None: ...


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
    calls: list[int] = []
    assert window_seconds(lambda: calls.append(0), torch.device("cpu")) > 0
    assert len(calls) > 1


def test_a_cpu_is_refused_in_one_line() -> None:
    model = small_model("olmo_hybrid")
    session = BenchSession(
        new_record("products", "small", model, seed=0, options={}), model.device, budget_seconds=None
    )
    with pytest.raises(UsageError, match=r"^products need a CUDA device, but the model is on cpu; use --device cuda$"):
        bench_products(session, model, keep=False)


def test_a_record_says_that_algorithms_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    assert "product algorithms" not in new_record("prefill", "small", model, seed=0, options={}).versions
    monkeypatch.setattr(session_module, "described_algorithms", lambda device: {"one": "00", "other": "01"})
    versions = new_record("prefill", "small", model, seed=0, options={}).versions
    assert versions["product algorithms"] == "2 kept"
