"""Tokens to a baseline's scores: exact for known curves, and none beyond the data."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.efficiency import (
    Efficiency,
    Saving,
    follow_training,
    measure_efficiency,
    tokens_interval,
    tokens_needed,
)
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.learning_curve import Group, LearningCurve
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records.metrics import metric_of
from evalkit.statistics.bounded_mean import Array
from tests.evalkit.learning_curves import checkpoint, curve
from tests.evalkit.run_factory import ERRORED, RunSpec, Score, make_run

RISING = np.array([20.0, 40.0, 60.0, 80.0])
TOKENS = np.array([1e6, 1e7, 1e8, 1e9])


def test_tokens_are_read_between_checkpoints_in_the_logarithm() -> None:
    def needed(target: float) -> float:
        return tokens_needed(TOKENS, RISING, target, higher_is_better=True)

    assert needed(40) == pytest.approx(1e7)
    assert needed(50) == pytest.approx(10**7.5)
    assert needed(10) == 1e6
    assert needed(80) == pytest.approx(1e9)
    assert needed(80.1) == math.inf
    assert tokens_needed(TOKENS, RISING[::-1].copy(), 50, higher_is_better=False) == pytest.approx(10**7.5)


def test_a_plateau_is_reached_where_it_begins() -> None:
    flat = np.array([20.0, 60.0, 60.0, 80.0])
    assert tokens_needed(TOKENS, flat, 60, higher_is_better=True) == pytest.approx(1e7)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), st.floats(0, 100), st.floats(0, 100))
def test_a_higher_target_never_needs_fewer_tokens(values: list[float], one: float, other: float) -> None:
    tokens, rising = np.geomspace(1e6, 1e9, len(values)), np.sort(np.array(values))
    low, high = sorted((one, other))
    assert tokens_needed(tokens, rising, low, higher_is_better=True) <= tokens_needed(
        tokens, rising, high, higher_is_better=True
    )


def test_a_model_twice_as_fast_saves_half(tmp_path: Path) -> None:
    measured = measure_efficiency(curve(tmp_path, "hybrid", 2.0), curve(tmp_path, "base", 1.0), "ruler@4096")
    final = measured.savings[-1]
    assert final.reached == "between"
    assert final.baseline_tokens == pytest.approx(32e6)
    assert final.hybrid_tokens == pytest.approx(16e6)
    assert final.saving == pytest.approx(0.5)
    assert final.ci95[0] is not None
    assert final.ci95[1] is not None
    assert final.ci95[0] - 1e-9 <= 0.5 <= final.ci95[1] + 1e-9
    assert measured.savings[0].reached == "at most"
    assert [point.tokens for point in measured.hybrid] == sorted(point.tokens for point in measured.hybrid)
    shared = next(fit for fit in measured.fits if fit.name == "shared")
    assert shared.saving == pytest.approx(0.5, abs=0.08)
    assert {fit.name for fit in measured.fits} == {"shared", "hybrid", "baseline"}
    assert measured.fitted == "100 - score"


def test_a_model_against_itself_saves_nothing(tmp_path: Path) -> None:
    runs = curve(tmp_path, "same", 1.0)
    for saving in measure_efficiency(runs, runs, "ruler@4096").savings:
        assert saving.saving == pytest.approx(0.0)
        low, high = saving.ci95
        assert low is None or low < 0, "answers that agree do not show that the models are equally good"
        assert high is None or high > 0


def test_the_interval_of_a_saving_holds_the_true_one_for_few_questions() -> None:
    """Three checkpoints of a model that needs half the tokens; with three questions per task, most resamples agree."""
    levels, tokens = {"hybrid": (0.5, 0.9, 0.98), "baseline": (0.2, 0.5, 0.9)}, np.array([1e6, 2e6, 4e6])
    rng, held, ends = np.random.default_rng(0), 0, 0
    for _ in range(100):
        drawn = rng.random((2, 3))
        curves = [_curve_of([drawn < level for level in levels[name]], tokens) for name in levels]
        more, most = tokens_interval(curves[0], curves[1], 2)
        held += (more is None or more < 2e6) and (most is None or most >= 2e6)
        ends += (more is not None) + (most is not None)
    assert held >= 95
    assert ends < 20, "six answers decide little"


def test_the_interval_of_a_saving_is_narrow_with_many_questions() -> None:
    drawn, tokens = np.random.default_rng(1).random((2, 500)), np.array([1e6, 2e6, 4e6])
    hybrid, baseline = (
        _curve_of([drawn < level for level in levels], tokens) for levels in ((0.3, 0.7, 0.9), (0.1, 0.3, 0.6))
    )
    assert tokens_interval(hybrid, baseline, 2) == (1e6, 2e6)


def _curve_of(answers: Sequence[npt.NDArray[np.bool_]], tokens: Array) -> LearningCurve:
    """One checkpoint per element of `answers` (tasks × questions)."""
    groups = tuple(
        tuple(Group(row.astype(np.float64), np.full(len(row), 1 / len(row))) for row in each) for each in answers
    )
    means = np.array([100 * each.mean() for each in answers])
    return LearningCurve(
        runs=("a", "b", "c"),
        tokens=tokens,
        values=means,
        intervals=(None, None, None),
        metric=metric_of("string_match_all"),
        groups=groups,
        joint=True,
    )


def slow(tmp_path: Path, *, extrapolate: bool) -> tuple[Efficiency, Saving]:
    measured = measure_efficiency(
        curve(tmp_path, "hybrid", 0.5), curve(tmp_path, "base", 1.0), "ruler", extrapolate=extrapolate
    )
    return measured, measured.savings[-1]


def test_beyond_the_data_nothing_is_reported(tmp_path: Path) -> None:
    measured, final = slow(tmp_path, extrapolate=False)
    assert (final.reached, final.hybrid_tokens, final.saving, final.ci95) == ("not reached", None, None, (None, 0.0))
    assert not measured.extrapolated
    assert measured.savings[2].saving == pytest.approx(-1.0)


def test_beyond_the_data_the_fit_is_asked_and_marked(tmp_path: Path) -> None:
    measured, final = slow(tmp_path, extrapolate=True)
    assert final.reached == "extrapolated"
    assert final.hybrid_tokens == pytest.approx(64e6, rel=0.6)
    assert any(note.startswith("EXTRAPOLATED") for note in measured.notes)
    assert measured.savings[2].reached == "between"


def test_a_lower_loss_is_reached_with_fewer_tokens(tmp_path: Path) -> None:
    def losses(name: str, factor: float) -> list[StoredRun]:
        runs = []
        for step in range(5):
            tokens = 10**9 * 4**step
            values = [0.6 + factor / tokens**0.25 + offset for offset in (-0.05, 0.0, 0.05)]
            spec = RunSpec({("text", 4096): values}, suite="loss", metric="bits_per_byte", model=name, tokenizer=name)
            runs.append(make_run(tmp_path / f"{name}-{step}", replace(spec, tokens_seen=tokens)))
        return runs

    measured = measure_efficiency(losses("hybrid", 60.0), losses("base", 70.0), "loss")
    assert not measured.higher_is_better
    shared = next(fit for fit in measured.fits if fit.name == "shared")
    assert shared.exponent == pytest.approx(0.25, rel=0.02)
    assert shared.floor == pytest.approx(0.6, rel=0.02)
    assert shared.saving == pytest.approx(1 - (60 / 70) ** 4, abs=0.02)
    assert measured.savings[-1].saving == pytest.approx(1 - (60 / 70) ** 4, abs=0.05)


def test_a_dip_is_smoothed_and_reported(tmp_path: Path) -> None:
    dipping = [checkpoint(tmp_path, "dip", level, 10**6 * 2**step) for step, level in enumerate((0.3, 0.6, 0.5, 0.8))]
    measured = measure_efficiency(dipping, curve(tmp_path, "base", 1.0, last=3), "ruler/task_1@4096")
    assert "The hybrid's curve is not monotone; tokens are read off its isotonic regression." in measured.notes
    values = [point.monotone for point in measured.hybrid]
    assert values == sorted(values)


def test_few_points_have_no_fit(tmp_path: Path) -> None:
    measured = measure_efficiency(curve(tmp_path, "a", 2.0, last=1), curve(tmp_path, "b", 1.0, last=1), "ruler")
    assert measured.fits == ()
    assert measured.notes[-1].startswith("No scaling law")


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    good = curve(tmp_path, "good", 1.0, last=1)
    with pytest.raises(UsageError, match="the hybrid has 1 checkpoints by ruler; a curve needs at least 2"):
        measure_efficiency(good[:1], good, "ruler")
    with pytest.raises(UsageError, match="does not state the training tokens"):
        measure_efficiency([good[0], checkpoint(tmp_path, "none", 0.5, None)], good, "ruler")
    with pytest.raises(UsageError, match="two checkpoints of one model have seen 1,000,000 tokens"):
        measure_efficiency([good[0], checkpoint(tmp_path, "twin", 0.5, 10**6)], good, "ruler")
    with pytest.raises(UsageError, match=r"selects nothing that all runs have; did you mean 'task_1'\?"):
        measure_efficiency(good, good, "ruler/task_11")
    with pytest.raises(UsageError, match="there is no length 8192; known: 4096"):
        measure_efficiency(good, good, "ruler@8192")
    with pytest.raises(IncompatibleRunError, match="dialect: nvidia in BASE, olmes in NEW"):
        measure_efficiency([good[0], checkpoint(tmp_path, "o", 0.5, 2, dialect="olmes")], good, "ruler")
    wide = [
        make_run(tmp_path / f"w{n}", RunSpec({("vt", 4096): [1.0], ("vt", 8192): [1.0]}, tokens_seen=n)) for n in (1, 2)
    ]
    with pytest.raises(UsageError, match=r"has several lengths \(4096, 8192\); add one, as in @8192"):
        measure_efficiency(wide, wide, "ruler")


def test_scores_and_losses_have_no_common_mean(tmp_path: Path) -> None:
    scores: dict[tuple[str, int], list[Score]] = {("needle", 4096): [1.0, 0.0], ("text", 4096): [0.5, 0.7]}
    spec = RunSpec(scores, suite="extend", metrics={"text": "bits_per_byte"})
    runs = [make_run(tmp_path / str(tokens), replace(spec, tokens_seen=tokens)) for tokens in (1, 2)]
    with pytest.raises(UsageError, match=r"needle in points and text in bits per byte, .* such as extend/needle@4096"):
        follow_training(runs, "extend@4096")
    assert [point.value for point in follow_training(runs, "extend/needle@4096").points] == [50.0, 50.0]
    assert [point.value for point in follow_training(runs, "extend/text").points] == [0.6, 0.6]


def test_what_only_some_checkpoints_have_is_stated(tmp_path: Path) -> None:
    scores: dict[tuple[str, int], list[Score]] = {("cwe", 4096): [1.0, 0.0, 1.0], ("vt", 4096): [0.0, 0.0, 0.0]}
    whole = make_run(tmp_path / "whole", RunSpec(scores, tokens_seen=1))
    one_task = make_run(tmp_path / "part", RunSpec({("cwe", 4096): [1.0, 1.0, ERRORED]}, tokens_seen=2))
    training = follow_training([whole, one_task], "ruler")
    assert [point.value for point in training.points] == [50.0, 100.0]
    assert training.notes == (
        "Over 1 of 2 tasks: some of the runs do not have vt.",
        "Over 2 of 3 questions: the others have no score in at least one of the runs.",
    )
    assert follow_training([whole, one_task], "ruler/cwe").notes == training.notes[1:]
    measured = measure_efficiency([whole, one_task], [whole, one_task], "ruler")
    assert measured.notes[:2] == training.notes
