"""Compile the kernels of many launches at once: Triton compiles each when it is first launched, one after another.

Triton's passes and ptxas do not hold Python's lock, so threads compile as many kernels as there are cores.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

MOST_THREADS = 32

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


def verdicts_kept(maxsize: int) -> "Callable[[Callable[..., Found]], _lru_cache_wrapper[Found]]":
    """functools.lru_cache for what depends on whether kernels are right: `compiled_together` does not find that out."""

    def decorate(function: Callable[..., Found]) -> "_lru_cache_wrapper[Found]":
        kept = lru_cache(maxsize=maxsize)(function)
        _VERDICTS.append(kept)
        return kept

    return decorate


@contextmanager
def compiled_together() -> Iterator[None]:
    """Compile the Triton kernels that this thread launches in this block, several at once, and launch none of them.

    What they would have written is garbage: nothing in the block may depend on it but other such launches. A kernel
    that does not compile is left out; its next launch raises. Afterwards compiled kernels are read from Triton's cache.
    """
    import triton
    from triton.runtime.jit import JITFunction

    launch: Callable[..., Any] = JITFunction.run
    compiled: set[Any] = set()

    def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        if not only_compiling():
            return launch(kernel, *args, grid=grid, warmup=warmup, **options)
        compiled.add(kernel)
        return launch(kernel, *args, grid=grid, warmup=True, **options)

    threads = min(MOST_THREADS, len(os.sched_getaffinity(0)))
    with _ONE_AT_A_TIME:
        JITFunction.run = run
        before = _ONLY_COMPILING.set(True)
        try:
            with ThreadPoolExecutor(threads) as pool, triton.AsyncCompileMode(pool, ignore_errors=True):
                yield
        finally:
            _ONLY_COMPILING.reset(before)
            JITFunction.run = launch
            for verdict in _VERDICTS:
                verdict.cache_clear()
            for kernel in compiled:  # they may hold kernels that did not compile
                kernel.device_caches.clear()
