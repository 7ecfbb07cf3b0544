"""The elementwise operators in Triton, each one launch and one pass over memory.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import cdiv, next_power_of_2
from model_adapters.kernels.trial import KERNEL_DTYPES

TILE = 4096
"""Elements per program of a norm."""
FEW_ROWS = 64
"""Up to so many wide rows, a norm has 16 warps per row, because nothing else hides the latency of its loads."""
WIDEST = 16_384
PRODUCT_BLOCK = 4096
ROTATED_TOKENS = 32


def rms_norm(
    x: torch.Tensor,
    weight_D: torch.Tensor,
    *,
    epsilon: float,
    weight_offset: float = 0.0,
    gate: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:
    """Like `reference.rms_norm`, plus a residual if one is given.

    Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    size = x.shape[-1]
    if weight_D.shape != (size,) or not weight_D.is_contiguous() or weight_D.device != x.device:
        raise ValueError(f"weight is {tuple(weight_D.shape)} on {weight_D.device}; ({size},) on {x.device} is needed")
    if x.dtype not in KERNEL_DTYPES or size > WIDEST:
        raise ValueError(f"x is {x.dtype} with {size} features; bf16, fp16 or fp32 and at most {WIDEST} are needed")
    x_ND = x.reshape(-1, size)
    rows, row_step = x_ND.shape[0], x_ND.stride(0)
    if x_ND.stride(-1) != 1:
        raise ValueError(f"x has stride {x_ND.stride(-1)} in its last dimension; make it contiguous there")
    gate_rows, heads = x_ND, 1
    gate_steps: tuple[int, ...] = row_step, size
    if gate is not None:
        if gate.shape != x.shape or gate.device != x.device or gate.dtype not in KERNEL_DTYPES:
            raise ValueError(f"gate is {tuple(gate.shape)} {gate.dtype} on {gate.device}; it must fit x")
        # A slice of a wider product: heads are contiguous, tokens are not.
        heads = gate.shape[-2] if gate.dim() > 1 else 1
        gate_rows = gate.reshape(-1, heads, size)
        gate_steps = gate_rows.stride()[:2]
        if gate_rows.stride(-1) != 1:
            raise ValueError(f"gate has stride {gate_rows.stride(-1)} in its last dimension; make it contiguous there")
    if residual is not None and (
        residual.shape != x.shape or residual.dtype != x.dtype or not residual.is_contiguous()
    ):
        raise ValueError(
            f"residual is {tuple(residual.shape)} {residual.dtype}; x's shape and dtype, contiguous, is needed"
        )
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    width = next_power_of_2(size)
    rows_held = max(1, TILE // width)
    _rms_norm[(cdiv(rows, rows_held),)](
        x_ND,
        weight_D,
        gate_rows,
        x_ND if residual is None else residual,
        out,
        row_step,
        *gate_steps,
        rows,
        heads,
        epsilon,
        weight_offset,
        D=size,
        BD=width,
        ROWS=rows_held,
        GATED=gate is not None,
        ADDED=residual is not None,
        num_warps=16 if rows_held == 1 and rows <= FEW_ROWS else 4 if width <= TILE else 8,
        **overlap(x.device),
    )
    return out


def silu_product(gate: torch.Tensor, up: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Like `reference.silu_product`; `out` may be one of the inputs, which is then overwritten.

    Each may be a slice of wider rows. Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    out = torch.empty(up.shape, dtype=up.dtype, device=up.device) if out is None else out
    for name, tensor in (("gate", gate), ("out", out)):
        if tensor.shape != up.shape or tensor.dtype != up.dtype or tensor.device != up.device:
            raise ValueError(f"{name} is {tuple(tensor.shape)} {tensor.dtype} on {tensor.device}; it must fit up")
    steps = [_row_step(tensor) for tensor in (gate, up, out)]
    if up.dtype not in KERNEL_DTYPES or None in steps:
        raise ValueError(f"gate, up and out are {up.dtype}; they must be evenly spaced rows of bf16, fp16 or fp32")
    rows, size = up.numel() // up.shape[-1], up.shape[-1]
    _silu_product[(rows, cdiv(size, PRODUCT_BLOCK))](
        gate, up, out, *steps, size, BLOCK=PRODUCT_BLOCK, num_warps=8, **overlap(up.device)
    )
    return out


def _row_step(tensor: torch.Tensor) -> int | None:
    """Distance from one row to the next if all rows are evenly spaced, else None."""
    if tensor.stride(-1) != 1 and tensor.shape[-1] > 1:
        return None
    step, rows = tensor.shape[-1], 1
    for size, stride in zip(reversed(tensor.shape[:-1]), reversed(tensor.stride()[:-1]), strict=True):
        if size == 1:
            continue
        if rows == 1:
            step = stride
        elif stride != step * rows:
            return None
        rows *= size
    return step


def rotate(x_BHTD: torch.Tensor, cos_BTD: torch.Tensor, sin_BTD: torch.Tensor) -> torch.Tensor:
    """Like `reference.rotate`, into memory ordered [B, T, H, D]; cos and sin may have one row for all sequences.

    Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    sequences, heads, tokens, size = x_BHTD.shape
    if size % 2 or x_BHTD.dtype not in KERNEL_DTYPES or x_BHTD.stride(-1) != 1:
        raise ValueError(f"x is {x_BHTD.dtype} of size {size}; an even size, contiguous, is needed")
    for name, table in (("cos", cos_BTD), ("sin", sin_BTD)):
        if table.shape[0] not in (1, sequences) or table.shape[1:] != (tokens, size) or table.device != x_BHTD.device:
            raise ValueError(f"{name} is {tuple(table.shape)} on {table.device}; it must fit x {tuple(x_BHTD.shape)}")
        if not table.is_contiguous():
            raise ValueError(f"{name} has strides {table.stride()}; make it contiguous")
    out_BTHD = torch.empty((sequences, tokens, heads, size), dtype=x_BHTD.dtype, device=x_BHTD.device)
    _rotate[(cdiv(tokens, ROTATED_TOKENS), heads, sequences)](
        x_BHTD,
        cos_BTD,
        sin_BTD,
        out_BTHD,
        *x_BHTD.stride()[:3],
        0 if cos_BTD.shape[0] == 1 else tokens * size,
        tokens,
        heads,
        R=size // 2,
        BR=next_power_of_2(size // 2),
        BT=ROTATED_TOKENS,
        num_warps=4,
        **overlap(x_BHTD.device),
    )
    return out_BTHD.transpose(1, 2)


@triton.jit
def _silu(b_x):
    return b_x / (1.0 + tl.exp(-b_x))


@triton.jit(do_not_specialize=["N", "H"])
def _rms_norm(
    p_x,
    p_weight,
    p_gate,
    p_residual,
    p_out,
    s_x,
    s_gate_n,
    s_gate_h,
    N,
    H,
    epsilon,
    weight_offset,
    D: tl.constexpr,
    BD: tl.constexpr,
    ROWS: tl.constexpr,
    GATED: tl.constexpr,
    ADDED: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    o_n = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    o_d = tl.arange(0, BD)[None, :]
    m_row = (o_n < N) & (o_d < D)
    b_weight = tl.load(p_weight + o_d, mask=o_d < D, other=0.0).to(tl.float32) + weight_offset
    wait_for_earlier(OVERLAPS)
    b_x = tl.load(p_x + o_n * s_x + o_d, mask=m_row, other=0.0).to(tl.float32)
    b_out = b_x * tl.rsqrt(tl.sum(b_x * b_x, axis=1)[:, None] / D + epsilon) * b_weight
    if GATED:
        p_gate += (o_n // H) * s_gate_n + (o_n % H) * s_gate_h
        b_out *= _silu(tl.load(p_gate + o_d, mask=m_row, other=0.0).to(tl.float32))
    b_out = b_out.to(p_out.dtype.element_ty)
    if ADDED:
        # Rounded before and after the sum, as by two passes.
        b_residual = tl.load(p_residual + o_n * D + o_d, mask=m_row, other=0.0).to(tl.float32)
        b_out = (b_out.to(tl.float32) + b_residual).to(b_out.dtype)
    tl.store(p_out + o_n * D + o_d, b_out, mask=m_row)


# Specialised on the size, because masked loads are 16 bytes wide only for a known multiple of 16.
@triton.jit
def _silu_product(p_gate, p_up, p_out, s_gate, s_up, s_out, N, BLOCK: tl.constexpr, OVERLAPS: tl.constexpr):
    wait_for_earlier(OVERLAPS)
    i_row = tl.program_id(0).to(tl.int64)
    o_n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    b_gate = tl.load(p_gate + i_row * s_gate + o_n, mask=o_n < N, other=0.0).to(tl.float32)
    b_up = tl.load(p_up + i_row * s_up + o_n, mask=o_n < N, other=0.0).to(tl.float32)
    tl.store(p_out + i_row * s_out + o_n, (_silu(b_gate) * b_up).to(p_out.dtype.element_ty), mask=o_n < N)


@triton.jit(do_not_specialize=["T", "H"])
def _rotate(
    p_x,
    p_cos,
    p_sin,
    p_out,
    s_x_b,
    s_x_h,
    s_x_t,
    s_table_b,
    T,
    H,
    R: tl.constexpr,
    BR: tl.constexpr,
    BT: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    wait_for_earlier(OVERLAPS)
    i_b, i_h = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)[:, None]
    o_r = tl.arange(0, BR)[None, :]
    m_x = (o_t < T) & (o_r < R)
    p_first = p_x + i_b * s_x_b + i_h * s_x_h + o_t * s_x_t + o_r
    b_first = tl.load(p_first, mask=m_x, other=0.0).to(tl.float32)
    b_second = tl.load(p_first + R, mask=m_x, other=0.0).to(tl.float32)
    o_table = i_b * s_table_b + o_t * (2 * R) + o_r
    b_new_first = b_first * tl.load(p_cos + o_table, mask=m_x, other=0.0).to(tl.float32)
    b_new_first -= b_second * tl.load(p_sin + o_table, mask=m_x, other=0.0).to(tl.float32)
    b_new_second = b_second * tl.load(p_cos + o_table + R, mask=m_x, other=0.0).to(tl.float32)
    b_new_second += b_first * tl.load(p_sin + o_table + R, mask=m_x, other=0.0).to(tl.float32)
    p_new = p_out + ((i_b * T + o_t) * H + i_h) * (2 * R) + o_r
    tl.store(p_new, b_new_first.to(p_out.dtype.element_ty), mask=m_x)
    tl.store(p_new + R, b_new_second.to(p_out.dtype.element_ty), mask=m_x)
