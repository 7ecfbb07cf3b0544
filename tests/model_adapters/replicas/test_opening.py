"""How many replicas run and on what, and what is refused before any is started."""

import pytest
import torch

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from evalkit.running.replicas.options import ReplicaOptions
from model_adapters.engine.scheduling.memory_plan import available_bytes
from model_adapters.opening import check_options
from model_adapters.replicas.opening import Placement, place_replicas
from model_adapters.replicas.ray_cluster import Cluster

CPUS = Cluster(gpus=0, cpus=4, hosts=1)
GPUS = Cluster(gpus=8, cpus=64, hosts=2)


@pytest.mark.parametrize(
    ("options", "device", "cluster", "expected"),
    [
        (ReplicaOptions(None), "auto", GPUS, Placement(8, 1.0, 1.0)),
        (ReplicaOptions(3), "auto", GPUS, Placement(3, 1.0, 1.0)),
        (ReplicaOptions(None, 0.25), "cuda", GPUS, Placement(32, 0.25, 1.0)),
        (ReplicaOptions(None, 0.4), "auto", GPUS, Placement(16, 0.4, 1.0)),
        (ReplicaOptions(2), "auto", CPUS, Placement(2, 0.0, 2.0)),
        (ReplicaOptions(8), "cpu", GPUS, Placement(8, 0.0, 8.0)),
        (ReplicaOptions(8), "auto", CPUS, Placement(8, 0.0, 1.0)),
    ],
)
def test_replicas_take_the_gpus_that_there_are(
    options: ReplicaOptions, device: str, cluster: Cluster, expected: Placement
) -> None:
    assert place_replicas(options, ModelOptions("m", device=device), cluster) == expected


@pytest.mark.parametrize(
    ("options", "device", "cluster", "reason"),
    [
        (ReplicaOptions(None), "auto", CPUS, "--replicas auto: there is no GPU; write how many"),
        (ReplicaOptions(None), "cpu", GPUS, "--replicas auto: --device cpu uses no GPU; write how many"),
        (ReplicaOptions(2), "cuda", CPUS, "--replicas 2: 0 GPUs have room for 0 with --gpus-per-replica 1;"),
        (ReplicaOptions(17, 0.4), "auto", GPUS, "--replicas 17: 8 GPUs have room for 16 with --gpus-per-replica 0.4;"),
        (ReplicaOptions(2, 0.5), "auto", CPUS, "--gpus-per-replica 0.5: there is no GPU; leave --gpus-per-replica out"),
        (ReplicaOptions(2, 1.0), "cpu", GPUS, "--gpus-per-replica 1: --device cpu uses no GPU; leave --gpus-per-"),
        (ReplicaOptions(9), "auto", GPUS, "--replicas 9: 8 GPUs have room for 8 with --gpus-per-replica 1;"),
    ],
)
def test_replicas_without_room_are_refused(options: ReplicaOptions, device: str, cluster: Cluster, reason: str) -> None:
    with pytest.raises(UsageError, match=f"^{reason}"):
        place_replicas(options, ModelOptions("m", device=device), cluster)


def test_options_are_read_alike_from_commands_and_plans() -> None:
    assert ReplicaOptions.of({"replicas": None}) is None
    assert ReplicaOptions.of({"replicas": "auto"}) == ReplicaOptions(None)
    values = {"replicas": 4, "gpus_per_replica": "0.25", "ray_address": "head:6379"}
    assert ReplicaOptions.of(values) == ReplicaOptions(4, 0.25, "head:6379")


def test_a_command_leaves_to_the_plan_what_it_does_not_state() -> None:
    planned = ReplicaOptions(8, 0.25, "head:6379")
    assert ReplicaOptions(2).instead_of(planned) == ReplicaOptions(2, 0.25, "head:6379")
    assert ReplicaOptions(None, 1.0, "auto").instead_of(planned) == ReplicaOptions(None, 1.0, "auto")
    assert ReplicaOptions(2).instead_of(None) == ReplicaOptions(2)


@pytest.mark.parametrize(
    ("values", "where", "reason"),
    [
        ({"replicas": "0"}, "--", "--replicas 0: write a number of 1 or more, or auto"),
        ({"replicas": "many"}, "suites.ruler.", "suites.ruler.replicas many: write a number of 1 or more, or auto"),
        (
            {"replicas": 2, "gpus_per_replica": 1.5},
            "--",
            "--gpus-per-replica 1.5: a replica runs on one GPU; write 1 or less; for",
        ),
        ({"replicas": 2, "gpus_per_replica": 0.0}, "--", "--gpus-per-replica 0: write 1, or a part of a GPU"),
        ({"gpus_per_replica": 0.5}, "--", "--gpus-per-replica goes with --replicas; add it, or"),
        ({"ray_address": "a"}, "suites.ruler.", "suites.ruler.ray_address goes with suites.ruler.replicas; add it"),
    ],
)
def test_wrong_options_are_named(values: dict[str, object], where: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"^{reason}"):
        ReplicaOptions.of(values, where=where)


@pytest.mark.parametrize(
    ("options", "replicas", "reason"),
    [
        ({"device": "cuda:1"}, ReplicaOptions(2), "--device cuda:1: each replica has GPUs of its own"),
        ({"device": "cpu"}, ReplicaOptions(2, 0.5), "--gpus-per-replica 0.5: --device cpu uses no GPU; leave"),
        ({"device": "cpu"}, ReplicaOptions(None), "--replicas auto: --device cpu uses no GPU; write how many"),
        ({"server": "http://localhost:1"}, ReplicaOptions(2), "--replicas copies a model that evalkit runs"),
    ],
)
def test_what_replicas_cannot_have_is_refused_before_a_cluster_starts(
    options: dict[str, str], replicas: ReplicaOptions, reason: str
) -> None:
    with pytest.raises(UsageError, match=f"^{reason}"):
        check_options(ModelOptions("m", **options), replicas)  # type: ignore[arg-type]


def test_a_replica_on_a_part_of_a_gpu_plans_with_that_part_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (70, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 15)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda _: {})
    found = []
    for fraction in (1.0, 0.5):
        monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _, part=fraction: part)
        found.append(available_bytes(torch.device("cuda")))
    # All that is free and 5 unused of its own; with half a GPU 30 more than the 20 that it holds.
    assert found == [75, 35]
