"""The PyTorch forms: chunked against the definition, both against transformers', and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_adapters.kernels.gated_delta.reference import chunk_gated_delta_rule, recurrent_gated_delta_rule
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import Case, Inputs, make_inputs


def chunked(inputs: Inputs, dtype: torch.dtype = torch.float64, **options: int) -> tuple[torch.Tensor, torch.Tensor]:
    return chunk_gated_delta_rule(
        *(x.to(dtype) for x in (inputs.q, inputs.k, inputs.v)),
        log_decay_BTH=inputs.log_decay,
        beta_BTH=inputs.beta,
        initial_state_BHKV=inputs.state,
        **options,
    )


@settings(max_examples=20, deadline=None)
@given(tokens=st.integers(1, 70), chunk_tokens=st.integers(1, 33), seed=st.integers(0, 1000))
def test_chunks_of_any_size_are_the_recurrence(tokens: int, chunk_tokens: int, seed: int) -> None:
    inputs = make_inputs(Case(tokens=tokens, key_heads=2, value_heads=4, key_size=6, value_size=5, seed=seed))
    truth, truth_state = inputs.truth()
    out, state = chunked(inputs, chunk_tokens=chunk_tokens)
    assert gap(out, truth) <= 1e-12
    assert gap(state, truth_state) <= 1e-12


@pytest.mark.parametrize(("decay", "lowest_beta"), [(20.0, 0.0), (0.0, 1.99)])
def test_fp32_holds_with_extreme_gates(decay: float, lowest_beta: float) -> None:
    inputs = make_inputs(Case(tokens=300, decay=decay, lowest_beta=lowest_beta))
    truth, truth_state = inputs.truth()
    out, state = chunked(inputs, torch.float32)
    assert out.dtype == state.dtype == torch.float32
    assert gap(out, truth) <= 1e-4
    assert gap(state, truth_state) <= 1e-4


def test_transformers_computes_the_same() -> None:
    module = pytest.importorskip("transformers.models.olmo_hybrid.modeling_olmo_hybrid")
    inputs = make_inputs(Case(sequences=2, key_heads=2, value_heads=4, tokens=130))
    theirs, their_state = module.torch_chunk_gated_delta_rule(
        inputs.q,
        inputs.k,
        inputs.v,
        inputs.log_decay,
        inputs.beta,
        initial_state=inputs.state,
        output_final_state=True,
        use_qk_l2norm_in_kernel=True,
    )
    truth, truth_state = inputs.truth()
    assert gap(theirs, truth) <= 1e-5
    assert gap(their_state, truth_state) <= 1e-5


def test_gradients_of_every_argument() -> None:
    inputs = make_inputs(Case(tokens=13, key_size=4, value_size=3))
    arguments = [
        x.double().clone().requires_grad_()
        for x in (inputs.q, inputs.k, inputs.v, inputs.log_decay, inputs.beta, inputs.state)
    ]

    def outputs(*args: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q, k, v, log_decay, beta, state = args
        return chunk_gated_delta_rule(
            q, k, v, log_decay_BTH=log_decay, beta_BTH=beta, initial_state_BHKV=state, chunk_tokens=5
        )

    assert torch.autograd.gradcheck(outputs, arguments)


def test_autocast_does_not_reach_the_state() -> None:
    inputs = make_inputs(Case())
    truth, _ = inputs.truth()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, _ = chunked(inputs, torch.float32)
    assert gap(out, truth) <= 1e-5


def test_arguments_that_do_not_fit_are_one_line() -> None:
    inputs = make_inputs(Case())
    with pytest.raises(ValueError, match="chunk_tokens is 0"):
        chunked(inputs, chunk_tokens=0)
    with pytest.raises(ValueError, match="no tokens"):
        chunked(inputs.tokens(0, 0))
    with pytest.raises(ValueError, match="beta has shape"):
        recurrent_gated_delta_rule(
            inputs.q, inputs.k, inputs.v, log_decay_BTH=inputs.log_decay, beta_BTH=inputs.beta[:, :, :1]
        )
