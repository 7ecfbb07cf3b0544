"""Grids put each sample into its place, and a difference grid is the difference of two grids."""

from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.analysis.comparison import compare
from evalkit.analysis.pairing import pair_runs
from evalkit.views.grids import MEAN, depth_difference_grid, depth_grid, difference_grid, task_grid
from tests.evalkit.run_factory import RunSpec, changed, make_run, make_samples

BASE = RunSpec({("vt", 4096): [1.0, 1.0, 0.0, 1.0], ("vt", 65536): [1.0, 0.5], ("cwe", 4096): [1.0, 0.0]})
NEW = changed(BASE, {**BASE.scores, ("vt", 4096): [0.0, 1.0, 0.0, 1.0]})


def test_scores_by_task_and_length(tmp_path: Path) -> None:
    grid = task_grid(make_run(tmp_path / "run", BASE).record)
    assert (grid.rows, grid.columns) == ((MEAN, "vt", "cwe"), (4096, 65536))
    assert grid.values == ((62.5, 75.0), (75.0, 75.0), (50.0, None))
    assert grid.counts == ((6, 2), (4, 2), (2, 0))
    loss = RunSpec({("text", 4096): [0.5, 0.6]}, suite="loss", metric="bits_per_byte")
    assert task_grid(make_run(tmp_path / "loss", loss).record).rows == ()


def test_differences_by_task_and_length(tmp_path: Path) -> None:
    pairing = pair_runs(make_run(tmp_path / "base", BASE), make_run(tmp_path / "new", NEW))
    compared = compare(pairing)
    grid = difference_grid(compared)
    assert (grid.rows, grid.values) == ((MEAN, "vt", "cwe"), ((-12.5, None), (-25.0, 0.0), (0.0, None)))
    assert not any(map(any, grid.marks))
    told = replace(compared, rows=tuple(replace(row, change="worse") for row in compared.rows[:1]))
    assert difference_grid(told).marks == ((True,),)
    assert depth_difference_grid(pairing).values[5] == (pytest.approx(-100 / 6), 0.0)


def test_needles_stand_in_their_depth() -> None:
    samples = make_samples(RunSpec({("vt", 4096): [1.0, 0.0, 1.0, 1.0, 0.0]}))
    depths = (0.0, 0.05, 0.95, 1.0, 0.5)
    placed = [replace(sample, depths=(depth,)) for sample, depth in zip(samples, depths, strict=True)]
    several = replace(samples[0], targets=("a", "b"))
    grid = depth_grid([*placed, several, replace(samples[0], depths=())])
    assert grid.rows[0] == "0.0-0.1"
    assert [row[0] for row in grid.values] == [50.0, None, None, None, None, 0.0, None, None, None, 100.0]
    assert [row[0] for row in grid.counts] == [2, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert depth_grid([several]).rows == ()
