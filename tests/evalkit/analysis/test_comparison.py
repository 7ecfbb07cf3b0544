"""A comparison's statements on each row, and its symmetry when the runs are swapped."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.analysis.comparison import Comparison, RowComparison, compare
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.pairing import pair_runs
from evalkit.analysis.unpaired_comparison import compare_unpaired
from evalkit.errors import IncompatibleRunError
from evalkit.records import Figure
from tests.evalkit.run_factory import ERRORED, UNSCORED, RunSpec, Score, changed, make_run, simulate

CELLS = [("vt", 4096), ("cwe", 4096), ("vt", 65536)]
scores: st.SearchStrategy[Score] = st.sampled_from([0.0, 1.0, 0.25, 0.5, ERRORED, UNSCORED, 1.0, 1.0])
runs = st.fixed_dictionaries({cell: st.lists(scores, min_size=4, max_size=8) for cell in CELLS})


def comparison_of(folder: Path, base: RunSpec, new: RunSpec) -> Comparison:
    return compare(pair_runs(make_run(folder / "base", base), make_run(folder / "new", new)))


def row(comparison: Comparison, task: str | None, ctx: int) -> RowComparison:
    return next(row for row in comparison.rows if (row.task, row.ctx) == (task, ctx))


@settings(max_examples=40)
@given(runs, runs)
def test_comparing_is_antisymmetric(
    left: dict[tuple[str, int], list[Score]], right: dict[tuple[str, int], list[Score]]
) -> None:
    for side in (left, right):
        side[CELLS[0]][0] = 1.0
    with tempfile.TemporaryDirectory() as folder:
        base = RunSpec(left)
        there = comparison_of(Path(folder) / "a", base, changed(base, right))
        back = comparison_of(Path(folder) / "b", changed(base, right), base)
    assert len(there.rows) == len(back.rows)
    for ahead in there.rows:
        behind = row(back, ahead.task, ahead.ctx)
        assert (ahead.base, ahead.new, ahead.n) == (behind.new, behind.base, behind.n)
        assert (ahead.improved, ahead.worsened) == (behind.worsened, behind.improved)
        assert (ahead.p, ahead.p_holm, ahead.detectable) == (behind.p, behind.p_holm, behind.detectable)
        assert {ahead.change, behind.change} in ({"~"}, {"better", "worse"})
        if ahead.difference is not None and ahead.ci95 is not None:
            assert ahead.difference == -(behind.difference or 0.0)
            assert behind.ci95 == (-ahead.ci95[1], -ahead.ci95[0])
    assert {(flip.id, flip.improved) for flip in there.flips} == {(flip.id, not flip.improved) for flip in back.flips}


@settings(max_examples=15)
@given(runs)
def test_a_run_against_itself_differs_in_nothing(left: dict[tuple[str, int], list[Score]]) -> None:
    left[CELLS[0]][0] = 1.0
    with tempfile.TemporaryDirectory() as folder:
        comparison = comparison_of(Path(folder), RunSpec(left), RunSpec(left))
    assert comparison.flips == ()
    for compared in comparison.rows:
        assert compared.change == "~"
        assert compared.difference in (0.0, None)
        assert compared.ci95 in ((0.0, 0.0), None)


def test_many_small_losses_are_told_only_where_one_unseen_gain_could_not_make_up_for_them(tmp_path: Path) -> None:
    base = RunSpec({("cwe", 4096): [1.0] * 100})
    few = row(comparison_of(tmp_path / "a", base, changed(base, {("cwe", 4096): [0.9] * 20 + [1.0] * 80})), "cwe", 4096)
    assert few.p is not None
    assert few.p < 1e-5
    assert few.ci95 is not None
    assert few.ci95[0] < 0 < few.ci95[1]
    assert few.change == "~"
    many = row(
        comparison_of(tmp_path / "b", base, changed(base, {("cwe", 4096): [0.9] * 60 + [1.0] * 40})), "cwe", 4096
    )
    assert many.change == "worse"


def test_rows_and_the_mean_over_tasks(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0] * 100, ("cwe", 4096): [1.0] * 50 + [0.0] * 50})
    new = changed(base, {("vt", 4096): [0.0] * 20 + [1.0] * 80, ("cwe", 4096): base.scores["cwe", 4096]})
    comparison = comparison_of(tmp_path, base, new)
    vt, cwe, mean = comparison.rows
    assert (vt.base, vt.new, vt.difference, vt.n, vt.worsened) == (100.0, 80.0, -20.0, 100, 20)
    assert (vt.change, cwe.change, mean.change) == ("worse", "~", "worse")
    assert (mean.base, mean.new, mean.difference, mean.n) == (75.0, 65.0, -10.0, 200)
    assert vt.p == pytest.approx(2 * 0.5**20)
    assert vt.p_holm == pytest.approx(3 * vt.p)
    assert len(comparison.flips) == 20
    assert comparison.flips[0].new_failure == "wrong_needle"


def test_one_look_among_many_is_corrected(tmp_path: Path) -> None:
    """6 of 6 changes are significant in a single row, but not among twenty."""
    cells = {(f"task_{number}", 4096): [1.0] * 50 for number in range(20)}
    new = dict(cells) | {("task_0", 4096): [0.0] * 6 + [1.0] * 44}
    alone = comparison_of(
        tmp_path / "one",
        RunSpec({("task_0", 4096): [1.0] * 50}, suite="track"),
        changed(RunSpec({}, suite="track"), {("task_0", 4096): new["task_0", 4096]}),
    )
    among = comparison_of(tmp_path / "many", RunSpec(cells), changed(RunSpec(cells), new))
    assert row(alone, "task_0", 4096).change == "worse"
    assert row(among, "task_0", 4096).change == "~"


def test_a_lower_loss_is_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = RunSpec({("text", 4096): list(rng.normal(0.8, 0.1, 40))}, suite="loss", metric="bits_per_byte")
    lower: list[Score] = [float(value) - 0.02 for value in base.scores["text", 4096]]
    comparison = comparison_of(tmp_path, base, changed(base, {("text", 4096): lower}))
    (only,) = comparison.rows
    assert only.change == "better"
    assert only.difference == pytest.approx(-0.02)
    assert only.unit == "bits per byte"
    assert comparison.flips == ()


def test_times_and_memory_need_the_same_hardware(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0] * 10})
    faster = changed(base, base.scores, prefill_seconds=0.8, peak_bytes=30 * 2**30)
    costs = {cost.name: cost for cost in comparison_of(tmp_path / "same", base, faster).costs}
    assert costs["prefill_seconds"].change == pytest.approx(-0.2)
    assert costs["decode_seconds"].change == pytest.approx(0.0)
    assert costs["peak_memory"].change == pytest.approx(0.5)
    other = comparison_of(tmp_path / "other", base, replace(faster, gpu={"name": "NVIDIA H200", "count": 1}))
    assert other.costs == ()
    assert other.notes[-1] == (
        "Times and memory are left out: BASE ran on NVIDIA H100 80GB HBM3 × 1, NEW on NVIDIA H200 × 1."
    )


def test_peak_memory_is_that_of_the_longest_context(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0] * 4})
    longer = changed(base, {**base.scores, ("vt", 65536): [1.0] * 4}, peak_bytes=200 * 2**30)
    found = comparison_of(tmp_path, base, longer)
    assert {cost.name for cost in found.costs} == {"prefill_seconds", "decode_seconds"}
    assert "Peak memory is left out: the longest context is 4,096 in BASE and 65,536 in NEW." in found.notes


def test_the_first_prompts_compilation_does_not_count(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", RunSpec({("vt", 4096): [1.0] * 9}))
    new = make_run(tmp_path / "new", changed(RunSpec({}), {("vt", 4096): [1.0] * 9}))
    first = next(iter(new.samples))
    slow = {**new.samples, first: replace(new.samples[first], prefill_seconds=70.0)}
    costs = compare(pair_runs(base, replace(new, samples=slow))).costs
    assert costs[0].change == pytest.approx(0.0)


def test_what_was_left_out_is_reported(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0] * 5, ("cwe", 4096): [1.0] * 3}, trained=False)
    new = changed(base, {("vt", 4096): [1.0, ERRORED, UNSCORED], ("cwe", 4096): [1.0]}, tokenizer="gpt2", trained=True)
    notes = comparison_of(tmp_path, base, new).notes
    assert notes[:5] == (
        "The tokenizers differ: 2 of 2 pairs are the same question in a different prompt.",
        "1 samples errored in NEW are left out, in vt.",
        "1 samples unscored in NEW are left out, in vt.",
        "4 samples missing in NEW are left out, in cwe, vt.",
        "UNTRAINED WEIGHTS in BASE: its scores test the harness, not a model.",
    )


def test_unpaired_says_that_it_is_weaker_and_what_differs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = RunSpec(simulate(rng, dict.fromkeys(CELLS, 0.9), 100))
    new = changed(base, simulate(rng, dict.fromkeys(CELLS, 0.6), 80), seed=7, dialect="olmes")
    left, right = make_run(tmp_path / "a", base), make_run(tmp_path / "b", new)
    comparison = compare_unpaired(left, right)
    assert not comparison.paired
    assert comparison.notes[0].startswith("UNPAIRED")
    assert comparison.notes[1:] == (
        "Different: dialect: nvidia in BASE, olmes in NEW.",
        "Different: seed: 42 in BASE, 7 in NEW.",
    )
    assert [compared.change for compared in comparison.rows] == ["worse"] * 4
    assert comparison.rows[0].n == 80
    mirrored = compare_unpaired(right, left)
    assert [compared.difference for compared in mirrored.rows] == [-(r.difference or 0) for r in comparison.rows]


def test_one_name_with_two_metrics_is_not_compared(tmp_path: Path) -> None:
    cells: dict[tuple[str, int], list[Score]] = {(task, 4096): [1.0, 0.0] for task in ("vt", "cwe", "qa_1")}
    base = make_run(tmp_path / "a", RunSpec(cells, metrics={"qa_1": "part"}))
    other = replace(RunSpec(cells), dialect="olmes", metrics={"qa_1": "part_normalized"})
    comparison = compare_unpaired(base, make_run(tmp_path / "b", other))
    assert [row.task for row in comparison.rows] == ["vt", "cwe", None]
    assert comparison.rows[-1].n == 4
    left_out = "qa_1 at 4096 is measured by part in BASE and by part_normalized in NEW"
    assert comparison.notes[-1] == f"Left out, also of the mean: {left_out}."
    alone = replace(other, scores={("qa_1", 4096): [1.0, 0.0]})
    with pytest.raises(IncompatibleRunError, match=f"in common with one metric: {left_out}"):
        compare_unpaired(base, make_run(tmp_path / "c", alone))


def test_unpaired_losses_and_suites(tmp_path: Path) -> None:
    loss = RunSpec({("text", 4096): [0.5, 0.6, 0.7]}, suite="loss", metric="bits_per_byte")
    base = make_run(tmp_path / "a", loss)
    new = make_run(tmp_path / "b", changed(loss, {("text", 4096): [0.4]}, tokenizer="gpt2"))
    (only,) = compare_unpaired(base, new).rows
    assert (only.p, only.ci95, only.change) == (None, None, "~")
    with pytest.raises(IncompatibleRunError, match="nothing in them can be compared"):
        compare_unpaired(base, make_run(tmp_path / "c", RunSpec({("vt", 4096): [1.0]})))
    with pytest.raises(IncompatibleRunError, match="no scored task and length in common"):
        compare_unpaired(base, make_run(tmp_path / "d", replace(loss, scores={("text", 8192): [0.4]})))


@pytest.mark.parametrize("compared", [lambda base, new: compare(pair_runs(base, new)), compare_unpaired])
def test_figures_over_other_rows_are_left_out_with_a_note(
    tmp_path: Path, compared: Callable[[StoredRun, StoredRun], Comparison]
) -> None:
    """The weighted mean of one model changes if it is tested at one more length."""
    whole = Figure("wavg_increasing", 60.0, "points")
    of_task, at_length = Figure("updates_held", 4, "updates", part="vt"), Figure("mean", 90.0, "points", ctx=4096)
    rows: dict[tuple[str, int], list[Score]] = {("vt", 4096): [1.0, 0.0], ("cwe", 4096): [1.0, 1.0]}
    base = RunSpec(rows, figures=(whole, of_task, at_length), effective_length=4096)
    longer = changed(base, {**rows, ("cwe", 8192): [0.0, 0.0]})
    runs = [make_run(tmp_path / str(place), spec) for place, spec in enumerate((base, longer, changed(base, rows)))]
    found = compared(runs[0], runs[1])
    assert [figure.name for figure in found.figures] == ["updates_held/vt", "mean/4096"]
    note = "Figures over other tasks or lengths in BASE than in NEW are left out: effective length, wavg increasing."
    assert note in found.notes
    alike = compared(runs[0], runs[2])
    assert len(alike.figures) == 4
    assert not any(one.startswith("Figures over") for one in alike.notes)
