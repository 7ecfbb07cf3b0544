"""Storing of one token's keys and values of many sequences, in one launch that reads positions on the device.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, s_ stride.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.key_value.places import TokenPlaces
from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import next_power_of_2


def store_tokens(k_BGD: torch.Tensor, v_BGE: torch.Tensor, places: TokenPlaces) -> None:
    """Write each sequence's key and value to its place.

    Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    places.check(k_BGD, v_BGE)
    k_NGMD, v_NGME, position_B = places
    key_size, value_size = k_BGD.shape[2], v_BGE.shape[2]
    _store[(k_NGMD.shape[1], len(position_B))](
        k_BGD,
        v_BGE,
        k_NGMD,
        v_NGME,
        position_B,
        *k_BGD.stride()[:2],
        *v_BGE.stride()[:2],
        *k_NGMD.stride()[:3],
        *v_NGME.stride()[:3],
        k_NGMD.shape[2],
        D=key_size,
        E=value_size,
        BD=next_power_of_2(key_size),
        BE=next_power_of_2(value_size),
        num_warps=1,
        **overlap(k_NGMD.device),
    )


@triton.jit(do_not_specialize=["M"])
def _store(
    p_k,
    p_v,
    p_kept_k,
    p_kept_v,
    p_position,
    s_k_b,
    s_k_g,
    s_v_b,
    s_v_g,
    s_kept_k_n,
    s_kept_k_g,
    s_kept_k_m,
    s_kept_v_n,
    s_kept_v_g,
    s_kept_v_m,
    M,
    D: tl.constexpr,
    E: tl.constexpr,
    BD: tl.constexpr,
    BE: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    wait_for_earlier(OVERLAPS)
    i_g, i_b = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    place = tl.load(p_position + i_b).to(tl.int64) % M
    o_d, o_e = tl.arange(0, BD), tl.arange(0, BE)
    p_kept_k += i_b * s_kept_k_n + i_g * s_kept_k_g + place * s_kept_k_m
    p_kept_v += i_b * s_kept_v_n + i_g * s_kept_v_g + place * s_kept_v_m
    b_k = tl.load(p_k + i_b * s_k_b + i_g * s_k_g + o_d, mask=o_d < D)
    b_v = tl.load(p_v + i_b * s_v_b + i_g * s_v_g + o_e, mask=o_e < E)
    tl.store(p_kept_k + o_d, b_k, mask=o_d < D)
    tl.store(p_kept_v + o_e, b_v, mask=o_e < E)
