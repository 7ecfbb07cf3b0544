"""A gate passes equal runs, fails worse ones, and reports undecided checks."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.analysis.gate import gate
from evalkit.analysis.gate_verdict import Verdict
from evalkit.analysis.policy import parse_policy
from evalkit.errors import EvalkitError, IncompatibleRunError, UsageError
from evalkit.records import Figure
from tests.evalkit.gating import judge, only, right_and_wrong
from tests.evalkit.run_factory import ERRORED, UNSCORED, RunSpec, Score, changed, make_run, simulate

CELLS = [("niah_single_1", 4096), ("niah_single_1", 65536), ("vt", 4096), ("vt", 65536)]


def one_task(scores: list[Score], **changes: Any) -> RunSpec:
    return RunSpec({("vt", 4096): scores}, **changes)


complete_runs = st.fixed_dictionaries(
    {cell: st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=6) for cell in CELLS}
)


@settings(max_examples=40)
@given(complete_runs, st.sampled_from(["pass", "fail"]), st.sampled_from([0.0, 1.0]))
def test_a_run_passes_against_itself(
    scores: dict[tuple[str, int], list[Score]], undecided: str, seconds: float
) -> None:
    rules = (
        f"ruler: {{max_drop: 0, undecided: {undecided}}}, ruler@65536: {{non_inferior: 0, confidence: 0.99}}, "
        "'ruler/*': {max_drop: 0, non_inferior: 0}, 'ruler/v*@4K': {max_drop: 0}, prefill_seconds: {max_increase: 0%}, "
        "decode_seconds@4096: {max_increase: 0%}, peak_memory: {max_increase: 0%}, ruler/vt@4096: {min: 0}"
    )
    spec = RunSpec(scores, prefill_seconds=seconds, decode_seconds=seconds)
    with tempfile.TemporaryDirectory() as folder:
        result = judge(Path(folder), rules, spec, spec)
    assert result.passed
    assert {verdict.outcome for verdict in result.verdicts} == {"pass"}
    assert len(result.verdicts) == 2 + 1 + 4 * 2 + 1 + 3 + 1


def test_twenty_worse_and_five_better_of_five_hundred_fail(tmp_path: Path) -> None:
    base = one_task(right_and_wrong(495, 5))
    new = changed(base, {("vt", 4096): [0.0] * 20 + [1.0] * 475 + [1.0] * 5})
    verdict = only(judge(tmp_path, "ruler/vt@4096: {max_drop: 0, confidence: 0.95}", base, new))
    assert (verdict.outcome, verdict.passes, verdict.n) == ("fail", False, 500)
    assert verdict.drop == 3.0
    assert verdict.interval == pytest.approx((0.86, 5.27), abs=0.01)
    assert verdict.reason == "drop 3 [0.859, 5.27] is above 0"


def drops(folder: Path, rule: str, worse: int, better: int, n: int = 500) -> Verdict:
    base = one_task([1.0] * (n - better) + [0.0] * better)
    new = changed(base, {("vt", 4096): [0.0] * worse + [1.0] * (n - worse)})
    return only(judge(folder, f"ruler@4096: {rule}", base, new))


@pytest.mark.parametrize(
    ("rule", "worse", "better", "outcome", "passes"),
    [
        ("{max_drop: 0}", 20, 5, "fail", False),
        ("{max_drop: 0}", 12, 8, "undecided", True),
        ("{max_drop: 0, undecided: fail}", 12, 8, "undecided", False),
        ("{max_drop: 6}", 20, 5, "pass", True),
        ("{max_drop: 3}", 20, 5, "undecided", True),
        ("{max_drop: 0}", 5, 20, "pass", True),
        ("{non_inferior: 6}", 20, 5, "pass", True),
        ("{non_inferior: 4}", 20, 5, "fail", False),
        ("{non_inferior: 0}", 5, 20, "pass", True),
        ("{max_drop: 0, confidence: 0.999}", 20, 5, "undecided", True),
        ("{max_drop: 0, confidence: 0.9}", 16, 6, "fail", False),
    ],
)
def test_drops(tmp_path: Path, rule: str, worse: int, better: int, outcome: str, passes: bool) -> None:
    verdict = drops(tmp_path, rule, worse, better)
    assert (verdict.outcome, verdict.passes) == (outcome, passes)


def test_how_many_more_samples_would_decide(tmp_path: Path) -> None:
    verdict = drops(tmp_path / "a", "{max_drop: 0}", 12, 8)
    assert verdict.more_samples is not None
    assert verdict.reason.endswith(f"about {verdict.more_samples:,} more samples would")
    # The same proportions are significant at that size, and not at two thirds of it.
    times = (500 + verdict.more_samples) / 500
    for share, outcome in ((1.1, "fail"), (0.66, "undecided")):
        size = times * share
        again = drops(tmp_path / str(share), "{max_drop: 0}", round(12 * size), round(8 * size), round(500 * size))
        assert again.outcome == outcome
    exact = drops(tmp_path / "b", "{max_drop: 2}", 15, 5)
    assert exact.more_samples is None
    assert exact.reason.endswith("no number of samples decides a drop equal to the limit")


@pytest.mark.parametrize(("n", "limit"), [(4, 0.5), (20, 5), (100, 1)])
def test_how_many_more_samples_without_a_change_would_decide(tmp_path: Path, n: int, limit: float) -> None:
    """The end of the interval falls with the number of pairs: 732 more for 4 pairs and a limit of 0.5, not 58,051."""
    more = drops(tmp_path / "few", f"{{max_drop: {limit}}}", 0, 0, n).more_samples
    assert more is not None
    assert drops(tmp_path / "more", f"{{max_drop: {limit}}}", 0, 0, n + more).outcome == "pass"
    assert drops(tmp_path / "less", f"{{max_drop: {limit}}}", 0, 0, n + more - 2).outcome == "undecided"


@pytest.mark.parametrize(("limit", "shown"), [(5.3, "5.27"), (5.27, "5.274"), (5.274, "5.2741"), (5.2, "5.27")])
def test_rounding_does_not_hide_on_which_side_of_the_limit_an_interval_ends(
    tmp_path: Path, limit: float, shown: str
) -> None:
    verdict = drops(tmp_path, f"{{max_drop: {limit}}}", 20, 5)
    assert verdict.interval is not None
    assert verdict.interval[1] == pytest.approx(5.27410, abs=2e-5)
    assert f", {shown}]" in verdict.reason


def test_a_rise_of_a_loss_is_a_drop(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = RunSpec({("text", 4096): list(rng.normal(0.8, 0.1, 40))}, suite="loss", metric="bits_per_byte")
    worse: list[Score] = [float(value) + 0.02 for value in base.scores["text", 4096]]
    verdict = only(judge(tmp_path, "loss: {max_drop: 0.01}", base, changed(base, {("text", 4096): worse})))
    assert verdict.outcome == "fail"
    assert verdict.drop == pytest.approx(0.02)
    assert verdict.unit == "bits per byte"
    with pytest.raises(UsageError, match="lower is better for the loss of loss/text@4096; use max_drop instead of min"):
        judge(tmp_path / "floor", "loss/text: {min: 1}", base, base)
    short = replace(base, scores={("text", 4096): [0.5]})
    few = only(judge(tmp_path / "few", "loss: {max_drop: 0}", short, changed(short, {("text", 4096): [0.4]})))
    assert (few.outcome, few.reason) == ("undecided", "too few pairs for an interval")


def test_floors(tmp_path: Path) -> None:
    base = RunSpec(
        {("niah_a", 4096): right_and_wrong(9, 1), ("niah_b", 4096): right_and_wrong(7, 3), ("vt", 4096): [1.0] * 10},
        effective_length=4096,
        figures=(
            Figure("updates_held", 64.0, "updates", part="parity", ctx=4096),
            Figure("nats_per_token", 1.5, "nats", None, 10, part="copy"),
        ),
    )
    rules = (
        "'ruler/niah_*@4096': {min: 80}, ruler@4096: {min: 85}, ruler/effective_length: {min: 8192}, "
        "ruler/updates_held/parity@4096: {min: 64}, ruler/nats_per_token/copy: {min: 1}"
    )
    result = judge(tmp_path, rules, base, base)
    assert [(verdict.target, verdict.outcome) for verdict in result.verdicts] == [
        ("ruler/niah_a@4096", "pass"),
        ("ruler/niah_b@4096", "fail"),
        ("ruler@4096", "pass"),
        ("ruler/effective_length", "fail"),
        ("ruler/updates_held/parity@4096", "pass"),
        ("ruler/nats_per_token/copy", "pass"),
    ]
    assert result.verdicts[1].reason == "70 is below 80"


def test_a_length_below_the_shortest_fails_its_floor(tmp_path: Path) -> None:
    base = one_task([1.0, 1.0], effective_length=4096)
    new = changed(base, base.scores, effective_length=0)
    verdict = only(judge(tmp_path, "ruler/effective_length: {min: 4096}", base, new))
    assert (verdict.outcome, verdict.reason) == ("fail", "below the shortest length that was run")


def test_a_whole_suite_that_is_missing_fails(tmp_path: Path) -> None:
    ruler, track = one_task([1.0]), RunSpec({("parity:4", 0): [1.0]}, suite="track")
    base = [make_run(tmp_path / "a", ruler), make_run(tmp_path / "b", track)]
    policy = parse_policy("rules: {track: {max_drop: 1}, 'track/parity:4': {min: 0}}")
    result = gate(base, base[:1], policy)
    assert [verdict.reason for verdict in result.verdicts] == ["NEW has no run of track"] * 2
    with pytest.raises(UsageError, match="BASE has no run of track; make one, or drop the rule"):
        gate(base[:1], base, policy)


def test_a_row_that_only_the_new_run_has_needs_a_new_baseline(tmp_path: Path) -> None:
    base = one_task([1.0])
    new = changed(base, {**base.scores, ("cwe", 4096): [1.0]})
    with pytest.raises(UsageError, match="BASE has no score for ruler/cwe@4096; make a new baseline"):
        judge(tmp_path, "'ruler/*': {max_drop: 1}", base, new)


def test_times_and_memory(tmp_path: Path) -> None:
    base = one_task([1.0] * 10)
    slower = changed(base, base.scores, prefill_seconds=1.08, peak_bytes=21 * 2**30)
    rules = (
        "prefill_seconds: {max_increase: 5%}, decode_seconds@4096: {max_increase: 5%}, peak_memory: {max_increase: 5%}"
    )
    result = judge(tmp_path / "a", rules, base, slower)
    assert [verdict.outcome for verdict in result.verdicts] == ["fail", "pass", "pass"]
    assert result.verdicts[0].reason == "+8.0% is above +5.0%"
    near = judge(tmp_path / "near", "prefill_seconds: {max_increase: 7.99%}", base, slower)
    assert only(near).reason == "+8.0% is above +7.99%"
    near = judge(
        tmp_path / "nearer", "prefill_seconds: {max_increase: 8.0%}", base, replace(slower, prefill_seconds=1.08004)
    )
    assert only(near).reason == "+8.004% is above +8.0%"
    lost = judge(tmp_path / "b", "peak_memory: {max_increase: 5%}", base, replace(slower, peak_bytes=None))
    assert only(lost).reason == "NEW has no peak memory"
    with pytest.raises(IncompatibleRunError, match="BASE ran on NVIDIA H100 80GB HBM3 × 1, NEW on AMD EPYC, 2 cores"):
        judge(tmp_path / "c", rules, base, replace(slower, gpu=None))
    with pytest.raises(UsageError, match="BASE has no peak memory"):
        judge(tmp_path / "d", "peak_memory: {max_increase: 5%}", replace(base, peak_bytes=None), slower)


def test_peak_memory_at_longer_contexts_is_another_quantity(tmp_path: Path) -> None:
    base = one_task([1.0] * 4)
    longer = changed(base, {**base.scores, ("vt", 65536): [1.0] * 4}, peak_bytes=200 * 2**30)
    with pytest.raises(IncompatibleRunError, match="the longest context is 4,096 in BASE and 65,536 in NEW, so peak"):
        judge(tmp_path, "peak_memory: {max_increase: 5%}", base, longer)


def test_times_are_those_of_the_expected_tasks(tmp_path: Path) -> None:
    spec = RunSpec({(task, 4096): [1.0] * 4 for task in ("vt", "cwe", "fwe")})
    base, new = make_run(tmp_path / "base", spec), make_run(tmp_path / "new", spec)
    samples = {
        name: replace(sample, prefill_seconds=3 * (sample.prefill_seconds or 0)) if sample.task == "vt" else sample
        for name, sample in new.samples.items()
    }
    rules = "rules: {prefill_seconds: {max_increase: 10%}, prefill_seconds@4096: {max_increase: 10%}}"
    for tasks, reasons in (("[vt]", ["+200.0% is above +10.0%"] * 2), ("[cwe, fwe]", ["+0.0% is at most +10.0%"] * 2)):
        policy = parse_policy(f"{rules}\nexpect: {{ruler: {{tasks: {tasks}}}}}")
        assert [one.reason for one in gate([base], [replace(new, samples=samples)], policy).verdicts] == reasons


def test_the_side_that_lacks_times_is_named(tmp_path: Path) -> None:
    base = one_task([1.0] * 10)
    untimed = changed(base, base.scores, prefill_seconds=0.0)
    rule = "prefill_seconds@4096: {max_increase: 5%}"
    assert only(judge(tmp_path / "a", rule, base, untimed)).reason == "NEW has no prefill seconds"
    with pytest.raises(UsageError, match="BASE has no prefill seconds for ruler/prefill_seconds@4096, though NEW has"):
        judge(tmp_path / "b", rule, untimed, base)
    # If neither run spends time, such as decoding time for log-probabilities, nothing has increased.
    assert judge(tmp_path / "c", rule, untimed, untimed).passed


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("rular@4096: {min: 1}", "rule 'rular@4096' selects nothing; did you mean 'ruler'?"),
        ("ruler@8192: {min: 1}", "selects nothing: there is no length 8192; known: 4096"),
        ("ruler/vtt: {min: 1}", "selects nothing; did you mean 'vt'?"),
        ("ruler/vt@8192: {max_drop: 1}", "there is no length 8192"),
        ("'ruler/niah_*': {min: 1}", "selects nothing"),
        ("prefil_seconds: {min: 1}", "did you mean 'prefill_seconds'?"),
        ("prefill_seconds@8192: {max_increase: 5%}", "there is no length 8192"),
        ("ruler/effective_length: {max_drop: 1}", "ruler/effective_length is not a mean of samples"),
    ],
)
def test_a_selector_that_selects_nothing_is_an_error(tmp_path: Path, rule: str, said: str) -> None:
    base = one_task([1.0, 0.0], effective_length=4096)
    with pytest.raises(UsageError) as error:
        judge(tmp_path, rule, base, base)
    assert said in str(error.value)


@pytest.mark.parametrize("rule", ["extend@4096: {max_drop: 1}", "'extend/*': {non_inferior: 1}", "extend: {min: 1}"])
def test_metrics_of_different_units_do_not_share_a_limit(tmp_path: Path, rule: str) -> None:
    base = RunSpec(
        {("niah_single_2", 4096): [1.0, 1.0], ("long_text", 4096): [0.5, 0.75]},
        suite="extend",
        metrics={"long_text": "bits_per_byte"},
    )
    with pytest.raises(UsageError) as error:
        judge(tmp_path, rule, base, base)
    assert "selects extend/niah_single_2@4096 in points and extend/long_text@4096 in bits per byte" in str(error.value)
    alone = "extend/niah_*@4096: {max_drop: 1}, extend/long_text@4096: {max_drop: 0.01}"
    assert judge(tmp_path / "alone", alone, base, base).passed


def test_floors_need_no_pairs_and_drops_do(tmp_path: Path) -> None:
    base = one_task([1.0, 0.0])
    other = changed(base, base.scores, dialect="olmes")
    assert judge(tmp_path / "a", "ruler@4096: {min: 40}", base, other).passed
    with pytest.raises(IncompatibleRunError, match="dialect: nvidia in BASE, olmes in NEW"):
        judge(tmp_path / "b", "ruler@4096: {max_drop: 1}", base, other)


def test_a_worse_model_fails_and_a_better_one_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = RunSpec(simulate(rng, dict.fromkeys(CELLS, 0.9), 100))
    worse = changed(base, simulate(rng, dict.fromkeys(CELLS, 0.5), 100))
    assert not judge(tmp_path / "a", "ruler: {max_drop: 10}", base, worse).passed
    assert judge(tmp_path / "b", "ruler: {max_drop: 0, undecided: fail}", worse, base).passed


@pytest.mark.parametrize(
    ("figure", "rule"),
    [
        (Figure("position_nats", 1.7, "nats per token", position=(0, 2048)), "ruler/position_nats/0-2048"),
        (Figure("wikitext", 12.0, "lm-eval", metric="word_perplexity"), "ruler/wikitext/word_perplexity"),
    ],
)
def test_a_floor_on_a_figure_of_a_loss_is_refused(tmp_path: Path, figure: Figure, rule: str) -> None:
    base = one_task([1.0, 0.0], figures=(figure,))
    with pytest.raises(UsageError, match=f"lower is better for {rule}, and min would pass a worse run; use max_drop"):
        judge(tmp_path, f"{rule}: {{min: 1}}", base, base)


@settings(max_examples=25)
@given(
    st.dictionaries(st.sampled_from(CELLS), st.lists(st.sampled_from([0.0, 1.0, ERRORED, UNSCORED]), max_size=3)),
    st.dictionaries(st.sampled_from(CELLS), st.lists(st.sampled_from([0.0, 1.0, ERRORED, UNSCORED]), max_size=3)),
)
def test_whatever_the_runs_lack_the_answer_is_a_verdict_or_one_line(
    left: dict[tuple[str, int], list[Score]], right: dict[tuple[str, int], list[Score]]
) -> None:
    base = RunSpec(left)
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = judge(
                Path(folder), "ruler: {max_drop: 1, min: 1}, 'ruler/*': {max_drop: 1}", base, changed(base, right)
            )
        except EvalkitError as error:
            refusal = error
        else:
            assert result.passed == all(verdict.passes for verdict in result.verdicts)
            return
    assert refusal.exit_code == 2
