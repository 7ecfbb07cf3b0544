"""CUDA's driver starts in a thread, where there is one, and only for runs that may use it."""

import ctypes
import threading
from types import SimpleNamespace

import pytest

from evalkit.running.model_options import ModelOptions
from model_adapters import cuda_driver, opening


def _start_and_wait() -> None:
    before = set(threading.enumerate())
    cuda_driver.start_driver()
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_the_driver_is_initialized(monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(cuInit=flags.append))
    _start_and_wait()
    assert flags == [0]


def test_a_machine_without_a_driver_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    # An exception in the thread would be a warning, which is an error.
    _start_and_wait()


def test_a_run_on_the_cpu_leaves_the_driver_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(opening, "start_driver", lambda: started.append("driver"))
    assert opening.memory_forecast(ModelOptions(model="m", device="cpu"), 4096) is None
    assert opening.memory_forecast(ModelOptions(model="scripted:right"), 4096) is None
    assert started == []
    opening.memory_forecast(ModelOptions(model="reference:hybrid"), 4096)
    assert started == ["driver"]
