"""The gated delta rule in plain PyTorch: token by token (the definition) and chunked (differentiable, fast).

Shape legend: B sequences, T tokens, H value heads (a multiple of the G key heads), K key size, V value size,
N chunks, C tokens per chunk. Both functions compute in fp64 when the values are fp64 and in fp32 otherwise.

With q and k L2-normalised, scale K^-0.5, decay exp(log_decay) and write strength beta, one head does
(Yang et al., "Gated Delta Networks", arXiv:2412.06464):

    S_t = exp(log_decay_t) S_{t-1} + k_t beta_t (v_t - k_t^T exp(log_decay_t) S_{t-1})
    o_t = S_t^T q_t K^-0.5
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch.autograd.function import FunctionCtx

from model_adapters.kernels.gated_delta.arguments import check_arguments

NORMALIZATION_EPSILON = 1e-6


def log_decay_from_input(
    decay_input_BTH: torch.Tensor, *, decay_rate_log_H: torch.Tensor, decay_bias_H: torch.Tensor
) -> torch.Tensor:
    """Log-decay of each token and head, -exp(decay_rate_log) softplus(decay_input + decay_bias), in fp32."""
    return -decay_rate_log_H.float().exp() * F.softplus(decay_input_BTH.float() + decay_bias_H.float())


def beta_from_input(beta_input_BTH: torch.Tensor, *, beta_scale: float) -> torch.Tensor:
    """Write strength beta_scale × sigmoid(beta_input) in fp32; scale 2 admits negative eigenvalues (up to 2)."""
    return beta_scale * torch.sigmoid(beta_input_BTH.float())


def recurrent_gated_delta_rule(
    q_BTHK: torch.Tensor,
    k_BTHK: torch.Tensor,
    v_BTHV: torch.Tensor,
    *,
    log_decay_BTH: torch.Tensor,
    beta_BTH: torch.Tensor,
    initial_state_BHKV: torch.Tensor | None = None,
    normalize_qk: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and final state by the definition, token by token.

    q and k may have fewer heads than v: consecutive value heads share a key head. Returns out_BTHV in v's dtype
    and final_state_BHKV in fp32 (fp64 when v is fp64). Raises ValueError when shapes, dtypes or devices disagree.
    """
    check_arguments(q_BTHK, k_BTHK, v_BTHV, log_decay_BTH, beta_BTH, initial_state_BHKV)
    q, k, v, log_decay, beta = _working_inputs(q_BTHK, k_BTHK, v_BTHV, log_decay_BTH, beta_BTH, normalize_qk)
    state_BHKV = _working_state(initial_state_BHKV, k, v)
    outs_BH1V = []
    by_token = (
        q[..., None, :],
        k[..., None, :],
        v[..., None, :],
        log_decay.exp()[..., None, None],
        beta[..., None, None],
    )
    for q_BH1K, k_BH1K, v_BH1V, decay_BH11, beta_BH11 in zip(*(each.unbind(1) for each in by_token), strict=True):
        state_BHKV = state_BHKV * decay_BH11
        written_BH1V = beta_BH11 * (v_BH1V - k_BH1K @ state_BHKV)
        state_BHKV = state_BHKV + k_BH1K.mT * written_BH1V
        outs_BH1V.append(q_BH1K @ state_BHKV)
    return torch.cat(outs_BH1V, dim=2).transpose(1, 2).to(v_BTHV.dtype), state_BHKV


def chunk_gated_delta_rule(
    q_BTHK: torch.Tensor,
    k_BTHK: torch.Tensor,
    v_BTHV: torch.Tensor,
    *,
    log_decay_BTH: torch.Tensor,
    beta_BTH: torch.Tensor,
    initial_state_BHKV: torch.Tensor | None = None,
    chunk_tokens: int = 64,
    normalize_qk: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and final state through chunks of `chunk_tokens`; differentiable in every tensor argument.

    Everything except one affine step per chunk, S' = M S + F, is computed for all chunks at once, so a pass launches
    one small batched product per chunk. Shapes are static and nothing waits for the device. Returns out_BTHV in v's
    dtype and final_state_BHKV in fp32 (fp64 when v is fp64). Raises ValueError when shapes, dtypes or devices disagree.
    """
    check_arguments(q_BTHK, k_BTHK, v_BTHV, log_decay_BTH, beta_BTH, initial_state_BHKV)
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens is {chunk_tokens}; it must be at least 1")
    # Autocast would compute the products, and so the state, in half precision.
    with torch.autocast(device_type=v_BTHV.device.type, enabled=False):
        q, k, v, log_decay, beta = _working_inputs(q_BTHK, k_BTHK, v_BTHV, log_decay_BTH, beta_BTH, normalize_qk)
        state_BHKV = _working_state(initial_state_BHKV, k, v)
        tokens = v.shape[1]
        parts = prepare_chunks(q, k, v, log_decay, beta, chunk_tokens)
        states_BHNKV, final_state_BHKV = _scan_states(parts.carried_BHNKK, parts.added_BHNKV, state_BHKV)
        out_BHNCV = finish_chunks(parts, states_BHNKV)
        out_BHTV = out_BHNCV.flatten(2, 3)[:, :, :tokens]
        return out_BHTV.transpose(1, 2).to(v_BTHV.dtype), final_state_BHKV


class ChunkParts(NamedTuple):
    """The parts of all chunks that do not need the state: the affine step S' = M S + F and parts of the outputs.

    Outputs are `q_from_start S + attention (u - w S)` for the state S a chunk starts from.
    """

    carried_BHNKK: torch.Tensor
    added_BHNKV: torch.Tensor
    q_from_start_BHNCK: torch.Tensor
    attention_BHNCC: torch.Tensor
    u_BHNCV: torch.Tensor
    w_BHNCK: torch.Tensor


def prepare_chunks(
    q_BTHK: torch.Tensor,
    k_BTHK: torch.Tensor,
    v_BTHV: torch.Tensor,
    log_decay_BTH: torch.Tensor,
    beta_BTH: torch.Tensor,
    chunk_tokens: int,
) -> ChunkParts:
    """The parts of every chunk, chunk-parallel; inputs as `_working_inputs` leaves them."""
    q_BHNCK, k_BHNCK, v_BHNCV, log_decay_BHNC, beta_BHNC = (
        _in_chunks(x, chunk_tokens) for x in (q_BTHK, k_BTHK, v_BTHV, log_decay_BTH, beta_BTH)
    )
    key_size, value_size = k_BHNCK.shape[-1], v_BHNCV.shape[-1]
    since_start_BHNC = log_decay_BHNC.cumsum(-1)
    decay_BHNCC = _pairwise_decay(since_start_BHNC)
    from_start_BHNC1 = since_start_BHNC.exp()[..., None]
    to_end_BHNC1 = (since_start_BHNC[..., -1:] - since_start_BHNC).exp()[..., None]

    # (I + L) [U | W] = beta [V | decayed K]: what a chunk writes is U - W S for the state S it starts from.
    k_beta_BHNCK = k_BHNCK * beta_BHNC[..., None]
    k_transposed = k_BHNCK.transpose(-1, -2)
    lower_BHNCC = ((k_beta_BHNCK @ k_transposed) * decay_BHNCC).tril(-1)
    identity = torch.eye(chunk_tokens, dtype=v_BHNCV.dtype, device=v_BHNCV.device)
    right_side = torch.cat([v_BHNCV * beta_BHNC[..., None], k_beta_BHNCK * from_start_BHNC1], dim=-1)
    solved = torch.linalg.solve_triangular(lower_BHNCC + identity, right_side, upper=False, unitriangular=True)
    u_BHNCV, w_BHNCK = solved.split([value_size, key_size], dim=-1)

    # The state after a chunk: end_decay S + K_end^T (U - W S) = M S + F.
    k_end_transposed = (k_BHNCK * to_end_BHNC1).transpose(-1, -2)
    end_decay_BHN11 = from_start_BHNC1[..., -1:, :]
    key_identity = torch.eye(key_size, dtype=v_BHNCV.dtype, device=v_BHNCV.device)
    return ChunkParts(
        carried_BHNKK=end_decay_BHN11 * key_identity - k_end_transposed @ w_BHNCK,
        added_BHNKV=k_end_transposed @ u_BHNCV,
        q_from_start_BHNCK=q_BHNCK * from_start_BHNC1,
        attention_BHNCC=(q_BHNCK @ k_transposed) * decay_BHNCC,
        u_BHNCV=u_BHNCV,
        w_BHNCK=w_BHNCK,
    )


def finish_chunks(parts: ChunkParts, states_BHNKV: torch.Tensor) -> torch.Tensor:
    """The outputs of every chunk from the state that each starts from."""
    written_BHNCV = parts.u_BHNCV - parts.w_BHNCK @ states_BHNKV
    return parts.q_from_start_BHNCK @ states_BHNKV + parts.attention_BHNCC @ written_BHNCV


def _pairwise_decay(since_start_BHNC: torch.Tensor) -> torch.Tensor:
    """exp of the log-decay from token j to token i of a chunk, 0 above the diagonal, without overflow there."""
    chunk_tokens = since_start_BHNC.shape[-1]
    future = torch.ones(chunk_tokens, chunk_tokens, dtype=torch.bool, device=since_start_BHNC.device).triu(1)
    difference = since_start_BHNC[..., :, None] - since_start_BHNC[..., None, :]
    return difference.masked_fill(future, float("-inf")).exp()


class _ScanStates(torch.autograd.Function):
    """S' = M S + F over the chunks, with one batched product per chunk, forward and backward.

    Autograd would also copy and accumulate gradients for every chunk. With G the gradient of the
    state after a chunk: dF = G, dM = G S^T, and the chunk before gets M^T G. N chunks, X = B × H heads.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, carried_NXKK: torch.Tensor, added_NXKV: torch.Tensor, state_XKV: torch.Tensor
    ) -> torch.Tensor:
        states_NXKV = torch.empty(
            (added_NXKV.shape[0] + 1, *added_NXKV.shape[1:]), dtype=added_NXKV.dtype, device=added_NXKV.device
        )
        states_NXKV[0] = state_XKV
        for chunk in range(added_NXKV.shape[0]):
            torch.baddbmm(added_NXKV[chunk], carried_NXKK[chunk], states_NXKV[chunk], out=states_NXKV[chunk + 1])
        ctx.save_for_backward(carried_NXKK, states_NXKV)
        return states_NXKV

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        (gradient_NXKV,) = gradients
        carried_NXKK, states_NXKV = ctx.saved_tensors
        total_NXKV = torch.empty_like(gradient_NXKV)
        total_NXKV[-1] = gradient_NXKV[-1]
        for chunk in reversed(range(carried_NXKK.shape[0])):
            transposed = carried_NXKK[chunk].transpose(-1, -2)
            torch.baddbmm(gradient_NXKV[chunk], transposed, total_NXKV[chunk + 1], out=total_NXKV[chunk])
        added_NXKV = total_NXKV[1:]
        return added_NXKV @ states_NXKV[:-1].transpose(-1, -2), added_NXKV, total_NXKV[0]


def _scan_states(
    carried_BHNKK: torch.Tensor, added_BHNKV: torch.Tensor, state_BHKV: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The state at the start of every chunk and after the last one."""
    sequences = state_BHKV.shape[0]
    carried_NXKK = carried_BHNKK.flatten(0, 1).transpose(0, 1).contiguous()
    added_NXKV = added_BHNKV.flatten(0, 1).transpose(0, 1).contiguous()
    states_NXKV = cast(torch.Tensor, _ScanStates.apply(carried_NXKK, added_NXKV, state_BHKV.flatten(0, 1)))
    states_BHNKV = states_NXKV[:-1].transpose(0, 1).unflatten(0, (sequences, -1))
    return states_BHNKV, states_NXKV[-1].unflatten(0, (sequences, -1))


def _in_chunks(x_BTH: torch.Tensor, chunk_tokens: int) -> torch.Tensor:
    """[B, T, H, ...] to [B, H, N, C, ...]; padded tokens are zero, so they neither decay nor write."""
    padding = -x_BTH.shape[1] % chunk_tokens
    x_BTH = F.pad(x_BTH, (0, 0) * (x_BTH.dim() - 2) + (0, padding))
    return x_BTH.unflatten(1, (-1, chunk_tokens)).movedim(3, 1).contiguous()


def _working_inputs(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, log_decay: torch.Tensor, beta: torch.Tensor, normalize_qk: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    dtype = torch.float64 if v.dtype == torch.float64 else torch.float32
    q, k, v, log_decay, beta = (x.to(dtype) for x in (q, k, v, log_decay, beta))
    if normalize_qk:
        q, k = (x * torch.rsqrt((x * x).sum(-1, keepdim=True) + NORMALIZATION_EPSILON) for x in (q, k))
    q = q * q.shape[-1] ** -0.5
    value_heads_per_key_head = v.shape[2] // k.shape[2]
    if value_heads_per_key_head > 1:
        q, k = (x.repeat_interleave(value_heads_per_key_head, dim=2) for x in (q, k))
    return q, k, v, log_decay, beta


def _working_state(initial_state_BHKV: torch.Tensor | None, k_BTHK: torch.Tensor, v_BTHV: torch.Tensor) -> torch.Tensor:
    if initial_state_BHKV is not None:
        return initial_state_BHKV.to(v_BTHV.dtype)
    sequences, _, heads, value_size = v_BTHV.shape
    return v_BTHV.new_zeros(sequences, heads, k_BTHK.shape[-1], value_size)
