"""Results of a job: rows of errors and times, each printed as a JSON line."""

import json
from collections.abc import Callable

import torch

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-3}


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class Rows:
    """Runs comparisons and timings; a failure is a row and does not end the job."""

    def __init__(self) -> None:
        self.copy_rate = self.product_rate = 0.0
        """Bytes per second (read plus written) and floating-point operations per second; 0 before `ceilings`."""

    def check(self, kernel: str, case: str, errors: Callable[[], dict[str, float]], tolerance: float) -> bool:
        """One comparison; it is red unless all errors are finite and within the tolerance."""
        row: dict[str, object] = {"kind": "check", "kernel": kernel, "case": case, "tolerance": tolerance}
        try:
            found = errors()
            torch.cuda.synchronize()
            # Written so that NaN is red too.
            row |= {"errors": found, "passed": all(value <= tolerance for value in found.values())}
        except Exception as error:  # noqa: BLE001 - a kernel that does not compile must not cost the other rows
            row |= {"failure": _one_line(error), "passed": False}
        _print(row)
        return bool(row["passed"])

    def note(self, kernel: str, case: str, value: object) -> None:
        """A fact that is neither right nor wrong."""
        _print({"kind": "note", "kernel": kernel, "case": case, "value": value})

    def ceilings(self) -> None:
        """Product rate of an 8192³ bf16 matrix product and rate of a 1 GiB device copy."""
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        source = torch.randint(0, 255, (2**30,), device="cuda", dtype=torch.uint8)
        target = torch.empty_like(source)
        self.product_rate = 2 * 8192**3 / (median_ms(lambda: a @ b) / 1e3)
        self.copy_rate = 2 * 2**30 / (median_ms(lambda: target.copy_(source)) / 1e3)
        self.note("ceilings", "product, FLOP/s", self.product_rate)
        self.note("ceilings", "copy, bytes/s", self.copy_rate)

    def time(
        self, kernel: str, case: str, call: Callable[[], object], *, moved_bytes: float = 0, operations: float = 0
    ) -> None:
        """Median, 10th and 90th percentile of a call in ms, and its floor from bytes and operations."""
        row: dict[str, object] = {"kind": "time", "kernel": kernel, "case": case}
        try:
            low, median, high = percentiles_ms(call)
            floor = 1e3 * max(moved_bytes / self.copy_rate, operations / self.product_rate)
            row |= {"ms": median, "ms_p10": low, "ms_p90": high, "floor_ms": floor}
        except Exception as error:  # noqa: BLE001 - as above
            row |= {"failure": _one_line(error)}
        _print(row)

    def profile(self, kernel: str, case: str, call: Callable[[], object], *, top: int = 12) -> None:
        """Device time of each CUDA kernel in one call, averaged over three."""
        try:
            call()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                for _ in range(3):
                    call()
                torch.cuda.synchronize()
            found = [(event.self_device_time_total / 3e3, event.key) for event in profile.key_averages()]
            for milliseconds, key in sorted(found, reverse=True)[:top]:
                _print({"kind": "part", "kernel": kernel, "case": case, "part": key[:70], "ms": milliseconds})
        except Exception as error:  # noqa: BLE001 - the breakdown is worth having, not worth losing the job for
            self.note(kernel, case, _one_line(error))


def median_ms(call: Callable[[], object]) -> float:
    return percentiles_ms(call)[1]


def percentiles_ms(call: Callable[[], object]) -> tuple[float, float, float]:
    import triton.testing

    low, median, high = triton.testing.do_bench(call, warmup=15, rep=60, quantiles=[0.1, 0.5, 0.9])
    return low, median, high


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def _print(row: dict[str, object]) -> None:
    print(json.dumps(row), flush=True)
