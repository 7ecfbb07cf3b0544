"""Jobs on attention: a segment against a long cache, sliding windows, the merge of two parts."""

import time
from functools import partial

import torch

from benchmarks.gpu_kernels.rows import TOLERANCE, Rows, name_of
from model_adapters.engine.forward import prefill_backends
from model_adapters.engine.forward.prefill_backends import FusedKernel
from model_adapters.engine.forward.scoring import Scoring
from model_adapters.engine.forward.slot_attention import prefill_attention
from model_adapters.engine.memory.layout import AttentionShape
from model_adapters.kernels.chunked_attention import triton_prefill
from model_adapters.kernels.chunked_attention.reference import merge_attention
from model_adapters.kernels.chunked_attention.triton_decode import decode_attention
from model_adapters.kernels.chunked_attention.triton_merge import merge_outputs
from model_adapters.kernels.trial import gap

HEADS, SIZE = 30, 128  # one attention layer of the OLMo Hybrid 7B shape
WINDOW = 4096  # of Olmo 3

CHECKED = (512, 2048, None, 128), (1100, 1300, None, 128), (300, 700, None, 128), (500, 1500, 700, 128)
"""Tokens, cached keys, window and head size."""

QKV = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def random_qkv(
    tokens: int,
    keys: int,
    *,
    sequences: int = 1,
    heads: int = HEADS,
    key_heads: int | None = None,
    size: int = SIZE,
    dtype: torch.dtype = torch.bfloat16,
) -> QKV:
    """q as a transposed projection, keys and values as views of a longer cache [B, G, S, D]."""
    q = torch.randn(sequences, tokens, heads, size, device="cuda").to(dtype).transpose(1, 2)
    shape = (sequences, heads if key_heads is None else key_heads, keys + 64, size)
    k, v = (torch.randn(shape, device="cuda").to(dtype)[:, :, :keys] for _ in range(2))
    return q, k, v


def dense(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, position_BT: torch.Tensor, window: int | None
) -> torch.Tensor:
    """One fp64 softmax over all keys."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.double().repeat_interleave(group, dim=1) for x in (k, v))
    scores = q.double() @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    key_S = torch.arange(k.shape[2], device=k.device)
    seen = key_S <= position_BT[..., None]
    if window is not None:
        seen &= key_S > position_BT[..., None] - window
    return scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1) @ v


def check_attention(rows: Rows) -> None:
    for dtype, tolerance in TOLERANCE.items():
        for tokens, cached, window, size in CHECKED:
            case = f"T {tokens} cached {cached} window {window} size {size} {name_of(dtype)}"
            engine = partial(_engine_errors, tokens, cached, window, size, dtype)
            rows.check("attention, engine", case, engine, tolerance)
            rows.check(
                "attention, Triton", case, partial(_triton_errors, tokens, cached, window, size, dtype), tolerance
            )
        rows.check("attention, merge", name_of(dtype), partial(_merge_errors, dtype), tolerance)
        for heads, key_heads in ((4, 4), (32, 4)):
            case = f"{heads}/{key_heads} heads {name_of(dtype)}"
            rows.check("attention, decode", case, partial(_decode_errors, heads, key_heads, dtype), tolerance)
    odd = partial(_triton_errors, 200, 300, None, 80, torch.bfloat16)
    rows.check("attention, Triton", "T 200 cached 300 size 80 bfloat16", odd, TOLERANCE[torch.bfloat16])
    shape = AttentionShape(torch.device("cuda"), torch.bfloat16, HEADS, HEADS, SIZE, SIZE)
    rows.note("attention", "kernels in order", [kernel.name for kernel in prefill_backends.find_fused(shape)])
    windowed = prefill_backends.find_windowed(shape, True)
    rows.note("attention", "with a window", "masks" if windowed is None else windowed.name)


def _position(tokens: int, cached: int) -> torch.Tensor:
    return cached + torch.arange(tokens, device="cuda")[None]


def _engine_errors(tokens: int, cached: int, window: int | None, size: int, dtype: torch.dtype) -> dict[str, float]:
    q, k, v = random_qkv(tokens, cached + tokens, heads=4, key_heads=2, size=size, dtype=dtype)
    out = prefill_attention(q, k, v, window=window, scoring=Scoring(size**-0.5))
    return {"out": gap(out, dense(q, k, v, _position(tokens, cached), window))}


def _triton_errors(tokens: int, cached: int, window: int | None, size: int, dtype: torch.dtype) -> dict[str, float]:
    q, k, v = random_qkv(tokens, cached + tokens, heads=4, key_heads=2, size=size, dtype=dtype)
    out = torch.full_like(q, torch.nan)
    triton_prefill.prefill_attention(q, k, v, query_offset=cached, window=window, out_BHTE=out)
    return {"out": gap(out, dense(q, k, v, _position(tokens, cached), window))}


def _merge_errors(dtype: torch.dtype) -> dict[str, float]:
    sides = [(torch.randn(1, 3, 70, 128, device="cuda").to(dtype), torch.randn(1, 3, 70, device="cuda")) for _ in "ab"]
    truth, _ = merge_attention(*((out.double(), lse.double()) for out, lse in sides))
    return {"out": gap(merge_outputs(*sides[0], *sides[1]), truth)}


def _decode_errors(heads: int, key_heads: int, dtype: torch.dtype) -> dict[str, float]:
    keys = 5000
    q, k, v = random_qkv(1, keys, sequences=3, heads=heads, key_heads=key_heads, dtype=dtype)
    counts = torch.tensor([1, 777, keys], device="cuda", dtype=torch.int32)
    out = torch.full_like(q[:, :, 0].contiguous(), torch.nan)
    decode_attention(q[:, :, 0], k, v, key_counts_B=counts, out_BHE=out)
    return {"out": gap(out, dense(q, k, v, counts[:, None] - 1, None)[:, :, 0])}


def _first_call(kernel: FusedKernel, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> list[float]:
    seconds = []
    for keys in (256, 512, 1024):
        torch.cuda.synchronize()
        started = time.perf_counter()
        kernel.attend(q, k[:, :, :-keys], v[:, :, :-keys], False, SIZE**-0.5)
        torch.cuda.synchronize()
        seconds.append(round(time.perf_counter() - started, 4))
    return seconds


def time_attention(rows: Rows) -> None:
    rows.ceilings()
    tokens, cached = 8192, 32768
    q, k, v = random_qkv(tokens, cached + tokens)
    scale = SIZE**-0.5
    pairs = {"segment": tokens * tokens // 2, "cached": tokens * cached, "window": tokens * WINDOW}
    operations = {name: 4.0 * SIZE * HEADS * count for name, count in pairs.items()}
    both = operations["segment"] + operations["cached"]
    case = f"T {tokens} cached {cached}"
    for missing in (0, 1):  # a prompt's last segment is a multiple of nothing
        part = q[:, :, missing:], k[:, :, : cached + tokens - missing], v[:, :, : cached + tokens - missing]
        call = partial(prefill_attention, *part, window=None, scoring=Scoring(scale))
        rows.time("attention, engine", f"T {tokens - missing} cached {cached}", call, operations=both)
    shape = AttentionShape.of(q, k, v)
    for kernel in prefill_backends.find_fused(shape):
        if kernel.name == "memory-efficient":
            continue
        parts = (k[:, :, :cached], v[:, :, :cached])
        call = partial(kernel.attend, q, *parts, False, scale)
        rows.time(f"attention, {kernel.name}", f"{case}, cached part", call, operations=operations["cached"])
        rows.note(f"attention, {kernel.name}", "seconds of the first call at new lengths", _first_call(kernel, q, k, v))
    call = partial(triton_prefill.prefill_attention, q, k, v, query_offset=cached)
    rows.time("attention, Triton", case, call, operations=both)
    merged = [(torch.randn_like(q), torch.randn(1, HEADS, tokens, device="cuda")) for _ in "ab"]
    rows.time("attention, merge", case, partial(merge_outputs, *merged[0], *merged[1]), moved_bytes=3 * q.nbytes)
    k, v = (x[:, :, -(WINDOW - 1 + tokens) :] for x in (k, v))
    for windowed in prefill_backends._WINDOWED["cuda"]:
        call = partial(windowed.attend, q, k, v, WINDOW, scale, None)
        rows.time(f"attention, {windowed.name}", f"T {tokens} window {WINDOW}", call, operations=operations["window"])
