"""The Triton kernels' tests on a CPU, in a process with Triton's interpreter."""

import importlib.util
import os
import re
from pathlib import Path

import pytest
import torch

from tests.support import run_python

HERE = Path(__file__).resolve().parent


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed on this platform")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels' tests run on the GPU, in this process")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets already")
@pytest.mark.timeout(2400)
def test_kernels_are_right_in_the_interpreter() -> None:
    files = sorted(HERE.rglob("test_triton_*.py"))
    pytest_quietly = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    done = run_python(*pytest_quietly, *files, TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed.group(1)) >= 2 * len(files)
