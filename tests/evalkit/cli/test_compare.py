"""`evalkit compare` and `evalkit show --sample` as they are typed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.records.codec import to_json
from evalkit.running.store import read_samples
from evalkit.suite_spec import SUITES
from tests.evalkit.run_factory import RunSpec, changed, write_run
from tests.evalkit.scripts import sums, write_script
from tests.evalkit.tiny_suite import REGISTERED

SPEC = RunSpec({("vt", 4096): [1.0] * 30 + [0.0] * 10, ("cwe", 4096): [0.5] * 40})


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "base", SPEC)
    scores = {**SPEC.scores, ("vt", 4096): [0.0] * 12 + [1.0] * 18 + [0.0] * 10}
    write_run(tmp_path / "new", changed(SPEC, scores))
    write_run(tmp_path / "olmes", changed(SPEC, scores, dialect="olmes"))
    return tmp_path


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["evalkit", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_two_runs_on_the_terminal(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "compare", "base", "new", "--flips", "2") == 0
    shown = capsys.readouterr().out
    assert "NEW is worse on the mean over tasks at 4,096 and on 1 other row" in shown
    assert "Samples that changed: 12 worse, 0 better; 10 more with --flips 12" in shown
    assert "evalkit show new --sample ID" in shown


def test_json_and_markdown(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(monkeypatch, "compare", "base", "new", "--format", "json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "evalkit.comparisons/1"
    assert data["comparisons"][0]["rows"][0]["difference"] == -30.0
    assert run_command(monkeypatch, "compare", "base", "new", "--format", "markdown") == 0
    assert capsys.readouterr().out.startswith("# ruler · ./base → ./new\n")


def test_unlike_runs_are_refused_unless_asked(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "compare", "base", "olmes") == 2
    assert capsys.readouterr().err == (
        "evalkit: base and olmes asked different things (dialect: nvidia in BASE, olmes in NEW); "
        "run both alike, or see compare --unpaired for a weaker comparison\n"
    )
    assert run_command(monkeypatch, "compare", "base", "olmes", "--unpaired") == 0
    assert "NOT PAIRED" in capsys.readouterr().out


def test_folders_of_runs_are_compared_suite_by_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    track = RunSpec({("parity:4", 0): [1.0, 0.0]}, suite="track")
    for side in ("left", "right"):
        write_run(tmp_path / side / "ruler", SPEC)
        write_run(tmp_path / side / "track", track)
    write_run(tmp_path / "other" / "loss", replace(track, suite="loss"))
    assert run_command(monkeypatch, "compare", str(tmp_path / "left"), str(tmp_path / "right"), "--format", "json") == 0
    assert [c["suite"] for c in json.loads(capsys.readouterr().out)["comparisons"]] == ["ruler", "track"]
    assert run_command(monkeypatch, "compare", str(tmp_path / "left"), str(tmp_path / "other")) == 2
    assert "BASE has ruler, track and NEW has loss: no suite in common" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["absent", "empty", "broken"])
def test_what_is_no_run_is_one_line(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (runs / "empty").mkdir()
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text("{")
    assert run_command(monkeypatch, "compare", "base", name) == 2
    error = capsys.readouterr().err
    assert error.startswith("evalkit: ")
    assert name in error
    assert error.count("\n") == 1


def test_a_sample_whose_model_is_gone_shows_what_is_stored(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "show", "new", "--sample", "vt/4096/0/42") == 0
    shown = capsys.readouterr().out
    assert "The prompt is not shown: ./new" in shown
    assert "wrong needle" in shown
    assert run_command(monkeypatch, "show", "new", "--sample", "vt/4096/99/42") == 2
    assert "has no sample 'vt/4096/99/42'; did you mean 'vt/4096/9/42'?" in capsys.readouterr().err


@pytest.fixture
def tiny_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose first answer is right; the prompt of its second, wrong one is another now."""
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    model, folder = write_script(tmp_path / "script", *sums(wrong=[1])), tmp_path / "run"
    command = ("run", "--suite", "tiny", "--samples", "2", "--model", model, "--out", str(folder))
    assert run_command(monkeypatch, *command) == 0
    first, second = read_samples(folder)
    lines = [first, replace(second, prompt_sha256=first.prompt_sha256)]
    (folder / "samples.jsonl").write_text("".join(to_json(sample) + "\n" for sample in lines))
    return folder


def test_a_prompt_is_made_again_and_checked(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_command(monkeypatch, "show", str(tiny_run), "--sample", "sum/512/0/42", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == "What is 0 + 42?"
    assert run_command(monkeypatch, "show", str(tiny_run), "--sample", "sum/512/0/42") == 0
    assert "What is 0 + 42?" in capsys.readouterr().out


def test_a_prompt_that_changed_is_not_shown_as_the_one_that_was_asked(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "show", str(tiny_run), "--sample", "sum/512/1/42") == 0
    assert "sample sum/512/1/42 would be another prompt now" in capsys.readouterr().out


def test_pictures_of_a_run_a_comparison_and_a_leaderboard(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "compare", "base", "new", "--figures", "pictures/compare") == 0
    assert run_command(monkeypatch, "show", "new", "--figures", "pictures/show") == 0
    assert run_command(monkeypatch, "leaderboard", "base", "new", "--figures", "pictures/board") == 0
    assert "wrote pictures/compare/differences.png" in capsys.readouterr().err
    assert {path.name for path in Path("pictures/compare").iterdir()} >= {"differences.svg", "task_differences.png"}
    assert {path.name for path in Path("pictures/show").iterdir()} >= {"tasks.png", "failures.svg"}
    assert not Path("pictures/board").exists(), "one length makes no line"


def test_pages_of_a_run_and_a_comparison(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "show", "new", "--html", "page.html", "--prompts", "0") == 0
    assert Path("page.html").read_text().startswith("<!doctype html>")
    capsys.readouterr()
    assert run_command(monkeypatch, "compare", "base", "new", "--format", "html") == 0
    page = capsys.readouterr().out
    assert page.startswith("<!doctype html>")
    assert "Prompts are not shown: ./new" in page
    assert 'id="flipped"' in page
    assert run_command(monkeypatch, "show", "new", "--html", "absent/page.html") == 2
    assert "absent/page.html cannot be written" in capsys.readouterr().err


def test_a_page_shows_prompts_that_were_made_again(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "show", str(tiny_run), "--html", str(tmp_path / "page.html")) == 0
    page = (tmp_path / "page.html").read_text()
    # The wrong answer's prompt is asked for first, and it has changed since; that is said.
    assert "Prompts are not shown: sample sum/512/1/42 would be another prompt now" in page
