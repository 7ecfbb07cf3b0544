"""Read the weights of a checkpoint to a GPU through pinned memory, several pieces at once.

transformers maps safetensors files into memory and copies each tensor from there, which PyTorch does through a small
buffer of its own at 8 GB/s. The same four threads reach three times that with pieces read into pinned memory, each
copied to the GPU while the next one is read.
"""

import json
import os
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from math import prod
from typing import Any, NamedTuple

import torch
from transformers import modeling_utils

PIECE_BYTES = 16 << 20
PIECES = 2
"""For each thread: one is read while the other is copied."""
SWITCH_SECONDS = 0.0005
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""By safetensors' names; tensors of other types are left to safetensors."""

_ONE_AT_A_TIME = threading.RLock()
"""Held by the thread that loads a model, because what it changes is changed for the whole process."""


@contextmanager
def weights_read_to(device: torch.device) -> Iterator[None]:
    """In this block transformers reads safetensors files straight to a GPU; for another device nothing changes.

    A tensor is complete for what follows on the stream that was current in the thread that read it.
    """
    if device.type != "cuda" or not hasattr(os, "preadv"):
        yield
        return
    with _ONE_AT_A_TIME:
        interval = sys.getswitchinterval()
        # Each piece needs Python's lock a few times, and would wait that long for a thread that imports modules.
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            with _read_into(_Buffers(device)):
                yield
        finally:
            sys.setswitchinterval(interval)


@contextmanager
def _read_into(buffers: "_Buffers") -> Iterator[None]:
    module: Any = modeling_utils
    if not hasattr(module, "safe_open"):  # a version that reads files in another way
        yield
        return
    own = module.safe_open
    with ExitStack() as files:

        def opened(path: str | os.PathLike[str], *args: Any, **options: Any) -> _File:
            raw = files.enter_context(open(path, "rb", buffering=0))
            return _File(own(path, *args, **options), raw, buffers)

        module.safe_open = opened
        try:
            yield
        finally:
            module.safe_open = own


class _Stored(NamedTuple):
    """Where a tensor lies in its file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


class _File:
    """A safetensors file as transformers opens it, whose whole tensors are read to the GPU."""

    def __init__(self, own: Any, raw: FileIO, buffers: "_Buffers") -> None:
        self._own, self._raw, self._buffers = own, raw, buffers
        self._stored = _stored(raw)

    def __enter__(self) -> "_File":
        self._own.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._own.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def get_slice(self, name: str) -> Any:
        """What is read when it is indexed."""
        own, stored = self._own.get_slice(name), self._stored.get(name)
        return own if stored is None else _Slice(own, stored, self._raw, self._buffers)


class _Slice:
    """A tensor that has not been read yet."""

    def __init__(self, own: Any, stored: _Stored, raw: FileIO, buffers: "_Buffers") -> None:
        self._own, self._stored, self._raw, self._buffers = own, stored, raw, buffers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __getitem__(self, index: Any) -> torch.Tensor:
        if index is ...:
            return self._buffers.read(self._raw, self._stored)
        part: torch.Tensor = self._own[index]
        return part


class _Buffers(threading.local):
    """The pinned memory of each thread, and which of it is still being copied."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pieces: list[tuple[torch.Tensor, torch.cuda.Event]] = []
        self._next = 0

    def read(self, raw: FileIO, stored: _Stored) -> torch.Tensor:
        """A tensor on the GPU; raises OSError if the file cannot be read, or ends before the tensor does."""
        with torch.cuda.device(self._device):
            while len(self._pieces) < PIECES:
                self._pieces.append((_pinned_piece(), torch.cuda.Event()))  # type: ignore[no-untyped-call]
            tensor = torch.empty(stored.shape, dtype=stored.dtype, device=self._device)
            target_N = tensor.view(-1).view(torch.uint8)
            for start in range(stored.start, stored.end, PIECE_BYTES):
                size = min(PIECE_BYTES, stored.end - start)
                piece_N, copied = self._pieces[self._next]
                self._next = (self._next + 1) % PIECES
                copied.synchronize()
                _fill(raw, piece_N.numpy().data[:size], start)
                target_N[start - stored.start :][:size].copy_(piece_N[:size], non_blocking=True)
                copied.record()
        return tensor


def _pinned_piece() -> torch.Tensor:
    return torch.empty(PIECE_BYTES, dtype=torch.uint8, pin_memory=True)


def _fill(raw: FileIO, memory: bytearray | memoryview, start: int) -> None:
    """Read from `start` on; ValueError once the file is closed, as after an error in another thread."""
    filled, view = 0, memoryview(memory)
    while filled < len(view):
        # Asked for each time: the number of a closed file may be another file's by now.
        descriptor = raw.fileno()
        try:
            count = os.preadv(descriptor, [view[filled:]], start + filled)
        except OSError as error:
            raise OSError(f"{raw.name} cannot be read: {error.strerror}") from None
        if count == 0:
            raise OSError(f"{raw.name} ends after {start + filled:,} bytes, before its weights do")
        filled += count


def _stored(raw: FileIO) -> dict[str, _Stored]:
    """Where the tensors of a file lie, by safetensors' format: the size of a header in JSON, the header, the data."""
    length = bytearray(8)
    _fill(raw, length, 0)
    (size,) = struct.unpack("<Q", length)
    header = bytearray(size)
    _fill(raw, header, 8)
    found = {}
    for name, tensor in json.loads(header).items():
        dtype = None if name == "__metadata__" else DTYPES.get(tensor["dtype"])
        if dtype is None:
            continue
        start, end = (8 + size + offset for offset in tensor["data_offsets"])
        if end - start == prod(tensor["shape"]) * dtype.itemsize:
            found[name] = _Stored(dtype, tuple(tensor["shape"]), start, end)
    return found
