"""Mamba-2's state space recurrence, token by token in fp64, as the reference of the kernels.

Dao and Gu, Transformers are SSMs (2024), eq. 2 and section 6, with a scalar decay per head.

Shape suffixes: B sequences, T tokens, H heads, P head size, G groups of heads that share keys, N state size.
"""

import torch


def step_sizes(
    dt_BTH: torch.Tensor,
    bias_H: torch.Tensor | None,
    *,
    softplus: bool,
    limit: tuple[float, float] = (0.0, float("inf")),
) -> torch.Tensor:
    """Step sizes from the outputs of their projection, in fp32 (fp64 for fp64)."""
    steps = dt_BTH.to(torch.float64 if dt_BTH.dtype == torch.float64 else torch.float32)
    if bias_H is not None:
        steps = steps + bias_H.to(steps.dtype)
    if softplus:
        steps = torch.nn.functional.softplus(steps)
    return steps.clamp(*limit)


def scan_state_space(
    x_BTHP: torch.Tensor,
    keys_BTGN: torch.Tensor,
    queries_BTGN: torch.Tensor,
    *,
    steps_BTH: torch.Tensor,
    rates_H: torch.Tensor,
    skip_H: torch.Tensor | None,
    initial_state_BHPN: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs [B, T, H, P] and the final state [B, H, P, N], in fp64.

    state_t = exp(steps_t rates) state_(t-1) + steps_t x_t keys_t', and y_t = state_t queries_t + skip x_t. The paper
    calls keys and queries B and C, step sizes Δ, rates A (negative) and skip D.
    """
    sequences, tokens, heads, size = x_BTHP.shape
    shared = heads // keys_BTGN.shape[2]
    x, steps, rates = x_BTHP.double(), steps_BTH.double(), rates_H.double()
    keys, queries = (each.double().repeat_interleave(shared, dim=2) for each in (keys_BTGN, queries_BTGN))
    if initial_state_BHPN is None:
        state = x.new_zeros(sequences, heads, size, keys.shape[-1])
    else:
        state = initial_state_BHPN.double().clone()
    outs = []
    for token in range(tokens):
        decay_BH = torch.exp(steps[:, token] * rates)
        written = (steps[:, token, :, None] * x[:, token])[..., None] * keys[:, token, :, None]
        state = decay_BH[..., None, None] * state + written
        outs.append((state @ queries[:, token, :, :, None])[..., 0])
    out = torch.stack(outs, dim=1)
    return (out if skip_H is None else out + skip_H.double()[:, None] * x), state
