"""Device of the Triton kernels' tests: a GPU, else Triton's interpreter, which needs a process of its own.

Triton decides when it is first imported whether it interprets, so `test_interpreted.py` starts these files again
with TRITON_INTERPRET=1; in the process of all other tests they are not collected unless there is a GPU.
"""

import os
from pathlib import Path

import torch


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    runs_here = torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"
    if collection_path.name.startswith("test_triton_") and not runs_here:
        return True
    return None
