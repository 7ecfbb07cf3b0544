"""Hub checkpoints: the right files are asked for, the cache serves without a network, and failures are one line."""

import json
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from evalkit.errors import UsageError
from model_adapters import hub

COMMIT = "a" * 40


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The snapshot folder of org/name in a cache of its own; the hub is out of reach."""
    # Read once when huggingface_hub is imported, so the environment comes too late here.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text("{}")
    return snapshot


def refusal(hub_id: str = "org/name", *, with_weights: bool = True) -> str:
    with pytest.raises(UsageError) as raised:
        hub.download(hub_id, with_weights=with_weights, trust_remote_code=False)
    return str(raised.value)


def test_the_cache_serves_without_a_network(cache: Path) -> None:
    (cache / "model.safetensors").write_bytes(b"")
    for with_weights in (False, True):
        assert hub.download("org/name", with_weights=with_weights, trust_remote_code=False) == cache


def test_weights_that_are_not_in_the_cache_are_told(cache: Path) -> None:
    assert refusal() == (
        "org/name: has no model.safetensors on the hub or in the local cache; only safetensors are loaded, so connect "
        "to a network or name a model that has them"
    )


def test_an_unknown_model_without_a_network_is_told(cache: Path) -> None:
    assert refusal("org/other", with_weights=False) == (
        "org/other: no such directory here, not in the local cache, and the hub cannot be reached; name a checkpoint "
        "folder or connect to a network"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            errors.GatedRepoError,
            "org/name: its owner asks for consent; accept it on its hub page, then `hf auth login`",
        ),
        (
            errors.RepositoryNotFoundError,
            "org/name: no such directory here and no such model on the hub; check the spelling, or `hf auth login` "
            "where it is private",
        ),
        (
            errors.IncompleteSnapshotError,
            "org/name: only a part of it is in the local cache and the hub cannot be reached; connect to a network",
        ),
        (OSError, "org/name: cannot be downloaded (No space left); try again or name a folder"),
    ],
)
def test_what_the_hub_answers_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], message: str
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        # Their constructors ask for a whole response.
        raised = error.__new__(error)
        raised.args = ("No space left.\nMore about it.",)
        raise raised

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    assert refusal() == message


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool, bool], list[list[str]]]:
    """Downloads into tmp_path, which a test may fill, and returns the patterns that were asked for."""

    def download(with_weights: bool, trust_remote_code: bool) -> list[list[str]]:
        patterns: list[list[str]] = []

        def snapshot_download(hub_id: str, allow_patterns: list[str]) -> str:
            patterns.append(allow_patterns)
            for name in allow_patterns:
                if "*" not in name:
                    (tmp_path / name).touch()
            return str(tmp_path)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        hub.download("org/name", with_weights=with_weights, trust_remote_code=trust_remote_code)
        return patterns

    return download


def test_only_the_tokenizer_and_configuration_without_weights(asked: Callable[[bool, bool], list[list[str]]]) -> None:
    assert asked(False, False) == [["*.json", "*.model", "*.tiktoken", "vocab.txt", "merges.txt"]]


def test_code_only_where_it_is_trusted(asked: Callable[[bool, bool], list[list[str]]]) -> None:
    assert "*.py" in asked(False, True)[0]


def test_one_file_of_weights(asked: Callable[[bool, bool], list[list[str]]]) -> None:
    assert asked(True, False)[1] == ["model.safetensors"]


def test_exactly_the_shards_of_the_index(asked: Callable[[bool, bool], list[list[str]]], tmp_path: Path) -> None:
    shards = {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors", "d": "evil.bin"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert asked(True, False)[1] == ["model-1.safetensors", "model-2.safetensors"]
