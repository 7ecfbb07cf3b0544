"""Short preflights that are made once: per loaded model, and on a GPU per weights, code, libraries and kind of GPU.

Those of earlier processes are in `preflight/` of the kernel cache, one file each, and only if no check said stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel

from evalkit.records import PreflightCheck
from evalkit.records.sessions import TIME
from evalkit.running.activity import Activity, report
from model_adapters.kept_files import Kernels, kept_file, without_names
from model_adapters.preflight.checks import Subject, short_preflight

FOLDER = "preflight"

_MADE: WeakKeyDictionary[PreTrainedModel, dict[object, tuple[PreflightCheck, ...]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class KeptChecks:
    """The content of a file."""

    subject: dict[str, Any]
    """What the checks depend on."""
    kernels: Kernels
    made_at: str
    """UTC, as `PreflightCheck.made_at`."""
    checks: tuple[PreflightCheck, ...]


def preflight_once(
    subject: Subject, wanted: str, invariant: tuple[int | None, int | None] | None
) -> tuple[PreflightCheck, ...]:
    """The short preflight of a model for which `choose_kernels` was asked for the `wanted` kernels.

    `invariant` as in `short_preflight`. Checks of an earlier process state when they were made.
    """
    made, key = _MADE.setdefault(subject.model, {}), (without_names(subject.identity), wanted, invariant)
    if key not in made:
        made[key] = _kept_or_made(subject, wanted, invariant)
    return made[key]


def _kept_or_made(
    subject: Subject, wanted: str, invariant: tuple[int | None, int | None] | None
) -> tuple[PreflightCheck, ...]:
    file = kept_file(FOLDER, subject.model, subject.identity, (wanted, invariant))
    kept = None if file is None else file.read(KeptChecks)
    if kept is not None and _succeeded(kept.checks):
        return tuple(replace(check, made_at=kept.made_at) for check in kept.checks)
    report(Activity("preflight"))
    checks = short_preflight(subject, invariant=invariant)
    if file is not None and _succeeded(checks):
        made_at = datetime.now(UTC).strftime(TIME)
        file.write(KeptChecks(file.subject, file.kernels, made_at, checks))
    return checks


def _succeeded(checks: Sequence[PreflightCheck]) -> bool:
    return bool(checks) and all(check.outcome in ("pass", "note") for check in checks)
