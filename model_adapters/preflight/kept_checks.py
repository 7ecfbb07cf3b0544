"""Short preflights that are made once: per loaded model, and on a GPU per weights, code, libraries and kind of GPU.

Those of earlier processes are in `preflight/` of the kernel cache, one file each, and only if no check said stop.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.nn.attention import current_flash_attention_impl
from transformers import PreTrainedModel

from evalkit import files
from evalkit.records import ModelIdentity, PreflightCheck
from evalkit.records.codec import from_json, json_text, to_dict, to_json
from evalkit.records.sessions import TIME
from evalkit.running.activity import Activity, report
from model_adapters.code_digest import code_digest
from model_adapters.engine.fast_modules.choose import gdn_kernel
from model_adapters.installed_package import installed_code
from model_adapters.kernels.kernel_cache import Agreements, agreements, kernel_folder
from model_adapters.preflight.checks import Subject, short_preflight

_REAL = "sha256:"
"""What a fingerprint begins with that was computed from files."""
_PACKAGES = (
    "accelerate", "bitsandbytes", "causal-conv1d", "compressed-tensors", "peft", "safetensors", "tokenizers",
)  # fmt: skip
"""What loads weights or computes with them, beside the packages that kernels depend on."""
_TUNED = ("fla", "mamba_ssm", "kernels")
"""Python modules whose kernels differ between processes: launches are chosen by timing, or the code is downloaded."""
_VARIABLES = ("CUBLAS", "CUDNN", "NVIDIA_TF32", "PYTORCH_", "TORCH_", "TRITON_")
"""Beginnings of the names of environment variables by which libraries compute differently."""
_LOCATIONS = frozenset({"TRITON_CACHE_DIR", "TRITON_HOME", "TORCH_HOME"})
"""Those that only name a folder."""

_MADE: WeakKeyDictionary[PreTrainedModel, dict[object, tuple[PreflightCheck, ...]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class KeptChecks:
    """The content of a file."""

    subject: dict[str, Any]
    """What the checks depend on."""
    rejected: tuple[str, ...]
    """Kernels that did not agree with their references in that process, so that others ran."""
    made_at: str
    """UTC, as `PreflightCheck.made_at`."""
    checks: tuple[PreflightCheck, ...]


def preflight_once(
    subject: Subject, wanted: str, invariant: tuple[int | None, int | None] | None
) -> tuple[PreflightCheck, ...]:
    """The short preflight of a model for which `choose_kernels` was asked for the `wanted` kernels.

    `invariant` as in `short_preflight`. Checks of an earlier process state when they were made.
    """
    made, key = _MADE.setdefault(subject.model, {}), (_what_is_run(subject.identity), wanted, invariant)
    if key not in made:
        made[key] = _kept_or_made(subject, wanted, invariant)
    return made[key]


def _kept_or_made(
    subject: Subject, wanted: str, invariant: tuple[int | None, int | None] | None
) -> tuple[PreflightCheck, ...]:
    found = agreements(subject.model.device) if _is_known(subject) else None
    if found is None:
        return _make(subject, invariant)
    environment = {**found.environment, **{name: installed_code(name) for name in _PACKAGES}}
    if None in environment.values():
        return _make(subject, invariant)
    depends = _dependencies(subject, environment, (wanted, invariant))
    file = _file(depends)
    kept = _read(file, depends, found)
    if kept is not None:
        return tuple(replace(check, made_at=kept.made_at) for check in kept.checks)
    checks = _make(subject, invariant)
    if _succeeded(checks):
        made_at = datetime.now(UTC).strftime(TIME)
        _write(file, KeptChecks(depends, tuple(sorted(found.rejected)), made_at, checks))
    return checks


def _make(subject: Subject, invariant: tuple[int | None, int | None] | None) -> tuple[PreflightCheck, ...]:
    report(Activity("preflight"))
    return short_preflight(subject, invariant=invariant)


def _is_known(subject: Subject) -> bool:
    """Whether everything that computes is transformers' own code, this package's, and files with a fingerprint."""
    own = type(subject.model).__module__.startswith("transformers.models.")
    fingerprints = subject.identity.fingerprint, subject.identity.tokenizer
    tuned = any(sys.modules.get(name) is not None for name in _TUNED)
    return own and all(fingerprint.startswith(_REAL) for fingerprint in fingerprints) and not tuned


def _what_is_run(identity: ModelIdentity) -> ModelIdentity:
    """The identity without names, and without the chat that suites have with the model."""
    return replace(identity, path="", commit=None, base=None, chat_template=None, thinking=None)


def _dependencies(subject: Subject, environment: Mapping[str, object], asked: Sequence[object]) -> dict[str, Any]:
    """What the checks depend on, as JSON values; `asked` are the arguments of `preflight_once`."""
    products = torch.backends.cuda.matmul
    found = {
        "model": to_dict(_what_is_run(subject.identity)),
        "asked": asked,
        "gdn_kernel": gdn_kernel(subject.model),
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


def _file(depends: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
    return kernel_folder() / "preflight" / f"{digest[:32]}.json"


def _read(file: Path, depends: Mapping[str, Any], found: Agreements) -> KeptChecks | None:
    """The checks in a file, if the same kernels run now: none is rejected that was not, and none has agreed since."""
    try:
        kept = from_json(KeptChecks, file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # never written, or damaged
        return None
    rejected = frozenset(kept.rejected)
    same_kernels = found.rejected <= rejected and not found.names & rejected
    return kept if kept.subject == depends and same_kernels and _succeeded(kept.checks) else None


def _write(file: Path, kept: KeptChecks) -> None:
    with suppress(OSError):  # without it, the next process checks again
        file.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(file) as out:
            out.write(to_json(kept, indent=1).encode())


def _succeeded(checks: Sequence[PreflightCheck]) -> bool:
    return bool(checks) and all(check.outcome in ("pass", "note") for check in checks)
