"""Short names that tell models apart in tables, charts and sentences."""

import re
from collections.abc import Sequence

from evalkit.records import ModelIdentity

_SEPARATORS = re.compile(r"[/:@]")


def short_names(models: Sequence[ModelIdentity], run_ids: Sequence[str]) -> tuple[str, ...]:
    """One name per run: the end of the model's path that is different for each, else the runs' ids, else their roles.

    `reference:hybrid` and `reference:transformer` are `hybrid` and `transformer`.
    """
    parts = [[part for part in _SEPARATORS.split(model.path) if part] or [model.path] for model in models]
    for kept in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(one[-kept:]) for one in parts]
        if _differ(names):
            return tuple(names)
    if _differ(run_ids):
        return tuple(run_ids)
    roles = ["BASE", "NEW"] if len(models) == 2 else ["BASE", *(f"NEW {place}" for place in range(1, len(models)))]
    return tuple(f"{one[-1]} ({role})" for one, role in zip(parts, roles, strict=True))


def _differ(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names) and all(names)
