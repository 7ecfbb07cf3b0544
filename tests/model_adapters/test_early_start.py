"""What is loaded while transformers is imported, and for which runs."""

import ctypes
import importlib
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters import early_start, opening

_IN_ORDER = """
import sys
from model_adapters.early_start import LIBRARY, start_for_gpu
start_for_gpu()
print("transformers" in sys.modules, "torch" in sys.modules)
import torch
print(LIBRARY in open("/proc/self/maps").read(), torch.ones(2).sum().item())
"""

_LIBRARIES = """
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from evalkit.cli.shared import suite_command
from model_adapters import early_start, opening
def libraries():
    files = {name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
    return {name for name, file in files.items() if file.endswith(tuple(EXTENSION_SUFFIXES))}
loaded = []
start = early_start._start
def start_noted(name, work):
    loaded.append(libraries())
    start(name, work)
early_start._start = start_noted
early_start.start_for_gpu()
print(sorted(libraries() - loaded[-1]))
"""

_INTERRUPTED = """
import importlib, sys, time
from model_adapters import early_start
def load(library):
    time.sleep(0.3)
    print("loaded")
def interrupt(name):
    if name == "transformers":
        sys.exit(130)
early_start._load, importlib.import_module = load, interrupt
early_start.start_for_gpu()
"""


def _start_and_wait(device: str = "auto") -> None:
    before = set(threading.enumerate())
    early_start.start_for_gpu(device)
    for thread in set(threading.enumerate()) - before:
        thread.join()


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A process that has not imported PyTorch yet, and the names of what it imports."""
    imported: list[str] = []
    monkeypatch.delitem(sys.modules, "torch")
    origin = SimpleNamespace(origin=str(tmp_path / "torch" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: origin)
    monkeypatch.setattr(importlib, "import_module", imported.append)
    return imported


def test_transformers_is_imported_before_pytorch_whose_libraries_are_loaded_meanwhile() -> None:
    found = subprocess.run([sys.executable, "-c", _IN_ORDER], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["True False", "True 2.0"]


def test_transformers_loads_no_library_while_those_of_pytorch_are_loaded() -> None:
    """It would wait for them, because a process loads one library at a time."""
    found = subprocess.run([sys.executable, "-c", _LIBRARIES], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_a_process_that_is_interrupted_ends_after_its_libraries_are_loaded() -> None:
    """Otherwise it crashes in the loader, with another exit code."""
    found = subprocess.run([sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (130, "loaded\n", "")


class Driver:
    """Stands for CUDA's driver with two GPUs, of which one has the number 7, and for the C library."""

    done: ClassVar[list[object]] = []

    def __init__(self, name: str | None) -> None:
        self.dlopen = lambda path, flags: self.done.append(path)

    def cuInit(self, flags: int) -> int:  # noqa: N802 - CUDA's name
        self.done.append(flags)
        return 0

    def cuDeviceGet(self, place: Any, index: int) -> int:  # noqa: N802
        place._obj.value = (4, 7)[index] if index < 2 else 0
        return 0 if index < 2 else 101

    def cuDevicePrimaryCtxRetain(self, context: Any, place: ctypes.c_int) -> int:  # noqa: N802
        self.done.append(f"context on {place.value}")
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> type[Driver]:
    monkeypatch.setattr(Driver, "done", [])
    monkeypatch.setattr(ctypes, "CDLL", Driver)
    return Driver


def test_the_driver_and_the_libraries_are_loaded_once(
    driver: type[Driver], without_torch: list[str], tmp_path: Path
) -> None:
    _start_and_wait()
    library = str(tmp_path / "torch" / "lib" / "libtorch.so").encode()
    assert sorted(driver.done, key=str) == [0, library, "context on 4"]
    assert without_torch[-1] == "transformers"


@pytest.mark.parametrize(
    ("device", "contexts"), [("cuda", ["context on 4"]), ("cuda:1", ["context on 7"]), ("cuda:2", [])]
)
def test_a_context_is_made_on_the_gpu_of_the_run(
    driver: type[Driver], without_torch: list[str], device: str, contexts: list[str]
) -> None:
    _start_and_wait(device)
    assert [one for one in driver.done if str(one).startswith("context")] == contexts


def test_no_context_is_made_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, driver: type[Driver], without_torch: list[str]
) -> None:
    monkeypatch.setattr(Driver, "cuInit", lambda self, flags: 100)
    _start_and_wait()
    assert [one for one in driver.done if str(one).startswith("context")] == []


def test_a_machine_without_driver_and_libraries_does_without(
    monkeypatch: pytest.MonkeyPatch, without_torch: list[str]
) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    # An exception in a thread would be a warning, which is an error.
    _start_and_wait()
    assert without_torch[-1] == "transformers"


def test_nothing_starts_where_pytorch_is_missing(monkeypatch: pytest.MonkeyPatch, without_torch: list[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    early_start.start_for_gpu()
    assert without_torch == []


def test_nothing_starts_where_pytorch_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "torch" in sys.modules
    imported: list[str] = []
    monkeypatch.setattr(importlib, "import_module", imported.append)
    early_start.start_for_gpu()
    assert imported == []


def test_a_run_on_the_cpu_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(opening, "start_for_gpu", started.append)
    assert opening.memory_forecast(ModelOptions(model="m", device="cpu"), 4096) is None
    assert opening.memory_forecast(ModelOptions(model="scripted:right"), 4096) is None
    assert started == []
    opening.check_options(ModelOptions(model="reference:hybrid", device="cpu"))
    assert started == []
    opening.memory_forecast(ModelOptions(model="reference:hybrid"), 4096)
    assert started == ["auto"]


def test_a_gpu_that_is_named_is_started_before_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(opening, "start_for_gpu", started.append)
    with pytest.raises(UsageError, match="cuda:1"):
        opening.check_options(ModelOptions(model="reference:hybrid", device="cuda:1"))
    assert started == ["cuda:1"]
