"""Matrix products by an algorithm of cuBLASLt that the caller chooses, through its C interface.

PyTorch runs the algorithm that cuBLAS's heuristic puts first and has no function for another. Numbers and structures
are those of cublasLt.h in CUDA 12 and 13 (https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api).

Shape suffixes: M tokens, N rows of the matrix, K features.
"""

import ctypes
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

ALGORITHM_BYTES = 64
"""Size of a cublasLtMatmulAlgo_t, which may be stored for the same version of cuBLAS."""
ALIGNMENT = 16
"""Bytes to which addresses are aligned, and rows if their length is a multiple of ROW_MULTIPLE numbers of 2 bytes."""
ROW_MULTIPLE = 8
TYPES = {torch.float16: 2, torch.bfloat16: 14}
"""cudaDataType_t by dtype."""
_FP32_SUMS, _FP32 = 68, 0
_TRANSPOSE_A = 3
_COLUMNS, _STRIDE = 3, 4
_WORKSPACE, _ALIGNMENTS = 1, (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class ProductShape:
    """Products of any number of tokens with one matrix."""

    rows: int
    features: int
    added: bool
    """Whether the product is added to what the output holds."""
    dtype: torch.dtype

    def __str__(self) -> str:
        added = ", added" if self.added else ""
        return f"{self.rows:,} × {self.features:,}{added}, {str(self.dtype).removeprefix('torch.')}"


class _Result(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", ctypes.c_uint8 * ALGORITHM_BYTES),
        ("workspace_bytes", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


class Multiplier:
    """Products of one shape on one GPU, with algorithms that need no memory of their own."""

    def __init__(self, library: ctypes.CDLL, device: torch.device, shape: ProductShape) -> None:
        self._library, self._device, self._added = library, device, ctypes.c_float(shape.added)
        self._one, self._features, self._lock = ctypes.c_float(1), shape.features, threading.Lock()
        self._handle, self._operation = ctypes.c_void_p(), ctypes.c_void_p()
        with torch.cuda.device(device):
            self._call("Create", ctypes.byref(self._handle))
        self._call("MatmulDescCreate", ctypes.byref(self._operation), _FP32_SUMS, _FP32)
        self._set("MatmulDesc", self._operation, _TRANSPOSE_A, ctypes.c_int32(1))
        # cuBLAS counts columns first: a matrix of N rows of K features is one of K rows, transposed.
        self._weight = self._layout(shape, shape.features, shape.rows)
        self._x, self._out = self._layout(shape, shape.features, 1), self._layout(shape, shape.rows, 1)

    def candidates(self, tokens: int, most: int) -> tuple[bytes, ...]:
        """The algorithms that cuBLAS's heuristic proposes, best first."""
        preference, found = ctypes.c_void_p(), (_Result * most)()
        self._call("MatmulPreferenceCreate", ctypes.byref(preference))
        self._set("MatmulPreference", preference, _WORKSPACE, ctypes.c_uint64(0))
        for attribute in _ALIGNMENTS:
            self._set("MatmulPreference", preference, attribute, ctypes.c_uint32(ALIGNMENT))
        count = ctypes.c_int()
        with self._lock, torch.cuda.device(self._device):
            self._set_tokens(tokens)
            self._set("MatrixLayout", self._x, _STRIDE, ctypes.c_int64(self._features))
            layouts = self._weight, self._x, self._out, self._out
            self._call(
                "MatmulAlgoGetHeuristic",
                *(self._handle, self._operation, *layouts, preference, most, found, ctypes.byref(count)),
            )
        self._call("MatmulPreferenceDestroy", preference)
        return tuple(bytes(result.algorithm) for result in found[: count.value] if result.state == 0)

    def multiply(self, algorithm: bytes, x_MK: torch.Tensor, weight_NK: torch.Tensor, out_MN: torch.Tensor) -> bool:
        """Write x · weightᵀ to out, or add it there; False, with nothing written, if the algorithm does not fit.

        x may be a slice of wider rows; the others are contiguous.
        """
        with self._lock, torch.cuda.device(self._device):
            self._set_tokens(x_MK.shape[0])
            self._set("MatrixLayout", self._x, _STRIDE, ctypes.c_int64(x_MK.stride(0)))
            status: int = self._library.cublasLtMatmul(
                self._handle,
                self._operation,
                ctypes.byref(self._one),
                *(ctypes.c_void_p(weight_NK.data_ptr()), self._weight),
                *(ctypes.c_void_p(x_MK.data_ptr()), self._x),
                ctypes.byref(self._added),
                *(ctypes.c_void_p(out_MN.data_ptr()), self._out) * 2,
                algorithm,
                *(None, ctypes.c_size_t(0)),
                ctypes.c_void_p(torch.cuda.current_stream(self._device).cuda_stream),
            )
        return status == 0

    def _set_tokens(self, tokens: int) -> None:
        for layout in (self._x, self._out):
            self._set("MatrixLayout", layout, _COLUMNS, ctypes.c_uint64(tokens))

    def _layout(self, shape: ProductShape, rows: int, columns: int) -> ctypes.c_void_p:
        layout, sizes = ctypes.c_void_p(), (ctypes.c_uint64(rows), ctypes.c_uint64(columns), ctypes.c_int64(rows))
        self._call("MatrixLayoutCreate", ctypes.byref(layout), TYPES[shape.dtype], *sizes)
        return layout

    def _set(self, kind: str, owner: ctypes.c_void_p, attribute: int, value: Any) -> None:
        size = ctypes.c_size_t(ctypes.sizeof(value))
        self._call(f"{kind}SetAttribute", owner, attribute, ctypes.byref(value), size)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, f"cublasLt{name}")(*arguments)
        if status:
            raise RuntimeError(f"cublasLt{name} failed with status {status}")


@lru_cache(maxsize=1)
def load_cublas_lt() -> ctypes.CDLL | None:
    """The library that PyTorch uses; None if it has none."""
    if torch.version.cuda is None:
        return None
    try:
        library = ctypes.CDLL(f"libcublasLt.so.{torch.version.cuda.split('.')[0]}")
    except OSError:
        return None
    library.cublasLtGetVersion.restype = ctypes.c_size_t
    return library
