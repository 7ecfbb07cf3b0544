"""The kernel cache: compiled Triton kernels, and which kernels agreed with their references on which GPU.

It is the folder `kernels` in evalkit's cache, which also keeps what was found out about models (`kept_files`). A
machine or container image that has a copy of it, at any path, neither compiles nor checks these kernels and models
again.
"""

import atexit
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import nn

from evalkit import files
from evalkit.cache import cache_folder
from model_adapters.code_digest import code_digest
from model_adapters.installed_package import installed_code
from model_adapters.kernels.compiling import only_compiling

TRITON_VARIABLE = "TRITON_CACHE_DIR"
REMEMBERED_DEVICES = ("cuda",)
LOCATION = "location"
"""A file in the folder of compiled kernels with the path at which they were compiled."""
_PACKAGES = ("torch", "triton", "transformers", "flash-attn-3")
_CODE = ("kernels", "engine/fast_modules", "engine/forward", "engine/memory")
"""Folders of the kernels and of the modules that call and check them."""


def kernel_folder() -> Path:
    """The folder to copy."""
    return cache_folder() / "kernels"


def use_kernel_cache() -> None:
    """Let Triton keep its compiled kernels in the kernel cache, unless TRITON_CACHE_DIR names another folder.

    A cache that cannot be written is copied to a temporary folder, since Triton compiles nothing without a folder.
    """
    if os.environ.get(TRITON_VARIABLE):
        return
    folder = kernel_folder() / "triton"
    if not _can_be_written(folder):
        folder = _temporary_copy(folder)
    os.environ[TRITON_VARIABLE] = str(folder)
    with suppress(OSError):  # without it, kernels are compiled again
        _move_groups(folder)


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _temporary_copy(folder: Path) -> Path:
    """A folder with what can be read of another, until the process ends."""
    copy = Path(mkdtemp(prefix="evalkit-kernels-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    with suppress(OSError, shutil.Error):
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    return copy


def checked_once(device: torch.device, kernel: str, shape: object, check: Callable[[], str | None]) -> str | None:
    """The verdict of a check: None if the kernel agrees with its reference.

    On a GPU the check runs once for each version of the kernels and libraries, kind of GPU, kernel and shape, which
    together must state all that the verdict depends on. Only agreement is remembered: a kernel that did not agree is
    checked again by the next process. While kernels are only compiled, every one counts as right.
    """
    if only_compiling():
        check()
        return None
    agreed = agreements(device)
    if agreed is None:
        return check()
    name = f"{kernel} {shape}"
    if name in agreed.names:
        return None
    verdict = check()
    if verdict is None:
        agreed.add(name)
    else:
        agreed.rejected.add(name)
    return verdict


def agreements(device: torch.device) -> "Agreements | None":
    """What has been found out in the environment of a device; None for one on which nothing is remembered."""
    return _agreements(device.index) if device.type in REMEMBERED_DEVICES else None


def described(module: nn.Module) -> str:
    """What a module computes, apart from its weights: its code, its settings, and its parts with theirs."""
    settings = {name: value for name, value in vars(module).items() if isinstance(value, int | float | str)}
    functions = {name: value.__qualname__ for name, value in vars(module).items() if inspect.isroutine(value)}
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    return " ".join(f"{kind} {settings} {functions} {module!r}".split())


class Agreements:
    """The kernels and shapes that have agreed in one environment, in a file shared by processes.

    Those of an environment with a None, which may change unseen, are forgotten with the process.
    """

    def __init__(self, environment: Mapping[str, str | None]) -> None:
        text = json.dumps(environment, sort_keys=True)
        self.environment = environment
        self._kept = None not in environment.values()
        self.path = kernel_folder() / f"agreed-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        self.names = self._read()
        self.rejected: set[str] = set()
        """Those that did not agree in this process."""

    def add(self, name: str) -> None:
        """Remember a kernel, with those that other processes have added meanwhile."""
        self.names |= self._read() | {name}
        if not self._kept:
            return
        content = {"environment": self.environment, "agreed": sorted(self.names)}
        with suppress(OSError):  # without it, the next process checks again
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(self.path) as out:
                out.write(json.dumps(content, indent=1).encode())

    def _read(self) -> set[str]:
        if not self._kept:
            return set()
        try:
            return set(json.loads(self.path.read_text(encoding="utf-8"))["agreed"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()


@lru_cache(maxsize=16)
def _agreements(index: int | None) -> Agreements:
    return Agreements(environment_of(torch.device("cuda", torch.cuda.current_device() if index is None else index)))


def environment_of(device: torch.device) -> dict[str, str | None]:
    """What the verdict of a check depends on besides the shape: libraries, the engine's own code, and the GPU.

    A library whose code may change without its version is None.
    """
    return {
        "gpu": kind_of_gpu(device),
        "cuda": str(torch.version.cuda),
        "cudnn": _cudnn(),
        **{name: installed_code(name) for name in _PACKAGES},
        "code": code_digest(*_CODE)[:16],
    }


def kind_of_gpu(device: torch.device) -> str:
    """The name of a GPU's kind and its compute capability."""
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, capability {properties.major}.{properties.minor}"


def _cudnn() -> str:
    try:
        return str(torch.backends.cudnn.version())
    except RuntimeError:  # PyTorch was built for another version
        return "unusable"


def _move_groups(folder: Path) -> None:
    """Correct the paths in a copy of compiled kernels: Triton's lists of a kernel's files name them in full."""
    location = folder / LOCATION
    before = location.read_text(encoding="utf-8") if location.exists() else str(folder)
    if before != str(folder):
        for group in folder.rglob("__grp__*.json"):
            with suppress(ValueError, KeyError, AttributeError):  # Triton compiles such a kernel again
                paths = json.loads(group.read_text(encoding="utf-8"))["child_paths"]
                moved = {name: str(group.parent / Path(path).name) for name, path in paths.items()}
                with files.replacing(group) as out:
                    out.write(json.dumps({"child_paths": moved}).encode())
    if before != str(folder) or not location.exists():
        with files.replacing(location) as out:
            out.write(str(folder).encode())
