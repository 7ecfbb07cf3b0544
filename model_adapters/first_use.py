"""Use CUDA's libraries for the first time while Python prepares to load a model.

Loading them takes tenths of a second, in which they need neither Python's lock nor the model.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import torch

from model_adapters.engine.forward.prefill_backends import attend_with_cudnn

_USED: set[torch.device] = set()


@contextmanager
def libraries_used(device: torch.device) -> Iterator[None]:
    """Load a GPU's libraries in a thread while this block runs, once per process.

    The block must allocate nothing on the GPU. Afterwards no memory is left over from this but what the libraries keep:
    PyTorch's block for the weights is smaller by what is reserved and unused.
    """
    if device.type != "cuda" or device in _USED:
        yield
        return
    _USED.add(device)
    with ThreadPoolExecutor(1, thread_name_prefix="libraries") as thread:
        # Its handles are the main thread's once it has ended. What fails here fails where it is needed.
        thread.submit(_use_libraries, device)
        yield


def _use_libraries(device: torch.device) -> None:
    with torch.cuda.device(device):
        with suppress(Exception):
            _multiply_and_attend(device)
        torch.cuda.empty_cache()


@torch.no_grad()
def _multiply_and_attend(device: torch.device) -> None:
    x_TD = torch.zeros((256, 64), dtype=torch.bfloat16, device=device)
    torch.nn.functional.linear(x_TD, x_TD)
    x_BHTD = x_TD[None, None]
    attend_with_cudnn(x_BHTD, x_BHTD, x_BHTD, True, 1.0)
