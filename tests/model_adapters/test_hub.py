"""Hub checkpoints, from a local stand-in over HTTP: revisions, downloaded files, and failures in one line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from evalkit.errors import UsageError
from evalkit.records import RunRecord
from evalkit.records.codec import from_json
from evalkit.running.model_options import ModelOptions
from model_adapters import hub
from model_adapters.checkpoint import open_checkpoint
from model_adapters.checkpoint_tokenizer import load_tokenizer
from model_adapters.loading import LoadedModel, load_model
from model_adapters.memory_forecast import forecast_memory
from model_adapters.opening import check_options, fingerprints
from tests.model_adapters.hub_server import HubServer
from tests.model_adapters.small_models import save_small_checkpoint
from tests.support import Evalkit

NAME = "org/name"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two checkpoints of one training."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: save_small_checkpoint(folder / name, "llama", seed=seed) for seed, name in enumerate(("new", "old"))}


@pytest.fixture
def commits(hub_server: HubServer, checkpoints: dict[str, Path]) -> dict[str, str]:
    """org/name with the newer checkpoint on main, and the older one on a branch and a tag."""
    old = hub_server.push(NAME, checkpoints["old"], branch="stage1/step1000", tag="v0.1")
    return {"new": hub_server.push(NAME, checkpoints["new"]), "old": old}


def options(name: str) -> ModelOptions:
    return ModelOptions(name, device="cpu")


def load(name: str) -> LoadedModel:
    return load_model(options(name))


def refusal(name: str = NAME) -> str:
    with pytest.raises(UsageError) as raised:
        load(name)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"{name}: ")
    return message.removeprefix(f"{name}: ")


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_the_default_branch_is_what_the_folder_is(commits: dict[str, str], checkpoints: dict[str, Path]) -> None:
    loaded, local = load(NAME), load(str(checkpoints["new"]))
    assert loaded.identity == replace(local.identity, path=NAME, commit=commits["new"])
    assert local.identity.commit is None
    for name, weight in local.model.state_dict().items():
        assert weight.equal(loaded.model.state_dict()[name])


@pytest.mark.parametrize("revision", ["stage1/step1000", "v0.1", "the commit"])
def test_a_branch_a_tag_and_a_commit_are_the_checkpoint_there(
    commits: dict[str, str], checkpoints: dict[str, Path], revision: str
) -> None:
    name = f"{NAME}@{commits['old'] if revision == 'the commit' else revision}"
    identity = load(name).identity
    assert (identity.path, identity.name, identity.commit) == (name, name, commits["old"])
    assert identity.fingerprint == load(str(checkpoints["old"])).identity.fingerprint
    assert fingerprints(options(name)) == (identity.fingerprint, identity.tokenizer)
    assert identity.fingerprint != load(NAME).identity.fingerprint


def test_a_branch_that_moves_is_downloaded_again_and_a_commit_is_not(
    hub_server: HubServer, commits: dict[str, str], checkpoints: dict[str, Path]
) -> None:
    load(NAME)
    moved = hub_server.push(NAME, checkpoints["old"])
    assert load(NAME).identity.commit == moved
    assert load(f"{NAME}@{commits['new']}").identity.commit == commits["new"]


def test_the_cache_serves_without_a_network(commits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = (NAME, f"{NAME}@v0.1", f"{NAME}@{commits['old']}")
    online = [load(name).identity for name in names]
    go_offline(monkeypatch)
    assert [load(name).identity for name in names] == online


def test_what_is_not_in_the_cache_is_refused_without_a_network(
    commits: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_tokenizer(options(NAME))
    go_offline(monkeypatch)
    assert refusal() == ("only a part of it is in the local cache and the hub cannot be reached; connect to a network")
    for name in ("org/other", f"{NAME}@v0.1"):
        assert refusal(name) == (
            "no such directory here, not in the local cache, and the hub cannot be reached; name a checkpoint folder "
            "or connect to a network"
        )


def test_tokenizer_and_forecast_download_no_weights(hub_server: HubServer, commits: dict[str, str]) -> None:
    load_tokenizer(options(NAME))
    forecast_memory(options(NAME), 256)
    assert sorted(set(hub_server.downloaded())) == [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"
    ]  # fmt: skip


def test_options_are_checked_without_the_hub(hub_server: HubServer) -> None:
    check_options(options(f"{NAME}@stage1/step1000"))
    assert hub_server.requests == []


def test_a_local_folder_may_have_an_at_sign(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["new"], tmp_path / "org" / "name@v1")
    identity = load(str(folder)).identity
    assert (identity.path, identity.commit) == (str(folder), None)


@pytest.mark.parametrize(
    ("revision", "remedy"),
    [("stage1/step100", "did you mean 'stage1/step1000'?"), ("xyz", "it has stage1/step1000, main, v0.1")],
)
def test_an_unknown_revision_is_refused(commits: dict[str, str], revision: str, remedy: str) -> None:
    assert refusal(f"{NAME}@{revision}") == f"org/name has no branch, tag or commit '{revision}'; {remedy}"


def test_an_unknown_repository_is_refused(hub_server: HubServer) -> None:
    assert refusal() == (
        "no such directory here and no such model on the hub; check the spelling, or `hf auth login` if it is private"
    )


def test_a_gated_repository_is_refused(hub_server: HubServer, commits: dict[str, str]) -> None:
    hub_server.gated.add(NAME)
    assert refusal() == "its owner asks for consent; accept it on its hub page, then `hf auth login`"


def test_any_other_failure_is_one_line(commits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left.\nMore about it.")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    assert refusal() == "cannot be downloaded (No space left); try again or name a folder"


def shard(folder: Path, *, keep: bool) -> None:
    """Put the weights into two files, the second optional, next to the same weights in another format."""
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    half = len(weights) // 2
    parts = {first: dict([*weights.items()][:half]), second: dict([*weights.items()][half:])}
    for name, part in parts.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    weight_map = {tensor: name for name, part in parts.items() for tensor in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "pytorch_model.bin").write_bytes(b"the same again")
    if not keep:
        (folder / second).unlink()


def test_exactly_the_shards_of_the_index_are_downloaded(
    hub_server: HubServer, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints["new"], tmp_path / "sharded")
    shard(folder, keep=True)
    hub_server.push(NAME, folder)
    load(NAME)
    weights = [name for name in hub_server.downloaded() if not name.endswith(".json")]
    assert sorted(weights) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_a_missing_shard_is_refused_before_any_is_downloaded(
    hub_server: HubServer, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints["new"], tmp_path / "sharded")
    shard(folder, keep=False)
    hub_server.push(NAME, folder)
    assert refusal() == (
        "model-00002-of-00002.safetensors is missing, which model.safetensors.index.json names; download or copy the "
        "checkpoint again"
    )
    assert not any(name.endswith(".safetensors") for name in hub_server.downloaded())


@pytest.mark.parametrize(
    ("quantization", "file"),
    [
        ({"quant_method": "exl2", "bits": 4}, "config.json"),
        ({"quantization": {"quant_algo": "FP8"}}, "hf_quant_config.json"),
    ],
)
def test_a_quantization_that_does_not_run_is_refused_before_weights_are_downloaded(
    hub_server: HubServer, checkpoints: dict[str, Path], tmp_path: Path, quantization: dict[str, object], file: str
) -> None:
    folder = shutil.copytree(checkpoints["new"], tmp_path / "quantized")
    stated = (
        {**json.loads((folder / file).read_text()), "quantization_config": quantization}
        if file == "config.json"
        else quantization
    )
    (folder / file).write_text(json.dumps(stated))
    hub_server.push(NAME, folder)
    assert refusal().startswith("its weights are quantized (quantization_config: ")
    assert not any(name.endswith(".safetensors") for name in hub_server.downloaded())


def test_a_repository_in_another_format_is_named(
    hub_server: HubServer, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints["new"], tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    hub_server.push(NAME, folder)
    assert refusal().startswith("has pytorch_model.bin but no model.safetensors; only safetensors are loaded")
    only_gguf = tmp_path / "gguf"
    only_gguf.mkdir()
    (only_gguf / "name-Q4_K_M.gguf").write_bytes(b"GGUF")
    hub_server.push("org/gguf", only_gguf)
    assert refusal("org/gguf") == (
        "holds name-Q4_K_M.gguf, and GGUF is not supported; name the safetensors checkpoint that it was made from"
    )


def test_code_is_downloaded_only_if_it_is_trusted(
    hub_server: HubServer, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints["new"], tmp_path / "code")
    (folder / "modeling.py").write_text("")
    hub_server.push(NAME, folder)
    for trusted in (False, True):
        snapshot = open_checkpoint(NAME, trust_remote_code=trusted).snapshot
        assert isinstance(snapshot, hub.HubSnapshot)
        assert (snapshot.folder / "modeling.py").exists() == trusted


PLAN = """
models: [org/name@stage1/step1000, org/name]
suites: {loss: {path: text.txt, ctx: 128, device: cpu}}
reports:
  - {report: compare, base: org/name@stage1/step1000, new: org/name, out: comparison.md}
  - {report: gate, base: org/name@stage1/step1000, new: org/name, policy: policy.yaml}
  - {report: leaderboard, out: LEADERBOARD.md}
"""


def test_two_revisions_are_two_models_of_a_plan_and_its_reports(commits: dict[str, str], evalkit: Evalkit) -> None:
    Path("text.txt").write_text("The year 1500 saw a letter go to town. " * 8)
    Path("policy.yaml").write_text("undecided: pass\nrules:\n  loss: {max_drop: 50}\n")
    Path("plan.yaml").write_text(PLAN)
    evalkit("run plan.yaml")
    runs = [from_json(RunRecord, path.read_text()) for path in sorted(Path().glob("**/run.json"))]
    assert {(run.model.path, run.model.commit) for run in runs} == {
        ("org/name", commits["new"]),
        ("org/name@stage1/step1000", commits["old"]),
    }
    for report in ("LEADERBOARD.md", "comparison.md"):
        text = next(Path().glob(f"**/{report}")).read_text()
        assert "org/name@stage1/step1000" in text
