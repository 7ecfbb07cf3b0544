"""Sums of losses by position bucket."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import PositionSums
from suites.context_extension.position_loss import (
    LONG_TEXT,
    bucket_width,
    mean_nats,
    position_figures,
    sums_by_position,
)
from tests.evalkit.sample_records import sample_record


@given(st.lists(st.floats(0, 20), min_size=1, max_size=400), st.integers(0, 300))
def test_buckets_add_up_and_hold_their_positions(nats: list[float], first: int) -> None:
    sizes = [index % 5 for index in range(len(nats))]
    sums = sums_by_position(nats, sizes, first, 4096)
    assert math.isclose(sum(bucket.nats for bucket in sums), sum(nats), abs_tol=1e-6)
    assert [bucket.first for bucket in sums] == sorted(bucket.first for bucket in sums)
    for bucket in sums:
        assert bucket.end - bucket.first == bucket_width(4096)
        inside = [index for index in range(len(nats)) if bucket.first <= first + index < bucket.end]
        assert (bucket.tokens, bucket.bytes) == (len(inside), sum(sizes[index] for index in inside))


def test_a_mean_takes_whole_buckets_only() -> None:
    sums = [PositionSums(0, 128, 10.0, 5, 1), PositionSums(128, 256, 30.0, 10, 1), PositionSums(256, 384, 99.0, 1, 1)]
    assert mean_nats(sums, 0, 256) == pytest.approx(40 / 15)
    assert mean_nats(sums, 100, 300) == 3.0
    assert mean_nats(sums, 129, 300) is None


def test_figures_weigh_documents_by_their_tokens() -> None:
    documents = [
        sample_record(LONG_TEXT, 4096, index, 1.0, positions=(PositionSums(0, 128, nats, tokens, 4 * tokens),))
        for index, (nats, tokens) in enumerate([(100.0, 50), (30.0, 10)])
    ]
    figures = {figure.label: figure for figure in position_figures(documents)}
    assert figures["position_nats/0-128"].value == pytest.approx(130 / 60)
    assert figures["position_bits/0-128"].value == pytest.approx(130 / math.log(2) / 240)
    low, high = figures["position_nats/0-128"].ci95 or (0.0, 0.0)
    # Two documents give a very wide interval: Student's t with one degree of freedom.
    assert low == 0
    assert high > 5
