"""Kernels launched in a block are compiled, not run, and what the block took for granted is forgotten."""

from pathlib import Path

import pytest
import torch

from model_adapters.kernels import compiling, kernel_cache
from model_adapters.kernels.trial import trial
from tests.support import run_python

CODE = """
from pathlib import Path
import os
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

class Driver:
    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

driver.set_active(Driver())

from model_adapters.kernels.compiling import compiled_together, only_compiling
from model_adapters.kernels.elementwise.triton_elementwise import silu_product
from model_adapters.kernels.vector_product import linear

@triton.jit
def foreign(p):
    pass

def launch():
    x = torch.zeros(1, 64, dtype=torch.bfloat16)
    silu_product(x, x, out=x)

with compiled_together(torch.device("cpu")):
    assert only_compiling()
    assert linear._agrees(64, torch.bfloat16, torch.device("cpu"))
    launch()
    try:
        foreign[(1,)](torch.zeros(1))
    except AttributeError as error:
        print(error)
assert not only_compiling()
assert linear._agrees.cache_info().currsize == 0
print(len([*Path(os.environ["TRITON_CACHE_DIR"]).rglob("*.cubin")]))
try:
    launch()
except AttributeError as error:
    print(error)
"""


def test_launches_are_compiled_together_and_not_run(tmp_path: Path) -> None:
    # Triton reads the source of kernels from files.
    (tmp_path / "launches.py").write_text(CODE)
    done = run_python(tmp_path / "launches.py", TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0")
    assert done.returncode == 0, done.stderr
    foreign_launched, count, launched = done.stdout.splitlines()
    # Both ways to store a product, SwiGLU's, and the foreign kernel.
    assert count == "4"
    # A foreign kernel, and any outside the block, would run, for which this driver has no launcher.
    assert "launcher" in foreign_launched
    assert "launcher" in launched


def test_nothing_is_compared_or_remembered_while_kernels_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def kernel(sample: torch.Tensor) -> torch.Tensor:
        ran.append(sample)
        return sample + 1

    def check() -> str | None:
        return trial(kernel, torch.clone, [(torch.ones(2),)] * 3, torch.float32)

    assert check() is not None
    assert len(ran) == 1
    monkeypatch.setattr(kernel_cache, "REMEMBERED_DEVICES", ("cpu",))
    monkeypatch.setattr(kernel_cache, "_agreements", lambda index: pytest.fail("looked up"))
    compiling_now = compiling._ONLY_COMPILING.set(True)
    try:
        assert kernel_cache.checked_once(torch.device("cpu"), "kernel", "", check) is None
    finally:
        compiling._ONLY_COMPILING.reset(compiling_now)
    assert len(ran) == 4
