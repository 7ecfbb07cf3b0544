"""Attention of one token to a long cache in Triton: keys are split among programs, then parts, if several, are merged.

The program that finishes last merges few small parts of its key head, in the order of the keys, so that the result does
not depend on which one that is; a second launch merges more. Lengths are read on the device, so a captured CUDA graph
stays valid while sequences grow.
Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import triton
import triton.language as tl

from model_adapters.kernels.chunked_attention.triton_arguments import check_attention_out, check_attention_tensors
from model_adapters.kernels.chunked_attention.triton_prefill import absorb_scores, load_rows
from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import next_power_of_2

SMALLEST_PRODUCT = 16
FEW_PARTS = 8
"""Parts up to which the last program merges them; the compiled kernel is the same for all of these."""
MERGED_AT_ONCE = 2048
"""Numbers in so many parts of one key head beyond which a second launch, which has a program per query head, merges."""
LARGE_BLOCKS_BYTES = 160 * 1024
"""Shared memory from which on a program can hold two blocks of 128 keys and values of 128 numbers (128 KiB)."""
PROGRAMS_AT_ONCE = 264
"""Two on each of the multiprocessors of the largest GPUs."""
MOST_SPLITS = 128
MOST_ARRIVALS = 4096
"""Pairs of sequences and key heads whose programs are counted; launches that split keys have fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeAttentionLaunch:
    """How the two kernels are launched: `splits` programs share one key head's keys."""

    splits: int
    key_block: int = 64
    warps: int = 4
    stages: int = 3


def choose_decode_attention_launch(
    *, sequences: int, key_heads: int, head_size: int, dtype: torch.dtype, device: torch.device
) -> DecodeAttentionLaunch:
    """Launch configuration for a shape.

    Two large blocks of keys are read faster than three small ones, where they fit: 8 × 32 heads and 4,095 keys of 128
    take 126 µs instead of 143 (H200). The launch does not depend on the number of keys, so that the rounding of a short
    sequence does not depend on longer ones.
    """
    key_block, stages = 64, 3
    if dtype == torch.float32 or head_size > 128:
        key_block, stages = 32, 2 if dtype == torch.float32 else 3
    elif _shared_bytes(device) >= LARGE_BLOCKS_BYTES:
        key_block, stages = 128, 2
    return DecodeAttentionLaunch(splits=_choose_splits(sequences * key_heads), key_block=key_block, stages=stages)


def _choose_splits(pairs: int) -> int:
    """How many programs share one of `pairs` key heads, so that the last round of programs on the GPU is nearly full.

    One round if it is full, otherwise two: programs that begin late make up for those that end early. 8 × 30 heads and
    65,408 keys take 3 % less of a whole step with two splits than with one, 8 × 32 heads no less (H200).
    """
    if pairs > 2.5 * PROGRAMS_AT_ONCE:
        return 1
    rounds = {splits: pairs * splits / PROGRAMS_AT_ONCE for splits in range(1, FEW_PARTS + 1)}
    fullness = {splits: count / math.ceil(count) for splits, count in rounds.items()}
    few = range(1, FEW_PARTS // 2 + 1)
    full = [splits for splits in few if fullness[splits] >= 0.95]
    twice = [splits for splits in few if fullness[splits] >= 0.9 and 1 < rounds[splits] <= 2]
    nearly_full = [splits for splits in rounds if fullness[splits] >= 0.9]
    return next(iter(full + twice + nearly_full), min(max(1, PROGRAMS_AT_ONCE // pairs), MOST_SPLITS))


def decode_attention(
    q_BHD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    *,
    key_counts_B: torch.Tensor,
    window: int | None = None,
    scale: float | None = None,
    out_BHE: torch.Tensor | None = None,
    launch: DecodeAttentionLaunch | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of one query per sequence to its first `key_counts_B` keys: `(out_BHE, lse_BH)`, lse in fp32 nats.

    `key_counts_B` (int32 or int64, on the device) includes the new token's own key; places from there on are ignored
    and may hold anything. With `window` only the last `window` keys are seen. A sequence with no keys gives zeros and
    -inf. The grid depends only on S. Raises ValueError for shapes, dtypes, strides or devices that do not fit.

    Splitting the keys is Flash-Decoding's (Dao et al., 2023); parts merge by their log-sum-exp.
    """
    check_attention_tensors(q_BHD.unsqueeze(2), k_BGSD, v_BGSE, window=window)
    sequences, heads, key_size = q_BHD.shape
    key_heads, keys, value_size = v_BGSE.shape[1:]
    _check_counts(key_counts_B, sequences, q_BHD.device)
    shape = (sequences, heads, value_size)
    out = q_BHD.new_empty(shape) if out_BHE is None else out_BHE
    check_attention_out("out", out, q_BHD, shape)
    if launch is None:
        launch = choose_decode_attention_launch(
            sequences=sequences,
            key_heads=key_heads,
            head_size=max(key_size, value_size),
            dtype=q_BHD.dtype,
            device=q_BHD.device,
        )
    lse_BH = torch.empty(sequences, heads, dtype=torch.float32, device=q_BHD.device)
    whole = launch.splits == 1 and out.is_contiguous()
    part_out, part_lse = out, lse_BH
    if not whole:
        part_lse = torch.empty(sequences, heads, launch.splits, dtype=torch.float32, device=q_BHD.device)
        part_out = torch.empty((*part_lse.shape, value_size), dtype=torch.float32, device=q_BHD.device)
    group = heads // key_heads
    block_e = max(16, next_power_of_2(value_size))
    merges = not whole and launch.splits <= FEW_PARTS and group * FEW_PARTS * block_e <= MERGED_AT_ONCE
    merges = merges and sequences * key_heads <= MOST_ARRIVALS
    _attend_split[(launch.splits, sequences * key_heads)](
        q_BHD,
        k_BGSD,
        v_BGSE,
        key_counts_B,
        part_out,
        part_lse,
        out,
        lse_BH,
        _arrivals(q_BHD.device) if merges else key_counts_B,
        *out.stride()[:2],
        *q_BHD.stride()[:2],
        *k_BGSD.stride()[:3],
        *v_BGSE.stride()[:3],
        keys,
        0 if window is None else window,
        key_heads,
        (key_size**-0.5 if scale is None else scale) / math.log(2),
        GROUP=group,
        D=key_size,
        E=value_size,
        BG=max(SMALLEST_PRODUCT, next_power_of_2(group)),
        BD=max(16, next_power_of_2(key_size)),
        BE=block_e,
        BS=launch.key_block,
        BLOCK_SPLITS=FEW_PARTS,
        WINDOWED=window is not None,
        WHOLE=whole,
        MERGES=merges,
        PRECISION="tf32x3" if q_BHD.dtype == torch.float32 else "tf32",
        num_warps=launch.warps,
        num_stages=launch.stages,
        **overlap(q_BHD.device),
    )
    if whole or merges:
        return out, lse_BH
    _merge_splits[(sequences * heads,)](
        part_out,
        part_lse,
        out,
        lse_BH,
        *out.stride()[:2],
        heads,
        launch.splits,
        BLOCK_SPLITS=next_power_of_2(launch.splits),
        E=value_size,
        BE=block_e,
        num_warps=2,
        **overlap(q_BHD.device),
    )
    return out, lse_BH


@lru_cache(maxsize=16)
def _arrivals(device: torch.device) -> torch.Tensor:
    """For each sequence and key head, how many of its programs have finished; all zeros between launches.

    Shared by all launches on a device, which run one after another. A launch outside a CUDA graph comes first.
    """
    return torch.zeros(MOST_ARRIVALS, dtype=torch.int32, device=device)


@lru_cache(maxsize=16)
def _shared_bytes(device: torch.device) -> int:
    """The most shared memory of a program; the interpreter has no limit."""
    if device.type != "cuda":
        return LARGE_BLOCKS_BYTES
    most: int = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
    return most


def _check_counts(key_counts_B: torch.Tensor, sequences: int, device: torch.device) -> None:
    if key_counts_B.dtype not in (torch.int32, torch.int64) or not key_counts_B.is_contiguous():
        raise ValueError(f"key_counts is {key_counts_B.dtype}; contiguous int32 or int64 is needed")
    if tuple(key_counts_B.shape) != (sequences,) or key_counts_B.device != device:
        raise ValueError(
            f"key_counts is {tuple(key_counts_B.shape)} on {key_counts_B.device}; ({sequences},) on {device} is needed"
        )


@triton.jit(do_not_specialize=["S", "window", "G"])
def _attend_split(
    p_q,
    p_k,
    p_v,
    p_counts,
    p_part_out,
    p_part_lse,
    p_out,
    p_lse,
    p_arrivals,
    s_out_b,
    s_out_h,
    s_q_b,
    s_q_h,
    s_k_b,
    s_k_h,
    s_k_s,
    s_v_b,
    s_v_h,
    s_v_s,
    S,
    window,
    G,
    scale,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    BG: tl.constexpr,
    BD: tl.constexpr,
    BE: tl.constexpr,
    BS: tl.constexpr,
    BLOCK_SPLITS: tl.constexpr,
    WINDOWED: tl.constexpr,
    WHOLE: tl.constexpr,
    MERGES: tl.constexpr,
    PRECISION: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    i_split, splits = tl.program_id(0), tl.num_programs(0)
    i_bg = tl.program_id(1).to(tl.int64)
    i_b, i_g = i_bg // G, i_bg % G
    p_k += i_b * s_k_b + i_g * s_k_h
    p_v += i_b * s_v_b + i_g * s_v_h
    wait_for_earlier(OVERLAPS)
    count = tl.load(p_counts + i_b)
    count, oldest, first, stop = _own_keys(count, S, window, i_split, splits, BS, WINDOWED)
    o_g = tl.arange(0, BG)
    o_s = tl.arange(0, BS)
    i_query = i_g * GROUP
    b_q = load_rows(p_q + i_b * s_q_b + (i_query + o_g) * s_q_h, o_g < GROUP, BD, D)
    p_k += first.to(tl.int64) * s_k_s
    p_v += first.to(tl.int64) * s_v_s
    b_out = tl.zeros([BG, BE], tl.float32)
    b_peak = tl.full([BG], -float("inf"), tl.float32)
    b_total = tl.zeros([BG], tl.float32)
    for start in range(first, stop, BS):
        o_key = start + o_s
        m_key = o_key < count
        if WINDOWED:
            m_key = m_key & (o_key >= oldest)
        b_k = load_rows(p_k + o_s * s_k_s, m_key, BD, D)
        b_v = load_rows(p_v + o_s * s_v_s, m_key, BE, E)
        b_scores = tl.dot(b_q, tl.trans(b_k), input_precision=PRECISION)
        b_scores = tl.where(m_key[None, :], b_scores, -float("inf"))
        b_out, b_peak, b_total = absorb_scores(b_scores, b_v, b_out, b_peak, b_total, scale, PRECISION)
        p_k += BS * s_k_s
        p_v += BS * s_v_s

    b_seen = b_total > 0
    b_total = tl.where(b_seen, b_total, 1.0)
    b_lse = tl.where(b_seen, b_peak + tl.log2(b_total), -float("inf"))
    if WHOLE:
        b_lse *= 0.6931471805599453  # in nats, because nothing is left to merge
    o_part = ((i_b * G * GROUP + i_query + o_g) * splits + i_split).to(tl.int64)
    o_e = tl.arange(0, BE)
    m_g = o_g < GROUP
    tl.store(p_part_lse + o_part, b_lse, mask=m_g)
    m_part = m_g[:, None] & (o_e < E)[None, :]
    b_out = (b_out / b_total[:, None]).to(p_part_out.dtype.element_ty)
    tl.store(p_part_out + o_part[:, None] * E + o_e[None, :], b_out, mask=m_part)
    if MERGES:
        # All warps have written their share before one thread publishes it, and it has seen all parts before any loads.
        tl.debug_barrier()
        arrived = tl.atomic_add(p_arrivals + i_bg, 1, sem="acq_rel", scope="gpu")
        if arrived == splits - 1:
            tl.store(p_arrivals + i_bg, 0)
            for head in tl.static_range(GROUP):
                i_bh = i_b * G * GROUP + i_query + head
                p_row = p_out + i_b * s_out_b + (i_query + head) * s_out_h
                _merge_head(p_part_out, p_part_lse, p_row, p_lse, i_bh, splits, BLOCK_SPLITS, E, BE)


@triton.jit
def _own_keys(count, S, window, i_split, splits, BS: tl.constexpr, WINDOWED: tl.constexpr):
    """The number of keys and the oldest that is seen, and the first of this program's and their end."""
    count = tl.minimum(count.to(tl.int32), S)
    oldest = 0
    if WINDOWED:
        oldest = tl.maximum(0, count - window)
    # Whole blocks, distributed by the sequence's own length, so that no program idles for a short one.
    first_block, stop_block = oldest // BS, tl.cdiv(count, BS)
    share = tl.cdiv(stop_block - first_block, splits)
    first = (first_block + i_split * share) * BS
    return count, oldest, first, tl.minimum((first_block + (i_split + 1) * share) * BS, count)


@triton.jit(do_not_specialize=["H", "splits"])
def _merge_splits(
    p_part_out,
    p_part_lse,
    p_out,
    p_lse,
    s_out_b,
    s_out_h,
    H,
    splits,
    BLOCK_SPLITS: tl.constexpr,
    E: tl.constexpr,
    BE: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    wait_for_earlier(OVERLAPS)
    i_bh = tl.program_id(0).to(tl.int64)
    p_row = p_out + (i_bh // H) * s_out_b + (i_bh % H) * s_out_h
    _merge_head(p_part_out, p_part_lse, p_row, p_lse, i_bh, splits, BLOCK_SPLITS, E, BE)


@triton.jit
def _merge_head(
    p_part_out,
    p_part_lse,
    p_row,
    p_lse,
    i_bh,
    splits,
    BLOCK_SPLITS: tl.constexpr,
    E: tl.constexpr,
    BE: tl.constexpr,
):
    """Merge one head's parts with base-2 log-sum-exps into one output and a log-sum-exp in nats."""
    o_part = tl.arange(0, BLOCK_SPLITS)
    o_e = tl.arange(0, BE)
    m_part = o_part < splits
    b_lse = tl.load(p_part_lse + i_bh * splits + o_part, mask=m_part, other=-float("inf"))
    m_rows = m_part[:, None] & (o_e < E)[None, :]
    p_rows = p_part_out + (i_bh * splits + o_part)[:, None] * E + o_e[None, :]
    b_rows = tl.load(p_rows, mask=m_rows, other=0.0)
    peak = tl.max(b_lse, axis=0)
    base = tl.where(peak == -float("inf"), 0.0, peak)
    b_weights = tl.exp2(b_lse - base)
    total = tl.sum(b_weights, axis=0)
    seen = total > 0
    total = tl.where(seen, total, 1.0)
    b_out = tl.sum(b_rows * b_weights[:, None], axis=0) / total
    tl.store(p_row + o_e, b_out.to(p_row.dtype.element_ty), mask=o_e < E)
    tl.store(p_lse + i_bh, tl.where(seen, (base + tl.log2(total)) * 0.6931471805599453, -float("inf")))
