"""Weights must be complete safetensors, exactly those that transformers would load; otherwise there is one line."""

import json
from pathlib import Path

import pytest
from numpy import zeros
from safetensors.numpy import save_file

from evalkit.errors import UsageError
from model_adapters.checkpoint import GGUF_REMEDY, open_checkpoint
from model_adapters.weights import tensor_headers, weight_files

SAVE_AGAIN = "only safetensors are loaded: save the model again with transformers' save_pretrained, which writes them"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def save(file: Path, *, prefix: str = "") -> Path:
    save_file({f"{prefix}a.weight": zeros((2, 3)), f"{prefix}scalar": zeros(())}, file)
    return file


def files(folder: Path) -> tuple[Path, ...]:
    return weight_files(open_checkpoint(str(folder), trust_remote_code=False))


def refusal(folder: Path) -> str:
    with pytest.raises(UsageError) as raised:
        files(folder)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"{folder}: ")
    return message.removeprefix(f"{folder}: ")


def write_index(folder: Path, weight_map: object) -> Path:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    return index


def test_one_file(folder: Path) -> None:
    file = save(folder / "model.safetensors")
    assert files(folder) == (file,)
    assert tensor_headers("name", file) == {"a.weight": ("F64", (2, 3)), "scalar": ("F64", ())}


def test_shards_come_after_their_index_each_once(folder: Path) -> None:
    shards = [save(folder / f"model-{number}.safetensors", prefix=str(number)) for number in (1, 2)]
    index = write_index(folder, {"a": shards[1].name, "b": shards[0].name, "c": shards[1].name})
    save(folder / "consolidated.safetensors")
    assert files(folder) == (index, *shards)


def test_one_file_wins_over_an_index_as_in_transformers(folder: Path) -> None:
    write_index(folder, {"a": "model-1.safetensors"})
    file = save(folder / "model.safetensors")
    assert files(folder) == (file,)


def test_no_weights(folder: Path) -> None:
    assert refusal(folder) == "has no model.safetensors; copy the weights there, or name another folder"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth"])
def test_other_formats(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    assert refusal(folder) == f"has {name} but no model.safetensors; {SAVE_AGAIN}"


def test_gguf_is_not_supported(folder: Path) -> None:
    (folder / "model.gguf").write_bytes(b"")
    assert refusal(folder) == f"has model.gguf but no model.safetensors, and {GGUF_REMEDY}"


def test_weights_are_named_and_not_what_a_trainer_wrote_beside_them(folder: Path) -> None:
    for name in ("optimizer.pt", "rng_state_0.pth", "scheduler.pt", "training_args.bin"):
        (folder / name).write_bytes(b"")
    assert refusal(folder) == "has no model.safetensors; copy the weights there, or name another folder"
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"")
    assert refusal(folder) == f"has pytorch_model-00001-of-00002.bin but no model.safetensors; {SAVE_AGAIN}"


@pytest.mark.parametrize("name", ["consolidated.safetensors", "model-00001-of-00002.safetensors"])
def test_safetensors_under_other_names(folder: Path, name: str) -> None:
    save(folder / name)
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert refusal(folder) == (
        f"has {name}, but neither model.safetensors nor model.safetensors.index.json, which transformers loads; "
        "copy the missing file, or save the model again with save_pretrained"
    )


def test_a_missing_shard(folder: Path) -> None:
    write_index(folder, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    save(folder / "model-1.safetensors")
    assert refusal(folder) == (
        "model-2.safetensors is missing, which model.safetensors.index.json names; download or copy the checkpoint "
        "again"
    )


def test_a_tensor_in_two_shards(folder: Path) -> None:
    """transformers would take the second one, whatever the index says."""
    for number, prefix in enumerate(["", "1", ""]):
        save(folder / f"model-{number}.safetensors", prefix=prefix)
    write_index(folder, {"a.weight": "model-0.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"})
    assert refusal(folder) == (
        "a.weight is both in model-0.safetensors and in model-2.safetensors; download or copy the checkpoint again"
    )


@pytest.mark.parametrize("shard", ["pytorch_model-1.bin", "../model.safetensors", "/etc/model.safetensors"])
def test_an_index_that_leads_elsewhere(folder: Path, shard: str) -> None:
    write_index(folder, {"a": shard})
    assert refusal(folder) == (
        f"model.safetensors.index.json names {shard!r}, no safetensors file in its folder; {SAVE_AGAIN}"
    )


@pytest.mark.parametrize("weight_map", [None, {}, ["model-1.safetensors"]])
def test_an_index_without_a_map(folder: Path, weight_map: object) -> None:
    write_index(folder, weight_map)
    assert refusal(folder) == "model.safetensors.index.json has no weight_map; download or copy it again"


def test_a_git_lfs_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    assert refusal(folder) == "model.safetensors is a Git LFS pointer, not the file; run `git lfs pull` there"


def test_a_file_that_was_cut_off(folder: Path) -> None:
    file = save(folder / "model.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    assert refusal(folder) == (
        "model.safetensors is damaged (Error while deserializing header: incomplete metadata, file not fully covered); "
        "download or copy it again"
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip of pickles", b"\xff" * 64])
def test_a_file_that_is_something_else(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    message = refusal(folder)
    assert message.startswith("model.safetensors is damaged (Error while deserializing header: ")
    assert message.endswith("); download or copy it again")


def test_an_unreadable_file(folder: Path) -> None:
    (folder / "model.safetensors").mkdir()
    assert refusal(folder) == "model.safetensors cannot be read (Is a directory); check its permissions"


def test_an_adapter_beside_the_weights(folder: Path) -> None:
    save(folder / "model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    assert refusal(folder) == "holds both weights and an adapter; merge it into them, or remove adapter_config.json"


def test_weights_that_transformers_would_look_for_elsewhere(folder: Path) -> None:
    save(folder / "model.safetensors")
    expected = (
        "its weights are not in model.safetensors or model.safetensors.index.json; "
        "save the model again with save_pretrained"
    )
    save(folder / "shard-00001-model-00001-of-00002.safetensors")
    assert refusal(folder) == expected
    (folder / "shard-00001-model-00001-of-00002.safetensors").unlink()
    (folder / "config.json").write_text('{"model_type": "llama", "transformers_weights": "other.safetensors"}')
    assert refusal(folder) == expected
