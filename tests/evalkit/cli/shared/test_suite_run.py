"""What every suite command does between its options and its exit code."""

import json
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import StoredRun, load_run
from evalkit.cli.shared.options import Format
from evalkit.cli.shared.suite_command import run_suite
from evalkit.cli.shared.suite_run import RunOptions, perform
from evalkit.errors import UsageError
from evalkit.records import Figure, RunRecord
from evalkit.running.folder_lock import FolderLock
from evalkit.running.model_options import ModelOptions
from evalkit.running.store import numbered_folder, read_run, read_samples
from evalkit.suite_spec import SUITES
from tests.evalkit.run_factory import figure_values
from tests.evalkit.scripts import Rule, asked, sums, write_script
from tests.evalkit.tiny_suite import CORPUS, REGISTERED, SPEC, TinySettings
from tests.support import limited_file_size


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Command":
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    return Command()


class Command:
    """`evalkit tiny` with a scripted model; what the script says of the model, and its rules, can be set."""

    def __init__(self) -> None:
        self.model: dict[str, Any] = {"identity": {"path": "scripted"}, "log": "asked"}
        self.rules: list[Rule] = []
        """Before the right answers."""

    def __call__(
        self, *, out: Path | None = None, resume: bool = False, format: Format = Format.TERMINAL, **values: Any
    ) -> int:
        model = write_script(Path("script"), *self.rules, *sums(), **self.model)
        passed = {**values, **({} if out is None else {"out": str(out)})}
        return run_suite("tiny", values, ModelOptions(model), RunOptions(out, resume, format, passed, 0.0))

    @property
    def asked(self) -> list[str]:
        return asked(Path("asked"))


def folders() -> list[str]:
    return sorted(path.name for path in Path("runs").iterdir())


class TestOutput:
    def test_notes_go_to_stderr_and_the_table_to_stdout(
        self, command: Command, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert command(out=Path("here")) == 0
        output, notes = capsys.readouterr()
        assert notes.splitlines()[0] == "tiny: 3 prompts, model scripted:script"
        assert notes.splitlines()[1].startswith("model: scripted, 0.0M parameters, float32, no stated trained length")
        assert notes.splitlines()[2:4] == ["positions: none", "run folder: here"]
        assert re.fullmatch(r"first answer after [\d.]+ s; about 0 s for the other 2", notes.splitlines()[4])
        assert notes.splitlines()[5:] == ["stored in here"]
        assert output.startswith("tiny · scripted · dialect plain\n")
        assert "100.0" in output
        assert "│" in output

    def test_json_is_the_record_and_nothing_else(self, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
        command(out=Path("here"), format=Format.JSON)
        assert json.loads(capsys.readouterr().out) == json.loads(Path("here/run.json").read_text(encoding="utf-8"))

    def test_the_record_holds_settings_and_options_of_the_model(self, command: Command) -> None:
        command(out=Path("here"), ctx="1K")
        config = read_run(Path("here")).config
        assert {name: config[name] for name in ("ctxs", "samples", "seed", "dtype", "model")} == {
            "ctxs": [1024],
            "samples": 3,
            "seed": 42,
            "dtype": "auto",
            "model": "scripted:script",
        }
        assert read_run(Path("here")).seed == 42

    def test_report_md_says_the_same(self, command: Command) -> None:
        command(out=Path("here"))
        report = Path("here/report.md").read_text(encoding="utf-8")
        assert report.startswith("# tiny · scripted · dialect plain\n")
        assert "| sum | 100.0 |" in report

    def test_a_context_beyond_the_trained_length_warns_and_stays_in_the_record(
        self, command: Command, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command.model |= {"identity": {"trained_length": 512}, "warnings": ["odd weights"]}
        assert command(ctx="512,1K,2K", out=Path("here")) == 0
        warnings = ("odd weights", "context 1,024, 2,048 is above the trained length of 512")
        assert read_run(Path("here")).warnings == warnings
        output, notes = capsys.readouterr()
        for warning in warnings:
            assert f"warning: {warning}" in notes
            assert f"Warning: {warning}" in output

    def test_an_injected_position_scheme_warns(self, command: Command) -> None:
        injected = {"kind": "rope", "description": "RoPE θ=10000, which the checkpoint does not state"}
        command.model = {"identity": {"positions": {**injected, "injected": True}}}
        command(out=Path("here"))
        assert read_run(Path("here")).warnings == (f"positions: {injected['description']}",)

    def test_hostile_names_are_shown_as_text(self, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
        command.model["warnings"] = ["[red]x[/red] \x1b[2J\r\n:smile:"]
        command(out=Path("here"))
        output, notes = capsys.readouterr()
        assert "warning: [red]x[/red] \\x1b[2J :smile:\n" in notes
        assert "\x1b" not in output + notes


class TestExitCodes:
    def test_errors_exit_3_and_are_told_in_the_table(
        self, command: Command, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command.rules = [{"match": "sum/512/1/42", "error": "NaN logits"}, {"match": "sum/512/2/42", "text": "no"}]
        assert command(out=Path("here")) == 3
        output = " ".join(capsys.readouterr().out.split())
        assert "INCOMPLETE: 1 of 3 samples errored and are not in the scores; run again with --resume" in output
        assert "50.0 (1 errored)" in output

    def test_an_interrupt_exits_130_and_says_how_to_continue(
        self, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command.rules = [{"match": "sum/512/2/42", "text": "44", "wait_seconds": 1}]
        with monkeypatch.context() as stopped:
            stopped.setattr("model_adapters.script.sleep", _interrupt)
            stopped.setattr(sys, "argv", ["evalkit", "tiny", "--ctx", "512", "--resume", "--tasks", "a b"])
            assert command() == 130
        (folder,) = folders()
        told = capsys.readouterr().err.splitlines()[-1]
        assert told == f"stopped; continue with: evalkit tiny --ctx 512 --tasks 'a b' --out runs/{folder} --resume"
        assert len(read_samples(Path("runs") / folder)) == 2
        assert command(out=Path(shlex.split(told)[-2]), resume=True) == 0

    @pytest.mark.parametrize("out", [["--out", "here"], ["--out=here"], ["-o", "here"], ["-ohere"]])
    def test_the_folder_is_not_named_twice(
        self,
        command: Command,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        out: list[str],
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["evalkit", "tiny", *out])
        monkeypatch.setattr("model_adapters.script.sleep", _interrupt)
        command.rules = [{"match": "sum/512/0/42", "wait_seconds": 1}]
        assert command(out=Path("here")) == 130
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"stopped; continue with: evalkit tiny {' '.join(out)} --resume"
        )

    def test_an_interrupt_while_loading_has_nothing_to_continue(
        self, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("model_adapters.opening.open_model", _interrupt)
        assert command() == 130
        assert capsys.readouterr().err.splitlines()[-1] == "stopped; run the same command again"

    def test_a_wrong_setting_is_named_as_it_is_typed(self, command: Command) -> None:
        with pytest.raises(UsageError, match="--ctx: 'big' is not a whole number"):
            command(ctx="4K,big")
        with pytest.raises(UsageError, match="--samples 0: at least 1"):
            command(samples=0)


class TestFolders:
    def test_each_run_has_its_own(self, command: Command) -> None:
        command()
        command()
        first, second = folders()
        assert re.fullmatch(r"tiny-scripted-[0-9a-f]{8}", first)
        assert second == f"{first}-2"

    def test_resume_finds_the_run_and_adds_samples_to_it(
        self, command: Command, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command(samples=2)
        assert command(samples=5, resume=True) == 0
        assert "2 of 5 samples were finished before; 3 to go" in capsys.readouterr().err
        (folder,) = folders()
        assert read_run(Path("runs") / folder).counts["n"] == 5

    def test_resume_starts_afresh_where_there_is_nothing(self, command: Command) -> None:
        assert command(resume=True) == 0
        assert len(folders()) == 1

    def test_other_tasks_lengths_seeds_and_weights_have_other_folders(self, command: Command) -> None:
        for values in ({}, {"tasks": "sum,more"}, {"ctx": 1024}, {"seed": 1}):
            command(resume=True, **values)
        command.model["tokens_seen"] = 5  # another script is another model
        command(resume=True)
        assert len(folders()) == 5

    def test_a_long_hostile_model_name_makes_a_plain_folder(self, command: Command) -> None:
        command.model["identity"] = {"path": "../..//" + "x" * 300 + "/[é]\n.."}
        command()
        (folder,) = folders()
        assert re.fullmatch(r"tiny-x{1,40}-[0-9a-f]{8}", folder)

    @pytest.mark.parametrize("resume", [True, False])
    def test_a_place_that_cannot_be_written_is_told_before_loading(self, command: Command, resume: bool) -> None:
        Path("file").write_text("")
        with pytest.raises(UsageError, match=r"cannot write to file/run: .*; choose another folder with --out"):
            command(out=Path("file/run"), resume=resume)
        assert command.asked == []

    def test_a_run_that_is_there_is_told_before_loading(self, command: Command) -> None:
        command(out=Path("here"))
        command.model["identity"] = {"dtype": 3}  # would be refused when it is loaded
        with pytest.raises(UsageError, match="here already holds a run; pass --resume"):
            command(out=Path("here"))

    def test_a_folder_in_use_is_told_before_loading(self, command: Command) -> None:
        with FolderLock(Path("here")), pytest.raises(UsageError, match="here is in use by another process"):
            command(out=Path("here"), resume=True)
        assert command.asked == []

    def test_the_folder_is_this_process_own_while_the_model_loads(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def open_model(*_: object) -> Any:
            with pytest.raises(UsageError, match="here is in use by another process"):
                FolderLock(Path("here"))
            raise UsageError("no such model")

        monkeypatch.setattr("model_adapters.opening.open_model", open_model)
        with pytest.raises(UsageError, match="no such model"):
            command(out=Path("here"))
        assert not Path("here").exists()

    def test_a_number_that_another_process_takes_is_passed_over(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken: list[FolderLock] = []

        def numbered(root: Path, name: str, *, resume: bool) -> Path:
            folder = numbered_folder(root, name, resume=resume)
            if not taken:
                taken.append(FolderLock(folder))
            return folder

        monkeypatch.setattr("evalkit.cli.shared.suite_run.numbered_folder", numbered)
        assert command() == 0
        first, second = folders()
        assert second == f"{first}-2"
        assert read_run(Path("runs") / second).counts["n"] == 3
        taken[0].release()

    def test_a_runs_folder_that_cannot_be_written_is_told_before_loading(self, command: Command) -> None:
        Path("runs").write_text("")
        with pytest.raises(UsageError, match="cannot write to runs: "):
            command()
        assert command.asked == []

    def test_generated_corpora_are_announced_before_the_first_prompt(
        self, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.evalkit.tiny_suite.CORPUS", replace(CORPUS, source="embedded"))
        assert command(out=Path("here")) == 0
        output, notes = capsys.readouterr()
        announced = (
            "GENERATED CORPORA (numbers): text that comes with evalkit; scores on it compare with nothing published. "
            "Get the public corpora with: evalkit data fetch"
        )
        assert notes.splitlines().index(announced) < notes.splitlines().index("run folder: here")
        assert "GENERATED CORPORA: numbers" in output.splitlines()[0]


class TestReports:
    """The record is stored before anything is made of it."""

    def test_a_fault_in_a_renderer_costs_one_line(
        self, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(record: object) -> str:
            assert Path("here/run.json").exists()
            raise ZeroDivisionError("no rows\nat all")

        monkeypatch.setattr("reports.markdown.render_run", broken)
        assert command(out=Path("here")) == 70
        output, notes = capsys.readouterr()
        assert notes.splitlines()[-2:] == [
            "evalkit: report.md could not be made (ZeroDivisionError: no rows at all); the run is stored in here",
            "stored in here",
        ]
        assert "100.0" in output
        assert load_run(Path("here")).record.counts["n"] == 3

    def test_a_fault_in_the_tables_costs_one_line(
        self, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(console: object, record: object) -> None:
            raise KeyError("perhaps")

        monkeypatch.setattr("reports.terminal.print_report", broken)
        assert command(out=Path("here")) == 70
        assert "evalkit: the tables could not be made (KeyError: 'perhaps')" in capsys.readouterr().err
        assert Path("here/report.md").exists()

    def test_a_disk_that_fills_up_before_the_report(
        self, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("reports.markdown.render_run", lambda record: "x" * 2**20)
        with limited_file_size(2**16):
            assert command(out=Path("here")) == 2
        assert "evalkit: report.md could not be made (File too large); the run is stored in here" in (
            capsys.readouterr().err
        )
        assert load_run(Path("here")).record.counts["n"] == 3
        assert not Path("here/report.md").exists()

    def test_charts_come_last_and_lose_nothing(
        self, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(charts: object, folder: Path) -> None:
            assert read_run(folder.parent) == load_run(folder.parent).record
            assert (folder.parent / "report.md").exists()
            raise OSError(28, "No space left on device")

        def conclude(settings: TinySettings, run: StoredRun, others: object) -> RunRecord:
            return replace(run.record, figures=(Figure("concluded", float(len(run.samples)), ""),))

        monkeypatch.setattr("reports.chart_files.write_charts", broken)
        write_script(Path("script"), *sums())
        finished = perform(
            replace(SPEC, stores_charts=True, conclude=conclude),
            TinySettings.of(),
            ModelOptions("scripted:script"),
            RunOptions(Path("here"), False, Format.TERMINAL, {}, 0.0),
        )
        assert finished.exit_code == 2
        assert "the charts could not be made (No space left on device); the run is stored" in capsys.readouterr().err
        assert figure_values(read_run(Path("here"))) == {"concluded": 3.0}


def _interrupt(*_: object) -> Any:
    raise KeyboardInterrupt
