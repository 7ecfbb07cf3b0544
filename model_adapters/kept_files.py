"""Files in the kernel cache with what was found out about a loaded model, for later processes that load the same.

Each file states all that its content depends on: the weights, the code, the libraries, their settings, and the kind of
GPU. One that is damaged, or cannot be written, only costs time.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch.nn.attention import current_flash_attention_impl
from transformers import PreTrainedModel

from evalkit import files
from evalkit.records import ModelIdentity
from evalkit.records.codec import from_json, json_text, to_dict, to_json
from model_adapters.code_digest import code_digest
from model_adapters.engine.fast_modules.choose import gdn_kernel
from model_adapters.installed_package import installed_code
from model_adapters.kernels.kernel_cache import Agreements, agreements, kernel_folder
from model_adapters.kernels.large_product.kept_algorithms import described_algorithms

_REAL = "sha256:"
"""What a fingerprint begins with that was computed from files."""
_PACKAGES = (
    "accelerate", "bitsandbytes", "causal-conv1d", "compressed-tensors", "peft", "safetensors", "tokenizers",
)  # fmt: skip
"""What loads weights or computes with them, beside the packages that kernels depend on."""
TUNED = ("fla", "mamba_ssm", "kernels")
"""Python modules whose kernels differ between processes: launches are chosen by timing, or the code is downloaded."""
_VARIABLES = ("CUBLAS", "CUDNN", "NVIDIA_TF32", "PYTORCH_", "TORCH_", "TRITON_")
"""Beginnings of the names of environment variables by which libraries compute differently."""
_LOCATIONS = frozenset({"TRITON_CACHE_DIR", "TRITON_HOME", "TORCH_HOME"})
"""Those that only name a folder."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels that a process could run."""

    rejected: tuple[str, ...]
    """Those that did not agree with their references, so that others ran."""
    agreed: tuple[str, ...]
    """Digests of those that did, in this process or an earlier one."""


class Content(Protocol):
    """What all such files state."""

    @property
    def subject(self) -> Mapping[str, Any]:
        """What the rest depends on."""

    @property
    def kernels(self) -> Kernels: ...


Found = TypeVar("Found", bound=Content)


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A place for what was found out about one model."""

    path: Path
    subject: dict[str, Any]
    _found: Agreements

    @property
    def kernels(self) -> Kernels:
        """As far as they have been checked by now."""
        return Kernels(tuple(sorted(self._found.rejected)), tuple(sorted(map(_digest, self._found.names))))

    def runs(self, kernels: Kernels) -> bool:
        """Whether these run now: all that agreed do, none is rejected that was not, and none has agreed since."""
        rejected, found = frozenset(kernels.rejected), self._found
        agreed = frozenset(map(_digest, found.names))
        return found.rejected <= rejected and not found.names & rejected and agreed.issuperset(kernels.agreed)

    def read(self, kind: type[Found]) -> Found | None:
        """The content, if the same kernels run now."""
        try:
            kept = from_json(kind, self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # never written, or damaged
            return None
        return kept if kept.subject == self.subject and self.runs(kept.kernels) else None

    def write(self, content: Content) -> None:
        """Replace the content."""
        with suppress(OSError):  # without it, the next process finds it out again
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(self.path) as out:
                out.write(to_json(content, indent=1).encode())


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def kept_file(folder: str, model: PreTrainedModel, identity: ModelIdentity, asked: Sequence[object]) -> KeptFile | None:
    """The file in a folder of the kernel cache for a model that `choose_kernels` has been called for.

    `asked` is what else the content depends on. None on a device of which nothing is kept, and if something may differ
    that the file could not state.
    """
    agreed = agreements(model.device) if _is_known(model, identity) else None
    if agreed is None:
        return None
    environment = {**agreed.environment, **{name: installed_code(name) for name in _PACKAGES}}
    if None in environment.values():
        return None
    subject = _dependencies(model, identity, environment, asked)
    digest = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()
    return KeptFile(kernel_folder() / folder / f"{digest[:32]}.json", subject, agreed)


def without_names(identity: ModelIdentity) -> ModelIdentity:
    """The identity of what is run, without the chat that suites have with it."""
    return replace(identity, path="", commit=None, base=None, chat_template=None, thinking=None)


def _is_known(model: PreTrainedModel, identity: ModelIdentity) -> bool:
    """Whether everything that computes is transformers' own code, this package's, and files with a fingerprint."""
    own = type(model).__module__.startswith("transformers.models.")
    fingerprints = identity.fingerprint, identity.tokenizer
    tuned = any(sys.modules.get(name) is not None for name in TUNED)
    return own and all(fingerprint.startswith(_REAL) for fingerprint in fingerprints) and not tuned


def _dependencies(
    model: PreTrainedModel, identity: ModelIdentity, environment: Mapping[str, object], asked: Sequence[object]
) -> dict[str, Any]:
    """What the content depends on, as JSON values."""
    products = torch.backends.cuda.matmul
    found = {
        "model": to_dict(without_names(identity)),
        "asked": asked,
        "gdn_kernel": gdn_kernel(model),
        "products": described_algorithms(model.device),
        "environment": environment,
        "code": code_digest(),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(_VARIABLES) and name not in _LOCATIONS
        },
        "switches": [
            products.fp32_precision,
            products.allow_bf16_reduced_precision_reduction,
            products.allow_fp16_reduced_precision_reduction,
            products.allow_fp16_accumulation,
            torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
            torch.are_deterministic_algorithms_enabled(),
            current_flash_attention_impl(),
        ],
    }
    as_json: dict[str, Any] = json.loads(json_text(found))
    return as_json
