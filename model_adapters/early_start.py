"""Load what a GPU needs in threads while Python imports transformers."""

import ctypes
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LIBRARY = "libtorch.so"
"""What needs all of PyTorch's libraries but the one that calls Python."""
_WITH_LIBRARIES = ("asyncio", "markupsafe", "numpy", "PIL.Image", "regex", "yaml")
"""Modules with libraries that transformers imports."""


def start_for_gpu(device: str = "auto") -> None:
    """Import transformers while CUDA's driver and PyTorch's libraries are loaded, before PyTorch is imported.

    transformers' own import takes a second and needs no PyTorch. The driver takes a tenth of a second or more, its
    context on the GPU of this `--device` another one, and the libraries of a build for GPUs half a second; their next
    user waits for the rest. A process loads one library at a time, so what transformers needs comes first. What is
    missing fails where it is used.
    """
    place = importlib.util.find_spec("torch") if "torch" not in sys.modules else None
    if place is None or place.origin is None:
        return
    library = Path(place.origin).parent / "lib" / LIBRARY
    _start("cuda driver", lambda: _initialize_driver(_index(device)))
    for name in _WITH_LIBRARIES:
        _import(name)
    _start("libtorch", lambda: _load(library))
    _import("transformers")


def _import(name: str) -> None:
    with suppress(ImportError):
        importlib.import_module(name)


def _start(name: str, work: Callable[[], None]) -> None:
    # Waited for at exit: a process that ends while a library is loaded crashes, as after Ctrl-C.
    threading.Thread(target=work, name=name).start()


def _index(device: str) -> int:
    number = device.partition(":")[2]
    return int(number) if number.isdecimal() else 0


def _initialize_driver(index: int) -> None:
    """Make the context that CUDA's runtime uses on a GPU; without a driver or such a GPU, do nothing."""
    with suppress(OSError):
        driver = ctypes.CDLL("libcuda.so.1")
        place, context = ctypes.c_int(), ctypes.c_void_p()
        if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(place), index) == 0:
            driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), place)


def _load(library: Path) -> None:
    """Load a library without holding Python's lock meanwhile, as ctypes.CDLL does."""
    with suppress(OSError, AttributeError):
        load = ctypes.CDLL(None).dlopen
        load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        load(os.fsencode(library), os.RTLD_NOW)
