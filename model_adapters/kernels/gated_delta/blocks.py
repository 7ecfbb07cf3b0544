"""Operations on blocks of rows for both prefill kernels.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import triton
import triton.language as tl


@triton.jit
def cut_to(b_wide, dtype: tl.constexpr):
    """fp32 values without the bits that a 16-bit format lacks, still in fp32.

    Truncated instead of rounded: a mask is one instruction at full speed, while rounding and widening uses a unit that
    converts 16 values per cycle.
    """
    MASK: tl.constexpr = 0xFFFF0000 if dtype == tl.bfloat16 else 0xFFFFE000
    return (b_wide.to(tl.uint32, bitcast=True) & MASK).to(tl.float32, bitcast=True)


@triton.jit
def row_squares(b_rows):
    b_wide = b_rows.to(tl.float32)
    return tl.sum(b_wide * b_wide, axis=1)


@triton.jit
def dense_offsets(o_rows, FIRST: tl.constexpr, WIDTH: tl.constexpr, KEY_WIDTH: tl.constexpr):
    """Offsets of columns FIRST .. FIRST + WIDTH of the rows of a block without gaps."""
    return o_rows[:, None] * KEY_WIDTH + FIRST + tl.arange(0, WIDTH)[None, :]
