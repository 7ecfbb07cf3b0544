"""Environment of a run: code, libraries, processor and GPU."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import evalkit
from evalkit.records import Environment, Gpu

LIBRARIES = ("torch", "transformers", "tokenizers", "triton", "numpy", "lm-eval", "datasets", "wonderwords")


def describe_environment(device: str = "") -> Environment:
    """Versions, hardware and commit; what cannot be found out is None.

    `device` is where the model runs, such as `cuda:1`; by default the first GPU is described. Versions and commit are
    looked up once per process, which runs the code that it has loaded whatever is installed or checked out later.
    """
    return Environment(
        evalkit=evalkit.__version__,
        git_commit=_git("rev-parse", "HEAD"),
        git_dirty=_git_dirty(),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu_name(),
        cpu_count=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        libraries={name: _version(name) for name in LIBRARIES},
        gpu=_gpu(device),
    )


@cache
def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def _git(*arguments: str) -> str | None:
    """Output of git in evalkit's own checkout; None for an installed wheel."""
    folder = Path(evalkit.__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _git_dirty() -> bool | None:
    status = _git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _gpu(device: str) -> Gpu | None:
    # Without torch imported no GPU was used, and importing it here would take seconds.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    index = device.removeprefix("cuda:")
    properties = torch.cuda.get_device_properties(int(index) if index.isdecimal() else 0)
    return Gpu(
        name=properties.name,
        count=torch.cuda.device_count(),
        memory_bytes=properties.total_memory,
        capability=f"{properties.major}.{properties.minor}",
        cuda=torch.version.cuda,
        driver=_driver(),
    )


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.split()
    return lines[0] if done.returncode == 0 and lines else None
