"""Connection to a Ray cluster, or a Ray instance of this machine for the time of a run."""

import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.installation import install_command, is_installed
from evalkit.running.folder_lock import LOCK, FolderLock, refuse_locked
from model_adapters.messages import first_line

ADDRESS = "RAY_ADDRESS"
OBJECT_STORE_BYTES = 100 * 2**20
"""Of a local instance: records travel inside of Ray's own messages, so hardly any is used."""
REACH_SECONDS = 10.0
PREFIX = "evalkit-ray-"
SETTLED_SECONDS = 60.0
"""A folder that is younger may not be locked yet."""
LONGEST_FOLDER = 40
"""Characters of the folder for Ray's sockets, whose whole paths may have 107."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the machines of a Ray cluster have in all."""

    gpus: float
    cpus: float
    hosts: int


@contextmanager
def ray_cluster(address: str | None, *, least_cpus: int) -> Iterator[Cluster]:
    """Connect to the cluster at `address` or RAY_ADDRESS, else start an instance here and stop it at the end.

    A local instance offers at least `least_cpus` processors, listens on the loopback interface only, has no dashboard
    and sends no usage statistics. Raises UsageError if Ray is not installed or the cluster cannot be reached.
    """
    if not is_installed("ray"):
        raise UsageError(f"--replicas needs Ray, which is not installed: {install_command('ray')}")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Actors without a GPU keep the environment's CUDA_VISIBLE_DEVICES; Ray warns about that otherwise.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():  # by a caller in this process, whose instance it stays
        yield _describe()
        return
    address = address or os.environ.get(ADDRESS) or None
    with _quiet(), _connected(address) if address else _local(max(least_cpus, _cpus())):
        yield _describe()


@contextmanager
def _connected(address: str) -> Iterator[None]:
    import ray

    with _refusing(f"the Ray cluster at {address} cannot be reached"):
        _try_to_reach(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _try_to_reach(address: str) -> None:
    """Raise OSError or ValueError for an address where nothing listens: Ray tries for minutes."""
    if "://" in address:
        raise ValueError("write host:port, and run evalkit on a machine of the cluster")
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


@contextmanager
def _local(cpus: int) -> Iterator[None]:
    import ray
    from ray._private import ray_constants

    folder = _folder()
    lock = FolderLock(folder)
    # Ray's way to bind everything to the loopback interface, meant for systems with a firewall that asks.
    joins_others, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        with _refusing("Ray cannot be started here"):
            ray.init(
                "local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
            )
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = joins_others
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the deaths of workers off stdout, where Ray prints them and a command its result; the run reports them."""
    from ray._private import worker

    printing, worker.print_worker_logs = worker.print_worker_logs, lambda *_: None
    try:
        yield
    finally:
        worker.print_worker_logs = printing


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise UsageError(f"{what}: {first_line(error)}") from None


def _describe() -> Cluster:
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Cluster(float(resources.get("GPU", 0)), float(resources.get("CPU", 0)), len(ray.nodes()))  # type: ignore[no-untyped-call]


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _folder() -> Path:
    """A new folder for Ray's sockets and logs; those that killed commands left behind are removed."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    if len(str(folder)) > LONGEST_FOLDER:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    for other in folder.parent.glob(f"{PREFIX}*"):
        if _is_abandoned(other):
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _is_abandoned(folder: Path) -> bool:
    """Whether the command that made the folder is gone: nobody holds its lock."""
    try:
        made_at = (folder / LOCK).stat()
        if made_at.st_uid != os.getuid() or time.time() - made_at.st_mtime < SETTLED_SECONDS:
            return False
        refuse_locked(folder)
    except (OSError, UsageError):
        return False
    return True
