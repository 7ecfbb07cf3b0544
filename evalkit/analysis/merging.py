"""Merging of shards: the run that one process would have stored, from the files of several."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from evalkit.analysis.finished_run import check_samples
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import Manifest, RunRecord, RunStart, SampleRecord, Session, Shard, SuiteSummary, keys_of
from evalkit.running.assembly import assemble
from evalkit.running.model_options import ModelOptions
from evalkit.running.run_files import read_manifest, read_samples, read_sessions, read_start

_OF_COMMAND = ("out", "resume", "shard", "format")
"""Options of a command that say where a shard is stored, and not what it asks."""
_OF_PROCESS = {field.name for field in fields(ModelOptions)}
"""Settings that may differ between processes, such as the device; the manifest holds those that decide answers."""
_ANSWERED_ALIKE = ("suite", "suite_version", "dialect", "seed", "config", "unscored", "question_settings")
"""Fields of the start of a run in which all shards agree, besides what their manifests hold."""


@dataclass(frozen=True, slots=True)
class StoredShard:
    """The files of one shard."""

    folder: Path
    shard: Shard
    manifest: Manifest
    start: RunStart
    samples: tuple[SampleRecord, ...]
    sessions: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class MergedRun:
    """The parts of a merged run's folder; `start.run_id` is that of the first shard until it has a folder."""

    manifest: Manifest
    start: RunStart
    samples: tuple[SampleRecord, ...]
    """In the order of the plan."""
    sessions: tuple[Session, ...]
    count: int
    """Number of shards."""

    def record(self, run_id: str, summary: SuiteSummary) -> RunRecord:
        """The record of the run called `run_id`, with the suite's summary of its samples."""
        start = replace(self.start, run_id=run_id)
        return replace(assemble(start, self.samples, summary, self.sessions), merged_shards=self.count)


def read_stored_shard(folder: Path) -> StoredShard:
    """The shard in `folder`; UsageError if it holds none, and IncompatibleRunError if its samples are contradictory."""
    start = read_start(folder)
    if start.shard is None:
        raise UsageError(f"{folder} is no shard but a whole run; only runs made with --shard are merged")
    samples = read_samples(folder)
    check_samples(folder, samples)
    return StoredShard(folder, start.shard, read_manifest(folder), start, tuple(samples), read_sessions(folder))


def merge_shards(folders: Sequence[Path]) -> MergedRun:
    """The run whose shards are in `folders`, whatever their order.

    Raises IncompatibleRunError naming the first difference between shards of different runs, and UsageError naming
    shards and samples that are missing or there twice.
    """
    shards = sorted((read_stored_shard(folder) for folder in folders), key=lambda shard: shard.shard.number)
    for shard in shards[1:]:
        if difference := _difference(shards[0], shard):
            raise IncompatibleRunError(f"{shards[0].folder} and {shard.folder} are not of one run ({difference})")
    _refuse_other_numbers(shards)
    merged = _joined(shards)
    _refuse_missing(shards, merged)
    return merged


def join_shards(shards: Sequence[StoredShard]) -> MergedRun | None:
    """What the shards of one run have stored so far; None if they are of different runs, or if a shard is there twice.

    Raises UsageError as `merge_shards` for a sample that two shards have.
    """
    different = any(_difference(shards[0], shard) for shard in shards[1:])
    if different or len({shard.shard.number for shard in shards}) < len(shards):
        return None
    return _joined(shards)


def _joined(shards: Sequence[StoredShard]) -> MergedRun:
    first = shards[0]
    manifest = replace(first.manifest, shard="")
    for shard in shards[1:]:
        manifest = manifest.extended(shard.manifest)
    start = replace(
        first.start,
        shard=None,
        planned=first.shard.planned,
        config_passed={name: value for name, value in first.start.config_passed.items() if name not in _OF_COMMAND},
        warnings=tuple(dict.fromkeys(warning for shard in shards for warning in shard.start.warnings)),
    )
    samples, sessions = _renumbered(shards)
    names = [key.id for key in keys_of(first.shard.plan)]
    foreign = next((name for name in samples.keys() - set(names)), None)
    if foreign is not None:
        raise UsageError(f"sample {foreign} is in no plan of its shards; run the shard again")
    in_order = tuple(samples[name] for name in names if name in samples)
    return MergedRun(manifest, start, in_order, sessions, first.shard.count)


def _difference(one: StoredShard, other: StoredShard) -> str | None:
    """The first thing that two shards of one run have in common, and these do not."""
    if one.shard.count != other.shard.count:
        return f"{one.shard.label}, {other.shard.label}"
    manifests = replace(one.manifest, shard="").differences(replace(other.manifest, shard=""))
    if manifests:
        return manifests[0]
    for name in _ANSWERED_ALIKE:
        here, there = getattr(one.start, name), getattr(other.start, name)
        if isinstance(here, dict):
            changed = (key for key in here | there if key not in _OF_PROCESS and here.get(key) != there.get(key))
            if (key := next(changed, None)) is not None:
                return f"{key}: {here.get(key)} -> {there.get(key)}"
        elif here != there:
            return f"they differ in {name}"
    return "they have different samples" if one.shard.plan != other.shard.plan else None


def _refuse_other_numbers(shards: Sequence[StoredShard]) -> None:
    by_number: dict[int, Path] = {}
    for shard in shards:
        number = shard.shard.number
        if number in by_number:
            raise UsageError(f"{by_number[number]} and {shard.folder} are both {shard.shard.label}; leave one out")
        by_number[number] = shard.folder
    missing = [str(number) for number in range(1, shards[0].shard.count + 1) if number not in by_number]
    if missing:
        listed = ", ".join(missing[:10]) + ("" if len(missing) <= 10 else f" and {len(missing) - 10} more")
        are = "shard {} of {} is missing; run it" if len(missing) == 1 else "shards {} of {} are missing; run them"
        raise UsageError(f"{are.format(listed, shards[0].shard.count)} with --shard, or name the folder")


def _renumbered(shards: Sequence[StoredShard]) -> tuple[dict[str, SampleRecord], tuple[Session, ...]]:
    """Samples by id and sessions, with sessions numbered through all shards.

    Raises UsageError naming a sample that two shards have.
    """
    samples: dict[str, SampleRecord] = {}
    found_in: dict[str, Path] = {}
    sessions: list[Session] = []
    for shard in shards:
        numbers = {session.number: len(sessions) + place for place, session in enumerate(shard.sessions, start=1)}
        sessions += [
            replace(session, number=numbers[session.number], shard=shard.shard.number) for session in shard.sessions
        ]
        for sample in shard.samples:
            if sample.id in samples:
                raise UsageError(f"sample {sample.id} is in {found_in[sample.id]} and in {shard.folder}; leave one out")
            samples[sample.id] = replace(sample, session=numbers.get(sample.session, 0))
            found_in[sample.id] = shard.folder
    return samples, tuple(sessions)


def _refuse_missing(shards: Sequence[StoredShard], merged: MergedRun) -> None:
    """Raise UsageError naming a sample of the plan that no shard has, and the shards that have not finished."""
    stored = {sample.id for sample in merged.samples}
    missing = [key.id for key in keys_of(shards[0].shard.plan) if key.id not in stored]
    if missing:
        unfinished = [shard for shard in shards if len(shard.samples) < shard.start.planned]
        listed = "; ".join(
            f"{shard.folder} has {len(shard.samples):,} of {shard.start.planned:,}" for shard in unfinished[:3]
        )
        raise UsageError(
            f"samples are missing: {len(missing):,}, such as {missing[0]} ({listed}); continue the shards with --resume"
        )
