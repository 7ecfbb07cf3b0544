"""Products of a few tokens with a weight matrix in Triton, bound by reading the weights once.

A program multiplies a block of the matrix's rows, as the left operand of the tensor cores, by all tokens. Hopper's copy
engine fetches both, several steps ahead.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, t_ tensor descriptor, b_ block.
"""

from functools import lru_cache

import torch
import triton
import triton.language as tl

from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import cdiv, next_power_of_2

try:
    from triton.tools.tensor_descriptor import TensorDescriptor
except ImportError:  # a version of Triton without them
    TensorDescriptor = None

MOST_TOKENS = 64
ROW_BLOCK, FEATURE_BLOCK = 64, 128
ALIGNMENT = 16
"""Bytes to which the copy engine's addresses and strides are aligned."""
DTYPES = (torch.bfloat16, torch.float16)


def few_rows_product(x: torch.Tensor, weight_ND: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
    """x · weightᵀ + residual with fp32 sums: [..., D] that holds 2 to 64 vectors to [..., N], in x's dtype.

    x may be a slice of wider rows. Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    x_MD, (rows, features) = _check(x, weight_ND, residual), weight_ND.shape
    tokens = x_MD.shape[0]
    out = torch.empty((*x.shape[:-1], rows), dtype=x.dtype, device=x.device)
    block = _token_block(tokens)
    _product[(cdiv(rows, ROW_BLOCK),)](
        TensorDescriptor(x_MD, [tokens, features], [*x_MD.stride()], [block, FEATURE_BLOCK]),
        TensorDescriptor(weight_ND, [rows, features], [features, 1], [ROW_BLOCK, FEATURE_BLOCK]),
        out if residual is None else residual,
        out,
        tokens,
        rows,
        features,
        BM=block,
        BN=ROW_BLOCK,
        BD=FEATURE_BLOCK,
        ADDED=residual is not None,
        num_warps=4,
        num_stages=6 if rows <= ROW_BLOCK * _multiprocessors(x.device) else 4,
        **overlap(x.device),
    )
    return out


def pays(tokens: int, weight_ND: torch.Tensor) -> bool:
    """Whether the kernel is faster than cuBLAS: if all its programs run at once.

    For bf16 on an H200, 2,880 to 11,008 rows were 2 to 20 % faster then, and 17,408 rows, a little more than run at
    once, 4 to 9 % slower.
    """
    together = 2 if _token_block(tokens) <= 32 else 1
    programs = cdiv(weight_ND.shape[0], ROW_BLOCK)
    return 2 <= tokens <= MOST_TOKENS and programs <= together * _multiprocessors(weight_ND.device)


def is_supported(x: torch.Tensor, weight_ND: torch.Tensor) -> bool:
    """Whether the copy engine can fetch these tensors; their sizes are not checked."""
    x_MD = x.flatten(0, -2)
    steps = [matrix.stride(0) * matrix.element_size() for matrix in (x_MD, weight_ND)]
    aligned = not any(number % ALIGNMENT for number in (x_MD.data_ptr(), weight_ND.data_ptr(), *steps))
    plain = x.stride(-1) == 1 and weight_ND.is_contiguous() and x.dtype in DTYPES
    return TensorDescriptor is not None and aligned and plain


def _token_block(tokens: int) -> int:
    return max(16, next_power_of_2(tokens))


@lru_cache(maxsize=16)
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def _check(x: torch.Tensor, weight: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
    """The vectors as rows of a matrix."""
    if weight.dim() != 2 or not weight.is_contiguous():
        raise ValueError(f"weight is {tuple(weight.shape)}, strides {weight.stride()}; a contiguous matrix is needed")
    rows, features = weight.shape
    tokens = x.numel() // features
    if x.shape[-1] != features or not 1 <= tokens <= MOST_TOKENS or x.stride(-1) != 1:
        raise ValueError(
            f"x is {tuple(x.shape)}; 1 to {MOST_TOKENS} vectors of {features}, each contiguous, are needed"
        )
    if weight.dtype != x.dtype or weight.device != x.device:
        raise ValueError(f"x is {x.dtype} on {x.device}, weight {weight.dtype} on {weight.device}; they must be alike")
    if residual is not None and (
        residual.shape != (*x.shape[:-1], rows) or residual.dtype != x.dtype or not residual.is_contiguous()
    ):
        wanted = (*x.shape[:-1], rows)
        raise ValueError(
            f"residual is {tuple(residual.shape)} {residual.dtype}; contiguous {wanted} {x.dtype} is needed"
        )
    return x.flatten(0, -2)


@triton.jit(do_not_specialize=["M"])
def _product(
    t_x,
    t_weight,
    p_residual,
    p_out,
    M,
    N,
    D,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BD: tl.constexpr,
    ADDED: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    wait_for_earlier(OVERLAPS)
    first = tl.program_id(0) * BN
    b_sum = tl.zeros([BN, BM], tl.float32)
    # Zeros beyond the last token, row and feature.
    for start in range(0, D, BD):
        b_weight = t_weight.load([first, start])
        b_x = t_x.load([0, start])
        b_sum = tl.dot(b_weight, tl.trans(b_x), b_sum)
    o_n, o_m = first + tl.arange(0, BN), tl.arange(0, BM)
    o_out = o_m.to(tl.int64)[None, :] * N + o_n[:, None]
    m_out = (o_m < M)[None, :] & (o_n < N)[:, None]
    if ADDED:
        b_sum += tl.load(p_residual + o_out, mask=m_out, other=0.0).to(tl.float32)
    tl.store(p_out + o_out, b_sum.to(p_out.dtype.element_ty), mask=m_out)
