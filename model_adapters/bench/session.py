"""One run of the bench: its record, its budget of seconds, and how single measurements may fail without ending it."""

import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from transformers import PreTrainedModel

from model_adapters.bench.ceilings import measure_ceilings
from model_adapters.bench.record import BenchRecord, BenchRow, Ceilings, Timing
from model_adapters.failures import is_out_of_memory
from model_adapters.kernels.large_product.kept_algorithms import described_algorithms
from model_adapters.messages import first_line

PACKAGES = ("torch", "transformers", "triton", "flash-linear-attention")
OURS = "evalkit"

Report = Callable[[BenchRecord, BenchRow], None]


class BenchSession:
    """Collects rows; `report` sees the record after each of them."""

    def __init__(
        self, record: BenchRecord, device: torch.device, *, budget_seconds: float | None, report: Report | None = None
    ) -> None:
        self.record, self.device = record, device
        self._report = report
        self._started = time.monotonic()
        self._budget_seconds = budget_seconds

    @property
    def ceilings(self) -> Ceilings:
        """The device's limits; measured once per run."""
        if self.record.ceilings is None:
            self.record.ceilings = measure_ceilings(self.device)
        return self.record.ceilings

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent; the record then says that the run stopped early."""
        spent = self._budget_seconds is not None and time.monotonic() - self._started > self._budget_seconds
        self.record.stopped_early = self.record.stopped_early or spent
        return spent

    def add(self, row: BenchRow) -> None:
        self.record.rows.append(row)
        self.close()
        if self._report is not None:
            self._report(self.record, row)

    def attempt(self, row: BenchRow, measure: Callable[[], BenchRow]) -> None:
        """Add the result of `measure`, or `row` with the reason why there is none; adds nothing if time is up."""
        if self.is_over:
            return
        try:
            measured = measure()
        except Exception as error:  # noqa: BLE001 - each comparison fails in its own way, and the others go on
            out = is_out_of_memory(error)
            measured = replace(row, failure="out of memory" if out else f"{type(error).__name__}: {first_line(error)}")
        self.free()
        self.add(measured)

    def time(
        self,
        work: Callable[[], object],
        *,
        repeats: int,
        warmups: int = 1,
        enough_seconds: float = math.inf,
    ) -> Timing:
        """Wall-clock time of calls until the device is done, after uncounted ones.

        There are fewer than `repeats` if time is up, or once they took `enough_seconds` together.
        """
        for _ in range(warmups):
            work()
        seconds: list[float] = []
        while len(seconds) < repeats and not (seconds and (sum(seconds) >= enough_seconds or self.is_over)):
            self.wait()
            started = time.perf_counter()
            work()
            self.wait()
            seconds.append(time.perf_counter() - started)
        return Timing.of(seconds)

    def close(self) -> None:
        """Record the duration of the run."""
        self.record.seconds = time.monotonic() - self._started

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free(self) -> None:
        """Return unused cached memory to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def new_record(mode: str, name: str, model: PreTrainedModel, *, seed: int, options: dict[str, Any]) -> BenchRecord:
    """A record of this machine and model, with nothing measured yet."""
    return BenchRecord(
        mode=mode,
        model=name,
        device=device_name(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        seed=seed,
        versions={"python": platform.python_version(), **_versions(PACKAGES), **_algorithms(model.device)},
        options=options,
    )


def device_name(device: torch.device) -> str:
    """The GPU, or the CPU with the number of PyTorch's threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}, {sys.platform}"


def _algorithms(device: torch.device) -> dict[str, str]:
    """Whether products run by algorithms that were measured, instead of by cuBLAS's own choice."""
    kept = described_algorithms(device)
    return {"product algorithms": f"{len(kept)} kept"} if kept else {}


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
