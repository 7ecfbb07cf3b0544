"""Samples are RULER's own, spread evenly over depth."""

from collections import Counter

import pytest

from evalkit.records import SampleKey
from model_adapters.scripted import ScriptedTokenizer
from suites.context_extension.depth_grid import depth_bin, grid_figures, has_one_needle, needle_depth, spread_keys
from suites.ruler import RulerCorpora, RulerSettings, RulerSuite
from tests.evalkit.sample_records import sample_record


@pytest.mark.parametrize("task", ["niah_single_1", "niah_single_2", "niah_multikey_1", "niah_multikey_3"])
def test_the_depth_is_known_before_the_prompt_is_made(task: str) -> None:
    settings = RulerSettings.of(ctx=(1024,), tasks=(task,), samples=1, seed=7)
    ruler = RulerSuite(settings, ScriptedTokenizer(), RulerCorpora.embedded())
    for index in range(4):
        key = SampleKey(task, 1024, index, 7)
        assert needle_depth(key) == ruler.ask(key).sample.depths[0]


@pytest.mark.parametrize("bins", [1, 3, 10])
def test_keys_are_spread_evenly(bins: int) -> None:
    keys = spread_keys("niah_multikey_1", 65_536, 42, samples=40, bins=bins)
    counts = Counter(depth_bin(needle_depth(key), bins) for key in keys)
    assert len(keys) == len({key.id for key in keys}) == 40
    assert set(counts) == set(range(bins))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_fewer_bins_or_samples_keep_the_questions_they_share() -> None:
    few = spread_keys("niah_single_2", 4096, 42, samples=10, bins=5)
    many = spread_keys("niah_single_2", 4096, 42, samples=40, bins=5)
    assert {key.id for key in few} <= {key.id for key in many}


def test_tasks_without_one_depth_take_the_first_keys() -> None:
    assert not has_one_needle("niah_multivalue")
    assert not has_one_needle("vt")
    assert [key.index for key in spread_keys("vt", 4096, 42, samples=5, bins=5)] == [0, 1, 2, 3, 4]


def test_cells_are_means_by_depth_and_length() -> None:
    records = [
        sample_record("niah_single_2", 4096, 0, 1.0, depths=(0.05,)),
        sample_record("niah_single_2", 4096, 1, 0.0, depths=(0.49,)),
        sample_record("niah_multikey_1", 4096, 2, 1.0, depths=(0.2, 0.9)),
        sample_record("niah_single_2", 8192, 3, 0.0, depths=(1.0,)),
        sample_record("vt", 4096, 4, 0.0),
        sample_record("niah_single_2", 8192, 5, None, depths=(0.1,)),
    ]
    figures = {figure.label: (figure.value, figure.n) for figure in grid_figures(records, 2)}
    assert figures == {"grid/4096/0-0.5": (pytest.approx(200 / 3), 3), "grid/8192/0.5-1": (0.0, 1)}
