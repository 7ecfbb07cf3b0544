"""Accuracy against updates, chance, intervals, and the number of updates held."""

from evalkit.records import ResultRow
from suites.state_tracking.settings import StateTrackingSettings
from suites.state_tracking.summary import summarize, updates_held
from suites.state_tracking.tasks import TASKS
from tests.evalkit.run_factory import figure_values
from tests.evalkit.sample_records import sample_record


def row(updates: int, value: float | None) -> ResultRow:
    return ResultRow(f"parity:{updates}", 0, "exact_match", value, 10, None, updates=updates)


def test_held_needs_all_smaller_numbers_too() -> None:
    assert updates_held([row(4, 100.0), row(8, 90.0), row(16, 89.9), row(32, 95.0)]) == 8
    assert updates_held([row(32, 95.0), row(8, 95.0), row(4, 95.0)]) == 32
    assert updates_held([row(4, 80.0), row(8, 100.0)]) == 0
    assert updates_held([row(4, 100.0), row(8, None), row(16, 100.0)]) == 4
    assert updates_held([]) == 0


def test_rows_carry_value_interval_chance_and_updates() -> None:
    settings = StateTrackingSettings.of(tasks=("parity",), updates=(4, 8), samples=20)
    records = [sample_record("parity:4", 0, index, 1.0) for index in range(20)]
    records += [sample_record("parity:8", 0, index, float(index < 9)) for index in range(18)]
    records += [sample_record("parity:8", 0, 18, None)]
    summary = summarize(settings, records)
    four, eight = summary.results
    assert (four.task, four.updates, four.value, four.n, four.chance) == ("parity", 4, 100.0, 20, 50.0)
    # Clopper and Pearson's bound, computed by hand: all of 20 right still leaves 0.025^(1/20).
    assert four.ci95 is not None
    assert abs(four.ci95[0] - 100 * 0.025 ** (1 / 20)) < 0.01
    assert four.ci95[1] == 100.0
    assert (eight.value, eight.n, eight.errors) == (50.0, 18, 1)
    assert figure_values(summary) == {"updates_held/parity": 4}
    assert summary.summary[0].mean == 75.0
    assert not summary.summary[0].complete


def test_contexts_are_kept_apart() -> None:
    settings = StateTrackingSettings.of(tasks=("counter",), updates=(4,), ctx=(0, 1024), samples=2)
    records = [sample_record("counter:4", 0, index, 1.0) for index in range(2)]
    records += [sample_record("counter:4", 1024, index, 0.0) for index in range(2)]
    summary = summarize(settings, records)
    assert figure_values(summary) == {"updates_held/counter": 4, "updates_held/counter@1024": 0}
    assert [(line.ctx, line.mean) for line in summary.summary] == [(0, 100.0), (1024, 0.0)]


def test_a_run_of_all_tasks_is_complete_only_without_gaps() -> None:
    settings = StateTrackingSettings.of(updates=(4,), samples=1)
    records = [sample_record(f"{task}:4", 0, 0, 1.0) for task in TASKS]
    assert summarize(settings, records).summary[0].complete
    assert not summarize(settings, records[1:]).summary[0].complete
