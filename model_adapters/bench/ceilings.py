"""Measured limits of a device: operations per second of product and attention, bytes per second of copies and reads."""

import statistics

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from model_adapters.bench.device_time import Call, call_seconds
from model_adapters.bench.record import Ceilings
from model_adapters.failures import is_out_of_memory
from model_adapters.kernels.vector_product.linear import linear

GPU_PRODUCT_SIZE, CPU_PRODUCT_SIZE = 8192, 1024
GPU_COPY_BYTES, CPU_COPY_BYTES = 2**31, 2**27
GPU_ATTENTION, CPU_ATTENTION = (32, 8192, 16_384, 128), (4, 256, 1024, 64)
"""Heads, queries, keys and head size."""
FUSED_BACKENDS = {"cuda": (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION)}
"""Of other devices: flash."""
REPEATS = 9


def measure_ceilings(device: torch.device) -> Ceilings:
    """On random data, a bf16 product, attention, and a copy and reads of 2 GiB on a GPU; smaller in fp32 on a CPU.

    Medians on a GPU, which is not shared; the fastest of several on a CPU.
    """
    on_gpu = device.type == "cuda"
    size = GPU_PRODUCT_SIZE if on_gpu else CPU_PRODUCT_SIZE
    dtype = torch.bfloat16 if on_gpu else torch.float32
    copied_bytes = _fitting(GPU_COPY_BYTES, device) if on_gpu else CPU_COPY_BYTES
    product_flops = _product_flops(device, dtype, size)
    copy_rate = _copy_rate(device, copied_bytes)
    name, kind = str(dtype).removeprefix("torch."), "medians" if on_gpu else "fastest"
    return Ceilings(
        product_flops=product_flops,
        copy_bytes_per_second=copy_rate,
        method=f"{size}³ {name} product, copy and reads of {copied_bytes / 2**20:,.0f} MiB, {kind} of {REPEATS}",
        attention_flops=_attention_flops(device, dtype, *(GPU_ATTENTION if on_gpu else CPU_ATTENTION)),
        read_bytes_per_second=_read_rate(device, dtype, copied_bytes, size),
    )


def _product_flops(device: torch.device, dtype: torch.dtype, size: int) -> float:
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(a)
    return 2 * size**3 / _typical_seconds(lambda: torch.mm(a, b, out=product), device)


def _copy_rate(device: torch.device, copied_bytes: int) -> float:
    source = torch.randint(0, 255, (copied_bytes,), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * copied_bytes / _typical_seconds(lambda: target.copy_(source), device)


def _read_rate(device: torch.device, dtype: torch.dtype, read_bytes: int, columns: int) -> float:
    rows = read_bytes // (columns * dtype.itemsize)
    matrix, vector = (
        torch.randn(rows, columns, device=device, dtype=dtype),
        torch.randn(columns, device=device, dtype=dtype),
    )
    out = matrix.new_empty(rows)
    seconds = (
        _typical_seconds(lambda: torch.mv(matrix, vector, out=out), device),
        _typical_seconds(lambda: torch.amax(matrix), device),
        # The engine's own product, where its kernel runs: up to 4.65 TB/s on an H200, where PyTorch's reach 4.06.
        _typical_seconds(lambda: linear(vector, matrix), device),
    )
    return matrix.nbytes / min(seconds)


def _attention_flops(
    device: torch.device, dtype: torch.dtype, heads: int, queries: int, keys: int, size: int
) -> float | None:
    """The rate of the fastest fused attention in PyTorch; None if none runs here."""
    q, k, v = (torch.randn(1, heads, tokens, size, device=device, dtype=dtype) for tokens in (queries, keys, keys))
    found = []
    for backend in FUSED_BACKENDS.get(device.type, (SDPBackend.FLASH_ATTENTION,)):
        try:
            with sdpa_kernel(backend):
                found.append(_typical_seconds(lambda: F.scaled_dot_product_attention(q, k, v), device))
        except RuntimeError as error:
            # PyTorch raises this for a backend that does not support the device.
            if is_out_of_memory(error):
                raise
    return 4 * heads * queries * keys * size / min(found) if found else None


def _fitting(wanted: int, device: torch.device) -> int:
    """Reduce the size by halves until it leaves most of the device's free memory unused."""
    free, _ = torch.cuda.mem_get_info(device)
    while wanted > 2**26 and 4 * wanted > free:
        wanted //= 2
    return wanted


def _typical_seconds(work: Call, device: torch.device) -> float:
    """A warm-up as long as the measurement, then single calls."""
    if device.type != "cuda":
        return min(call_seconds(work, device, REPEATS))
    call_seconds(work, device, REPEATS)
    return statistics.median(call_seconds(work, device, REPEATS))
