"""Short names that tell models apart in tables, charts and sentences."""

import re
from collections.abc import Sequence

from evalkit.records import ModelIdentity

_SEPARATORS = re.compile(r"[/:@]")


def short_names(models: Sequence[ModelIdentity], folders: Sequence[str]) -> tuple[str, ...]:
    """One name per run: the end of the model's path that is different for each, else of the run's folder, else roles.

    `reference:hybrid` and `reference:transformer` are `hybrid` and `transformer`.
    """
    found = _tails([model.path for model in models]) or _tails(folders)
    if found is not None:
        return found
    roles = ["BASE", "NEW"] if len(models) == 2 else ["BASE", *(f"NEW {place}" for place in range(1, len(models)))]
    return tuple(f"{_parts(model.path)[-1]} ({role})" for model, role in zip(models, roles, strict=True))


def _tails(paths: Sequence[str]) -> tuple[str, ...] | None:
    """The shortest ends of the paths, of equally many parts, that are different for each; None if there are none."""
    parts = [_parts(path) for path in paths]
    for kept in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(one[-kept:]) for one in parts]
        if len(set(names)) == len(names):
            return tuple(names)
    return None


def _parts(path: str) -> list[str]:
    return [part for part in _SEPARATORS.split(path) if part] or [path]
