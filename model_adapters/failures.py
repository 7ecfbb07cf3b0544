"""Failures of one request that must not end a run."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from evalkit.errors import EvalkitError, RequestFailedError
from model_adapters.messages import first_line

T = TypeVar("T")

WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Pauses before another try, together longer than a driver takes to clear 80 GB."""

# Libraries and drivers that allocate outside PyTorch, and the host's allocator, have no error class of their own.
_OUT_OF_MEMORY = re.compile(
    r"out of memory"
    r"|DefaultCPUAllocator"
    r"|Cannot allocate memory"
    # cuBLAS, cuDNN, cuSOLVER, cuSPARSE and cuFFT.
    r"|ALLOC(ATION)?_FAILED"
    # Reported by cuBLAS and cuDNN if there is no memory for their handle.
    r"|(CUBLAS|CUDNN)_STATUS_NOT_INITIALIZED"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation has no result."""

    message: str
    out_of_memory: bool


def attempt(work: Callable[[], T]) -> T | Failure:
    """The result of the operation, or why it has none; nothing of a failed attempt stays referenced.

    RequestFailedError is passed on: it is a result too, and leaves a consistent state.
    """
    try:
        return work()
    except RequestFailedError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever fails for one request, the others go on
        return Failure(describe_failure(error), is_out_of_memory(error))


def with_patience(
    work: Callable[[], T],
    *,
    waiting: Callable[[str], None],
    waits_seconds: Sequence[float] = WAITS_SECONDS,
) -> T:
    """The result of the operation, which is tried again after a pause whenever memory runs out.

    A GPU returns the memory of a process that has just left only after a moment. `waiting` gets a line before each
    pause; the last error is raised.
    """
    for seconds in waits_seconds:
        try:
            return work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            waiting(f"memory ran out ({first_line(error)}); trying again in {seconds:g} s")
        time.sleep(seconds)
    return work()


def describe_failure(error: BaseException) -> str:
    """An error in one line."""
    if is_out_of_memory(error):
        return "out of memory"
    if isinstance(error, EvalkitError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or its cause, reports that memory ran out, on a GPU or on the host."""
    return any(
        isinstance(one, torch.OutOfMemoryError | MemoryError)
        or (isinstance(one, RuntimeError | OSError) and _OUT_OF_MEMORY.search(str(one)) is not None)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    # A capture that runs out of memory ends in another error, about the capture.
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
