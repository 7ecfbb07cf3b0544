"""Start CUDA's driver while Python imports PyTorch."""

import ctypes
import threading
from contextlib import suppress


def start_driver() -> None:
    """Begin to initialize CUDA's driver in a thread, a tenth of a second or more; its next user waits for the rest.

    Without a driver, nothing happens.
    """
    threading.Thread(target=_initialize, name="cuda driver", daemon=True).start()


def _initialize() -> None:
    with suppress(OSError):
        ctypes.CDLL("libcuda.so.1").cuInit(0)
