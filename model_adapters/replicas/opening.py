"""Opening of replicas: a cluster, as many copies of a model as it has room for, and the first one's description."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from evalkit import __version__
from evalkit.errors import UsageError
from evalkit.records import Manifest
from evalkit.running.answering import Answerer
from evalkit.running.model_options import ModelOptions
from evalkit.running.protocols import Adapter, Suite
from evalkit.running.replicas.dispatcher import Limits
from evalkit.running.replicas.options import ReplicaOptions, loading_seconds
from evalkit.running.replicas.pool import ReplicaPool
from model_adapters.opening import OpenedModel, open_tokenizer
from model_adapters.replicas.ray_cluster import Cluster, ray_cluster
from model_adapters.replicas.worker import Job

_CPU = "--device cpu uses no GPU"


@dataclass(frozen=True, slots=True)
class Placement:
    """How many replicas run, and on what each."""

    replicas: int
    gpus: float
    cpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicatedModel(OpenedModel):
    """A model that replicas run."""

    pool: ReplicaPool

    def answerer(self, suite: Suite[Any], manifest: Manifest) -> Answerer:  # noqa: ARG002  # replicas build their own
        self.pool.expect(manifest.answered_by(self.pool.describe(), __version__))
        return self.pool


def check_replicas(options: ModelOptions, replicas: ReplicaOptions) -> None:
    """Raise UsageError for options of a model that replicas of it cannot have, before any is started."""
    if options.server is not None:
        raise UsageError(
            "--replicas copies a model that evalkit runs, and --server runs elsewhere; leave --replicas out, and start "
            "the server with replicas of its own"
        )
    if options.device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"--device {options.device}: each replica has GPUs of its own; with --replicas write cuda, or leave "
            "--device out"
        )
    if options.device == "cpu":
        _count_without_gpus(replicas, _CPU)


def _count_without_gpus(replicas: ReplicaOptions, reason: str) -> int:
    """The number of replicas that run on no GPU for `reason`; UsageError for options that need one."""
    if replicas.count is None:
        raise UsageError(f"--replicas auto: {reason}; write how many replicas, such as --replicas 2")
    if replicas.gpus_each is not None:
        raise UsageError(f"--gpus-per-replica {replicas.gpus_each:g}: {reason}; leave --gpus-per-replica out")
    return replicas.count


@contextmanager
def open_replicas(
    suite: str, settings: Any, options: ModelOptions, replicas: ReplicaOptions, note: Callable[[str], object]
) -> Iterator[OpenedModel]:
    """Start the replicas and wait for the first; all are stopped at the end.

    `settings` are those of the suite called `suite`; `note` is given lines for the user. Raises UsageError if there is
    no room for the replicas, or if the model cannot run.
    """
    from model_adapters.replicas.ray_fleet import RayFleet

    check_replicas(options, replicas)
    limits = Limits(loading_seconds=loading_seconds(os.environ, Limits().loading_seconds))
    with ray_cluster(replicas.address, least_cpus=replicas.count or 1) as cluster:
        place = place_replicas(replicas, options, cluster)
        on = f"{place.gpus:g} GPU each" if place.gpus else f"{place.cpus:g} CPU each"
        note(f"replicas: {place.replicas}, {on}, on {cluster.hosts} host{'s' * (cluster.hosts > 1)}")
        options = replace(options, device="cuda" if place.gpus else "cpu")
        fleet = RayFleet(Job(suite, settings, options, place.gpus, place.replicas), cpus=place.cpus)
        try:
            yield replicated(ReplicaPool(fleet, place.replicas, limits=limits, note=note), options)
        finally:
            fleet.close()


def replicated(pool: ReplicaPool, options: ModelOptions) -> ReplicatedModel:
    """The model that the replicas of `pool` run, described by the first of them."""
    facts = pool.first()

    def no_adapter() -> Adapter:
        raise RuntimeError("the model runs in replicas, and this process has none")

    return ReplicatedModel(
        facts.identity,
        open_tokenizer(options),
        no_adapter,
        facts.tokens_seen,
        facts.warnings,
        preflight=facts.preflight,
        log_probabilities=facts.log_probabilities,
        pool=pool,
    )


def place_replicas(replicas: ReplicaOptions, options: ModelOptions, cluster: Cluster) -> Placement:
    """Where the replicas run: on GPUs if the cluster has any, unless --device says cpu; raises UsageError."""
    each = replicas.gpus_each or 1.0
    on_gpus = options.device == "cuda" or (options.device == "auto" and cluster.gpus > 0)
    if not on_gpus:
        count = _count_without_gpus(replicas, _CPU if options.device == "cpu" else "there is no GPU")
        return Placement(count, 0.0, max(1.0, cluster.cpus // count))
    # Parts of different GPUs make no whole: 0.4 of a GPU fits twice on each.
    room = int(cluster.gpus) * math.floor(1 / each)
    count = room if replicas.count is None else replicas.count
    if count > room or count == 0:
        wanted = "auto" if replicas.count is None else str(count)
        raise UsageError(
            f"--replicas {wanted}: {cluster.gpus:g} GPUs have room for {room} with --gpus-per-replica {each:g}; "
            "write fewer, a smaller part, or --device cpu"
        )
    return Placement(count, each, 1.0)
