"""The prefill kernels against the fp64 recurrence."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_adapters.kernels.gated_delta.arguments import RawGates
from model_adapters.kernels.gated_delta.reference import beta_from_input, chunk_gated_delta_rule, log_decay_from_input
from model_adapters.kernels.gated_delta.triton_prefill import (
    PrefillLaunch,
    choose_prefill_launch,
    prefill_gated_delta_rule,
    split_key_size,
)
from model_adapters.kernels.packed_rows import PackedRows
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import (
    DEVICE,
    DTYPES,
    TOLERANCE,
    Case,
    Inputs,
    make_inputs,
)

on_gpu = pytest.mark.skipif(DEVICE != "cuda", reason="needs a GPU: too large for the interpreter")


def prefill_poisoned(inputs: Inputs, launch: PrefillLaunch | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernels' results, written over NaN."""
    return prefill_gated_delta_rule(
        inputs.q,
        inputs.k,
        inputs.v,
        log_decay_BTH=inputs.log_decay,
        beta_BTH=inputs.beta,
        initial_state_BHKV=inputs.state,
        out_BTHV=torch.full_like(inputs.v.contiguous(), torch.nan),
        final_state_BHKV=torch.full_like(inputs.state, torch.nan),
        launch=launch,
    )


def assert_right(inputs: Inputs, launch: PrefillLaunch | None = None) -> None:
    truth, truth_state = inputs.truth()
    out, state = prefill_poisoned(inputs, launch)
    assert out.dtype == inputs.v.dtype
    assert gap(out, truth) <= TOLERANCE[inputs.v.dtype]
    assert gap(state, truth_state) <= TOLERANCE[inputs.v.dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 1000, pytest.param(8192, marks=on_gpu)])
def test_lengths_around_a_chunk(tokens: int, dtype: torch.dtype) -> None:
    assert_right(make_inputs(Case(tokens=tokens, value_heads=1, dtype=dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("key_size", "value_size"), [(96, 192), (16, 16), (100, 70), (128, 128), pytest.param(256, 256, marks=on_gpu)]
)
def test_head_sizes(key_size: int, value_size: int, dtype: torch.dtype) -> None:
    assert_right(make_inputs(Case(tokens=70, key_size=key_size, value_size=value_size, value_heads=1, dtype=dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("decay", "lowest_beta"), [(20.0, 0.0), (0.01, 1.9), (0.0, 1.99)], ids=["strong", "negative", "reflections"]
)
def test_extreme_gates(decay: float, lowest_beta: float, dtype: torch.dtype) -> None:
    assert_right(make_inputs(Case(tokens=200, decay=decay, lowest_beta=lowest_beta, value_heads=1, dtype=dtype)))


@on_gpu
@pytest.mark.parametrize(("decay", "lowest_beta"), [(0.001, 1.9), (0.0, 1.99)])
def test_reflections_for_8192_tokens(decay: float, lowest_beta: float) -> None:
    # The sizes of the 7B hybrid: without decay, heads of 24 and 40 lose twice as much (9e-3).
    case = Case(tokens=8192, key_size=96, value_size=192, decay=decay, lowest_beta=lowest_beta, dtype=torch.bfloat16)
    assert_right(make_inputs(case))


# Half precision, which the interpreter multiplies correctly; bf16 inputs are multiplied in the same way.
HALF_ERROR = 6e-4


@pytest.mark.parametrize(("values", "states"), [(1e-6, 1e-6), (1.0, 1.0), (1.0, 1e-9), (3e3, 1e6), (3e3, 1e12)])
def test_the_range_of_half_precision_follows_values_and_state(values: float, states: float) -> None:
    inputs = make_inputs(Case(tokens=200, value_heads=1, decay=0.05, dtype=torch.float16))
    # fp16 outputs can represent neither the largest nor the smallest of these, so they are not tested.
    asked = inputs.q if values == 1 else torch.zeros_like(inputs.q)
    inputs = replace(inputs, q=asked, v=inputs.v * values, state=inputs.state * states)
    truth, truth_state = inputs.truth()
    out, state = prefill_poisoned(inputs)
    # Much of a large state is subtracted again, but its rounding errors remain.
    assert gap(state, truth_state) <= 5e-3
    assert (out - truth).abs().max() <= 5e-3 * truth.abs().max()


def test_values_that_grow_and_vanish_within_a_call() -> None:
    inputs = make_inputs(Case(tokens=320, value_heads=1, decay=1.0, dtype=torch.float16))
    sizes = torch.tensor([1e-4, 1e4, 0.0, 1e-3, 1.0], device=DEVICE).repeat_interleave(64)
    inputs = replace(inputs, v=(inputs.v.float() * sizes[:, None, None]).clamp(-6e4, 6e4).half())
    truth, truth_state = inputs.truth()
    out, state = prefill_poisoned(inputs)
    for start in range(0, 320, 64):
        here = slice(start, start + 64)
        assert gap(out[:, here], truth[:, here]) <= 2 * HALF_ERROR
    assert gap(state, truth_state) <= HALF_ERROR


def test_rounding_errors_of_reflections_stay_small() -> None:
    # Without decay every rounding error remains; operands rounded to bf16 give 2e-2 here.
    inputs = make_inputs(Case(tokens=320, decay=0.0, lowest_beta=1.99, value_heads=1, dtype=torch.float16))
    _, truth_state = inputs.truth()
    assert gap(prefill_poisoned(inputs)[1], truth_state) <= 3e-3


def test_a_decay_of_exactly_zero_forgets_everything() -> None:
    inputs = make_inputs(Case(tokens=90, value_heads=1))
    inputs.log_decay[:, 40] = -torch.inf
    assert_right(inputs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_grouped_value_heads_and_many_sequences(dtype: torch.dtype) -> None:
    assert_right(make_inputs(Case(sequences=2, tokens=65, key_heads=2, value_heads=4, dtype=dtype)))


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.sets(st.integers(1, 199), min_size=1, max_size=2))
def test_a_split_anywhere_changes_nothing(stops: set[int]) -> None:
    inputs = make_inputs(Case(tokens=200, value_heads=1, key_size=16, value_size=16))
    truth, truth_state = inputs.truth()
    outs, start = [], 0
    for stop in [*sorted(stops), 200]:
        out, state = prefill_poisoned(inputs.tokens(start, stop))
        inputs = replace(inputs, state=state)
        outs.append(out)
        start = stop
    assert gap(torch.cat(outs, dim=1), truth) <= 1e-4
    assert gap(inputs.state, truth_state) <= 1e-4


def test_pieces_within_a_call_change_nothing() -> None:
    case = Case(tokens=400)
    chosen = choose_prefill_launch(key_size=case.key_size, value_size=case.value_size, dtype=case.dtype)
    assert_right(make_inputs(case), replace(chosen, piece_tokens=128))


def test_a_state_updated_in_place() -> None:
    inputs = make_inputs(Case())
    _, truth_state = inputs.truth()
    _, state = prefill_gated_delta_rule(
        inputs.q,
        inputs.k,
        inputs.v,
        log_decay_BTH=inputs.log_decay,
        beta_BTH=inputs.beta,
        initial_state_BHKV=inputs.state,
        final_state_BHKV=inputs.state,
    )
    assert state is inputs.state
    assert gap(state, truth_state) <= 1e-4


def test_no_state_is_a_state_of_zeros() -> None:
    inputs = replace(make_inputs(Case()), state=torch.zeros(1, 2, 24, 40, device=DEVICE))
    truth, _ = inputs.truth()
    out, _ = prefill_gated_delta_rule(
        inputs.q, inputs.k, inputs.v, log_decay_BTH=inputs.log_decay, beta_BTH=inputs.beta
    )
    assert gap(out, truth) <= 1e-4


def test_ready_norms_are_left_alone() -> None:
    inputs = make_inputs(Case())
    unit = [torch.nn.functional.normalize(x, dim=-1) for x in (inputs.q, inputs.k)]
    gates = {"log_decay_BTH": inputs.log_decay, "beta_BTH": inputs.beta, "initial_state_BHKV": inputs.state}
    truth, _ = chunk_gated_delta_rule(*(x.double() for x in (*unit, inputs.v)), **gates, normalize_qk=False)
    out, _ = prefill_gated_delta_rule(*unit, inputs.v, **gates, normalize_qk=False)
    assert gap(out, truth) <= 1e-4


def test_half_precision_keys_of_any_norm() -> None:
    inputs = make_inputs(Case(dtype=torch.float16))
    # Norms around 1.1, for which the state grows in some directions.
    scaled = [1.1 * torch.nn.functional.normalize(x.float(), dim=-1).half() for x in (inputs.q, inputs.k)]
    gates = {"log_decay_BTH": inputs.log_decay, "beta_BTH": inputs.beta, "initial_state_BHKV": inputs.state}
    truth, truth_state = chunk_gated_delta_rule(*(x.double() for x in (*scaled, inputs.v)), **gates, normalize_qk=False)
    given = torch.full_like(inputs.v.contiguous(), torch.nan)
    out, state = prefill_gated_delta_rule(*scaled, inputs.v, **gates, out_BTHV=given, normalize_qk=False)
    assert out is given
    assert gap(out, truth) <= 3e-4
    assert gap(state, truth_state) <= 1e-4


def test_raw_gates_are_computed_on_the_way() -> None:
    inputs = make_inputs(Case(tokens=70))
    # Inputs up to ±30, where a plain log(1 + exp(x)) would already be inaccurate.
    decay_input, beta_input = 60 * inputs.log_decay / 0.3 + 30, 5 * (inputs.beta - 1)
    rate_log, bias = torch.tensor([-2.0, 0.5], device=DEVICE), torch.tensor([0.3, -0.7], device=DEVICE)
    ready = replace(
        inputs,
        log_decay=log_decay_from_input(decay_input, decay_rate_log_H=rate_log, decay_bias_H=bias),
        beta=beta_from_input(beta_input, beta_scale=2.0),
    )
    truth, truth_state = ready.truth()
    raw = RawGates(
        decay_input=decay_input, beta_input=beta_input, decay_rate_log=rate_log, decay_bias=bias, beta_scale=2.0
    )
    out, state = prefill_gated_delta_rule(inputs.q, inputs.k, inputs.v, raw_gates=raw, initial_state_BHKV=inputs.state)
    assert gap(out, truth) <= 1e-4
    assert gap(state, truth_state) <= 1e-4


def test_swapped_gates_are_noticed() -> None:
    inputs = make_inputs(Case())
    truth, _ = inputs.truth()
    swapped = replace(inputs, log_decay=-inputs.beta, beta=-inputs.log_decay)
    assert gap(prefill_poisoned(swapped)[0], truth) > 0.1


def test_packed_rows_are_each_what_they_are_alone() -> None:
    """Rows of lengths around a chunk; the slots of rows that are not kept, and of no row, do not change."""
    lengths, slots = (65, 1, 64, 130, 20), (3, 0, 4, 1, 1)
    continues, keeps = (True, False, False, True, True), (True, True, True, False, False)
    inputs = make_inputs(Case(tokens=sum(lengths), key_heads=2, value_heads=4))
    states = make_inputs(Case(sequences=6, tokens=1, key_heads=2, value_heads=4, seed=1)).state
    before, found = states.clone(), states.clone()
    rows = PackedRows.of(lengths, slots=slots, continues=continues, keeps=keeps)
    out, _ = prefill_gated_delta_rule(
        inputs.q,
        inputs.k,
        inputs.v,
        log_decay_BTH=inputs.log_decay,
        beta_BTH=inputs.beta,
        initial_state_BHKV=found,
        final_state_BHKV=found,
        out_BTHV=torch.full_like(inputs.v.contiguous(), torch.nan),
        rows=replace(rows, table_B6=rows.table_B6.to(DEVICE)),
    )
    start = 0
    for length, slot, continued, kept in zip(lengths, slots, continues, keeps, strict=True):
        here = slice(slot, slot + 1)
        truth, state = replace(inputs.tokens(start, start + length), state=before[here] * continued).truth()
        assert gap(out[:, start : start + length], truth) <= 1e-4
        assert gap(found[here], state) <= 1e-4 if kept else torch.equal(found[here], before[here])
        start += length
    assert torch.equal(found[[2, 5]], before[[2, 5]])


@pytest.mark.parametrize("change", ["tokens", "states", "sequences"])
def test_rows_that_do_not_fit_are_one_line(change: str) -> None:
    inputs = make_inputs(Case(sequences=2 if change == "sequences" else 1))
    rows = PackedRows.of([60, 41 if change == "tokens" else 40], slots=[0, 0], continues=[True] * 2, keeps=[False] * 2)
    other = inputs.state.clone() if change == "states" else inputs.state
    with pytest.raises(ValueError, match="rows") as caught:
        prefill_gated_delta_rule(
            inputs.q,
            inputs.k,
            inputs.v,
            log_decay_BTH=inputs.log_decay,
            beta_BTH=inputs.beta,
            initial_state_BHKV=inputs.state,
            final_state_BHKV=other,
            rows=replace(rows, table_B6=rows.table_B6.to(DEVICE)),
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", range(1, 257))
def test_key_parts_cover_every_size(size: int) -> None:
    parts = [part for part in split_key_size(size) if part]
    assert size <= sum(parts) < size + 64
    assert all(part >= 16 and part & (part - 1) == 0 for part in parts)
    assert sum(parts[:-1]) < size


def _broken(change: str, inputs: Inputs) -> Callable[[], object]:
    arguments = {
        "log_decay_BTH": inputs.log_decay,
        "beta_BTH": inputs.beta,
        "initial_state_BHKV": inputs.state,
    }
    q, k, v = inputs.q, inputs.k, inputs.v
    if change == "heads":
        q = k = torch.cat([inputs.k] * 3, dim=2)
    elif change == "dtype":
        q = q.double()
    elif change == "stride":
        v = v.contiguous().transpose(-1, -2).contiguous().transpose(-1, -2)
    elif change == "beta":
        arguments["beta_BTH"] = inputs.beta[:, :-1]
    elif change == "state":
        arguments["initial_state_BHKV"] = inputs.state.half()
    elif change == "out":
        arguments["out_BTHV"] = torch.empty_like(v, dtype=torch.float64)
    elif change == "gates":
        arguments["beta_BTH"] = None
    elif change == "size":
        q = k = torch.zeros(1, 100, 1, 264, device=DEVICE)
        arguments["initial_state_BHKV"] = None
    return lambda: prefill_gated_delta_rule(q, k, v, **arguments)


@pytest.mark.parametrize("change", ["heads", "dtype", "stride", "beta", "state", "out", "gates", "size"])
def test_what_does_not_fit_is_one_line(change: str) -> None:
    with pytest.raises(ValueError, match=r"\S+") as caught:
        _broken(change, make_inputs(Case()))()
    assert "\n" not in str(caught.value)


@on_gpu
def test_addresses_past_two_to_the_31_elements() -> None:
    heads, key_size, value_size = 30, 96, 192
    width = heads * (2 * key_size + value_size)
    tokens = 2**31 // width + 3000
    mixed = torch.empty(1, tokens, width, device=DEVICE, dtype=torch.bfloat16).normal_()
    q, k, v = mixed.split([heads * key_size, heads * key_size, heads * value_size], dim=-1)
    q, k = (x.unflatten(-1, (heads, key_size)) for x in (q, k))
    v = v.unflatten(-1, (heads, value_size))
    log_decay, beta = -0.1 * torch.rand(1, tokens, heads, device=DEVICE), torch.rand(1, tokens, heads, device=DEVICE)
    out, state = prefill_gated_delta_rule(
        q, k, v, log_decay_BTH=log_decay, beta_BTH=beta, launch=PrefillLaunch(piece_tokens=tokens)
    )
    # Contributions from thousands of tokens back have decayed to nothing, so the tail alone gives the expected values.
    tail = slice(tokens - 4000, tokens)
    truth, truth_state = chunk_gated_delta_rule(
        *(x[:, tail].double() for x in (q, k, v)), log_decay_BTH=log_decay[:, tail], beta_BTH=beta[:, tail]
    )
    assert gap(out[:, -2000:], truth[:, -2000:]) <= 5e-3
    assert gap(state, truth_state) <= 5e-3
