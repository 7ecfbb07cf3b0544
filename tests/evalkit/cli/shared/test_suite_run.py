"""The steps common to all suite commands, from options to exit code."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import StoredRun, load_run
from evalkit.errors import UsageError
from evalkit.records import Figure, RunRecord
from evalkit.running.folder_lock import FolderLock
from evalkit.running.store import numbered_folder, read_run, read_samples
from evalkit.suite_spec import SUITES
from tests.evalkit.run_factory import figure_values
from tests.evalkit.scripts import Rule, asked, interrupted_waits, sums, write_script
from tests.evalkit.tiny_suite import CORPUS, REGISTERED, SPEC, TinySettings
from tests.support import Evalkit, Shown, limited_file_size


class Command:
    """Run `evalkit run --suite tiny` with a scripted model whose script and rules can be set."""

    def __init__(self, evalkit: Evalkit) -> None:
        self.model: dict[str, Any] = {"identity": {"path": "scripted"}, "log": "asked"}
        self.rules: list[Rule] = []
        """Rules that come before the right answers."""
        self._evalkit = evalkit

    def __call__(self, options: str = "", *, code: int | None = 0, **settings: object) -> Shown:
        return self._evalkit(self._line(options, settings), code=code)

    def refuses(self, options: str = "", **settings: object) -> str:
        return self._evalkit.refuses(self._line(options, settings))

    def _line(self, options: str, settings: Mapping[str, object]) -> str:
        model = write_script(Path("script"), *self.rules, *sums(), **self.model)
        values = " ".join(f"--set {name}={value}" for name, value in settings.items())
        return f"run --suite tiny --model {model} {values} {options}"

    @property
    def asked(self) -> list[str]:
        return asked(Path("asked"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, evalkit: Evalkit) -> Command:
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    return Command(evalkit)


def folders() -> list[str]:
    return sorted(path.name for path in Path("runs").iterdir())


class TestOutput:
    def test_notes_go_to_stderr_and_the_table_to_stdout(self, command: Command) -> None:
        shown = command("--out here")
        notes = shown.err.splitlines()
        assert notes[0] == "tiny: 3 prompts, model scripted:script"
        assert notes[1].startswith("model: scripted, 0.0M parameters, float32, no stated trained length")
        assert notes[2] == "positions: none"
        assert notes[3].startswith("corpus: numbers: 2 parts (counted.txt, sha256 of them all ")
        assert notes[4] == "run folder: here"
        assert re.fullmatch(r"first answer after [\d.]+ s; about 0 s for the other 2", notes[5])
        assert notes[6:] == ["stored in here"]
        assert shown.out.startswith("tiny · scripted · dialect plain\n")
        assert "100.0" in shown.out
        assert "│" in shown.out

    def test_json_is_the_record_and_nothing_else(self, command: Command) -> None:
        shown = command("--out here --format json")
        assert shown.json() == json.loads(Path("here/run.json").read_text(encoding="utf-8"))

    def test_the_record_holds_settings_and_options_of_the_model(self, command: Command) -> None:
        command("--out here", ctx="1K")
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
        command("--out here")
        report = Path("here/report.md").read_text(encoding="utf-8")
        assert report.startswith("# tiny · scripted · dialect plain\n")
        assert "| sum | 100.0 |" in report

    def test_a_context_beyond_the_trained_length_warns_and_stays_in_the_record(self, command: Command) -> None:
        command.model |= {"identity": {"trained_length": 512}, "warnings": ["odd weights"]}
        shown = command("--out here", ctx="512,1K,2K")
        warnings = ("odd weights", "context 1,024, 2,048 is above the trained length of 512")
        assert read_run(Path("here")).warnings == warnings
        for warning in warnings:
            assert f"warning: {warning}" in shown.err
            assert f"Warning: {warning}" in shown.out

    def test_an_injected_position_scheme_warns(self, command: Command) -> None:
        injected = {"kind": "rope", "description": "RoPE θ=10000, which the checkpoint does not state"}
        command.model = {"identity": {"positions": {**injected, "injected": True}}}
        command("--out here")
        assert read_run(Path("here")).warnings == (f"positions: {injected['description']}",)

    def test_hostile_names_are_shown_as_text(self, command: Command) -> None:
        command.model["warnings"] = ["[red]x[/red] \x1b[2J\r\n:smile:"]
        shown = command("--out here")
        assert "warning: [red]x[/red] \\x1b[2J :smile:\n" in shown.err
        assert "\x1b" not in shown.out + shown.err


class TestExitCodes:
    def test_errors_exit_3_and_are_reported_in_the_table(self, command: Command) -> None:
        command.rules = [{"match": "sum/512/1/42", "error": "NaN logits"}, {"match": "sum/512/2/42", "text": "no"}]
        output = " ".join(command("--out here", code=3).out.split())
        assert "INCOMPLETE: 1 of 3 samples errored and are not in the scores; evalkit show RUN --failed lists" in output
        assert "50.0 (1 errored)" in output

    def test_an_interrupt_exits_130_and_says_how_to_continue(
        self, command: Command, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command.rules = [{"match": "sum/512/2/42", "text": "44", "wait_seconds": 0.01}]
        with interrupted_waits(monkeypatch):
            told = command("--resume", ctx="512", code=130).err.splitlines()[-1]
        (folder,) = folders()
        typed = "run --suite tiny --model scripted:script --set ctx=512"
        assert told == f"stopped; continue with: evalkit {typed} --out runs/{folder} --resume"
        assert len(read_samples(Path("runs") / folder)) == 2
        evalkit(told.partition("evalkit ")[2])

    @pytest.mark.parametrize("out", ["--out here", "--out=here", "-o here", "-ohere", "--out 'my run'"])
    def test_the_folder_is_not_named_twice(self, command: Command, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
        command.rules = [{"match": "sum/512/0/42", "wait_seconds": 1}]
        with interrupted_waits(monkeypatch):
            told = command(out, code=130).err.splitlines()[-1]
        assert told == f"stopped; continue with: evalkit run --suite tiny --model scripted:script {out} --resume"

    def test_an_interrupt_while_loading_has_nothing_to_continue(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("model_adapters.opening.open_model", _interrupt)
        assert command(code=130).err.splitlines()[-1] == "stopped; run the same command again"

    def test_a_wrong_setting_is_named_as_it_is_typed(self, command: Command) -> None:
        assert command.refuses(ctx="4K,big").startswith("ctx: 'big' is not a whole number")
        assert command.refuses(samples=0).startswith("--samples 0: at least 1")


class TestFolders:
    def test_each_run_has_its_own(self, command: Command) -> None:
        command()
        command()
        first, second = folders()
        assert re.fullmatch(r"tiny-scripted-[0-9a-f]{8}", first)
        assert second == f"{first}-2"

    def test_resume_finds_the_run_and_adds_samples_to_it(self, command: Command) -> None:
        command(samples=2)
        assert "2 of 5 samples are stored already; 3 to run" in command("--resume", samples=5).err
        (folder,) = folders()
        assert read_run(Path("runs") / folder).counts.n == 5

    def test_resume_starts_afresh_if_there_is_nothing(self, command: Command) -> None:
        command("--resume")
        assert len(folders()) == 1

    def test_other_tasks_lengths_seeds_and_weights_have_other_folders(self, command: Command) -> None:
        for settings in ({}, {"tasks": "sum,more"}, {"ctx": 1024}, {"seed": 1}):
            command("--resume", code=None, **settings)
        command.model["tokens_seen"] = 5  # another script is another model
        command("--resume")
        assert len(folders()) == 5

    def test_a_long_hostile_model_name_makes_a_plain_folder(self, command: Command) -> None:
        command.model["identity"] = {"path": "../..//" + "x" * 300 + "/[é]\n.."}
        command()
        (folder,) = folders()
        assert re.fullmatch(r"tiny-x{1,40}-[0-9a-f]{8}", folder)

    @pytest.mark.parametrize("resume", ["--resume", ""])
    def test_a_place_that_cannot_be_written_is_reported_before_loading(self, command: Command, resume: str) -> None:
        Path("file").write_text("")
        refusal = command.refuses(f"--out file/run {resume}")
        assert re.match(r"cannot write to file/run: .*; choose another folder with --out", refusal)
        assert command.asked == []

    def test_a_run_that_is_there_is_reported_before_loading(self, command: Command) -> None:
        command("--out here")
        command.model["identity"] = {"dtype": 3}  # loading it would be refused
        assert command.refuses("--out here").startswith("here already holds a run; pass --resume")

    def test_a_folder_in_use_is_reported_before_loading(self, command: Command) -> None:
        with FolderLock(Path("here")):
            assert command.refuses("--out here --resume").startswith("here is in use by another process")
        assert command.asked == []

    def test_the_folder_is_this_process_own_while_the_model_loads(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def open_model(*_: object) -> Any:
            with pytest.raises(UsageError, match="here is in use by another process"):
                FolderLock(Path("here"))
            raise UsageError("no such model")

        monkeypatch.setattr("model_adapters.opening.open_model", open_model)
        assert command.refuses("--out here") == "no such model"
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
        command()
        first, second = folders()
        assert second == f"{first}-2"
        assert read_run(Path("runs") / second).counts.n == 3
        taken[0].release()

    def test_a_runs_folder_that_cannot_be_written_is_reported_before_loading(self, command: Command) -> None:
        Path("runs").write_text("")
        assert command.refuses().startswith("cannot write to runs: ")
        assert command.asked == []

    def test_generated_corpora_are_announced_before_the_first_prompt(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.evalkit.tiny_suite.CORPUS", replace(CORPUS, source="embedded"))
        shown = command("--out here")
        announced = (
            "GENERATED CORPORA (numbers): text that comes with evalkit; scores on it compare with nothing published. "
            "Get the public corpora with: evalkit data fetch"
        )
        notes = shown.err.splitlines()
        assert notes.index(announced) < notes.index("run folder: here")
        assert "GENERATED CORPORA: numbers" in shown.out.splitlines()[0]

    def test_a_data_folder_without_the_corpus_is_named(
        self, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("tests.evalkit.tiny_suite.CORPUS", replace(CORPUS, source="embedded"))
        monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
        assert f"published. EVALKIT_DATA={tmp_path} has no file for it. Get the public" in command("--out here").err


class TestReports:
    """The record is stored before reports are made from it."""

    def test_a_fault_in_a_renderer_costs_one_line(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(record: object) -> str:
            assert Path("here/run.json").exists()
            raise ZeroDivisionError("no rows\nat all")

        monkeypatch.setattr("reports.markdown.render_run", broken)
        shown = command("--out here", code=70)
        assert shown.err.splitlines()[-2:] == [
            "evalkit: report.md could not be made (ZeroDivisionError: no rows at all); the run is stored in here",
            "stored in here",
        ]
        assert "100.0" in shown.out
        assert load_run(Path("here")).record.counts.n == 3

    def test_a_fault_in_the_tables_costs_one_line(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(console: object, record: object) -> None:
            raise KeyError("perhaps")

        monkeypatch.setattr("reports.terminal.print_report", broken)
        assert "evalkit: the tables could not be made (KeyError: 'perhaps')" in command("--out here", code=70).err
        assert Path("here/report.md").exists()

    def test_a_disk_that_fills_up_before_the_report(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("reports.markdown.render_run", lambda record: "x" * 2**20)
        with limited_file_size(2**16):
            notes = command("--out here", code=2).err
        assert "evalkit: report.md could not be made (File too large); the run is stored in here" in notes
        assert load_run(Path("here")).record.counts.n == 3
        assert not Path("here/report.md").exists()

    def test_charts_come_last_and_lose_nothing(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(charts: object, folder: Path) -> None:
            assert read_run(folder.parent) == load_run(folder.parent).record
            assert (folder.parent / "report.md").exists()
            raise OSError(28, "No space left on device")

        def conclude(settings: TinySettings, run: StoredRun, others: object) -> RunRecord:
            return replace(run.record, figures=(Figure("concluded", float(len(run.samples)), ""),))

        monkeypatch.setattr("reports.chart_files.write_charts", broken)
        monkeypatch.setattr("tests.evalkit.tiny_suite.SPEC", replace(SPEC, stores_charts=True, conclude=conclude))
        notes = command("--out here", code=2).err
        assert "the charts could not be made (No space left on device); the run is stored" in notes
        assert figure_values(read_run(Path("here"))) == {"concluded": 3.0}


def _interrupt(*_: object) -> Any:
    raise KeyboardInterrupt
