"""The sentence on top of a report names what changed with its numbers, and claims nothing that was not shown."""

from dataclasses import replace

import pytest

from evalkit.analysis.comparison import ComparedRun, Comparison, RowComparison
from evalkit.analysis.leaderboard import Board, Cell, Column, Costs, ModelRow
from evalkit.records import Figure, ModelIdentity, ResultRow, SummaryRow, Verdict
from evalkit.views.names import short_names
from reports.verdicts import board_verdict, comparison_verdict, run_verdict
from tests.reports.example_runs import FULL


def row(task: str | None, ctx: int, difference: float, change: str, **fields: object) -> RowComparison:
    interval = (difference - 5, difference + 5)
    made = RowComparison(task=task, ctx=ctx, metric="all", unit="points", higher_is_better=True)
    return replace(made, **{"difference": difference, "ci95": interval, "change": change, **fields})


def comparison(*rows: RowComparison) -> Comparison:
    run = ComparedRun("run", "run", FULL.model, "")
    return Comparison("ruler", "nvidia", run, run, True, 0.95, rows, (), (), (), ())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            (row(None, 4096, -0.6, "~"), row(None, 16384, -17.4, "worse"), row(None, 65536, -50.3, "worse")),
            "new loses 50.3 points at 65,536 [45.3, 55.3] and 17.4 at 16,384 [12.4, 22.4]; "
            "no significant difference at 4,096 [-5.6, +4.4].",
        ),
        (
            (row(None, 4096, 8.0, "better"), row(None, 65536, -8.0, "worse")),
            "new loses 8.0 points at 65,536 [3.0, 13.0]; gains 8.0 points at 4,096 [3.0, 13.0].",
        ),
        (
            (row(None, 4096, 1.0, "~"), row(None, 65536, 1.0, "~")),
            "new shows no significant difference at 4,096 and 65,536.",
        ),
        (
            (row("vt", 4096, -20.0, "worse"), row("cwe", 4096, -30.0, "worse"), row(None, 4096, -2.0, "~")),
            "new shows no significant difference at 4,096 [-7.0, +3.0]; worse on cwe and vt at 4,096.",
        ),
        ((row("acc", 0, 9.0, "better"),), "new gains 9.0 points on acc [4.0, 14.0]."),
        (
            (row("text", 512, 0.25, "worse", unit="bits per byte", ci95=(0.125, 0.5)),),
            "new is worse by 0.2500 bits per byte on text at 512 [0.1250, 0.5000].",
        ),
        ((), ""),
    ],
)
def test_comparisons(rows: tuple[RowComparison, ...], expected: str) -> None:
    assert comparison_verdict(comparison(*rows), "new") == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {},
            "checkpoint scores 80.1 at 65,536 [76.5, 83.6] and 63.6 at 4,096 [61.5, 65.8] (mean over tasks); "
            "effective length 4,096.",
        ),
        (
            {"summary": (SummaryRow(0, 25.0, (20.0, 30.0), 57, complete=True, by_sample=True),), "figures": ()},
            "checkpoint scores 25.0 [20.0, 30.0] (all questions alike).",
        ),
        (
            {"summary": FULL.summary[:1], "figures": (Figure("effective_length", 65536, "tokens"),)},
            "checkpoint scores 63.6 at 4,096 [61.5, 65.8] (mean of 3 tasks); "
            "effective length at least 65,536, the longest tested.",
        ),
        (
            {"summary": (), "results": (ResultRow("text", 512, "bits_per_byte", 1.25, 8, (1.0, 1.5)),)},
            "checkpoint scores 1.2500 [1.0000, 1.5000] bits per byte on text at 512.",
        ),
        (
            {
                "figures": tuple(
                    Figure("updates_held", held, "updates", part=task, ctx=ctx)
                    for task, ctx, held in (("counter", 0, 0), ("parity", 0, 64), ("parity", 4096, 512))
                )
            },
            "checkpoint holds 90 % accuracy up to 512 updates in parity in 4,096 tokens and 64 updates in parity; "
            "at no number of updates in 1 of 3 tasks.",
        ),
        (
            {"figures": (Figure("updates_held", 0, "updates", part="parity"),)},
            "checkpoint holds 90 % accuracy at no number of updates in 1 task.",
        ),
        (
            {"verdicts": tuple(Verdict(target="x", outcome=one, reason="") for one in ("pass", "pass", "fail"))},
            "checkpoint passes 2 and fails 1 of 3 checks.",
        ),
        ({"summary": (), "results": ()}, ""),
    ],
)
def test_runs(fields: dict[str, object], expected: str) -> None:
    assert run_verdict(replace(FULL, **fields)) == expected


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ((1, 2), "./a (90.0 [80.0, 95.0]) ranks first of 2 models by ruler@4096."),
        ((1, 1), "./a (90.0 [80.0, 95.0]) and ./b (60.0) share the first rank of 2 models by ruler@4096."),
        ((1, None), "./a (90.0 [80.0, 95.0]) ranks first of 1 model by ruler@4096."),
        ((None, None), ""),
    ],
)
def test_leaderboards(ranks: tuple[int | None, ...], expected: str) -> None:
    column = Column("ruler", "", 4096, "points", higher_is_better=True)
    cells = Cell(90.0, (80.0, 95.0), 5, complete=True), Cell(60.0, None, 5, complete=True)
    rows = tuple(
        ModelRow(name, "sha256:0", rank, (cell,), Costs(None, None, None, ""), trained=True)
        for name, rank, cell in zip(("./a", "./b"), ranks, cells, strict=True)
    )
    assert board_verdict(Board((), (column,), rows, "ruler@4096")) == expected


def test_names_are_what_tells_models_apart() -> None:
    def named(*paths: str, runs: tuple[str, ...] = ("same", "same")) -> tuple[str, ...]:
        models: list[ModelIdentity] = [replace(FULL.model, path=path) for path in paths]
        return short_names(models, runs)

    assert named("reference:hybrid", "reference:transformer") == ("hybrid", "transformer")
    assert named("a/hybrid/step-1", "a/dense/step-1") == ("hybrid/step-1", "dense/step-1")
    assert named("org/model@step1", "org/model@step2") == ("step1", "step2")
    assert named("x/m", "x/m", runs=("runs/a/ruler", "runs/b/ruler")) == ("a/ruler", "b/ruler")
    assert named("x/m", "x/m") == ("m (BASE)", "m (NEW)")
    assert named("/", runs=("same",)) == ("/",)
