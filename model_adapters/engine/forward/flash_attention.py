"""FlashAttention by PyTorch's `varlen_attn`: version 2, or 3 on Hopper GPUs if its package is installed.

Shape suffixes: B sequences, X tokens of all sequences, N parts of the keys, H query heads, G key/value heads,
T queries, S keys, D head size of queries and keys, E head size of values.
"""

import importlib.util
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl

from model_adapters.engine.memory.key_value_buffer import KeysValues, behind
from model_adapters.engine.memory.rows import split_dim
from model_adapters.kernels.chunked_attention.reference import Attended
from model_adapters.kernels.sizes import cdiv
from model_adapters.messages import first_line

VERSION_3 = "FA3"
VERSION_3_MODULE = "flash_attn_interface"
"""What PyTorch imports when it activates version 3."""
HOPPER = 9
"""The only major compute capability with version 3."""
QUERY_BLOCK = 128
"""Queries of one head in a program of version 2."""
PROGRAMS = 2
"""Programs per multiprocessor for which keys are divided."""
FEW_QUERIES = 64
"""Keys are divided if there are this many times as many of them as queries."""
PART_KEYS = 256
"""The least number of keys in a part."""


def activate_flash_attention_3(device: torch.device) -> str | None:
    """Let `varlen_attn` run FlashAttention 3 in this process if it is installed and the device is a Hopper GPU.

    Returns a line if it is installed but cannot be activated; version 2 then remains.
    """
    if importlib.util.find_spec(VERSION_3_MODULE) is None or current_flash_attention_impl() is not None:
        return None
    if not _is_hopper(device):
        return None
    try:
        activate_flash_attention_impl(VERSION_3)
    except (ImportError, OSError, RuntimeError, AttributeError, ValueError) as error:  # built for another PyTorch
        return f"FlashAttention 3 is installed but not used ({type(error).__name__}: {first_line(error)})"
    return None


def runs_flash_attention_3(device: torch.device) -> bool:
    """Whether `varlen_attn` runs version 3 on this device."""
    return current_flash_attention_impl() == VERSION_3 and _is_hopper(device)


def _is_hopper(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == HOPPER


def flash_attention(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    """Full or causal attention, the latter with T = S: `(out_BHTE, lse_BHT)`."""
    (B, H, T, _), S, device = q_BHTD.shape, k_BGSD.shape[2], q_BHTD.device
    # Version 3 divides keys by itself.
    if B == 1 and not causal and device.type == "cuda" and not runs_flash_attention_3(device):
        parts = count_parts(heads=H, queries=T, keys=S, multiprocessors=_multiprocessors(device))
        if parts > 1:
            return attention_in_parts(q_BHTD, k_BGSD, v_BGSE, scale, parts)
    return _attend(q_BHTD, k_BGSD, v_BGSE, scale, (-1, 0 if causal else -1))


def windowed_flash_attention(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    window: int,
    scale: float,
    before: KeysValues | None,
) -> torch.Tensor:
    """Sliding-window attention of the last T positions, [B, H, T, E]; keys before the others may be elsewhere."""
    k_BGSD, v_BGSE = behind(before, k_BGSD, v_BGSE)
    # The window counts the keys before a query's own.
    return _attend(q_BHTD, k_BGSD, v_BGSE, scale, (window - 1, 0))[0]


def attention_in_parts(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, scale: float, parts: int
) -> Attended:
    """Full attention of one sequence, with its keys divided among N sequences that have the same queries."""
    T, S = q_BHTD.shape[2], k_BGSD.shape[2]
    part = cdiv(S, parts)
    q_XHD = q_BHTD[0].transpose(0, 1).repeat(parts, 1, 1)
    k_SGD, v_SGE = k_BGSD[0].transpose(0, 1), v_BGSE[0].transpose(0, 1)
    out_XHE, lse_HX = _attend_flat(
        (q_XHD, k_SGD, v_SGE), (ends(parts, T, q_XHD.device), ends(parts, part, q_XHD.device, S)), (T, part), scale
    )
    lse_HNT = split_dim(lse_HX, 1, (parts, T))
    lse_HT = lse_HNT.logsumexp(1)
    weight_NTH1 = (lse_HNT - lse_HT[:, None]).exp().permute(1, 2, 0)[..., None]
    out_THE = (split_dim(out_XHE, 0, (parts, T)) * weight_NTH1).sum(0)
    return out_THE.to(q_BHTD.dtype).transpose(0, 1)[None], lse_HT[None]


def count_parts(*, heads: int, queries: int, keys: int, multiprocessors: int) -> int:
    """Parts of the keys with which a few queries keep all multiprocessors busy.

    Of sequences of different lengths, version 2 divides queries among programs, and no keys.
    """
    if keys < FEW_QUERIES * queries:
        return 1
    return max(1, min(PROGRAMS * multiprocessors // (heads * cdiv(queries, QUERY_BLOCK)), keys // PART_KEYS))


@lru_cache(maxsize=16)
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def _attend(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, scale: float, window: tuple[int, int]
) -> Attended:
    """Attention within a window (keys before and behind a query's own, -1 for all), aligned to the last key."""
    (B, _, T, _), S, device = q_BHTD.shape, k_BGSD.shape[2], q_BHTD.device
    # Views, for one sequence and for tensors in memory as [B, T, H, D].
    q_XHD, k_XGD, v_XGE = (x.transpose(1, 2).flatten(0, 1) for x in (q_BHTD, k_BGSD, v_BGSE))
    out_XHE, lse_HX = _attend_flat(
        (q_XHD, k_XGD, v_XGE), (ends(B, T, device), ends(B, S, device)), (T, S), scale, window
    )
    return split_dim(out_XHE, 0, (B, T)).transpose(1, 2), split_dim(lse_HX, 1, (B, T)).transpose(0, 1)


def _attend_flat(
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    offsets: tuple[torch.Tensor, torch.Tensor],
    lengths: tuple[int, int],
    scale: float,
    window: tuple[int, int] = (-1, -1),
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(out_XHE, lse_HX)` of queries, keys and values whose sequences are one after another.

    PyTorch's documentation has the log-sum-exp the other way round, [X, H].
    """
    # Imported only if it is called, because the import takes time.
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    found: Any = varlen_attn(
        *tensors,
        *offsets,
        *lengths,
        return_aux=AuxRequest(lse=True),
        scale=scale,
        window_size=window,
        **_grouping(varlen_attn),
    )
    return found[0], found[1]


@lru_cache(maxsize=4)
def _grouping(attend: Callable[..., Any]) -> dict[str, Any]:
    """The argument without which PyTorch refuses grouped heads since 2.12; 2.11 has none and takes them."""
    return {"enable_gqa": True} if "enable_gqa" in inspect.signature(attend).parameters else {}


@lru_cache(maxsize=256)
def ends(sequences: int, tokens: int, device: torch.device, most: int | None = None) -> torch.Tensor:
    """Where sequences of so many tokens begin and end among all tokens, [B + 1]; `most` cuts off the last ones.

    It is made on the device, and kept for the layers that follow: a copy from the host would wait.
    """
    offsets = torch.arange(0, (sequences + 1) * tokens, tokens, dtype=torch.int32, device=device)
    return offsets if most is None else offsets.clamp_(max=most)
