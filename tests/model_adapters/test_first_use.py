"""CUDA's libraries are loaded beside a model's preparation, and nothing else changes."""

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit.running.model_options import ModelOptions
from model_adapters import first_use, loading
from model_adapters.engine.forward import prefill_backends
from model_adapters.first_use import libraries_used
from tests.model_adapters.small_models import save_small_checkpoint

GPU = torch.device("cuda:0")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was used, in order, on a CPU that stands for a GPU."""
    used = list[str]()
    held = list[weakref.ref[torch.Tensor]]()
    own = torch.zeros

    def zeros(*args: Any, device: torch.device, **named: Any) -> torch.Tensor:
        assert device == GPU
        held.append(weakref.ref(made := own(*args, **named)))
        return made

    def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        used.append("product")
        return x @ weight.T

    def attend(*args: Any) -> tuple[torch.Tensor, ...]:
        used.append(f"attention {[*args[0].shape]}")
        return args[:2]

    def empty_cache() -> None:
        gc.collect()
        used.append(f"emptied, {sum(one() is not None for one in held)} tensors left")

    monkeypatch.setattr(first_use, "_USED", set())
    monkeypatch.setattr(torch, "zeros", zeros)
    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    monkeypatch.setattr(first_use, "attend_with_cudnn", attend)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    return used


def test_each_gpu_is_used_once_and_before_the_block_has_ended(used: list[str]) -> None:
    for _ in range(2):
        with libraries_used(GPU):
            pass
        assert used == ["product", "attention [1, 1, 256, 64]", "emptied, 0 tensors left"]


def test_what_fails_is_left_to_its_use(used: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise RuntimeError("cuDNN is not supported")

    monkeypatch.setattr(first_use, "attend_with_cudnn", missing)
    with libraries_used(GPU):
        pass
    assert used == ["product", "emptied, 0 tensors left"]


def test_a_gpu_that_is_not_there_is_left_to_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(device: torch.device) -> None:
        raise RuntimeError(f"no {device}")

    monkeypatch.setattr(first_use, "_USED", set())
    monkeypatch.setattr(torch.cuda, "device", gone)
    with libraries_used(GPU):
        pass


def test_an_error_in_the_block_waits_for_the_libraries(used: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt), libraries_used(GPU):
        raise KeyboardInterrupt
    assert used[-1] == "emptied, 0 tensors left"


def test_a_cpu_needs_none(used: list[str]) -> None:
    with libraries_used(torch.device("cpu")):
        assert not any(thread.name.startswith("libraries") for thread in threading.enumerate())
    assert used == []


def test_attention_is_that_of_segments() -> None:
    assert prefill_backends._KERNELS["cuda"][0].attend is first_use.attend_with_cudnn


def test_libraries_are_used_before_memory_is_allocated_for_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, own = list[str](), loading.build_model

    @contextmanager
    def noted(device: torch.device) -> Iterator[None]:
        events.append(f"begin on {device}")
        yield
        events.append("end")

    def build(*args: Any, **named: Any) -> Any:
        events.append("build")
        return own(*args, **named)

    monkeypatch.setattr(loading, "libraries_used", noted)
    monkeypatch.setattr(loading, "build_model", build)
    loading.load_model(ModelOptions(str(save_small_checkpoint(tmp_path / "m", "llama")), device="cpu"))
    assert events == ["begin on cpu", "end", "build"]
