"""Checks pass, fail or are undecided, and report the difference that they detect."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.analysis.finished_run import StoredRun
from evalkit.records import (
    Figure,
    PositionSums,
    SampleRecord,
    Verdict,
)
from evalkit.statistics.effective_length import effective_length
from suites.context_extension import ExtensionSettings, conclude
from suites.context_extension.effective_length import above_fixed, above_own_share, collect, length_figure
from suites.context_extension.position_loss import LONG_TEXT, SHORT_TEXT, bucket_width
from suites.mmlu import MmluSettings
from tests.evalkit.sample_records import sample_record
from tests.reports.example_runs import FULL

SETTINGS = replace(ExtensionSettings.of(ctx=8192, tasks=("niah_single_2", "vt")), ctxs=(1024, 2048, 4096, 8192))


def run_of(samples: Sequence[SampleRecord], name: str = "new") -> StoredRun:
    scores = collect(samples, SETTINGS.tasks)
    figures: list[Figure] = []
    for rule, margins in (("", above_fixed), ("own_share", above_own_share)):
        figures += length_figure(rule, effective_length(margins(scores)), len(samples))
    record = replace(FULL, model=replace(FULL.model, path=name, trained_length=None), figures=tuple(figures))
    return StoredRun(Path(name), record, {sample.id: sample for sample in samples})


def grid(shares: Sequence[float], n: int = 40) -> list[SampleRecord]:
    """Samples with the given number of right answers at each length, evenly spread."""
    return [
        sample_record(task, ctx, index, float(index < round(share * n)))
        for ctx, share in zip(SETTINGS.ctxs, shares, strict=True)
        for task in SETTINGS.tasks
        for index in range(n)
    ]


def document(index: int, loss_at: Sequence[float]) -> SampleRecord:
    """A document with one loss per quarter of the context."""
    width = bucket_width(8192)
    positions = tuple(
        PositionSums(start, start + width, width * loss_at[start * 4 // 8192], width, 1)
        for start in range(0, 8192, width)
    )
    measures = {"nats": 1.0, "tokens": 1.0, "bytes": 4.0}
    return sample_record(LONG_TEXT, 8192, index, 1.0, measures=measures, positions=positions)


def verdicts_of(
    samples: Sequence[SampleRecord],
    trained: int | None = 2048,
    before: StoredRun | None = None,
    baseline: StoredRun | None = None,
) -> dict[str, Verdict]:
    others = {role: run for role, run in (("before", before), ("baseline", baseline)) if run is not None}
    record = conclude(replace(SETTINGS, trained=trained), run_of(samples), others)
    return {verdict.target: verdict for verdict in record.verdicts}


class TestPositionLoss:
    def test_a_rise_past_the_window_fails_at_the_stretch_where_it_is(self) -> None:
        noise = random.Random(0)
        documents = [
            document(index, [2.5, 2.5 + noise.gauss(0, 0.01), 2.5, 3.1 + noise.gauss(0, 0.05)]) for index in range(8)
        ]
        found = verdicts_of(documents)
        assert found["position_loss/2048-4096"].outcome == "pass"
        assert found["position_loss/4096-8192"].outcome == "fail"
        value = found["position_loss/4096-8192"].value
        assert value == pytest.approx((0.0 + 0.6) / 2, abs=0.05)

    def test_noise_larger_than_the_margin_is_undecided(self) -> None:
        noise = random.Random(1)
        documents = [document(index, [2.5, 2.5 + noise.gauss(0, 0.5), 2.5, 2.5]) for index in range(4)]
        found = verdicts_of(documents)["position_loss/2048-4096"]
        assert found.outcome == "undecided"
        assert found.detectable is not None
        assert found.detectable > 0.3

    def test_a_healthy_model_is_failed_at_most_one_time_in_twenty(self) -> None:
        """Losses are equal except for noise, and the margin is zero."""
        noise = random.Random(2)
        failed = 0
        for _ in range(150):
            documents = [document(index, [2.5 + noise.gauss(0, 0.1) for _ in range(4)]) for index in range(6)]
            conclusion = conclude(replace(SETTINGS, trained=2048, margin=0.0), run_of(documents), {})
            failed += any(v.outcome == "fail" for v in conclusion.verdicts if v.target.startswith("position_loss"))
        assert failed <= 13

    def test_the_smallest_visible_difference_is_seen_four_times_in_five(self) -> None:
        noise = random.Random(3)

        def drawn(rise: float) -> Verdict:
            documents = [document(index, [2.5, 2.5 + noise.gauss(rise, 0.1), 2.5, 2.5]) for index in range(12)]
            return verdicts_of(documents)["position_loss/2048-4096"]

        visible = sum(drawn(0.0).detectable or 0.0 for _ in range(60)) / 60
        assert visible == pytest.approx(0.1, abs=0.01)
        seen = [drawn(visible).interval or (0.0, 0.0) for _ in range(150)]
        assert 0.68 <= sum(low > 0 for low, _ in seen) / len(seen) <= 0.92

    @pytest.mark.parametrize("trained", [None, 8192, 65_536])
    def test_without_anything_past_the_window_nothing_is_decided(self, trained: int | None) -> None:
        found = verdicts_of([document(0, [2.5] * 4)], trained)["position_loss"]
        assert found.outcome == "undecided"
        assert "nothing was read beyond the trained window" in found.reason

    def test_one_document_is_not_enough(self) -> None:
        found = verdicts_of([document(0, [2.5] * 4)])["position_loss/2048-4096"]
        assert (found.outcome, found.value) == ("undecided", None)
        assert "2 or more are needed" in found.reason


class TestEffectiveLength:
    def test_a_model_that_holds_passes(self) -> None:
        found = verdicts_of(grid([1.0, 1.0, 1.0, 1.0]))
        assert found["effective_length/fixed"].outcome == "pass"
        assert found["effective_length/own_share"].outcome == "pass"

    def test_a_model_that_breaks_fails_and_says_where(self) -> None:
        found = verdicts_of(grid([1.0, 1.0, 0.1, 0.0]))["effective_length/fixed"]
        assert found.outcome == "fail"
        assert (found.value, found.interval) == (2048, (2048, 2048))
        assert "effective length 2,048 of 8,192 tested" in found.reason

    def test_near_the_threshold_it_is_undecided(self) -> None:
        found = verdicts_of(grid([1.0, 1.0, 1.0, 0.85]))["effective_length/fixed"]
        assert found.outcome == "undecided"
        assert found.detectable_unit == "points"
        assert 5 < (found.detectable or 0) < 20

    def test_a_missing_length_is_named(self) -> None:
        samples = [sample for sample in grid([1.0] * 4) if (sample.task, sample.ctx) != ("vt", 4096)]
        found = verdicts_of(samples)["effective_length/fixed"]
        assert found.outcome == "undecided"
        assert "no scores of every task at 4,096" in found.reason

    def test_better_than_a_baseline_at_every_length(self) -> None:
        baseline = run_of(grid([0.9, 0.6, 0.2, 0.1]), "old")
        found = verdicts_of(grid([1.0, 1.0, 0.9, 0.8]), baseline=baseline)["effective_length/baseline"]
        assert found.outcome == "pass"
        assert "better than old" in found.reason
        worse = verdicts_of(grid([0.5, 1.0, 0.9, 0.8]), baseline=baseline)["effective_length/baseline"]
        assert worse.outcome == "fail"


class TestRetention:
    def texts(self, bits: float, spread: float = 0.0) -> list[SampleRecord]:
        noise = random.Random(5)
        return [
            sample_record(
                SHORT_TEXT, 1024, index, bits + index / 10 + noise.gauss(0, spread), measures={"bytes": 4000.0}
            )
            for index in range(8)
        ]

    def test_equal_models_pass_with_enough_samples(self) -> None:
        samples = [*grid([0.9, 0.5, 0.5, 0.5], n=400), *self.texts(0.9)]
        found = verdicts_of(samples, before=run_of(samples, "old"))
        assert found["retention/ruler"].outcome == "pass"
        assert found["retention/ruler"].value == 0
        assert found["retention/loss"].outcome == "pass"

    def test_few_samples_cannot_tell(self) -> None:
        samples = [*grid([0.9, 0.5, 0.5, 0.5], n=10), *self.texts(0.9)]
        assert verdicts_of(samples, before=run_of(samples, "old"))["retention/ruler"].outcome == "undecided"

    def test_a_loss_of_score_and_of_text_fails(self) -> None:
        samples = [*grid([0.5, 0.5, 0.5, 0.5]), *self.texts(1.0)]
        old = run_of([*grid([0.9, 0.5, 0.5, 0.5]), *self.texts(0.9)], "old")
        found = verdicts_of(samples, before=old)
        assert found["retention/ruler"].outcome == "fail"
        assert found["retention/ruler"].value == pytest.approx(40.0)
        assert found["retention/loss"].outcome == "fail"
        assert found["retention/loss"].value == pytest.approx(0.1)

    def test_a_better_model_passes(self) -> None:
        samples = [*grid([0.9] * 4, n=200), *self.texts(0.8)]
        found = verdicts_of(samples, before=run_of([*grid([0.5] * 4, n=200), *self.texts(0.9)], "old"))
        assert found["retention/ruler"].outcome == found["retention/loss"].outcome == "pass"
        assert (found["retention/ruler"].value or 0) < 0

    def test_nothing_shared_is_reported(self) -> None:
        found = verdicts_of(grid([1.0] * 4), before=run_of([], "old"))
        assert found["retention/ruler"].outcome == "undecided"
        assert "no samples of every task are shared" in found["retention/ruler"].reason

    def test_questions_lost_since_the_checkpoint_before(self) -> None:
        asked = replace(SETTINGS, mmlu=MmluSettings.of(subjects=["anatomy", "virology"]))

        def answered(right: int) -> list[SampleRecord]:
            return [sample_record(task, 0, n, float(n < right)) for task in ("anatomy", "virology") for n in range(200)]

        def verdict(before: int, now: int) -> Verdict:
            old = run_of([*grid([0.9] * 4), *answered(before)], "old")
            new = run_of([*grid([0.9] * 4), *answered(now)])
            found = conclude(asked, new, {"before": old})
            return next(one for one in found.verdicts if one.target == "retention/mmlu")

        assert verdict(150, 150).outcome == "pass"
        assert verdict(150, 110).outcome == "fail"
        assert verdict(150, 110).value == pytest.approx(20.0)
        assert "MMLU against old" in verdict(150, 110).reason

    def test_without_a_shared_question_it_is_undecided(self) -> None:
        asked = replace(SETTINGS, mmlu=MmluSettings.of(subjects=["anatomy"]))
        old = run_of([*grid([0.9] * 4), sample_record("anatomy", 0, 0, None)], "old")
        new = run_of([*grid([0.9] * 4), sample_record("anatomy", 0, 0, 1.0)])
        found = conclude(asked, new, {"before": old})
        verdict = next(one for one in found.verdicts if one.target == "retention/mmlu")
        assert verdict.outcome == "undecided"
        assert "no question of MMLU is shared" in verdict.reason
