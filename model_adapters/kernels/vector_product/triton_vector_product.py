"""Products of one vector with a weight matrix in Triton: a program reads one row, in loads that wait for nothing.

A decode step of one sequence is bound by reading the weights once; a matrix kernel, its input padded to 8 rows,
splits the sum into parts and adds them in a second launch. Here a row's whole sum stays in one program's registers.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import next_power_of_2
from model_adapters.kernels.trial import KERNEL_DTYPES

WIDEST_BLOCK = 512
"""Features that a program multiplies at a time. It has one warp, so that many programs read at once: of 256 to 2,048
features and 1 to 4 warps, this and 1,024 features were the quickest on an H200."""
FIRST_BLOCKS = tl.constexpr(4)
"""Blocks of weights that a program loads before it waits for the kernel before."""


def vector_product(
    x: torch.Tensor,
    weight_ND: torch.Tensor,
    bias_N: torch.Tensor | None = None,
    *,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """weight · x + bias with fp32 sums: [..., D] that holds one vector to [..., N], in x's dtype or `out_dtype`.

    Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    _check(x, weight_ND)
    if bias_N is not None and (bias_N.shape != weight_ND.shape[:1] or not bias_N.is_contiguous()):
        raise ValueError(f"bias is {tuple(bias_N.shape)}; contiguous ({weight_ND.shape[0]},) is needed")
    out = torch.empty((*x.shape[:-1], weight_ND.shape[0]), dtype=out_dtype or x.dtype, device=x.device)
    _vector_product[(weight_ND.shape[0],)](
        x,
        weight_ND,
        weight_ND if bias_N is None else bias_N,
        out,
        D=weight_ND.shape[1],
        BD=_block(weight_ND.shape[1]),
        HAS_BIAS=bias_N is not None,
        num_warps=1,
        **overlap(x.device),
    )
    return out


def gated_vector_product(x: torch.Tensor, gate_ND: torch.Tensor, up_ND: torch.Tensor) -> torch.Tensor:
    """silu(gate · x) (up · x), the inner part of SwiGLU, with fp32 sums: [..., D] that holds one vector to [..., N].

    Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    _check(x, gate_ND)
    _check(x, up_ND)
    if gate_ND.shape != up_ND.shape:
        raise ValueError(f"gate is {tuple(gate_ND.shape)} and up {tuple(up_ND.shape)}; they must be of one shape")
    out = torch.empty((*x.shape[:-1], up_ND.shape[0]), dtype=x.dtype, device=x.device)
    _gated_vector_product[(up_ND.shape[0],)](
        x, gate_ND, up_ND, out, D=up_ND.shape[1], BD=_block(up_ND.shape[1]), num_warps=1, **overlap(x.device)
    )
    return out


def _block(features: int) -> int:
    return min(WIDEST_BLOCK, max(128, next_power_of_2(features)))


def _check(x: torch.Tensor, weight: torch.Tensor) -> None:
    if weight.dim() != 2 or not weight.is_contiguous():
        raise ValueError(f"weight is {tuple(weight.shape)}, strides {weight.stride()}; a contiguous matrix is needed")
    if x.numel() != weight.shape[1] or x.shape[-1] != weight.shape[1] or not x.is_contiguous():
        raise ValueError(f"x has shape {tuple(x.shape)}; one contiguous vector of {weight.shape[1]} is needed")
    if x.dtype not in KERNEL_DTYPES or weight.dtype != x.dtype or weight.device != x.device:
        raise ValueError(
            f"x is {x.dtype} on {x.device}, weight {weight.dtype} on {weight.device}; one of bf16, fp16, fp32 is needed"
        )


@triton.jit
def _weights(p_row, first, D: tl.constexpr, BD: tl.constexpr):
    o_d = first + tl.arange(0, BD)
    # Every weight is read once a step, and none of them is still cached a step later.
    return tl.load(p_row + o_d, mask=o_d < D, other=0.0, eviction_policy="evict_first").to(tl.float32)


@triton.jit
def _first_weights(p_row, D: tl.constexpr, BD: tl.constexpr):
    b_blocks = ()
    for first in tl.static_range(0, min(D, FIRST_BLOCKS * BD), BD):
        b_blocks = b_blocks + (_weights(p_row, first, D, BD),)  # noqa: RUF005 - Triton does not unpack tuples
    return b_blocks


@triton.jit
def _row_sum(b_blocks, p_x, p_row, D: tl.constexpr, BD: tl.constexpr):
    """The product of a row and x, with the row's first blocks loaded before."""
    o_d = tl.arange(0, BD)
    b_sum = tl.zeros([BD], tl.float32)
    for first in tl.static_range(0, D, BD):
        b_x = tl.load(p_x + first + o_d, mask=first + o_d < D, other=0.0).to(tl.float32)
        if first < FIRST_BLOCKS * BD:
            b_sum += b_blocks[first // BD] * b_x
        else:
            b_sum += _weights(p_row, first, D, BD) * b_x
    return tl.sum(b_sum, axis=0)


@triton.jit
def _vector_product(
    p_x, p_weight, p_bias, p_out, D: tl.constexpr, BD: tl.constexpr, HAS_BIAS: tl.constexpr, OVERLAPS: tl.constexpr
):
    i_n = tl.program_id(0).to(tl.int64)
    p_row = p_weight + i_n * D
    b_blocks = _first_weights(p_row, D, BD)
    wait_for_earlier(OVERLAPS)
    total = _row_sum(b_blocks, p_x, p_row, D, BD)
    if HAS_BIAS:
        total += tl.load(p_bias + i_n).to(tl.float32)
    tl.store(p_out + i_n, total.to(p_out.dtype.element_ty))


@triton.jit
def _gated_vector_product(p_x, p_gate, p_up, p_out, D: tl.constexpr, BD: tl.constexpr, OVERLAPS: tl.constexpr):
    i_n = tl.program_id(0).to(tl.int64)
    p_gate += i_n * D
    p_up += i_n * D
    b_gates, b_ups = _first_weights(p_gate, D, BD), _first_weights(p_up, D, BD)
    wait_for_earlier(OVERLAPS)
    gate, up = _row_sum(b_gates, p_x, p_gate, D, BD), _row_sum(b_ups, p_x, p_up, D, BD)
    # Rounded as the module's own two products are.
    gate, up = gate.to(p_out.dtype.element_ty).to(tl.float32), up.to(p_out.dtype.element_ty).to(tl.float32)
    tl.store(p_out + i_n, (gate / (1.0 + tl.exp(-gate)) * up).to(p_out.dtype.element_ty))
