"""A run that was killed is shown and compared with the samples it has, and judged by no gate."""

import json
import shutil
from pathlib import Path

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.cli.shared.stored_runs import open_run
from evalkit.errors import UsageError
from tests.conftest import REPOSITORY
from tests.evalkit.cli.test_compare import run_command
from tests.evalkit.run_factory import ERRORED, RunSpec, changed, stop_run, write_run

HISTORY = REPOSITORY / "model_adapters" / "reference" / "history" / "hybrid"
SPEC = RunSpec({("vt", 4096): [1.0] * 30 + [0.0] * 10, ("cwe", 4096): [0.5] * 40}, effective_length=4096)
NOTICE = "UNFINISHED: 50 of 80 samples; the tables are of these."


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_run(tmp_path / "base", SPEC)
    stop_run(write_run(tmp_path / "new", changed(SPEC, {**SPEC.scores, ("vt", 4096): [0.0] * 40})), samples=50)
    return tmp_path


def test_it_is_shown(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(monkeypatch, "show", "new") == 0
    shown = capsys.readouterr().out
    assert NOTICE in shown
    assert "(n=40)" in shown
    assert "(n=10)" in shown
    assert "(incomplete)" in shown
    assert "effective length" not in shown
    assert run_command(monkeypatch, "show", "new", "--format=json", "--html=page.html", "--figures=charts") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["unfinished"], record["planned"], record["counts"]["n"]) == (True, 80, 50)
    assert NOTICE in Path("page.html").read_text()
    assert run_command(monkeypatch, "show", "new", "--sample", "cwe/4096/9/42") == 0
    assert run_command(monkeypatch, "show", "new", "--sample", "cwe/4096/10/42") == 2
    assert not Path("new/run.json").exists()


@pytest.mark.parametrize("option", ["--format=markdown", "--format=html", "--format=json", "--unpaired"])
def test_it_is_compared_on_the_samples_that_both_have(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run_command(monkeypatch, "compare", "base", "new", option) == 0
    assert "UNFINISHED: NEW has 50 of 80 samples; only these are compared." in capsys.readouterr().out
    assert run_command(monkeypatch, "compare", "new", "base", option) == 0
    assert "UNFINISHED: BASE has 50 of 80 samples" in capsys.readouterr().out


def test_only_shared_samples_are_compared_and_nothing_of_the_whole_run(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "compare", "base", "new", "--format", "json") == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert {row["task"]: row["n"] for row in comparison["rows"]} == {"vt": 40, "cwe": 10, None: 50}
    assert comparison["figures"] == []
    assert {cost["name"] for cost in comparison["costs"]} == {"prefill_seconds", "decode_seconds"}


@pytest.mark.parametrize(
    "command",
    [("gate", "base", "new"), ("gate", "new", "base"), ("leaderboard", "base", "new"), ("gate", "new", "--init")],
)
def test_it_is_not_judged(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    if "--init" not in command:
        Path("gate.yaml").write_text("rules:\n  ruler: {max_drop: 1}\n")
    assert run_command(monkeypatch, *command) == 2
    assert capsys.readouterr().err == (
        "evalkit: new/run.json does not exist: the run has not finished (50 of 80 samples), continue it with --resume\n"
    )


def test_a_torn_last_line_is_left_out(runs: Path) -> None:
    with Path("new/samples.jsonl").open("a") as file:
        file.write('{"id": "half')
    assert open_run(Path("new")).record.counts["n"] == 50


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
def test_a_damaged_file_is_one_line(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    Path("new", name).write_text(content)
    assert run_command(monkeypatch, "show", "new") == 2
    notes = capsys.readouterr().err
    assert notes.startswith(f"evalkit: new/{name} ")
    assert notes.count("\n") == 1


def test_samples_of_another_run_are_named(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(runs / "other", changed(SPEC, SPEC.scores, weights="others"))
    shutil.copy(other / "manifest.json", runs / "new" / "manifest.json")
    assert run_command(monkeypatch, "compare", "base", "new") == 2
    assert "new: started.json disagrees with its own manifest.json (there is another fingerprint" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["at-4096", "lengths", "track", "extend"])
def test_files_alone_give_the_tables_of_the_suite(tmp_path: Path, name: str) -> None:
    finished = load_run(HISTORY / name).record
    shutil.copytree(HISTORY / name, tmp_path / "run")
    whole = open_run(stop_run(tmp_path / "run", samples=finished.counts["n"])).record
    assert [(row.task, row.ctx, row.n, row.chance, row.updates) for row in whole.results] == [
        (row.task, row.ctx, row.n, row.chance, row.updates) for row in finished.results
    ]
    assert [row.value for row in whole.results] == pytest.approx([row.value for row in finished.results])
    assert [row.mean for row in whole.summary] == pytest.approx([row.mean for row in finished.summary])
    assert whole.unfinished
    assert not whole.verdicts


@pytest.mark.parametrize("name", ["lengths", "track", "extend"])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_any_part_of_a_run_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, share: float
) -> None:
    planned = load_run(HISTORY / name).record.counts["n"]
    shutil.copytree(HISTORY / name, tmp_path / "run")
    stop_run(tmp_path / "run", samples=int(share * planned))
    assert run_command(monkeypatch, "show", str(tmp_path / "run"), "--html", str(tmp_path / "page.html")) == 0
    assert f"UNFINISHED: {int(share * planned)} of {planned:,} samples" in capsys.readouterr().out
