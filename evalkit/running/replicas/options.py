"""Options of replicas: how many, on how many GPUs each, and on which Ray cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from evalkit.errors import UsageError
from evalkit.running.model_options import LARGER_THAN_A_GPU
from evalkit.values import read_value

AUTO = "auto"
LOADING_SECONDS = "EVALKIT_LOADING_SECONDS"
"""Variable with the longest time in which a replica that loads its model makes no progress."""
REPLICA_OPTIONS = ("replicas", "gpus_per_replica", "ray_address")
"""Options as users write them."""


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """The replicas of a run."""

    count: int | None
    """None for as many as the cluster has GPUs for."""
    gpus_each: float | None = None
    """GPUs of each replica: one, or a part of one; None for one if there are any."""
    address: str | None = None
    """Address of a Ray cluster; None for RAY_ADDRESS, else an instance of this machine."""

    @staticmethod
    def of(values: Mapping[str, Any], *, where: str = "--") -> "ReplicaOptions | None":
        """The options that a command or a plan states, None if it wants no replicas.

        Raises UsageError naming the option that is wrong after `where`.
        """
        given = {name: values[name] for name in REPLICA_OPTIONS if values.get(name) is not None}
        names = {name: where + (name.replace("_", "-") if where == "--" else name) for name in REPLICA_OPTIONS}
        if "replicas" not in given:
            if given:
                name = names[next(iter(given))]
                raise UsageError(f"{name} goes with {names['replicas']}; add it, or leave {name} out")
            return None
        gpus = given.get("gpus_per_replica")
        return ReplicaOptions(
            count=_count(given["replicas"], names["replicas"]),
            gpus_each=None if gpus is None else _gpus(gpus, names["gpus_per_replica"]),
            address=given.get("ray_address"),
        )

    def instead_of(self, planned: "ReplicaOptions | None") -> "ReplicaOptions":
        """These options of a command, with the GPUs and the address that it leaves to the plan."""
        if planned is None:
            return self
        gpus_each = planned.gpus_each if self.gpus_each is None else self.gpus_each
        return replace(self, gpus_each=gpus_each, address=self.address or planned.address)


def loading_seconds(environment: Mapping[str, str], default: float) -> float:
    """The limit in LOADING_SECONDS; raises UsageError if it is no positive number."""
    text = environment.get(LOADING_SECONDS) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(f"{LOADING_SECONDS}={text}: write a number of seconds above 0, such as {default:g}")
    return seconds


def _count(value: Any, name: str) -> int | None:
    if value == AUTO:
        return None
    try:
        count: int = read_value(value, int, name)
    except UsageError:
        count = 0
    if count < 1:
        raise UsageError(f"{name} {value}: write a number of 1 or more, or auto for one per GPU")
    return count


def _gpus(value: Any, name: str) -> float:
    gpus: float = read_value(value, float, name)
    if gpus > 1:
        raise UsageError(f"{name} {gpus:g}: a replica runs on one GPU; write 1 or less; {LARGER_THAN_A_GPU}")
    if not gpus > 0:
        raise UsageError(f"{name} {gpus:g}: write 1, or a part of a GPU, such as 0.25")
    return gpus
