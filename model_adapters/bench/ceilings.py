"""Measured limits of a device: operations per second of a large product, bytes per second of a large copy."""

import statistics

import torch

from model_adapters.bench.device_time import Call, call_seconds
from model_adapters.bench.record import Ceilings

GPU_PRODUCT_SIZE, CPU_PRODUCT_SIZE = 8192, 1024
GPU_COPY_BYTES, CPU_COPY_BYTES = 2**31, 2**27
REPEATS = 9


def measure_ceilings(device: torch.device) -> Ceilings:
    """On random data, a bf16 product and a 2 GiB copy on a GPU; smaller ones, the product in fp32, on a CPU.

    Medians on a GPU, which is not shared; the fastest of several on a CPU.
    """
    on_gpu = device.type == "cuda"
    size = GPU_PRODUCT_SIZE if on_gpu else CPU_PRODUCT_SIZE
    dtype = torch.bfloat16 if on_gpu else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(a)
    product_seconds = _typical_seconds(lambda: torch.mm(a, b, out=product), device)
    copied_bytes = _fitting(GPU_COPY_BYTES, device) if on_gpu else CPU_COPY_BYTES
    source = torch.randint(0, 255, (copied_bytes,), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    copy_seconds = _typical_seconds(lambda: target.copy_(source), device)
    name, kind = str(dtype).removeprefix("torch."), "medians" if on_gpu else "fastest"
    return Ceilings(
        product_flops=2 * size**3 / product_seconds,
        copy_bytes_per_second=2 * copied_bytes / copy_seconds,
        method=f"{size}³ {name} product, copy of {copied_bytes / 2**20:,.0f} MiB, {kind} of {REPEATS}",
    )


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
