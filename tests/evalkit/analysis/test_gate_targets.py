"""Selectors name rows, means and figures by their fields."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.gate_targets import Target, choose, select
from evalkit.analysis.policy import parse_policy
from evalkit.analysis.selectors import Selector, spelled
from evalkit.records import Figure
from evalkit.running.store import read_run
from tests.evalkit.run_factory import RunSpec, make_run
from tests.support import REPOSITORY

HISTORY = REPOSITORY / "model_adapters" / "reference" / "history" / "hybrid"
WORDS = st.text("abcxyz_", min_size=1, max_size=8)
LENGTHS = st.integers(1, 10**7)


@given(
    st.builds(
        Figure,
        name=WORDS,
        value=st.just(1.0),
        unit=st.just("points"),
        part=WORDS | st.just(""),
        metric=WORDS | st.just(""),
        filter=st.just("") | WORDS,
        ctx=st.none() | LENGTHS,
        depth=st.none() | st.just((0.1, 0.2)),
        position=st.none() | st.just((0, 2048)),
    )
)
def test_every_figure_has_a_selector(figure: Figure) -> None:
    target = Target("figure", "suite", figure.path, figure.at)
    others = [
        Target("figure", "suite", f"{figure.path}x", figure.at),
        Target("figure", "other", figure.path, figure.at),
    ]
    assert choose(Selector.parse(f"suite/{figure.label}"), [target, *others]) == [target]
    assert target.label == spelled("suite", figure.path, figure.at) == f"suite/{figure.label}"


@pytest.mark.parametrize("filter", ["", "create_test"])
def test_a_metric_of_lm_eval_may_have_an_at_sign(filter: str) -> None:
    figure = Figure("humaneval", 0.5, "lm-eval", metric="pass@1", filter=filter)
    targets = [Target("figure", "lm-eval", figure.path, None), Target("row", "lm-eval", "humaneval", 0)]
    (check,) = parse_policy(f"rules: {{'lm-eval/{figure.label}': {{min: 0.4}}}}").checks
    assert choose(check.selector, targets) == targets[:1]


@pytest.mark.parametrize("name", ["lengths", "track", "extend"])
def test_each_figure_of_a_stored_run_is_selected_by_its_label_alone(name: str) -> None:
    record = read_run(HISTORY / name)
    targets = [Target("figure", record.suite, figure.path, figure.at) for figure in record.figures]
    assert len(set(targets)) == len(targets) > 0
    for figure, target in zip(record.figures, targets, strict=True):
        assert choose(Selector.parse(f"{record.suite}/{figure.label}"), targets) == [target]
        assert target.figure(record) == figure


def test_a_former_name_is_still_understood(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunSpec({("vt", 4096): [1.0]}, effective_length=4096))
    (check,) = parse_policy("rules: {ruler/effective_length/fixed: {min: 4096}}").checks
    assert select(check, {}, {"ruler": run}) == [Target("figure", "ruler", "effective_length", None)]


def test_without_a_length_a_figure_is_that_of_the_whole_run(tmp_path: Path) -> None:
    held = Figure("updates_held", 64.0, "updates", part="parity")
    spec = RunSpec({("parity:4", 4096): [1.0]}, suite="track", figures=(held, replace(held, value=16.0, ctx=4096)))
    run = make_run(tmp_path / "run", spec)
    whole, at_length = (
        select(check, {}, {"track": run})
        for check in parse_policy(
            "rules: {track/updates_held/parity: {min: 1}, track/updates_held/parity@4K: {min: 1}}"
        ).checks
    )
    assert [target.figure(run.record) for target in (*whole, *at_length)] == list(run.record.figures)
