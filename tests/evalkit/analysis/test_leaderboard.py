"""Leaderboards: ranks with ties, the same bytes for the same runs, and unlike things apart."""

import gc
import json
import random
import re
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.analysis.board_runs import BoardRun, read_runs
from evalkit.analysis.leaderboard import build_leaderboard
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records.codec import to_json
from reports.leaderboard_report import leaderboard_report, render_csv
from reports.markdown import render
from tests.evalkit.run_factory import (
    ERRORED,
    UNSCORED,
    RunSpec,
    Score,
    board_run,
    make_run,
    simulate,
    stop_run,
    write_run,
)

CELLS = [("vt", 4096), ("cwe", 4096), ("vt", 65536), ("cwe", 65536)]


def runs_of(tmp_path: Path, *specs: RunSpec) -> list[BoardRun]:
    return [board_run(make_run(tmp_path / f"run-{number}", spec)) for number, spec in enumerate(specs)]


def spec(model: str, accuracy: float, **changes: object) -> RunSpec:
    rng = np.random.default_rng(int(accuracy * 100))
    return replace(
        RunSpec(simulate(rng, dict.fromkeys(CELLS, accuracy), 60), model=model, weights=model, effective_length=4096),
        **changes,  # type: ignore[arg-type]  # fields of a RunSpec
    )


def test_models_are_joined_across_suites_and_ranked(tmp_path: Path) -> None:
    loss = RunSpec({("text", 4096): [0.5, 0.7]}, suite="loss", metric="bits_per_byte", model="good", weights="good")
    board = build_leaderboard(runs_of(tmp_path, spec("poor", 0.3), spec("good", 0.9), loss, spec("fair", 0.6)))
    (main,) = board.boards
    assert [(row.model, row.rank) for row in main.rows] == [("good", 1), ("fair", 2), ("poor", 3)]
    assert main.ranked_by == "ruler@65536"
    assert [column.label for column in main.columns] == [
        "ruler@4096",
        "ruler@65536",
        "ruler/effective_length",
        "loss/text@4096",
    ]
    assert main.rows[0].cells[3] is not None
    assert main.rows[1].cells[3] is None
    assert [run.run_id for run in board.runs] == ["run-3", "run-2", "run-1", "run-0"]


def test_ranking_by_another_column(tmp_path: Path) -> None:
    loss = {
        name: RunSpec({("text", 4096): [value] * 5}, suite="loss", metric="bits_per_byte", model=name, weights=name)
        for name, value in (("good", 0.9), ("poor", 0.5))
    }
    records = runs_of(tmp_path, spec("good", 0.9), spec("poor", 0.3), loss["good"], loss["poor"])
    assert [row.model for row in build_leaderboard(records, "loss/text@4K").boards[0].rows] == ["poor", "good"]
    with pytest.raises(UsageError, match="no column 'ruler@8192' to rank by; did you mean 'ruler@"):
        build_leaderboard(records, "ruler@8192")
    with pytest.raises(UsageError, match="ruler/effective_length is not a mean of samples, so differences in it are"):
        build_leaderboard(records, "ruler/effective_length")


@pytest.mark.parametrize(
    ("long_cwe", "complete"),
    [([1.0, 0.0], True), ([], False), ([1.0, ERRORED], False), ([1.0, UNSCORED], False), ([UNSCORED] * 2, False)],
)
def test_a_mean_over_part_of_a_run_is_marked(tmp_path: Path, long_cwe: list[Score], complete: bool) -> None:
    """A task that does not fit at one length would otherwise leave a mean over other tasks than the one above it."""
    scores = {cell: [1.0, 0.0] for cell in CELLS[:3]} | ({CELLS[3]: long_cwe} if long_cwe else {})
    board = build_leaderboard(runs_of(tmp_path, spec("whole", 0.9), spec("part", 0.9, scores=scores)))
    (main,) = board.boards
    of_part = next(row for row in main.rows if row.model == "part")
    assert [cell.complete for cell in of_part.cells[:2] if cell is not None] == [True, complete]
    shown = render(leaderboard_report(board))
    assert ("incomplete |" in shown) == (not complete)
    assert ("Values marked incomplete do not cover all tasks" in shown) == (not complete)


@pytest.mark.parametrize(
    ("length", "shown"), [(65536, "at least 65,536"), (4096, "4,096"), (0, "below the shortest length")]
)
def test_an_effective_length_that_is_the_longest_tested_is_at_least_that(
    tmp_path: Path, length: int, shown: str
) -> None:
    board = build_leaderboard(runs_of(tmp_path, spec("a", 0.9, effective_length=length)))
    assert f"| {shown} |" in render(leaderboard_report(board))
    (line,) = (line for line in render_csv(board).splitlines() if "effective_length" in line)
    assert line.endswith(",at least") == (length == 65536)


def test_unlike_protocols_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    records = runs_of(
        tmp_path,
        spec("a", 0.9),
        spec("b", 0.8),
        spec("a", 0.7, dialect="olmes"),
        spec("c", 0.6, corpora={"essays": "prose"}),
        RunSpec({("vt", 4096): [1.0, 0.0]}, model="d", weights="d"),
    )
    boards = build_leaderboard(records).boards
    assert [[row.model for row in board.rows] for board in boards] == [["a", "b"], ["c"], ["a"], ["d"]]
    assert [board.protocols[0].dialect for board in boards] == ["nvidia", "nvidia", "olmes", "nvidia"]


def test_losses_of_two_fields_of_one_file_are_not_in_one_column(tmp_path: Path) -> None:
    def loss(model: str, field: str) -> RunSpec:
        scores: dict[tuple[str, int], list[Score]] = {("text", 4096): [0.5, 0.7]}
        settings = {"field": field}
        return RunSpec(
            scores, suite="loss", metric="bits_per_byte", model=model, weights=model, question_settings=settings
        )

    board = build_leaderboard(runs_of(tmp_path, loss("a", "text"), loss("b", "text"), loss("a", "code")))
    assert [[row.model for row in one.rows] for one in board.boards] == [["a", "b"], ["a"]]
    assert "Other protocol: loss, dialect nvidia, version 1, field code, 1 task" in render(leaderboard_report(board))


def test_costs_of_models_with_other_longest_contexts_are_not_alike(tmp_path: Path) -> None:
    short = replace(spec("b", 0.9), scores={cell: [1.0, 0.0] for cell in CELLS[:2]}, effective_length=None)
    notice = "Times and memory of models with different longest contexts cannot be compared."
    assert notice in render(leaderboard_report(build_leaderboard(runs_of(tmp_path / "1", spec("a", 0.9), short))))
    alike = build_leaderboard(runs_of(tmp_path / "2", spec("a", 0.9), spec("b", 0.8)))
    assert notice not in render(leaderboard_report(alike))


def test_lengths_of_one_model_may_come_from_two_runs(tmp_path: Path) -> None:
    short = replace(spec("a", 0.9), scores={cell: [1.0, 0.0] for cell in CELLS[:2]}, effective_length=None)
    long = replace(spec("a", 0.9), scores={cell: [1.0, 0.0] for cell in CELLS[2:]}, effective_length=None)
    (main,) = build_leaderboard(runs_of(tmp_path / "a", short, long)).boards
    assert [cell is not None for cell in main.rows[0].cells] == [True, True]


def test_a_run_that_was_made_again_stands_for_the_older_one(tmp_path: Path) -> None:
    """Running the same command twice makes ruler-x and ruler-x-2."""
    first = replace(spec("a", 0.9), run_id="ruler-x")
    again = replace(spec("a", 0.5), run_id="ruler-x-2")
    tenth = replace(spec("a", 0.3), run_id="ruler-x-10")
    for given_specs in ((first, again, tenth), (tenth, again, first)):
        board = build_leaderboard(runs_of(tmp_path / str(len(list(tmp_path.iterdir()))), *given_specs))
        assert [run.run_id for run in board.runs] == ["ruler-x-10"]
        assert board.older == ("ruler-x", "ruler-x-2")
        assert "Older runs of the same model are left out: ruler-x, ruler-x-2" in render(leaderboard_report(board))


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    specs = [replace(spec("a", accuracy), run_id="run") for accuracy in (0.9, 0.5)] + [
        replace(spec("b", 0.7), run_id="b")
    ]
    runs = runs_of(tmp_path, *specs)
    board = build_leaderboard(runs)
    assert {*(run.run_id for run in board.runs), *board.older} == {runs[0].folder, runs[1].folder, "b"}
    (older,) = board.older
    assert f"Older runs of the same model are left out: {older}; " in " ".join(leaderboard_report(board).notices)


def test_equally_old_runs_of_one_name_give_the_same_board_in_any_order(tmp_path: Path) -> None:
    """Each folder of a plan has a run called `ruler`; without dates the one with more samples counts."""
    small, large = (
        spec("a", accuracy, scores={cell: [1.0] * right + [0.0] for cell in CELLS}, run_id="ruler")
        for accuracy, right in ((0.1, 3), (0.2, 5))
    )
    made = runs_of(tmp_path, small, large)
    boards = []
    for given_runs in (made, made[::-1]):
        board = build_leaderboard(given_runs)
        assert board.runs[0].n == 24
        boards.append(render(leaderboard_report(board)))
    assert boards[0] == boards[1]


def test_the_newest_run_gives_a_cell_and_the_longest_the_effective_length(tmp_path: Path) -> None:
    """A quick run at one length, with another seed, does not replace what it did not measure."""
    long = replace(spec("a", 0.9), run_id="ruler-x", effective_length=65536)
    quick = RunSpec(
        {cell: [1.0, 0.0] for cell in CELLS[:2]}, model="a", weights="a", seed=7, run_id="ruler-x-2", effective_length=0
    )
    for runs in ((long, quick), (quick, long)):
        board = build_leaderboard(runs_of(tmp_path / str(len(list(tmp_path.iterdir()))), *runs))
        (row,) = board.boards[0].rows
        labels = [column.label for column in board.boards[0].columns]
        values = {label: cell and cell.value for label, cell in zip(labels, row.cells, strict=True)}
        assert values["ruler@4096"] == 50
        assert values["ruler@65536"] == pytest.approx(90, abs=5)
        assert values["ruler/effective_length"] == 65536
        assert [run.run_id for run in board.runs] == ["ruler-x-2", "ruler-x"]
        assert board.older == ()
    assert "below the shortest" in render(leaderboard_report(build_leaderboard(runs_of(tmp_path / "alone", quick))))


def test_runs_of_plans_and_baselines_are_found(tmp_path: Path) -> None:
    write_run(tmp_path / "plan" / "model-a" / "ruler", spec("a", 0.9))
    write_run(tmp_path / "run", spec("b", 0.8))
    write_run(tmp_path / "run" / "baseline", spec("c", 0.7))
    write_run(tmp_path / "plan" / "superseded" / "model-a-ruler", spec("a", 0.1))
    write_run(tmp_path / ".hidden", spec("d", 0.1))
    runs, left_out = read_runs([tmp_path])
    assert [run.record.model.path for run in runs] == ["a", "b", "c"]
    assert left_out == ()


def test_errors_and_untrained_weights_are_marked(tmp_path: Path) -> None:
    scores: dict[tuple[str, int], list[Score]] = {cell: [1.0, 0.0, ERRORED] for cell in CELLS}
    (main,) = build_leaderboard(runs_of(tmp_path, spec("a", 0.9, scores=scores, trained=False))).boards
    assert main.rows[0].cells[0] is not None
    assert not main.rows[0].cells[0].complete
    assert not main.rows[0].trained


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_the_order_of_arguments_changes_no_byte(shuffle: random.Random) -> None:
    records = _SOME
    mixed = list(records)
    shuffle.shuffle(mixed)
    board, again = build_leaderboard(records), build_leaderboard(mixed)
    assert render(leaderboard_report(board)) == render(leaderboard_report(again))
    assert render_csv(board) == render_csv(again)
    assert to_json(board) == to_json(again)


@pytest.fixture(scope="module", autouse=True)
def _some(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("some")
    equal = [spec(name, 0.8) for name in ("x", "y", "z")]
    _SOME[:] = runs_of(folder, *equal, spec("w", 0.5), spec("x", 0.4, dialect="olmes"))


_SOME: list[BoardRun] = []


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (
            lambda b: (b / "samples.jsonl").write_bytes((b / "samples.jsonl").read_bytes()[:-9]),
            IncompatibleRunError,
            r"b: run\.json counts 240 samples, samples\.jsonl holds 239 and a part",
        ),
        (
            lambda b: (b / "samples.jsonl").write_text((b / "samples.jsonl").read_text().partition("\n")[2]),
            IncompatibleRunError,
            r"samples\.jsonl holds 239; run it again",
        ),
        (lambda b: (b / "samples.jsonl").unlink(), UsageError, r"samples\.jsonl cannot be read"),
        (lambda b: (b / "run.json").write_text("[]"), UsageError, r"b/run\.json is not a run record"),
        (lambda b: stop_run(b, 100), UsageError, r"the run has not finished \(100 of 240 samples\)"),
    ],
)
def test_a_run_that_cannot_be_used_is_left_out_by_name(
    tmp_path: Path, damage: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    write_run(tmp_path / "runs" / "a", spec("a", 0.9))
    broken = write_run(tmp_path / "runs" / "b", spec("b", 0.8))
    runs, left_out = read_runs([tmp_path / "runs", tmp_path / "runs" / "a"])
    assert (len(runs), left_out) == (2, ())
    damage(broken)
    runs, left_out = read_runs([tmp_path / "runs"])
    assert [run.record.model.path for run in runs] == ["a"]
    (one,) = left_out
    assert one.folder == str(broken)
    assert re.search(message, one.reason)
    assert one.reason[:40] in render(leaderboard_report(build_leaderboard(runs, left_out=left_out)))
    with pytest.raises(error, match=message):
        read_runs([tmp_path / "runs", broken])


RUNS = 60


def test_the_samples_of_many_runs_are_not_kept_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = RunSpec(simulate(rng, {(f"task_{number}", 65536): 0.8 for number in range(13)}, 20))
    first = write_run(tmp_path / "runs" / "run-0", base)
    record = (first / "run.json").read_text()
    for number in range(1, RUNS):
        folder = tmp_path / "runs" / f"run-{number}"
        folder.mkdir()
        (folder / "run.json").write_text(
            record.replace("./base", f"model-{number}").replace('"run-0"', f'"run-{number}"')
        )
        (folder / "samples.jsonl").hardlink_to(first / "samples.jsonl")
        shutil.copy(first / "manifest.json", folder)
        manifest = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(manifest.replace("./base", f"model-{number}"))
    runs, _ = read_runs([tmp_path / "runs"])
    build_leaderboard(runs[:2])  # exclude the time of imports
    tracemalloc.start()
    board = build_leaderboard(runs)
    _, peak_bytes = tracemalloc.get_traced_memory()
    gc.collect()  # so that nothing else is freed while one run is measured
    before, _ = tracemalloc.get_traced_memory()
    one_run = runs[0].load()
    run_bytes = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert [row.rank for row in board.boards[0].rows] == [1] * RUNS
    assert len(one_run.samples) == 260
    assert peak_bytes < RUNS * run_bytes


def test_forced_positions_are_another_model(tmp_path: Path) -> None:
    own = RunSpec({("vt", 4096): [1.0, 0.0]})
    forced = replace(own, override="yarn:factor=4,original=8192")
    board = build_leaderboard(runs_of(tmp_path, own, forced))
    names = [row.model for row in board.boards[0].rows]
    assert names == ["./base", "./base [CONTROL EXPERIMENT: positions forced to yarn:factor=4,original=8192]"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"suite_version": "2"}, "disagrees with its own manifest.json (there is another suite_version"),
        ({"seed": 3}, "there is another seed"),
        ({"summary": []}, None),
        ({"results": []}, "the mean at 4096 is 50.0, its rows give missing"),
    ],
)
def test_a_record_that_is_of_another_run_is_named(tmp_path: Path, change: dict[str, Any], said: str | None) -> None:
    folder = write_run(tmp_path / "run", RunSpec({("vt", 4096): [1.0, 0.0]}))
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, **change}))
    if said is None:
        assert read_runs([folder])[0]
        return
    with pytest.raises(IncompatibleRunError) as error:
        read_runs([folder])
    assert said in str(error.value)
    assert str(folder) in str(error.value)
