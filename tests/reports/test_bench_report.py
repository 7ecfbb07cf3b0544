"""Measurements as tables: one sentence first, which compares what was measured."""

from typing import Any

from reports.bench_report import bench_report


def row(case: str, by: str, seconds: float | None, floor: float | None = None) -> dict[str, Any]:
    timing = {"median_seconds": seconds, "first_quartile_seconds": 1, "third_quartile_seconds": 1, "repeats": 1}
    return {
        "what": "prefill",
        "case": case,
        "by": by,
        "timing": None if seconds is None else timing,
        "floor_seconds": floor,
        "over_floor": seconds / floor if seconds and floor else None,
        "tokens_per_second": None,
        "peak_bytes_above": None,
        "details": {},
        "failure": None if seconds else "out of memory",
    }


def verdict(*rows: dict[str, Any]) -> tuple[str, ...]:
    record = {"mode": "prefill", "model": "m", "rows": rows, "stopped_early": False, "device": "cpu", "dtype": "x"}
    return bench_report({**record, "versions": {}, "ceilings": None, "seconds": 1.0}).verdicts


def test_the_verdict_compares_equal_cases_alone() -> None:
    ours = row("4,096", "evalkit", 2.0, 1.6), row("65,536", "evalkit", 10.0, 8.0)
    assert verdict(*ours, row("4,096", "transformers", 6.0), row("65,536", "transformers", 35.0)) == (
        "evalkit: 1.25 times the floor, 3.00 to 3.50 times as fast as transformers.",
    )
    assert verdict(*ours, row("65,536", "transformers", None)) == ("evalkit: 1.25 times the floor.",)
    assert verdict(ours[0], row("8,192", "transformers", 1.0)) == ("evalkit: 1.25 times the floor.",)
    assert verdict(row("4,096", "transformers", 6.0)) == ()


def test_rates_that_a_record_lacks_are_left_out() -> None:
    base = {"mode": "decode", "model": "m", "rows": [], "stopped_early": False, "device": "cpu", "dtype": "x"}
    rates = {"product_flops": 8e14, "copy_bytes_per_second": 4.25e12, "method": "by hand"}

    def ceilings(**more: float) -> str:
        record = {**base, "versions": {}, "ceilings": {**rates, **more}, "seconds": 1.0}
        return dict(bench_report(record).facts)["ceilings"]

    assert ceilings() == "800.00 TFLOP/s, 4.250 TB/s read and written (by hand)"
    assert ceilings(attention_flops=7e14, read_bytes_per_second=4.65e12) == (
        "800.00 TFLOP/s, 700.00 in attention, 4.250 TB/s read and written, 4.650 TB/s read (by hand)"
    )
