"""Which of cuBLAS's algorithms were fastest for products on this kind of GPU, in a file of the kernel cache.

`evalkit bench products --keep` writes it. Each algorithm gave the bits of cuBLAS's own choice when it was measured.
"""

import hashlib
import json
from functools import lru_cache

import torch

from evalkit import files
from model_adapters.kernels.kernel_cache import REMEMBERED_DEVICES, kernel_folder, kind_of_gpu
from model_adapters.kernels.large_product.cublas_lt import ALGORITHM_BYTES, ProductShape, load_cublas_lt

MEASURED_TOKENS = (4096, 8192)
LEAST_TOKENS = 3072
"""Fewer tokens are left to cuBLAS's own choice."""


def measured_tokens(tokens: int) -> int | None:
    """The number of tokens whose algorithm serves so many; None if they are left to cuBLAS's own choice."""
    if tokens < LEAST_TOKENS:
        return None
    return min(MEASURED_TOKENS, key=lambda measured: abs(measured - tokens))


class KeptAlgorithms:
    """The algorithms for one kind of GPU and version of cuBLAS."""

    def __init__(self, environment: dict[str, str]) -> None:
        text = json.dumps(environment, sort_keys=True)
        self._environment = environment
        self.path = kernel_folder() / f"products-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        self._algorithms = self._read()

    def find(self, shape: ProductShape, tokens: int) -> bytes | None:
        """The algorithm for a product of so many tokens; None for cuBLAS's own choice."""
        measured = measured_tokens(tokens)
        return None if measured is None else self._algorithms.get(_name(shape, measured))

    def keep(self, shape: ProductShape, tokens: int, algorithm: bytes | None) -> None:
        """Replace the algorithm for a number of tokens that was measured; None for cuBLAS's own choice.

        Raises OSError if the file cannot be written.
        """
        name, self._algorithms = _name(shape, tokens), self._read()
        if algorithm is None:
            self._algorithms.pop(name, None)
        else:
            self._algorithms[name] = algorithm
        self._write()

    def rewrite(self) -> None:
        """Write what the file holds once more; raises OSError if it cannot be written."""
        self._algorithms = self._read()
        self._write()

    def _write(self) -> None:
        content = {"environment": self._environment, "algorithms": self.described()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(self.path) as out:
            out.write(json.dumps(content, indent=1).encode())

    def described(self) -> dict[str, str]:
        """The algorithms as text, by product."""
        return {name: self._algorithms[name].hex() for name in sorted(self._algorithms)}

    def _read(self) -> dict[str, bytes]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if found["environment"] != self._environment:
                return {}
            algorithms = {str(name): bytes.fromhex(text) for name, text in found["algorithms"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # never written, or damaged
            return {}
        return {name: algorithm for name, algorithm in algorithms.items() if len(algorithm) == ALGORITHM_BYTES}


def _name(shape: ProductShape, tokens: int) -> str:
    return f"{tokens:,} × {shape}"


def kept_algorithms(device: torch.device) -> KeptAlgorithms | None:
    """What is kept for a device; None for one without cuBLASLt."""
    if device.type not in REMEMBERED_DEVICES or load_cublas_lt() is None:
        return None
    return _of_gpu(torch.cuda.current_device() if device.index is None else device.index)


@lru_cache(maxsize=16)
def _of_gpu(index: int) -> KeptAlgorithms:
    library = load_cublas_lt()
    version = "" if library is None else str(library.cublasLtGetVersion())
    return KeptAlgorithms({"gpu": kind_of_gpu(torch.device("cuda", index)), "cublas_lt": version})


def described_algorithms(device: torch.device) -> dict[str, str]:
    """What is kept for a device, as text."""
    kept = kept_algorithms(device)
    return {} if kept is None else kept.described()
