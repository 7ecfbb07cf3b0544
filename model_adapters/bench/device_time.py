"""The time of single calls as the device sees it."""

import time
from collections.abc import Callable
from typing import Any

import torch

Call = Callable[[], object]


def call_seconds(call: Call, device: torch.device, repeats: int) -> list[float]:
    """Seconds of each call: between device events on a GPU, whose queue hides launches, and by the clock elsewhere."""
    if device.type != "cuda":
        return [_host_seconds(call) for _ in range(repeats)]
    make_event: Any = torch.cuda.Event  # its stub has no types
    pairs = [(make_event(enable_timing=True), make_event(enable_timing=True)) for _ in range(repeats)]
    for start, stop in pairs:
        start.record()
        call()
        stop.record()
    torch.cuda.synchronize(device)
    return [float(start.elapsed_time(stop)) / 1e3 for start, stop in pairs]


def _host_seconds(call: Call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
