"""Measure the time of work on a device without synchronizing with it."""

import time

import torch


class Stopwatch:
    """Measures from construction to `stop`: with CUDA events on a GPU, with the host's clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
        self._seconds = 0.0
        if device.type == "cuda":
            self._events = _event(), _event()
            self._events[0].record()
        self._started = time.perf_counter()

    def stop(self) -> None:
        """End the interval, once the work has been submitted to the device."""
        self._seconds = time.perf_counter() - self._started
        if self._events is not None:
            self._events[1].record()

    def wait(self) -> None:
        """Wait for the end of the interval."""
        if self._events is not None:
            self._events[1].synchronize()

    def seconds(self) -> float:
        """The measured time; on a GPU, only after the work has finished."""
        if self._events is None:
            return self._seconds
        milliseconds: float = self._events[0].elapsed_time(self._events[1])
        return milliseconds / 1e3


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
