"""Bad input gets one clear line with the value, the limit and the remedy, exits 2, and loses nothing."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.running.store import read_samples
from tests.evalkit.running.test_store import limited_file_size
from tests.model_adapters.small_models import save_small_checkpoint

Complaint = Callable[..., str]


@pytest.fixture
def evalkit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """`evalkit(*arguments)` as typed, in a temporary folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["evalkit", *arguments])
        with pytest.raises(SystemExit) as exit:
            main()
        assert isinstance(exit.value.code, int)
        return exit.value.code

    return run


@pytest.fixture
def complaint(evalkit: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Complaint:
    """The one line that `evalkit(*arguments)` complains with."""

    def run(*arguments: str) -> str:
        code = evalkit(*arguments)
        output, notes = capsys.readouterr()
        complaints = [line for line in notes.splitlines() if line.startswith("evalkit: ")]
        assert code == 2
        assert output == ""
        assert len(complaints) == 1, notes
        assert notes.endswith(complaints[0] + "\n")
        assert "Traceback" not in notes
        return complaints[0].removeprefix("evalkit: ")

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small random model that can run."""
    return str(save_small_checkpoint(tmp_path_factory.mktemp("checkpoint"), "llama"))


class TestOptions:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("rulr", r"No such command 'rulr'. Did you mean 'ruler'\?; see `evalkit --help`"),
            ("ruler", r"Missing option '--ctx'; see `evalkit ruler --help`"),
            ("ruler --ctx", r"Option '--ctx' requires an argument; see `evalkit --help`"),
            ("ruler --ctx 4096 --sample 3", r"No such option: --sample .*--samples.*; see `evalkit ruler --help`"),
            ("ruler --ctx 4096 extra", r"Got unexpected extra argument.*extra.*; see `evalkit ruler --help`"),
            ("ruler --ctx 4096 --samples many", r"Invalid value for '--samples': .*; see `evalkit ruler --help`"),
            ("ruler --ctx 4096 --dtype int8", r"Invalid value for '--dtype': .*'bfloat16'.*; see .*"),
            ("ruler --ctx 4096 --segment-tokens 0", r"Invalid value for '--segment-tokens': .*; see .*"),
            ("ruler --ctx 4096 --batch 0", r"Invalid value for '--batch': .*; see .*"),
            ("ruler --ctx big", r"--ctx: 'big' is not a whole number, such as 4096 or 64K"),
            ("ruler --ctx 511", r"--ctx 511 is too short for RULER's prompts; use 512 or more"),
            ("ruler --ctx 4096 --samples 0", r"--samples 0: at least 1 sample per task is needed"),
            ("ruler --ctx 4096 --samples -3", r"--samples -3: at least 1 sample per task is needed"),
            ("ruler --ctx 4096 --tasks niah_singel_1", r"unknown task 'niah_singel_1'; did you mean 'niah_single_1'\?"),
            ("ruler --ctx 4096 --tasks ,", r"--tasks: ',' names nothing; separate names with commas"),
            ("ruler --ctx 4096 --dialect nvdia", r"unknown dialect 'nvdia'; did you mean 'nvidia'\?"),
            ("ruler --ctx 512 --tasks cwe,niah_multikey_3 --data nowhere", r"--data nowhere is not a folder.*"),
            ("ruler --ctx 4096 --device tpu", r".*'?tpu'?.*(cpu|cuda).*"),
            ("data fetch --roles squadd", r"unknown .*'squadd'; did you mean 'squad'\?"),
            ("bench prefill --ctx 0", r"--ctx: '0' is not a context length.*"),
            ("score ruler nowhere", r".*nowhere.*"),
            ("score ruler . --dialect olms", r".*'olms'; did you mean 'olmes'\?"),
            ("show nowhere", r"nowhere does not exist: not a run folder"),
        ],
    )
    def test_one_line(self, complaint: Complaint, arguments: str, message: str) -> None:
        assert re.fullmatch(message, complaint(*arguments.split()))

    def test_hostile_arguments_are_shown_as_text(self, complaint: Complaint) -> None:
        assert complaint("ruler", "--ctx", "4\x1b[2J\n") == (
            "--ctx: '4\\x1b[2J' is not a whole number, such as 4096 or 64K"
        )
        assert "\\x1b[2J" in complaint("\x1b[2J")

    def test_no_command_shows_the_help(self, evalkit: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
        assert evalkit() == 2
        output, notes = capsys.readouterr()
        assert "Usage: evalkit" in output + notes
        assert "evalkit: " not in notes

    def test_help_and_version_succeed(self, evalkit: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
        assert evalkit("--version") == 0
        assert re.fullmatch(r"evalkit \d+\.\d+\.\d+\n", capsys.readouterr().out)
        assert evalkit("ruler", "--help") == 0


class TestModels:
    @pytest.mark.parametrize("model", ["./nowhere", "/nowhere/at/all", "no-such-owner/no-such-model", "a b", ""])
    def test_a_missing_model(self, complaint: Complaint, model: str) -> None:
        assert repr(model)[1:-1] in complaint("ruler", "--ctx", "512", "--model", model)

    def test_an_unknown_embedded_model(self, complaint: Complaint) -> None:
        told = complaint("ruler", "--ctx", "512", "--model", "reference:hybird")
        assert "did you mean" in told
        assert "hybrid" in told

    def test_a_folder_without_a_model(self, complaint: Complaint, tmp_path: Path) -> None:
        assert "config.json" in complaint("ruler", "--ctx", "512", "--model", str(tmp_path))

    def test_a_file_in_place_of_a_folder(self, complaint: Complaint, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"")
        assert "model.safetensors" in complaint("ruler", "--ctx", "512", "--model", "./model.safetensors")

    def test_only_a_pickle(self, complaint: Complaint, tmp_path: Path) -> None:
        folder = save_small_checkpoint(tmp_path / "pickled", "llama")
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        assert "safetensors" in complaint("ruler", "--ctx", "512", "--model", str(folder))

    def test_a_tokenizer_without_vocabulary(self, complaint: Complaint, tmp_path: Path) -> None:
        folder = save_small_checkpoint(tmp_path / "mute", "llama")
        definition = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        definition["model"]["vocab"] = {}
        definition["added_tokens"] = []
        (folder / "tokenizer.json").write_text(json.dumps(definition), encoding="utf-8")
        assert "vocabulary" in complaint("ruler", "--ctx", "512", "--model", str(folder))

    @pytest.mark.parametrize("damage", ["", "{", "[]", '{"model_type": 3}', '{"model_type": "no_such_family"}'])
    def test_a_damaged_configuration(self, complaint: Complaint, tmp_path: Path, damage: str) -> None:
        folder = save_small_checkpoint(tmp_path / "damaged", "llama")
        (folder / "config.json").write_text(damage, encoding="utf-8")
        assert complaint("ruler", "--ctx", "512", "--model", str(folder))


class TestData:
    def test_a_malformed_line_is_named_by_file_and_line(
        self, complaint: Complaint, checkpoint: str, tmp_path: Path
    ) -> None:
        good = {"index": 0, "input": "Who? " * 20, "outputs": ["me"], "length": 120}
        folder = tmp_path / "prepared" / "vt"
        folder.mkdir(parents=True)
        (folder / "validation.jsonl").write_text(json.dumps(good) + "\n" + '{"input": 3}\n', encoding="utf-8")
        told = complaint("ruler", "--ctx", "512", "--model", checkpoint, "--data", str(tmp_path / "prepared"))
        assert f"{folder / 'validation.jsonl'}:2" in told

    def test_a_folder_without_samples(self, complaint: Complaint, checkpoint: str, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "empty" in complaint("ruler", "--ctx", "512", "--model", checkpoint, "--data", "empty")

    def test_corpora_from_a_folder_that_is_not_there(
        self, complaint: Complaint, checkpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EVALKIT_DATA", "nowhere")
        told = complaint("ruler", "--ctx", "1024", "--model", checkpoint, "--tasks", "niah_single_2", "--samples", "1")
        assert "nowhere" in told

    def test_a_task_that_fits_no_length_is_refused_when_asked_for_alone(
        self, complaint: Complaint, checkpoint: str
    ) -> None:
        told = complaint("ruler", "--ctx", "512", "--model", checkpoint, "--tasks", "cwe", "--samples", "1")
        assert re.fullmatch(r"cwe does not fit --ctx 512: .*; use a longer one", told)


class TestRuns:
    def test_a_place_that_cannot_be_written(self, complaint: Complaint, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        told = complaint("ruler", "--ctx", "512", "--model", "./nowhere", "--out", "file/run")
        # Told before the model is looked for: nothing is loaded in vain.
        assert re.fullmatch(r"cannot write to file/run: .* is not a folder; choose another folder with --out", told)

    def test_a_full_disk_keeps_what_was_written_and_the_run_goes_on(
        self,
        evalkit: Callable[..., int],
        complaint: Complaint,
        checkpoint: str,
        tmp_path: Path,
    ) -> None:
        command = ["ruler", "--ctx", "1024", "--model", checkpoint, "--tasks", "niah_single_1", "--samples", "24"]
        with limited_file_size(8000):
            told = complaint(*command, "--out", "run")
        assert re.fullmatch(
            r"cannot write run/samples\.jsonl: File too large; all samples stored so far are safe, .* with --resume",
            told,
        )
        before = read_samples(tmp_path / "run")
        assert 1 <= len(before) < 24
        assert evalkit(*command, "--out", "run", "--resume") == 0
        assert read_samples(tmp_path / "run")[: len(before)] == before

    def test_another_seed_is_refused_by_name(
        self, evalkit: Callable[..., int], complaint: Complaint, checkpoint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["ruler", "--ctx", "1024", "--model", checkpoint, "--tasks", "niah_single_1", "--samples", "1"]
        assert evalkit(*command, "--out", "run") == 0
        capsys.readouterr()
        told = complaint(*command, "--out", "run", "--resume", "--seed", "7")
        assert told == "run was made with something else (seed: 42 -> 7); use another --out"
