"""One token of a whole layer between its projections, against the three operators in fp64."""

import pytest
import torch

from model_adapters.kernels.causal_convolution.reference import causal_convolution
from model_adapters.kernels.elementwise.reference import rms_norm
from model_adapters.kernels.gated_delta import triton_mixing
from model_adapters.kernels.gated_delta.arguments import RawGates
from model_adapters.kernels.gated_delta.reference import recurrent_gated_delta_rule
from model_adapters.kernels.gated_delta.triton_mixing import OutputNorm, mix_token
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES, TOLERANCE

TOKENS = 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("sequences", "heads", "key_size", "value_size", "width", "bias"),
    [(1, 3, 24, 40, 4, False), (2, 2, 16, 100, 2, True), (2, 1, 96, 192, 4, False)],
)
@pytest.mark.parametrize("fills_a_device", [False, True])
def test_tokens_one_after_another(
    sequences: int,
    heads: int,
    key_size: int,
    value_size: int,
    width: int,
    bias: bool,
    fills_a_device: bool,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton_mixing, "MANY_PROGRAMS", 0 if fills_a_device else 1000)
    generator = torch.Generator(DEVICE).manual_seed(sequences)

    def normal(*shape: int, kind: torch.dtype = dtype) -> torch.Tensor:
        return torch.randn(shape, device=DEVICE, generator=generator).to(kind)

    key, value = heads * key_size, heads * value_size
    channels = 2 * key + value
    # Slices of wider rows, as a merged projection gives them.
    rows_BTX = normal(sequences, TOKENS, channels + 2 * heads + value + 8)
    x, decay, beta, gate = (part for part in rows_BTX[..., 8:].split([channels, heads, heads, value], dim=-1))
    weight_CW, bias_C = normal(channels, width), normal(channels) if bias else None
    context_BCW, state_BHKV = normal(sequences, channels, width), normal(sequences, heads, key_size, value_size)
    state_BHKV = state_BHKV.float()
    rate_log, decay_bias, norm_V = normal(heads), normal(heads), normal(value_size)

    true_context, wide = context_BCW.double(), x.double()
    mixed = causal_convolution(wide, weight_CW, bias_C, true_context)
    q, k, v = mixed.split([key, key, value], dim=-1)
    log_decay = -rate_log.double().exp() * torch.nn.functional.softplus(decay.double() + decay_bias.double())
    out_BTHV, true_state = recurrent_gated_delta_rule(
        q.unflatten(-1, (heads, -1)),
        k.unflatten(-1, (heads, -1)),
        v.unflatten(-1, (heads, -1)),
        log_decay_BTH=log_decay,
        beta_BTH=2 * torch.sigmoid(beta.double()),
        initial_state_BHKV=state_BHKV,
    )
    gate_BTHV = gate.unflatten(-1, (heads, -1))
    truth = rms_norm(out_BTHV, norm_V, epsilon=1e-5, gate=gate_BTHV.double())

    outs = [
        mix_token(
            x[:, token],
            weight_CW,
            bias_C,
            context_BCW=context_BCW,
            gates=RawGates(
                decay_input=decay[:, token],
                beta_input=beta[:, token],
                decay_rate_log=rate_log,
                decay_bias=decay_bias,
                beta_scale=2.0,
            ),
            state_BHKV=state_BHKV,
            norm=OutputNorm(gate_BHV=gate_BTHV[:, token], weight_V=norm_V, epsilon=1e-5),
        )
        for token in range(TOKENS)
    ]
    assert gap(torch.stack(outs, 1), truth) <= TOLERANCE[dtype]
    assert gap(state_BHKV, true_state) <= TOLERANCE[dtype]
    assert torch.equal(context_BCW.double(), true_context)


def test_tensors_that_do_not_fit_are_refused() -> None:
    gates = RawGates(
        decay_input=torch.zeros(1, 2, device=DEVICE),
        beta_input=torch.zeros(1, 2, device=DEVICE),
        decay_rate_log=torch.zeros(2, device=DEVICE),
        decay_bias=torch.zeros(2, device=DEVICE),
        beta_scale=1.0,
    )
    norm = OutputNorm(
        gate_BHV=torch.zeros(1, 2, 8, device=DEVICE), weight_V=torch.zeros(8, device=DEVICE), epsilon=1e-5
    )
    x, weight, context = (torch.zeros(shape, device=DEVICE) for shape in ((1, 31), (32, 4), (1, 32, 4)))
    with pytest.raises(ValueError, match=r"x has shape \(1, 31\); \(1, 32\) is needed"):
        mix_token(
            x,
            weight,
            None,
            context_BCW=context,
            gates=gates,
            state_BHKV=torch.zeros(1, 2, 4, 8, device=DEVICE),
            norm=norm,
        )
