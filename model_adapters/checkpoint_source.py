"""Where the checkpoints of a training run appear: a folder of folders, or the branches and tags of a hub repository."""

import hashlib
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.running.watching import CheckpointSource, FoundCheckpoint, Readiness, step_of
from model_adapters import hub
from model_adapters.checkpoint import ADAPTER_CONFIG, CONFIG, read_object
from model_adapters.messages import first_line
from model_adapters.weights import ADAPTER_WEIGHTS, WEIGHTS, WEIGHTS_INDEX, tensor_headers

TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt"})
"""Files of which a checkpoint has at least one."""
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")


def open_source(where: str) -> CheckpointSource:
    """The folder `where`, or the hub repository of that id; UsageError if it can be neither."""
    if Path(where).is_dir():
        return FolderSource(Path(where))
    if not hub.is_hub_name(where) or "@" in where or where.startswith((".", "/")):
        raise UsageError(f"--watch {where}: no such folder, and no id of a hub repository (ORG/NAME)")
    return HubSource(where)


class FolderSource:
    """Folders with a step in their name, such as those that trainers write; links to others are passed over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def checkpoints(self) -> list[FoundCheckpoint]:
        try:
            folders = [path for path in self._folder.iterdir() if path.is_dir() and not path.is_symlink()]
        except OSError as error:
            raise UsageError(f"--watch {self._folder}: cannot be read ({error.strerror})") from None
        return _by_step((path.name, str(path)) for path in folders)

    def look(self, checkpoint: FoundCheckpoint) -> Readiness:
        folder = Path(checkpoint.model)
        try:
            files = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
        except OSError:
            return Readiness("its files, which are being moved or removed", "")
        listed = "".join(f"{name} {files[name].st_size} {files[name].st_mtime_ns}\n" for name in sorted(files))
        waits_for = _missing_file(files) or _unwritten_weights(checkpoint.model, folder, files)
        return Readiness(waits_for, hashlib.sha256(listed.encode()).hexdigest())


class HubSource:
    """Branches and tags with a step in their name; a commit of the hub is whole once all its files are listed."""

    def __init__(self, repository: str) -> None:
        self._repository = repository

    def checkpoints(self) -> list[FoundCheckpoint]:
        from huggingface_hub import HfApi

        try:
            refs = HfApi().list_repo_refs(self._repository)
        except Exception as error:  # the network and the hub have many errors, and each is tried again
            raise UsageError(
                f"--watch {self._repository}: the hub does not list its branches ({first_line(error)}); check the id, "
                "the network and HF_HUB_OFFLINE"
            ) from error
        self._commits = {ref.name: ref.target_commit for ref in (*refs.branches, *refs.tags)}
        return _by_step((name, f"{self._repository}@{name}") for name in self._commits)

    def look(self, checkpoint: FoundCheckpoint) -> Readiness:
        commit = self._commits[checkpoint.name]
        snapshot = hub.HubSnapshot(checkpoint.model, self._repository, commit, Path())
        files = hub.repository_files(snapshot)
        if files is None:
            return Readiness("an answer of the hub", commit)
        return Readiness(_missing_file(files) or _missing_part(files), commit)


def _by_step(named: Iterable[tuple[str, str]]) -> list[FoundCheckpoint]:
    found = [FoundCheckpoint(name, step, model) for name, model in named if (step := step_of(name)) is not None]
    return sorted(found, key=lambda checkpoint: (checkpoint.step, checkpoint.name))


def _missing_file(names: Collection[str]) -> str:
    """The first file that every checkpoint has and this one lacks; an adapter has its base model's tokenizer."""
    if ADAPTER_CONFIG in names and CONFIG not in names:
        return "" if ADAPTER_WEIGHTS in names else ADAPTER_WEIGHTS
    if CONFIG not in names:
        return CONFIG
    if WEIGHTS not in names and WEIGHTS_INDEX not in names:
        return f"{WEIGHTS} or {WEIGHTS_INDEX}"
    return "" if TOKENIZERS & set(names) else "its tokenizer"


def _missing_part(names: Collection[str]) -> str:
    """A part of the weights, numbered as transformers does, that is not among its siblings."""
    for name in sorted(names):
        if (part := _PART.fullmatch(name)) is not None:
            numbers = range(1, int(part["count"]) + 1)
            siblings = (f"{part['stem']}-{number:05d}-of-{part['count']}.safetensors" for number in numbers)
            if (missing := next((sibling for sibling in siblings if sibling not in names), None)) is not None:
                return missing
    return ""


def _unwritten_weights(model: str, folder: Path, names: Collection[str]) -> str:
    """A file of weights that is missing or shorter than its own header says."""
    try:
        if WEIGHTS_INDEX in names:
            shards = {str(shard) for shard in dict(read_object(model, folder / WEIGHTS_INDEX)["weight_map"]).values()}
        else:
            shards = {name for name in (WEIGHTS, ADAPTER_WEIGHTS) if name in names}
    except (UsageError, KeyError, TypeError, ValueError):
        return f"the rest of {WEIGHTS_INDEX}"
    for shard in sorted(shards):
        if shard not in names:
            return shard
        try:
            tensor_headers(model, folder / shard)
        except UsageError:
            return f"the rest of {shard}"
    return ""
