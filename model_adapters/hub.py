"""Checkpoints and runs from the hub, at one commit each, in the cache that transformers shares."""

import difflib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import UsageError
from model_adapters.messages import first_line

_HUB_NAME = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?)(@(?P<revision>[^@\s]+))?")
_RUN_ADDRESS = re.compile(
    r"hub:(?P<kind>datasets/)?(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^@/\s]+))?(/(?P<folder>.+))?"
)
DEFINITION = ["*.json", "*.jinja", "*.model", "*.tiktoken", "vocab.txt", "merges.txt"]
CODE = ["*.py"]
SHOWN_REVISIONS = 5
ANSWER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class HubSnapshot:
    """A model of the hub at one commit, as far as it is in the cache."""

    name: str
    """What the user passed as --model."""
    hub_id: str
    commit: str
    folder: Path


def is_hub_name(name: str) -> bool:
    """Whether `name` can be a hub id, with or without `@revision`."""
    return _HUB_NAME.fullmatch(name) is not None


def download_definition(name: str, *, trust_remote_code: bool) -> HubSnapshot:
    """Configuration and tokenizer of the hub checkpoint `name`, and its code if that is trusted.

    `name` is a hub id, at the branch, tag or commit after `@` if it has one. Files in the cache are not
    downloaded again, and suffice without a network. Raises UsageError if the hub cannot be reached, has no such model
    or revision, or does not let this user have it.
    """
    found = _HUB_NAME.fullmatch(name)
    assert found is not None  # the caller has asked `is_hub_name`
    patterns = DEFINITION + (CODE if trust_remote_code else [])
    folder = _snapshot(name, found["id"], found["revision"], patterns, in_part=False)
    return HubSnapshot(name, found["id"], folder.name, folder)


def download_files(snapshot: HubSnapshot, files: Iterable[str]) -> None:
    """Add files to a snapshot, except those that its repository does not have; raises UsageError if it fails."""
    if missing := [file for file in files if not (snapshot.folder / file).exists()]:
        _snapshot(snapshot.name, snapshot.hub_id, snapshot.commit, missing, in_part=True)


def run_folder(address: str, names: Iterable[str]) -> Path:
    """The folder of the run, or of runs, at `hub:[datasets/]ORG/NAME[@REVISION][/FOLDER]`, downloaded.

    `names` are the files of a run; others, such as a model's weights, are left where they are. Raises UsageError as
    `download_definition`, for another address, and if there is no such folder.
    """
    found = _RUN_ADDRESS.fullmatch(address)
    if found is None:
        raise UsageError(f"{address} is no address of a run; write hub:ORG/NAME@REVISION/FOLDER, or hub:datasets/ORG/…")
    below = f"{found['folder'].rstrip('/')}/" if found["folder"] else ""
    patterns = [f"{below}{inner}{name}" for name in names for inner in ("", "*/")]
    kind = "dataset" if found["kind"] else "model"
    # A folder that is not there is reported below, in one line.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    folder = _snapshot(address, found["id"], found["revision"], patterns, in_part=False, kind=kind) / below
    if not folder.is_dir():
        raise UsageError(f"{address}: there is no run in {below or 'the repository'}; check the folder's name")
    return folder


def repository_files(snapshot: HubSnapshot) -> frozenset[str] | None:
    """The files that a snapshot's repository has at its commit; None if the hub cannot be reached."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(snapshot.hub_id, revision=snapshot.commit, timeout=ANSWER_SECONDS)
        return frozenset(sibling.rfilename for sibling in info.siblings or ())
    except Exception:  # noqa: BLE001 - what it would say only explains another failure, or the download says it too
        return None


def _snapshot(
    name: str, hub_id: str, revision: str | None, patterns: list[str], *, in_part: bool, kind: str = "model"
) -> Path:
    """Download what matches; `in_part` if the cache has something of it already. Raises UsageError, one line."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(hub_id, repo_type=kind, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError as error:
        raise UsageError(
            f"{name}: its owner asks for consent; accept it on its hub page, then `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{name}: {_no_revision(hub_id, revision or '', kind)}") from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(
            f"{name}: no such directory here and no such {kind} on the hub; check the spelling, or `hf auth login` "
            "if it is private"
        ) from error
    except (errors.IncompleteSnapshotError, errors.LocalEntryNotFoundError) as error:
        if in_part or isinstance(error, errors.IncompleteSnapshotError):
            raise UsageError(
                f"{name}: only a part of it is in the local cache and the hub cannot be reached; connect to a network"
            ) from error
        raise UsageError(
            f"{name}: no such directory here, not in the local cache, and the hub cannot be reached; "
            "name a checkpoint folder or connect to a network"
        ) from error
    except Exception as error:  # the network, the disk, and the transfer library each have their own
        raise UsageError(f"{name}: cannot be downloaded ({first_line(error)}); try again or name a folder") from error


def _no_revision(hub_id: str, revision: str, kind: str) -> str:
    from huggingface_hub import HfApi

    message = f"{hub_id} has no branch, tag or commit {revision!r}"
    try:
        refs = HfApi().list_repo_refs(hub_id, repo_type=kind)
    except Exception:  # noqa: BLE001 - the message is complete without a suggestion
        return f"{message}; check the spelling"
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    near = difflib.get_close_matches(revision, names, n=1)
    return f"{message}; did you mean {near[0]!r}?" if near else f"{message}; it has {_shown(names)}"


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_REVISIONS]) + (
        f" and {len(names) - SHOWN_REVISIONS} more" if len(names) > SHOWN_REVISIONS else ""
    )
