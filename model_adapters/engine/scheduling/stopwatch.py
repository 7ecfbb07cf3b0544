"""The time that work takes on a device, without waiting for it."""

import time

import torch


class Stopwatch:
    """Runs from its making to `stop`; on a GPU between two places in the stream, elsewhere on the host's clock."""

    def __init__(self, device: torch.device) -> None:
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
        self._seconds = 0.0
        if device.type == "cuda":
            self._events = _event(), _event()
            self._events[0].record()
        self._started = time.perf_counter()

    def stop(self) -> None:
        """The work has been given to the device."""
        self._seconds = time.perf_counter() - self._started
        if self._events is not None:
            self._events[1].record()

    def seconds(self) -> float:
        """What the work took; on a GPU it must have been waited for."""
        if self._events is None:
            return self._seconds
        milliseconds: float = self._events[0].elapsed_time(self._events[1])
        return milliseconds / 1e3


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
