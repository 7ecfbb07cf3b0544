"""Timings and rows: medians with quartiles, ratios to the floor, and the JSON that keeps them."""

import json

import pytest

from model_adapters.bench.record import BenchRecord, BenchRow, Timing


def test_timing_is_median_and_quartiles() -> None:
    timing = Timing.of([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (timing.first_quartile_seconds, timing.median_seconds, timing.third_quartile_seconds) == (2.0, 3.0, 4.0)
    assert timing.repeats == 5
    assert timing.spread == pytest.approx(2 / 3)
    assert Timing.of([7.0]) == Timing(7.0, 7.0, 7.0, 1)


def test_rows_tell_what_follows_from_them() -> None:
    row = BenchRow(what="decode", case="x", by="evalkit", tokens=8, timing=Timing.of([0.02]), floor_seconds=0.01)
    assert row.over_floor == pytest.approx(2.0)
    assert row.tokens_per_second == pytest.approx(400)
    failed = BenchRow(what="decode", case="x", by="evalkit", tokens=8, failure="out of memory")
    assert (failed.over_floor, failed.tokens_per_second) == (None, None)


def test_a_record_goes_through_json() -> None:
    record = BenchRecord("prefill", "m", "cpu", "float32", 0, {"torch": "2"}, {"ctx": (1, 2)})
    record.rows.append(BenchRow(what="prefill", case="1", by="evalkit", tokens=1, timing=Timing.of([0.5])))
    found = json.loads(json.dumps(record.to_json()))
    assert found["schema"] == 1
    assert found["rows"][0]["tokens_per_second"] == 2.0
    assert found["rows"][0]["timing"]["median_seconds"] == 0.5
