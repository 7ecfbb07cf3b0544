"""Device of the Triton kernels' tests: a GPU, else Triton's interpreter, which needs a process of its own.

Triton decides when it is first imported whether it interprets, so `test_interpreted.py` starts these files again
with TRITON_INTERPRET=1; in the process of all other tests they are not collected unless there is a GPU.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    runs_here = torch.cuda.is_available() or INTERPRETED
    if collection_path.name.startswith("test_triton_") and not runs_here:
        return True
    return None


def _patch_language_once() -> None:
    """Let the interpreter replace `triton.language`'s functions once per module instead of once per call.

    It does so for each launch and again for each call of a device function, `tl.sum` included, which is more than half
    of the time of these tests. In a process that only interprets, the replaced functions can stay.
    """
    from triton.runtime import interpreter

    patch: Callable[[Any], Any] = interpreter._patch_lang
    patched: set[str] = set()

    def patch_once(function: Any) -> Any:
        if function.__module__ not in patched:
            patch(function)
            patched.add(function.__module__)
        return interpreter._LangPatchScope()  # nothing to restore

    interpreter._patch_lang = patch_once


if INTERPRETED:
    _patch_language_once()
