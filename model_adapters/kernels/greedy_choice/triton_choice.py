"""The greedy choice among the logits of a step in two launches: the best of each part of a row, and the best of these.

Names: i_ program index, o_ offsets, p_ pointer, b_ block.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import cdiv, next_power_of_2

PART = 2048
"""Logits per program: a vocabulary of 100,000 occupies 49 multiprocessors."""


def choose(logits_BV: torch.Tensor) -> torch.Tensor:
    """The first of the largest logits of each row, int64; -1 if one is NaN, or the largest is infinite.

    Raises ValueError for shapes, dtypes or strides that do not fit.
    """
    if logits_BV.dim() != 2 or logits_BV.dtype != torch.float32 or not logits_BV.is_contiguous():
        raise ValueError(
            f"logits are {tuple(logits_BV.shape)} {logits_BV.dtype}; contiguous fp32 rows of a vocabulary are needed"
        )
    B, V = logits_BV.shape
    parts = cdiv(V, PART)
    best_BP = logits_BV.new_empty((B, parts))
    index_BP = torch.empty((B, parts), dtype=torch.int32, device=logits_BV.device)
    picked_B = torch.empty(B, dtype=torch.long, device=logits_BV.device)
    overlaps = overlap(logits_BV.device)
    _best_of_part[(parts, B)](logits_BV, best_BP, index_BP, V, PART=PART, num_warps=4, **overlaps)
    _best_of_row[(B,)](best_BP, index_BP, picked_B, PARTS=parts, BLOCK=next_power_of_2(parts), num_warps=1, **overlaps)
    return picked_B


@triton.jit
def _best_of_part(p_logits, p_best, p_index, V, PART: tl.constexpr, OVERLAPS: tl.constexpr):
    wait_for_earlier(OVERLAPS)
    i_part, i_row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    o_v = i_part * PART + tl.arange(0, PART)
    b_logits = tl.load(p_logits + i_row * V + o_v, mask=o_v < V, other=-float("inf"))
    # NaN counts as infinite, because a comparison would pass over it.
    b_logits = tl.where(b_logits != b_logits, float("inf"), b_logits)
    o_part = i_row * tl.num_programs(0) + i_part
    tl.store(p_best + o_part, tl.max(b_logits, axis=0))
    tl.store(p_index + o_part, i_part * PART + tl.argmax(b_logits, axis=0))


@triton.jit
def _best_of_row(p_best, p_index, p_picked, PARTS: tl.constexpr, BLOCK: tl.constexpr, OVERLAPS: tl.constexpr):
    wait_for_earlier(OVERLAPS)
    i_row = tl.program_id(0).to(tl.int64)
    o_part = tl.arange(0, BLOCK)
    b_best = tl.load(p_best + i_row * PARTS + o_part, mask=o_part < PARTS, other=-float("inf"))
    best = tl.max(b_best, axis=0)
    index = tl.load(p_index + i_row * PARTS + tl.argmax(b_best, axis=0))
    is_finite = (best < float("inf")) & (best > -float("inf"))
    tl.store(p_picked + i_row, tl.where(is_finite, index, -1).to(tl.int64))
