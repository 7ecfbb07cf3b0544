"""Names that resolve to objects on first use, so that listing them imports nothing."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.errors import UsageError


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A hint such as `; did you mean 'cwe'?`, or the whole list where nothing is near."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def check_known(kind: str, names: Iterable[str], choices: Iterable[str]) -> None:
    """Raise UsageError for the first of `names` that is not among `choices`."""
    known = tuple(choices)
    for name in names:
        if name not in known:
            raise UsageError(f"unknown {kind} {name!r}{did_you_mean(name, known)}")


def resolve(kind: str, name: str, registry: Mapping[str, str]) -> Any:
    """The object that `registry` files under `name` as `module:attribute`; UsageError for an unknown name."""
    check_known(kind, [name], registry)
    module, _, attribute = registry[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
