"""Reading of a table of packed rows (`packed_rows.py`) in Triton kernels.

Names: i_ program index, p_ pointer.
"""

import triton
import triton.language as tl

WHOLE = tl.constexpr(2**31 - 1)
"""Tokens of a piece that is a whole row."""


@triton.jit
def load_row(p_table, i_row, START, PIECE):
    """The first token of a row's piece, its number of tokens, not above 0 if there is none, and the row's first chunk.

    The piece has the row's tokens from START on, at most PIECE of them.
    """
    p_row = p_table + i_row * 6
    tokens = tl.minimum(tl.load(p_row + 1) - START, PIECE).to(tl.int32)
    return tl.load(p_row) + START, tokens, tl.load(p_row + 2)


@triton.jit
def load_slot(p_table, i_row, START):
    """The slot of a row, whether its piece continues from the states there, and whether it overwrites them."""
    p_row = p_table + i_row * 6
    return tl.load(p_row + 3), tl.where(START > 0, 1, tl.load(p_row + 4)), tl.load(p_row + 5)
