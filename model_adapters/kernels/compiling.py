"""Compile the kernels of many launches at once: Triton compiles each when it is first launched, one after another.

Triton's passes and ptxas do not hold Python's lock, so threads compile as many kernels as there are cores.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

MOST_THREADS = 32
OWN_KERNELS = "model_adapters."

_ONLY_COMPILING = ContextVar("only_compiling", default=False)
_ONE_AT_A_TIME = threading.Lock()
_VERDICTS: "list[_lru_cache_wrapper[Any]]" = []

Found = TypeVar("Found")


def only_compiling() -> bool:
    """Whether this thread is in a block of `compiled_together`."""
    return _ONLY_COMPILING.get()


def can_compile_together() -> bool:
    """Whether this version of Triton, if it is installed, compiles in threads: 3.6 to 3.9 do."""
    try:
        from triton import AsyncCompileMode  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def compiler_imported(device: torch.device) -> Iterator[None]:
    """Import Triton for a GPU in a thread while this block runs, and hash it, as its first launch would.

    Together that takes half a second, in which a block that reads weights leaves Python idle.
    """
    if device.type != "cuda":
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="triton") as thread:
        thread.submit(_import_compiler)
        yield


def _import_compiler() -> None:
    with suppress(ImportError):  # another version, or none
        from triton.runtime.cache import triton_key

        triton_key()


def verdicts_kept(maxsize: int) -> "Callable[[Callable[..., Found]], _lru_cache_wrapper[Found]]":
    """functools.lru_cache for what depends on whether kernels are right: `compiled_together` does not find that out."""

    def decorate(function: Callable[..., Found]) -> "_lru_cache_wrapper[Found]":
        kept = lru_cache(maxsize=maxsize)(function)
        _VERDICTS.append(kept)
        return kept

    return decorate


class _Compilers(ThreadPoolExecutor):
    """Threads that compile kernels for one device, as many as there are cores, up to 32."""

    def __init__(self, device: torch.device) -> None:
        threads = min(MOST_THREADS, len(os.sched_getaffinity(0)))
        # A thread of its own would load kernels onto the first device.
        self._on_gpu = device.type == "cuda"
        super().__init__(threads, initializer=partial(torch.cuda.set_device, device) if self._on_gpu else None)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Compile a kernel, and the function that launches it, for which Triton 3.6 runs a C compiler."""

        def compile_both() -> Any:
            kernel = function(*args, **kwargs)
            if self._on_gpu:
                kernel.run  # noqa: B018  # a property that makes it
            return kernel

        return super().submit(compile_both)


@contextmanager
def compiled_together(device: torch.device) -> Iterator[None]:
    """Compile this package's kernels that this thread launches in this block, several at once, and launch none of them.

    What they would have written is garbage: nothing in the block may depend on it but other launches. A kernel that
    does not compile is left out; its next launch raises. Afterwards compiled kernels are read from Triton's cache.
    Kernels of libraries run as always, because some try several launches and keep the fastest.
    """
    import triton
    from triton.runtime.jit import JITFunction

    launch: Callable[..., Any] = JITFunction.run
    compiled: set[Any] = set()

    def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        if not only_compiling() or not kernel.fn.__module__.startswith(OWN_KERNELS):
            return launch(kernel, *args, grid=grid, warmup=warmup, **options)
        compiled.add(kernel)
        return launch(kernel, *args, grid=grid, warmup=True, **options)

    with _ONE_AT_A_TIME:
        JITFunction.run = run
        before = _ONLY_COMPILING.set(True)
        try:
            with _Compilers(device) as pool, triton.AsyncCompileMode(pool, ignore_errors=True):
                yield
        finally:
            _ONLY_COMPILING.reset(before)
            JITFunction.run = launch
            for verdict in _VERDICTS:
                verdict.cache_clear()
            for kernel in compiled:  # they may hold kernels that did not compile
                kernel.device_caches.clear()
