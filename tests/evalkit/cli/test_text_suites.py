"""track, loss and extend as they are typed, with small random models on disk."""

import json
import shutil
from pathlib import Path

import pytest

from evalkit.analysis.finished_run import StoredRun, load_run
from evalkit.cli.shared.stored_runs import open_run
from tests.evalkit.run_factory import figure_values
from tests.support import Evalkit


def rows(run: StoredRun) -> list[tuple[str, int, float | None, int]]:
    return [(row.task, row.ctx, row.value, row.n) for row in run.record.results]


def rows_without_record(folder: Path) -> list[tuple[str, int, float | None, int]]:
    """The table of a run that was killed before it wrote its record, from its other files."""
    record = (folder / "run.json").rename(folder / "record")
    try:
        return rows(open_run(folder))
    finally:
        record.rename(folder / "run.json")


def test_track(evalkit: Evalkit, hybrid: Path) -> None:
    ask = f"track --model {hybrid} --tasks parity,state_recall --updates 4,8 --samples 2 --shots 1 --out run"
    shown = evalkit(ask).out
    assert "held at ≥ 90 %" in shown
    assert "50.0" in shown
    run = load_run(Path("run"))
    assert rows_without_record(Path("run")) == rows(run)
    assert [(row.task, row.n) for row in run.record.results] == [
        (task, 2) for task in ("parity", "state_recall") for _ in (4, 8)
    ]
    assert "dialect: 1-shot -> 2-shot" in evalkit.refuses(f"{ask} --resume --shots 2")


def test_track_with_text_in_between(evalkit: Evalkit, checkpoint: Path) -> None:
    ask = "track --tasks counter --updates 4,1000 --samples 1 --ctx 1K --shots 0 --format json --model"
    record = evalkit(ask, checkpoint).json()
    assert [(row["ctx"], row["n"], row["unscored"]) for row in record["results"]] == [(1024, 1, 0), (1024, 0, 1)]
    assert record["corpora"][0]["role"] == "essays"


def test_loss(evalkit: Evalkit, hybrid: Path) -> None:
    Path("a.jsonl").write_text("".join(json.dumps({"body": f"Text {n}. " * 60}) + "\n" for n in range(3)))
    ask = f"loss a.jsonl --model {hybrid} --ctx 256 --overlap 32 --field"
    assert "bits per byte" in evalkit(f"{ask} body --out run").out
    run = load_run(Path("run"))
    assert rows_without_record(Path("run")) == rows(run)
    # Every document except its first byte, which has no context.
    assert figure_values(run.record)["scored_bytes"] == sum(len(f"Text {n}. " * 60) - 1 for n in range(3))
    evalkit.refuses(f"{ask} body --out run --resume --ngram 5")
    Path("a.jsonl").write_text(Path("a.jsonl").read_text().replace('{"body"', '{"title": "x", "body"'))
    evalkit(f"{ask} body --out other")
    refusal = evalkit.refuses(f"{ask} title --out other --resume")
    assert "other was made with other settings (field: body -> title)" in refusal


def test_extend_with_all_that_it_compares(
    evalkit: Evalkit, checkpoint: Path, hybrid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Wide enough for the names of checks, independent of the terminal of the test run.
    monkeypatch.setenv("COLUMNS", "200")
    ask = (
        f"extend --ctx 1K --model {hybrid} --before {checkpoint} --baseline {checkpoint} --samples 2 --windows 2 "
        "--tasks niah_single_1 --trained 512 --override rope:theta=500 --out run"
    )
    shown = evalkit(ask, code=1).out
    assert "CONTROL EXPERIMENT: positions forced to rope:theta=500" in shown
    assert "effective_length/fixed     │ FAIL" in shown, "a failed check, which exits 1"
    run = load_run(Path("run"))
    assert [verdict.target for verdict in run.record.verdicts] == [
        "position_loss/512-1024",
        "effective_length/fixed",
        "effective_length/own_share",
        "effective_length/baseline",
        "retention/ruler",
        "retention/loss",
    ]
    assert run.record.config["before"] == str(checkpoint)
    assert rows_without_record(Path("run")) == rows(run)
    assert load_run(Path("run/before")).record.model.positions.override is None
    assert {path.stem for path in Path("run/figures").iterdir()} >= {"depths", "positions"}
    assert "CONTROL EXPERIMENT" in Path("run/figures/depths.svg").read_text()
    assert "position_loss/512-1024" in evalkit("show run").out
    shutil.rmtree("run/figures")
    Path("run/figures").write_text("")
    Path("run/run.json").unlink()
    assert "charts cannot be written to run/figures" in evalkit(f"{ask} --resume", code=2).err
    assert load_run(Path("run")).record.verdicts == run.record.verdicts, "the run is stored before its charts"


def test_extend_with_another_margin_judges_the_stored_samples_again(evalkit: Evalkit, checkpoint: Path) -> None:
    ask = f"extend --ctx 1K --model {checkpoint} --samples 1 --windows 1 --tasks niah_single_1 --trained 512 --out run"
    evalkit(f"{ask} --margin 0.25")
    first = load_run(Path("run")).record
    evalkit(f"{ask} --margin 9 --resume")
    again = load_run(Path("run")).record
    assert [(record.config["margin"], record.config_passed["margin"]) for record in (first, again)] == [
        (0.25, 0.25),
        (9.0, 9.0),
    ]
    bounds = [[v.limit for v in record.verdicts if v.target.startswith("position_loss")] for record in (first, again)]
    assert bounds == [[0.25], [9.0]]
    assert again.sessions == first.sessions


def test_extend_checks_all_places_first(evalkit: Evalkit, checkpoint: Path) -> None:
    Path("run").mkdir()
    Path("run/manifest.json").write_text("{}")
    refusal = evalkit.refuses(f"extend --ctx 1K --model {checkpoint} --before {checkpoint} --out run")
    assert "run already holds a run; pass --resume" in refusal
    assert not Path("run/before").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("loss bytes", "bytes: byte 0 is not UTF-8 text; decompress the file, or convert it to UTF-8"),
        ("loss pages.jsonl", "pages.jsonl:1 has no field 'text'; give the field with the text by --field"),
        ("loss bytes --field body", "--field body is for a .jsonl file, not bytes; leave it out"),
        ("loss --field body", "--field body is for a .jsonl file, not the essays; leave it out"),
        ("extend --ctx 1K --text pages.jsonl --field title", "pages.jsonl:1 has no field 'title'"),
        ("extend --ctx 1K --field body", "--field body is for a .jsonl file, not the essays; leave it out"),
        ("extend --ctx 1K --before x --mmlu 5 --mmlu-data .", ".: no file abstract_algebra_test.csv in it or below"),
    ],
)
def test_texts_are_checked_before_a_model_is_loaded(
    evalkit: Evalkit, checkpoint: Path, arguments: str, message: str
) -> None:
    Path("bytes").write_bytes(b"\xff\x00")
    Path("pages.jsonl").write_text('{"body": "No text."}\n')
    shown = evalkit(f"{arguments} --model", checkpoint, code=2)
    assert shown.err.startswith(f"evalkit: {message}"), shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("track --updates 4,x", "--updates: 'x' is not a whole number"),
        ("track --updates 2", "2 updates: from 4"),
        ("track --tasks paritty", "did you mean 'parity'"),
        ("loss missing.txt", "missing.txt is not a file"),
        ("loss --ctx 1K,2K", "--ctx: '1K,2K' is not a whole number"),
        ("loss --overlap 4000", "overlap 4,000: from 0 to half the context, 2,048"),
        ("extend --ctx 512", "an extension is tested from 1,024"),
        ("extend --ctx 4K --override yam", "did you mean 'yarn'"),
        ("extend --ctx 4K --mmlu 5", "name it with --before"),
        ("extend --ctx 4K --mmlu-data mmlu", "give the number of questions per subject with --mmlu"),
    ],
)
def test_bad_input_is_one_line(evalkit: Evalkit, checkpoint: Path, arguments: str, message: str) -> None:
    assert message in evalkit.refuses(f"{arguments} --model", checkpoint)
