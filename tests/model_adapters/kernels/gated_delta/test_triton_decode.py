"""The decode step against the fp64 recurrence."""

import pytest
import torch

from model_adapters.kernels.gated_delta.arguments import RawGates
from model_adapters.kernels.gated_delta.reference import beta_from_input, log_decay_from_input
from model_adapters.kernels.gated_delta.triton_decode import DecodeLaunch, step_gated_delta_rule
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES, TOLERANCE, Case, make_inputs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("key_heads", "value_heads", "key_size", "value_size"), [(2, 4, 24, 40), (1, 1, 96, 192), (1, 1, 256, 256)]
)
def test_steps_are_the_recurrence(
    key_heads: int, value_heads: int, key_size: int, value_size: int, dtype: torch.dtype
) -> None:
    case = Case(
        sequences=3,
        tokens=5,
        key_heads=key_heads,
        value_heads=value_heads,
        key_size=key_size,
        value_size=value_size,
        dtype=dtype,
    )
    inputs = make_inputs(case)
    truth, truth_state = inputs.truth()
    state, outs = inputs.state.clone(), []
    for token in range(case.tokens):
        out = step_gated_delta_rule(
            *(x[:, token] for x in (inputs.q, inputs.k, inputs.v)),
            state_BHKV=state,
            log_decay_BH=inputs.log_decay[:, token],
            beta_BH=inputs.beta[:, token],
            out_BHV=torch.full_like(inputs.v[:, token].contiguous(), torch.nan),
        )
        outs.append(out)
    assert gap(torch.stack(outs, dim=1), truth) <= TOLERANCE[dtype]
    assert gap(state, truth_state) <= TOLERANCE[dtype]


@pytest.mark.parametrize("value_block", [8, 64])
def test_raw_gates_at_any_block(value_block: int) -> None:
    inputs = make_inputs(Case(sequences=2, tokens=1))
    decay_input, beta_input = 20 * (inputs.beta - 1), 10 * (inputs.log_decay + 0.15)
    rate_log, bias = torch.tensor([-2.0, 0.5], device=DEVICE), torch.tensor([0.3, -0.7], device=DEVICE)
    inputs.log_decay.copy_(log_decay_from_input(decay_input, decay_rate_log_H=rate_log, decay_bias_H=bias))
    inputs.beta.copy_(beta_from_input(beta_input, beta_scale=1.0))
    truth, truth_state = inputs.truth()
    raw = RawGates(
        decay_input=decay_input[:, 0],
        beta_input=beta_input[:, 0],
        decay_rate_log=rate_log,
        decay_bias=bias,
        beta_scale=1.0,
    )
    out = step_gated_delta_rule(
        *(x[:, 0] for x in (inputs.q, inputs.k, inputs.v)),
        state_BHKV=inputs.state,
        raw_gates=raw,
        launch=DecodeLaunch(value_block=value_block),
    )
    assert gap(out, truth[:, 0]) <= 1e-4
    assert gap(inputs.state, truth_state) <= 1e-4


def test_swapped_gates_are_noticed() -> None:
    inputs = make_inputs(Case(tokens=1))
    truth, _ = inputs.truth()
    out = step_gated_delta_rule(
        *(x[:, 0] for x in (inputs.q, inputs.k, inputs.v)),
        state_BHKV=inputs.state,
        log_decay_BH=-inputs.beta[:, 0],
        beta_BH=-inputs.log_decay[:, 0],
    )
    assert gap(out, truth[:, 0]) > 0.1


def test_a_state_of_another_kind_is_refused() -> None:
    inputs = make_inputs(Case(tokens=1))
    qkv = [x[:, 0] for x in (inputs.q, inputs.k, inputs.v)]
    gates = {"log_decay_BH": inputs.log_decay[:, 0], "beta_BH": inputs.beta[:, 0]}
    with pytest.raises(ValueError, match="must be contiguous fp32"):
        step_gated_delta_rule(*qkv, state_BHKV=inputs.state.bfloat16(), **gates)
    with pytest.raises(ValueError, match="state has shape"):
        step_gated_delta_rule(*qkv, state_BHKV=inputs.state[:, :1], **gates)
