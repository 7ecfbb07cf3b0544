"""Bad input gets one clear line with the value, the limit and the remedy, exits 2, and loses nothing."""

import json
import re
from pathlib import Path

import pytest

from evalkit.running.store import read_samples
from tests.model_adapters.small_models import save_small_checkpoint
from tests.support import Evalkit, limited_file_size


class TestOptions:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("rulr", r"No such command 'rulr'. Did you mean 'ruler'\?; see `evalkit --help`"),
            ("ruler", r"Missing option '--ctx'; see `evalkit ruler --help`"),
            ("ruler --ctx", r"Option '--ctx' requires an argument; see `evalkit --help`"),
            ("ruler --ctx 4096 --sample 3", r"No such option: --sample .*--samples.*; see `evalkit ruler --help`"),
            ("ruler --ctx 4096 extra", r"Got unexpected extra argument.*extra.*; see `evalkit ruler --help`"),
            (
                "ruler --ctx 4096 --samples many",
                r"Invalid value for '--samples': .*\(it is 'many'\); see `evalkit ruler --help`",
            ),
            (
                "ruler --ctx 4096 --dtype int8",
                r"Invalid value for '--dtype': 'int8' is not one of .*'bfloat16'.*; see .*",
            ),
            ("ruler --ctx 4096 --segment-tokens 0", r"Invalid value for '--segment-tokens': .*; see .*"),
            ("ruler --ctx 4096 --batch 0", r"Invalid value for '--batch': .*; see .*"),
            ("ruler --ctx 65,536", r"--ctx: 65,536 would be several numbers; write 65536"),
            ("bench prefill --ctx 65,536", r"--ctx: 65,536 would be several numbers; write 65536"),
            ("ruler --ctx big", r"--ctx: 'big' is not a whole number, such as 4096 or 64K"),
            ("ruler --ctx 511", r"--ctx 511 is too short for RULER's prompts; use 512 or more"),
            ("ruler --ctx 4096 --samples 0", r"--samples 0: at least 1 sample per task is needed"),
            ("ruler --ctx 4096 --samples -3", r"--samples -3: at least 1 sample per task is needed"),
            ("ruler --ctx 4096 --tasks niah_singel_1", r"unknown task 'niah_singel_1'; did you mean 'niah_single_1'\?"),
            ("ruler --ctx 4096 --tasks ,", r"--tasks: ',' names nothing; separate names with commas"),
            ("ruler --ctx 4096 --dialect nvdia", r"unknown dialect 'nvdia'; did you mean 'nvidia'\?"),
            ("ruler --ctx 512 --tasks cwe,niah_multikey_3 --data nowhere", r"--data nowhere is not a folder.*"),
            ("ruler --ctx 4096 --device tpu", r".*'?tpu'?.*(cpu|cuda).*"),
            (
                "ruler --ctx 512 --out ''",
                r"--out is empty, as if from an unset variable; write a value, or leave it out",
            ),
            ("merge shards --out=", r"--out is empty, as if from an unset variable; write a value, or leave it out"),
            ("mmlu --data '' --samples 1", r"--data is empty, as if from .*"),
            ("score ruler '' -o there", r"an argument is empty, as if from .*"),
            ("ruler --ctx 512 --tokenizer t", r"--tokenizer t goes with --server; a checkpoint has its own"),
            (
                "ruler --ctx 512 --server http://h --dtype bfloat16",
                r"--dtype bfloat16 is for a model that evalkit runs.*",
            ),
            ("extend --ctx 4096 --server http://h --override none", r"--override none is for a model that evalkit .*"),
            ("data fetch --roles squadd", r"unknown .*'squadd'; did you mean 'squad'\?"),
            ("bench prefill --ctx 0", r"--ctx: '0' is not a context length.*"),
            ("score ruler nowhere", r".*nowhere.*"),
            ("score ruler . --dialect olms", r".*'olms'; did you mean 'olmes'\?"),
            ("show nowhere", r"nowhere does not exist: not a run folder"),
        ],
    )
    def test_one_line(self, evalkit: Evalkit, arguments: str, message: str) -> None:
        assert re.fullmatch(message, evalkit.refuses(arguments))

    def test_hostile_arguments_are_shown_as_text(self, evalkit: Evalkit) -> None:
        assert evalkit.refuses("ruler --ctx", "4\x1b[2J\n") == (
            "--ctx: '4\\x1b[2J' is not a whole number, such as 4096 or 64K"
        )
        assert "\\x1b[2J" in evalkit.refuses("\x1b[2J")

    def test_no_command_shows_the_help(self, evalkit: Evalkit) -> None:
        shown = evalkit("", code=2)
        assert "Usage: evalkit" in shown.out + shown.err
        assert shown.complaints == []

    def test_help_and_version_succeed(self, evalkit: Evalkit) -> None:
        assert re.fullmatch(r"evalkit \d+\.\d+\.\d+\n", evalkit("--version").out)
        evalkit("ruler --help")


class TestModels:
    @pytest.mark.parametrize("model", ["./nowhere", "/nowhere/at/all", "no-such-owner/no-such-model", "a b", ""])
    def test_a_missing_model(self, evalkit: Evalkit, model: str) -> None:
        assert repr(model)[1:-1] in evalkit.refuses("ruler --ctx 512 --model", model)

    def test_an_unknown_embedded_model(self, evalkit: Evalkit) -> None:
        told = evalkit.refuses("ruler --ctx 512 --model", "reference:hybird")
        assert "did you mean" in told
        assert "hybrid" in told

    def test_a_folder_without_a_model(self, evalkit: Evalkit, tmp_path: Path) -> None:
        assert "config.json" in evalkit.refuses("ruler --ctx 512 --model", tmp_path)

    def test_a_file_in_place_of_a_folder(self, evalkit: Evalkit, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"")
        assert "model.safetensors" in evalkit.refuses("ruler --ctx 512 --model ./model.safetensors")

    def test_only_a_pickle(self, evalkit: Evalkit, tmp_path: Path) -> None:
        folder = save_small_checkpoint(tmp_path / "pickled", "llama")
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        assert "safetensors" in evalkit.refuses("ruler --ctx 512 --model", folder)

    def test_a_tokenizer_without_vocabulary(self, evalkit: Evalkit, tmp_path: Path) -> None:
        folder = save_small_checkpoint(tmp_path / "mute", "llama")
        definition = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        definition["model"]["vocab"] = {}
        definition["added_tokens"] = []
        (folder / "tokenizer.json").write_text(json.dumps(definition), encoding="utf-8")
        assert "vocabulary" in evalkit.refuses("ruler --ctx 512 --model", folder)

    @pytest.mark.parametrize("damage", ["", "{", "[]", '{"model_type": 3}', '{"model_type": "no_such_family"}'])
    def test_a_damaged_configuration(self, evalkit: Evalkit, tmp_path: Path, damage: str) -> None:
        folder = save_small_checkpoint(tmp_path / "damaged", "llama")
        (folder / "config.json").write_text(damage, encoding="utf-8")
        assert evalkit.refuses("ruler --ctx 512 --model", folder)

    def test_all_models_are_checked_before_the_first_runs(
        self, evalkit: Evalkit, checkpoint: Path, tmp_path: Path
    ) -> None:
        line = f"ruler --ctx 512 --tasks niah_single_1 --samples 1 --out {tmp_path}/run --model ./nowhere --baseline"
        assert "'./nowhere': no such directory" in evalkit.refuses(line, checkpoint)
        assert not (tmp_path / "run").exists()


class TestData:
    def test_a_malformed_line_is_named_by_file_and_line(
        self, evalkit: Evalkit, checkpoint: Path, tmp_path: Path
    ) -> None:
        good = {"index": 0, "input": "Who? " * 20, "outputs": ["me"], "length": 120}
        file = tmp_path / "prepared" / "vt" / "validation.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(good) + "\n" + '{"input": 3}\n', encoding="utf-8")
        assert f"{file}:2" in evalkit.refuses(f"ruler --ctx 512 --data {tmp_path}/prepared --model", checkpoint)

    def test_a_folder_without_samples(self, evalkit: Evalkit, checkpoint: Path) -> None:
        Path("empty").mkdir()
        assert "empty" in evalkit.refuses("ruler --ctx 512 --data empty --model", checkpoint)

    def test_corpora_from_a_folder_that_is_not_there(
        self, evalkit: Evalkit, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EVALKIT_DATA", "nowhere")
        asked = "ruler --ctx 1024 --tasks niah_single_2 --samples 1 --model"
        assert "nowhere" in evalkit.refuses(asked, checkpoint)

    def test_a_task_that_fits_no_length_is_refused_when_asked_for_alone(
        self, evalkit: Evalkit, checkpoint: Path
    ) -> None:
        told = evalkit.refuses("ruler --ctx 512 --tasks cwe --samples 1 --model", checkpoint)
        assert re.fullmatch(r"cwe does not fit --ctx 512: .*; use a longer one", told)


class TestShow:
    def test_a_folder_of_runs_names_some_of_them(self, evalkit: Evalkit) -> None:
        for number in range(5):
            Path(f"runs/{number}").mkdir(parents=True)
            Path(f"runs/{number}/run.json").write_text("{}")
        expected = "runs is not a run, but holds runs/0, runs/1, runs/2 and 2 more; name one of them"
        assert evalkit.refuses("show runs") == expected

    def test_a_file_that_is_no_record(self, evalkit: Evalkit) -> None:
        Path("samples.jsonl").write_text("{}")
        expected = "samples.jsonl is not a run; name the run's folder, or its run.json"
        assert evalkit.refuses("show samples.jsonl") == expected


class TestRuns:
    def test_a_place_that_cannot_be_written(self, evalkit: Evalkit) -> None:
        Path("file").write_text("")
        told = evalkit.refuses("ruler --ctx 512 --model ./nowhere --out file/run")
        # Reported before the model is opened, so that it is not loaded in vain.
        assert re.fullmatch(r"cannot write to file/run: .* is not a folder; choose another folder with --out", told)

    def test_a_full_disk_keeps_what_was_written_and_the_run_goes_on(self, evalkit: Evalkit, checkpoint: Path) -> None:
        asked = f"ruler --ctx 1024 --model {checkpoint} --tasks niah_single_1 --samples 24 --out run"
        with limited_file_size(8000):
            told = evalkit.refuses(asked)
        assert re.fullmatch(
            r"cannot write run/samples\.jsonl: File too large; all samples stored so far are safe, .* with --resume",
            told,
        )
        before = read_samples(Path("run"))
        assert 1 <= len(before) < 24
        evalkit(f"{asked} --resume")
        assert read_samples(Path("run"))[: len(before)] == before

    def test_another_seed_is_refused_by_name(self, evalkit: Evalkit, checkpoint: Path) -> None:
        asked = f"ruler --ctx 1024 --model {checkpoint} --tasks niah_single_1 --samples 1 --out run"
        evalkit(asked)
        told = evalkit.refuses(f"{asked} --resume --seed 7")
        assert told == "run was made with other settings (seed: 42 -> 7); use another --out"
