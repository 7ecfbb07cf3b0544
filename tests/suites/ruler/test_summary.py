"""The table: task scores, means of 13, effective length, weighted averages."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import SampleRecord
from suites.ruler import TASKS
from suites.ruler.summary import summarize
from tests.evalkit.run_factory import figure_values
from tests.evalkit.sample_records import sample_record


def run(scores: dict[int, float]) -> list[SampleRecord]:
    """Results with the given score in [0, 1] for every task and length."""
    return [
        sample_record(task, ctx, index, score) for ctx, score in scores.items() for task in TASKS for index in (0, 1)
    ]


def test_a_cell_is_the_mean_of_its_samples_with_an_interval() -> None:
    summary = summarize([sample_record("vt", 4096, index, score) for index, score in enumerate((1.0, 0.6, 0.2, 1.0))])
    (row,) = summary.results
    assert (row.task, row.ctx, row.metric, row.n, row.errors, row.unscored) == ("vt", 4096, "all", 4, 0, 0)
    assert row.value == pytest.approx(70)
    assert row.ci95 is not None
    low, high = row.ci95
    assert 20 <= low < 70 < high <= 100


def test_rows_stand_in_the_papers_order() -> None:
    summary = summarize(list(reversed(run({8192: 1.0, 4096: 0.5}))))
    assert [(row.ctx, row.task) for row in summary.results] == [(ctx, task) for ctx in (4096, 8192) for task in TASKS]
    assert [(row.ctx, row.mean, row.tasks, row.complete) for row in summary.summary] == [
        (4096, 50.0, 13, True),
        (8192, 100.0, 13, True),
    ]


def test_errors_are_no_wrong_answers_and_leave_the_mean_incomplete() -> None:
    records = run({4096: 1.0})
    records[0] = replace(records[0], score=None, error="out of memory", finish_reason="error")
    summary = summarize(records)
    assert summary.results[0].value == 100
    assert (summary.results[0].n, summary.results[0].errors) == (1, 1)
    assert (summary.summary[0].mean, summary.summary[0].complete) == (100, False)
    assert figure_values(summary) == {"wavg_increasing": None, "wavg_decreasing": None}


def test_unscored_samples_are_counted_apart() -> None:
    records = run({4096: 1.0})
    records[0] = replace(records[0], score=None, unscored="does not fit", metric="")
    (first, *_) = summarize(records).results
    assert (first.n, first.unscored, first.metric) == (1, 1, "all")
    assert not summarize(records).summary[0].complete


def test_a_task_that_only_errored_has_no_value() -> None:
    records = [replace(sample_record("vt", 4096, 0, None), error="NaN logits")]
    (row,) = summarize(records).results
    assert (row.value, row.n, row.ci95, row.errors) == (None, 0, None, 1)
    assert summarize(records).summary[0].mean is None


def test_a_missing_task_leaves_the_mean_incomplete() -> None:
    summary = summarize([record for record in run({4096: 1.0}) if record.task != "qa_2"])
    assert (summary.summary[0].tasks, summary.summary[0].complete) == (12, False)


@pytest.mark.parametrize(
    ("scores", "length"),
    [
        ({4096: 0.9, 8192: 0.86, 16384: 0.85}, 8192),
        ({4096: 0.856}, 4096),
        ({4096: 0.8559}, 0),
        ({4096: 0.5, 8192: 0.99}, 0),
        ({4096: 0.9, 8192: 0.5, 16384: 0.99}, 4096),
    ],
)
def test_effective_length_includes_all_smaller_lengths(scores: dict[int, float], length: int) -> None:
    assert figure_values(summarize(run(scores)))["effective_length"] == length


def test_an_incomplete_length_ends_the_effective_length() -> None:
    records = [r for r in run({4096: 0.9, 8192: 0.9, 16384: 0.9}) if (r.task, r.ctx) != ("vt", 8192)]
    assert figure_values(summarize(records))["effective_length"] == 4096


def test_weighted_averages_weigh_lengths_by_their_rank() -> None:
    derived = figure_values(summarize(run({4096: 1.0, 8192: 0.7, 16384: 0.1})))
    assert derived["wavg_increasing"] == pytest.approx((100 + 2 * 70 + 3 * 10) / 6)
    assert derived["wavg_decreasing"] == pytest.approx((3 * 100 + 2 * 70 + 10) / 6)


def test_nothing_asked_gives_an_empty_table() -> None:
    summary = summarize([])
    assert (summary.results, summary.summary) == ((), ())
    assert figure_values(summary) == {"wavg_increasing": None, "wavg_decreasing": None}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_means_and_intervals_stay_within_the_scale(scores: list[float]) -> None:
    summary = summarize([sample_record("fwe", 4096, index, score) for index, score in enumerate(scores)])
    row = summary.results[0]
    assert row.value is not None
    assert row.ci95 is not None
    assert -1e-9 <= row.ci95[0] <= row.value + 1e-9
    assert row.value - 1e-9 <= row.ci95[1] <= 100 + 1e-9
    assert summary == summarize([sample_record("fwe", 4096, index, score) for index, score in enumerate(scores)])
