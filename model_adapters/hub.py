"""Checkpoints from the model hub, into the cache that transformers shares."""

from pathlib import Path

from evalkit.errors import UsageError
from evalkit.records.codec import parse_json
from model_adapters.messages import first_line

HUB_ID = r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?"
DEFINITION = ["*.json", "*.model", "*.tiktoken", "vocab.txt", "merges.txt"]
CODE = ["*.py"]


def download(hub_id: str, *, with_weights: bool, trust_remote_code: bool) -> Path:
    """The folder of a hub checkpoint: configuration and tokenizer, safetensors if asked for, code if trusted.

    What the cache has already is not downloaded again, and serves without a network. Raises UsageError where the
    hub cannot be reached, has no such model, or does not let this user have it.
    """
    folder = _snapshot(hub_id, DEFINITION + (CODE if trust_remote_code else []))
    if with_weights:
        wanted = _weights_of(folder)
        _snapshot(hub_id, wanted)
        if not any((folder / name).exists() for name in wanted):
            raise UsageError(
                f"{hub_id}: has no {wanted[0]} on the hub or in the local cache; only safetensors are loaded, "
                "so connect to a network or name a model that has them"
            )
    return folder


def _weights_of(folder: Path) -> list[str]:
    """Exactly the files that transformers would load: repositories often hold the weights twice."""
    try:
        weight_map = parse_json((folder / "model.safetensors.index.json").read_bytes())["weight_map"]
        return sorted({str(shard) for shard in weight_map.values() if str(shard).endswith(".safetensors")})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # No index, or one that `weight_files` will refuse with its reason.
        return ["model.safetensors"]


def _snapshot(hub_id: str, patterns: list[str]) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    except errors.GatedRepoError as error:
        raise UsageError(
            f"{hub_id}: its owner asks for consent; accept it on its hub page, then `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(
            f"{hub_id}: no such directory here and no such model on the hub; check the spelling, or `hf auth login` "
            "where it is private"
        ) from error
    except errors.IncompleteSnapshotError as error:
        raise UsageError(
            f"{hub_id}: only a part of it is in the local cache and the hub cannot be reached; connect to a network"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise UsageError(
            f"{hub_id}: no such directory here, not in the local cache, and the hub cannot be reached; "
            "name a checkpoint folder or connect to a network"
        ) from error
    except Exception as error:  # the network, the disk, and the transfer library each have their own
        raise UsageError(f"{hub_id}: cannot be downloaded ({first_line(error)}); try again or name a folder") from error
