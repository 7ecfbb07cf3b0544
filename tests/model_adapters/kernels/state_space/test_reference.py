"""The recurrence in fp64 against transformers' chunked form."""

import pytest
import torch
from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan

from model_adapters.kernels.state_space.reference import scan_state_space, step_sizes


@pytest.mark.parametrize("tokens", [1, 40])
def test_as_transformers_computes_it(tokens: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, tokens, 4, 8, generator=generator)
    keys, queries = torch.randn(2, 2, tokens, 2, 16, generator=generator)
    raw, bias = torch.randn(2, tokens, 4, generator=generator), torch.randn(4, generator=generator)
    rates, skip = -torch.rand(4, generator=generator), torch.randn(4, generator=generator)
    start = torch.randn(2, 4, 8, 16, generator=generator)
    steps = step_sizes(raw, bias, softplus=True, limit=(0.0, 1.5))
    out, state = scan_state_space(
        x, keys, queries, steps_BTH=steps, rates_H=rates, skip_H=skip, initial_state_BHPN=start
    )
    plain = getattr(mamba2_chunk_scan, "__wrapped__", mamba2_chunk_scan)
    expected, expected_state = plain(
        x, raw, rates, keys, queries, chunk_size=16, D=skip, dt_bias=bias, initial_states=start, dt_softplus=True,
        dt_limit=(0.0, 1.5), return_final_states=True,
    )  # fmt: skip
    torch.testing.assert_close(out.float(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(state.float(), expected_state, rtol=1e-4, atol=1e-4)
