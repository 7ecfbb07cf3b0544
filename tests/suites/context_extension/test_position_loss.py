"""Sums by bucket of position."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.context_extension.position_loss import (
    LONG_TEXT,
    bucket_measures,
    bucket_width,
    mean_nats,
    position_figures,
    starts,
)
from tests.evalkit.sample_records import sample_record


@given(st.lists(st.floats(0, 20), min_size=1, max_size=400), st.integers(0, 300))
def test_buckets_add_up_and_hold_their_positions(nats: list[float], first: int) -> None:
    sizes = [index % 5 for index in range(len(nats))]
    measures = bucket_measures(nats, sizes, first, 4096)
    width = bucket_width(4096)
    assert math.isclose(sum(measures[f"nats@{start}"] for start in starts(measures)), sum(nats), abs_tol=1e-6)
    for start in starts(measures):
        inside = [index for index in range(len(nats)) if start <= first + index < start + width]
        assert measures[f"tokens@{start}"] == len(inside)
        assert measures[f"bytes@{start}"] == sum(sizes[index] for index in inside)


def test_a_mean_takes_whole_buckets_only() -> None:
    measures = {
        "nats@0": 10.0,
        "tokens@0": 5.0,
        "nats@128": 30.0,
        "tokens@128": 10.0,
        "nats@256": 99.0,
        "tokens@256": 1.0,
    }
    assert mean_nats(measures, 0, 256, 128) == pytest.approx(40 / 15)
    assert mean_nats(measures, 100, 300, 128) == 3.0
    assert mean_nats(measures, 129, 300, 128) is None


def test_figures_weigh_documents_by_their_tokens() -> None:
    def document(index: int, nats: float, tokens: float) -> object:
        return sample_record(
            LONG_TEXT, 4096, index, 1.0, measures={"nats@0": nats, "tokens@0": tokens, "bytes@0": 4 * tokens}
        )

    figures = {
        figure.label: figure
        for figure in position_figures([document(0, 100.0, 50.0), document(1, 30.0, 10.0)], 4096)  # type: ignore[list-item]
    }
    assert figures["position_nats/0-128"].value == pytest.approx(130 / 60)
    assert figures["position_bits/0-128"].value == pytest.approx(130 / math.log(2) / 240)
    low, high = figures["position_nats/0-128"].ci95 or (0.0, 0.0)
    # Two documents tell nearly nothing: Student's t with one degree of freedom.
    assert low == 0
    assert high > 5
