"""A run that was killed is shown and compared with the samples it has, and judged by no gate."""

import shutil
from pathlib import Path

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.cli.shared.stored_runs import open_run
from evalkit.errors import UsageError
from tests.evalkit.run_factory import ERRORED, RunSpec, changed, stop_run, write_run
from tests.evalkit.scripts import asked, interrupted_waits, write_script
from tests.support import REPOSITORY, Evalkit

HISTORY = REPOSITORY / "model_adapters" / "reference" / "history" / "hybrid"
SPEC = RunSpec({("vt", 4096): [1.0] * 30 + [0.0] * 10, ("cwe", 4096): [0.5] * 40}, effective_length=4096)
NOTICE = "UNFINISHED: 50 of 80 samples so far."


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_run(tmp_path / "base", SPEC)
    stop_run(write_run(tmp_path / "new", changed(SPEC, {**SPEC.scores, ("vt", 4096): [0.0] * 40})), samples=50)
    return tmp_path


def test_it_is_shown(runs: Path, evalkit: Evalkit) -> None:
    shown = evalkit("show new").out
    assert NOTICE in shown
    assert "(n=40)" in shown
    assert "(n=10)" in shown
    assert "(part of the suite)" in shown
    assert "effective length" not in shown
    record = evalkit("show new --format=json --html=page.html --figures=charts").json()
    assert (record["unfinished"], record["planned"], record["counts"]["n"]) == (True, 80, 50)
    assert NOTICE in Path("page.html").read_text()
    evalkit("show new --sample cwe/4096/9/42")
    evalkit("show new --sample cwe/4096/10/42", code=2)
    assert not Path("new/run.json").exists()


@pytest.mark.parametrize("option", ["--format=markdown", "--format=html", "--format=json", "--unpaired"])
def test_it_is_compared_on_the_samples_that_both_have(runs: Path, evalkit: Evalkit, option: str) -> None:
    assert "UNFINISHED: NEW has 50 of 80 samples; only these are compared." in evalkit("compare base new", option).out
    assert "UNFINISHED: BASE has 50 of 80 samples" in evalkit("compare new base", option).out


def test_only_shared_samples_are_compared_and_nothing_of_the_whole_run(runs: Path, evalkit: Evalkit) -> None:
    (comparison,) = evalkit("compare base new --format json").json()["comparisons"]
    assert {row["task"]: row["n"] for row in comparison["rows"]} == {"vt": 40, "cwe": 10, None: 50}
    assert comparison["figures"] == []
    assert {cost["name"] for cost in comparison["costs"]} == {"prefill_seconds", "decode_seconds"}


@pytest.mark.parametrize(
    "command",
    [f"gate {sides} --policy policy.yaml" for sides in ("base new", "new base")]
    + ["leaderboard base new", "gate new --init"],
)
def test_it_is_not_judged(runs: Path, evalkit: Evalkit, command: str) -> None:
    Path("policy.yaml").write_text("rules:\n  ruler: {max_drop: 1}\n")
    assert evalkit.refuses(command) == (
        "new/run.json does not exist: the run has not finished (50 of 80 samples), continue it with --resume"
    )


def test_a_torn_last_line_is_left_out(runs: Path) -> None:
    with Path("new/samples.jsonl").open("a") as file:
        file.write('{"id": "half')
    assert open_run(Path("new")).record.counts.n == 50


def test_errors_are_shown_as_such(tmp_path: Path) -> None:
    spec = RunSpec({("vt", 4096): [1.0, ERRORED, 0.0, 1.0]})
    run = open_run(stop_run(write_run(tmp_path / "run", spec), samples=3))
    assert [(row.value, row.n, row.errors) for row in run.record.results] == [(50.0, 2, 1)]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("samples.jsonl", "new has not finished, and none of its 80 samples is stored yet"),
        ("started.json", "because an earlier version of evalkit began it; continue it with --resume"),
    ],
)
def test_what_is_missing_is_named(runs: Path, file: str, message: str) -> None:
    Path("new", file).unlink()
    with pytest.raises(UsageError, match=message):
        open_run(Path("new"))


@pytest.mark.parametrize("name", ["started.json", "sessions.json", "manifest.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "evalkit.start/9"}', "\x00"])
def test_a_damaged_file_is_one_line(runs: Path, evalkit: Evalkit, name: str, content: str) -> None:
    Path("new", name).write_text(content)
    assert evalkit.refuses("show new").startswith(f"new/{name} ")


def test_samples_of_another_run_are_named(runs: Path, evalkit: Evalkit) -> None:
    other = write_run(runs / "other", changed(SPEC, SPEC.scores, weights="others"))
    shutil.copy(other / "manifest.json", runs / "new" / "manifest.json")
    refusal = evalkit.refuses("compare base new")
    assert "new: started.json disagrees with its own manifest.json (there is another fingerprint" in refusal


@pytest.mark.parametrize("name", ["at-4096", "lengths", "track", "extend"])
def test_files_alone_give_the_tables_of_the_suite(tmp_path: Path, name: str) -> None:
    finished = load_run(HISTORY / name).record
    shutil.copytree(HISTORY / name, tmp_path / "run")
    whole = open_run(stop_run(tmp_path / "run", samples=finished.counts.n)).record
    assert [(row.task, row.ctx, row.n, row.chance, row.updates) for row in whole.results] == [
        (row.task, row.ctx, row.n, row.chance, row.updates) for row in finished.results
    ]
    assert [row.value for row in whole.results] == pytest.approx([row.value for row in finished.results])
    assert [row.mean for row in whole.summary] == pytest.approx([row.mean for row in finished.summary])
    assert whole.unfinished
    assert not whole.verdicts


@pytest.mark.parametrize("name", ["lengths", "track", "extend"])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_any_part_of_a_run_is_shown(evalkit: Evalkit, tmp_path: Path, name: str, share: float) -> None:
    planned = load_run(HISTORY / name).record.counts.n
    shutil.copytree(HISTORY / name, tmp_path / "run")
    stop_run(tmp_path / "run", samples=int(share * planned))
    assert evalkit("show run --html page.html").out == "", "the page holds it all"
    shown = evalkit("show run").out
    assert f"UNFINISHED: {int(share * planned)} of {planned:,} samples" in shown


def test_it_goes_on_from_a_copy_on_another_machine(
    tmp_path: Path, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    line = "track --tasks parity --updates 4 --samples 4 --shots 1 --model scripted:model"
    for place in (here, there):
        place.mkdir()
        write_script(
            place / "model", {"match": "*/2/42", "text": "even", "wait_seconds": 0.01}, {"text": "odd"}, log="log"
        )
    monkeypatch.chdir(here)
    with interrupted_waits(monkeypatch):
        evalkit(line, "--out", "run", code=130)
    shutil.copytree("run", there / "copy")
    monkeypatch.chdir(there)
    assert "2 of 4" in evalkit("watch copy").out
    evalkit(line, "--out", "copy", "--resume")
    assert load_run(Path("copy")).record.counts.n == 4
    assert asked(Path("log")) == ["parity:4/0/2/42", "parity:4/0/3/42"]
