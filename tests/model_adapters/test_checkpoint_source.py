"""Checkpoints of a training run are evaluated when they are whole: in a folder, and on a stand-in for the hub."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from evalkit.errors import UsageError
from evalkit.running.watching import CheckpointSource, FoundCheckpoint, Step
from model_adapters.checkpoint_source import open_source
from tests.model_adapters.hub_server import HubServer
from tests.model_adapters.small_models import save_small_checkpoint
from tests.support import Evalkit

REPOSITORY = "lab/training"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("whole"), "llama")


def in_parts(whole: Path, folder: Path) -> Path:
    """The checkpoint with an index, as trainers save large ones."""
    shutil.copytree(whole, folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")
    weight_map = {f"layer{number}": f"model-0000{number}-of-00002.safetensors" for number in (1, 2)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def waits(source: CheckpointSource) -> dict[str, str]:
    return {found.name: source.look(found).waits_for for found in source.checkpoints()}


def test_folders_with_a_step_are_checkpoints_in_its_order(whole: Path, tmp_path: Path) -> None:
    for name in ("step1000", "step200", "tmp-step300", "runs"):
        shutil.copytree(whole, tmp_path / name)
    (tmp_path / "step7").write_text("a file")
    (tmp_path / "step1000-latest").symlink_to(tmp_path / "step1000")
    source = open_source(str(tmp_path))
    assert source.checkpoints() == [
        FoundCheckpoint("step200", Step(0, 200), str(tmp_path / "step200")),
        FoundCheckpoint("step1000", Step(0, 1000), str(tmp_path / "step1000")),
    ]
    assert waits(source) == {"step200": "", "step1000": ""}


def test_a_folder_waits_for_what_its_trainer_has_not_written_yet(whole: Path, tmp_path: Path) -> None:
    """The files of a checkpoint appear one after another, and each grows."""
    target = tmp_path / "train" / "step5"
    finished = in_parts(whole, tmp_path / "finished")
    target.mkdir(parents=True)
    source = open_source(str(tmp_path / "train"))
    weights = (finished / "model-00002-of-00002.safetensors").read_bytes()
    index = (finished / "model.safetensors.index.json").read_bytes()
    seen = [waits(source)["step5"]]
    for name, content in (
        ("config.json", (finished / "config.json").read_bytes()),
        ("tokenizer_config.json", b"{}"),
        ("model.safetensors.index.json", index[:-9]),
        ("model.safetensors.index.json", index),
        ("model-00001-of-00002.safetensors", weights),
        ("model-00002-of-00002.safetensors", b""),
        ("model-00002-of-00002.safetensors", weights[:100]),
        ("model-00002-of-00002.safetensors", weights[:-1]),
        ("model-00002-of-00002.safetensors", weights),
    ):
        (target / name).write_bytes(content)
        seen.append(waits(source)["step5"])
    assert seen == [
        "config.json",
        "model.safetensors or model.safetensors.index.json",
        "model.safetensors or model.safetensors.index.json",
        "the rest of model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        *["the rest of model-00002-of-00002.safetensors"] * 3,
        "",
    ]


def test_a_stamp_changes_with_the_files(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "step1")
    source = open_source(str(tmp_path))
    (found,) = source.checkpoints()
    stamps = [source.look(found).stamp, source.look(found).stamp]
    assert stamps[0] == stamps[1]
    (tmp_path / "step1" / "notes.txt").write_text("more")
    assert source.look(found).stamp != stamps[0]
    shutil.rmtree(tmp_path / "step1")
    assert source.look(found).waits_for == "its files, which are being moved or removed"


def test_an_adapter_waits_for_its_weights_alone(tmp_path: Path) -> None:
    (tmp_path / "step1").mkdir()
    (tmp_path / "step1" / "adapter_config.json").write_text("{}")
    source = open_source(str(tmp_path))
    assert waits(source) == {"step1": "adapter_model.safetensors"}
    (tmp_path / "step1" / "adapter_model.safetensors").write_bytes(b"\x40")
    assert waits(source) == {"step1": "the rest of adapter_model.safetensors"}


def test_branches_and_tags_of_the_hub(whole: Path, tmp_path: Path, hub_server: HubServer) -> None:
    part = in_parts(whole, tmp_path / "part")
    (part / "model-00002-of-00002.safetensors").unlink()
    hub_server.push(REPOSITORY, whole, tag="step1000-final")
    hub_server.push(REPOSITORY, whole, branch="step200")
    commit = hub_server.push(REPOSITORY, part, branch="stage2-step5")
    source = open_source(REPOSITORY)
    assert source.checkpoints() == [
        FoundCheckpoint("step200", Step(0, 200), f"{REPOSITORY}@step200"),
        FoundCheckpoint("step1000-final", Step(0, 1000), f"{REPOSITORY}@step1000-final"),
        FoundCheckpoint("stage2-step5", Step(2, 5), f"{REPOSITORY}@stage2-step5"),
    ]
    assert waits(source) == {
        "step200": "",
        "step1000-final": "",
        "stage2-step5": "model-00002-of-00002.safetensors",
    }
    assert source.look(source.checkpoints()[-1]).stamp == commit
    assert hub_server.downloaded() == []


def test_a_hub_that_does_not_answer_is_one_line(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--watch lab/nothing: the hub does not list its branches"):
        open_source("lab/nothing").checkpoints()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        open_source(REPOSITORY).checkpoints()


@pytest.mark.parametrize("where", ["./nowhere", "/no/where/at/all", "lab/x@step5", "a b"])
def test_what_is_no_source_is_refused(where: str) -> None:
    with pytest.raises(UsageError, match="no such folder, and no id of a hub repository"):
        open_source(where)


def test_a_plan_evaluates_new_branches_of_the_hub(
    whole: Path, hub_server: HubServer, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.cli.shared.watch_run.SETTLING_SECONDS", 0.0)
    Path("plan.yaml").write_text(
        "suites: {track: {tasks: [parity], updates: [4], samples: 2, shots: 1, skip_preflight: true}}\n"
        "reports: [{report: compare, base: last-good, new: checkpoint, out: comparison.md}]\n"
    )
    hub_server.push(REPOSITORY, whole)
    for branch in ("step200", "step1000"):
        hub_server.push(REPOSITORY, whole, branch=branch)
        notes = evalkit(f"run plan.yaml --watch {REPOSITORY} --once").err
        assert f"model {REPOSITORY}@{branch}" in notes
    assert "step1000 (step 1,000): compared with step200" in notes
    assert Path("runs/plan/step1000/comparison.md").exists()
