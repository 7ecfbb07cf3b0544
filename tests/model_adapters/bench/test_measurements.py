"""Every mode on small models: rows for ours and for transformers, failures reported, budgets kept, models unchanged."""

from dataclasses import replace

import pytest
import torch

from evalkit.records import Request
from model_adapters.bench import kernels, plain, shapes
from model_adapters.bench.decode import bench_decode
from model_adapters.bench.kernels import bench_kernels
from model_adapters.bench.plain import plain_filled_cache, plain_step, plain_transformers
from model_adapters.bench.prefill import bench_prefill
from model_adapters.bench.record import BenchRecord, BenchRow, Ceilings
from model_adapters.bench.session import BenchSession, new_record
from model_adapters.bench.suite import EngineOptions, SuiteCase, bench_suite, random_case
from model_adapters.engine.engine import Engine
from tests.model_adapters.engine.prompts import random_prompt, transformers_generate
from tests.model_adapters.small_models import FAMILIES, small_model


def session_of(*, budget_seconds: float | None = None) -> BenchSession:
    record = new_record("test", "small", small_model("llama"), seed=0, options={})
    record.ceilings = Ceilings(1e10, 1e10, "by hand")
    return BenchSession(record, torch.device("cpu"), budget_seconds=budget_seconds)


def names(record: BenchRecord) -> list[tuple[str, str, str]]:
    return [(row.what, row.case, row.by) for row in record.rows]


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_prefill_rows(family: str) -> None:
    session = session_of()
    bench_prefill(session, small_model(family), (60, 90), segment_tokens=32, repeats=3, against=True)
    assert names(session.record) == [
        ("prefill", "60 tokens", "evalkit"),
        ("prefill", "90 tokens", "evalkit"),
        ("prefill", "60 tokens", "transformers"),
        ("prefill", "90 tokens", "transformers"),
    ]
    for row in session.record.rows:
        assert row.failure is None
        assert row.timing is not None
        assert row.timing.repeats == 3
        assert row.peak_bytes_above is not None
        assert row.peak_bytes_above > 0


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_decode_rows(family: str) -> None:
    session = session_of()
    bench_decode(session, small_model(family), (70,), (1, 3), steps=3, against=True)
    assert [(row.case, row.by, row.failure) for row in session.record.rows] == [
        ("70 tokens × 1", "evalkit", None),
        ("70 tokens × 3", "evalkit", None),
        ("70 tokens × 1", "transformers", None),
        ("70 tokens × 3", "transformers", None),
    ]
    assert session.record.rows[1].details["agreement"].startswith("24 of 24")


def test_kernel_rows() -> None:
    session = session_of()
    bench_kernels(session, small_model("olmo_hybrid"), (64,), (1, 2), repeats=2, against=True)
    assert [row.what for row in session.record.rows if row.by == "evalkit"] == [
        "gated delta rule",
        "gated delta step",
        "gated delta step",
        "attention",
        "attention step",
        "attention step",
    ]
    for row in session.record.rows:
        assert row.failure is None
        assert row.timing is not None


def test_a_red_kernel_is_reported_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*args: torch.Tensor, **rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out, state = kernels.chunk_gated_delta_rule(*args, **rest)  # type: ignore[arg-type]
        return out * 1.001, state

    monkeypatch.setattr(kernels, "_rule", lambda device: wrong)
    session = session_of()
    bench_kernels(session, small_model("olmo_hybrid"), (64,), (), repeats=2, against=False)
    red, *rest = session.record.rows
    assert red.timing is None
    assert red.failure is not None
    assert red.failure.startswith("RED, not timed: relative error 1.0e-03")
    assert [row.failure for row in rest] == [None]


def test_suite_rows() -> None:
    session = session_of()
    model = small_model("olmo_hybrid")
    case = random_case(model, 40, 3)
    assert {len(request.token_ids) + request.generation_tokens for request in case.requests} == {40}
    bench_suite(session, model, [case], EngineOptions(16, 2), against=True)
    ours, theirs = session.record.rows
    assert (ours.failure, theirs.failure) == (None, None)
    # Every answer used its whole budget, regardless of stop tokens.
    assert ours.details["new_tokens"] == 3 * 20
    assert (ours.details["samples"], theirs.details["samples"]) == (3, 3)
    assert ours.timing is not None
    assert ours.details["samples_per_minute"] == pytest.approx(60 / ours.timing.median_seconds)


def test_a_suite_through_transformers_alone() -> None:
    session, model = session_of(), small_model("llama")
    bench_suite(session, model, [random_case(model, 20, 2)], EngineOptions(slots=2), against=True, ours=False)
    assert names(session.record) == [("suite", "random tokens at 20 × 2", "transformers")]


def test_samples_that_fail_are_reported() -> None:
    session = session_of()
    case = SuiteCase("one", 40, (Request("0", (5, 6), 3), Request("1", (), 3)))
    bench_suite(session, small_model("llama"), [case], EngineOptions(slots=2, batch_invariant=True), against=False)
    (row,) = session.record.rows
    assert row.timing is None
    assert row.failure == "1 of 2 samples failed: the prompt is empty"


def test_one_failure_leaves_the_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 37 GiB\nand more")

    monkeypatch.setattr("model_adapters.bench.prefill.plain_prefill", refuse)
    session = session_of()
    bench_prefill(session, small_model("llama"), (20, 30), segment_tokens=16, repeats=1, against=True)
    assert [row.failure for row in session.record.rows] == [None, None, "out of memory", "out of memory"]


def test_a_spent_budget_keeps_what_was_measured() -> None:
    session = session_of(budget_seconds=1e-9)
    bench_prefill(session, small_model("llama"), (20,), segment_tokens=16, repeats=3, against=True)
    assert session.record.rows == []
    assert session.record.stopped_early
    reported: list[BenchRow] = []
    session = BenchSession(
        session.record, session.device, budget_seconds=None, report=lambda _, row: reported.append(row)
    )
    bench_prefill(session, small_model("llama"), (20,), segment_tokens=16, repeats=3, against=False)
    assert reported == session.record.rows


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_steps_are_those_of_transformers_and_the_engine_goes_on_afterwards(family: str) -> None:
    model, request = small_model(family), Request("0", random_prompt(50), 4)
    expected = transformers_generate(family, request)
    engine = Engine(model)
    (before,) = engine.generate([request])
    with plain_transformers(model, plain.PLAIN):
        cache = plain_filled_cache(model, torch.tensor([request.token_ids[:-1]]), 2)
        token_B1, found = torch.full((2, 1), request.token_ids[-1]), []
        for _ in range(4):
            token_B1 = plain_step(model, cache, token_B1)
            found.append(token_B1[:, 0].tolist())
    assert found == [[token, token] for token in expected]
    (after,) = engine.generate([replace(request, id="1")])
    assert before.token_ids == after.token_ids == expected


def test_padding_on_the_left_changes_no_answer() -> None:
    model = small_model("llama")
    prompts = [random_prompt(20), random_prompt(33)]
    assert plain.plain_generate(model, prompts, 3) == 3


def test_shapes_are_those_that_were_published() -> None:
    hybrid, window = shapes.SHAPES["olmo-hybrid-7b"](), shapes.SHAPES["olmo3-7b"]()
    assert hybrid.layer_types.count("linear_attention") == 24
    assert hybrid.rope_parameters["rope_theta"] is None
    assert (hybrid.linear_key_head_dim, hybrid.linear_value_head_dim) == (96, 192)
    assert window.layer_types.count("sliding_attention") == 24
    assert (window.sliding_window, window.vocab_size) == (4096, 100_278)


def test_shapes_are_the_same_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shapes.SHAPES, "small", lambda: small_model("olmo_hybrid").config)
    one, same, other = (shapes.build_shape("small", device="cpu", dtype="auto", seed=seed) for seed in (1, 1, 2))
    assert one.dtype == torch.float32
    pairs = list(zip(one.parameters(), same.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
