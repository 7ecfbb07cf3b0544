"""Names that a user may mistype: checks with a hint."""

import difflib
from collections.abc import Iterable

from evalkit.errors import UsageError


def did_you_mean(name: str, choices: Iterable[str], otherwise: str | None = None) -> str:
    """A hint such as `; did you mean 'cwe'?`; if nothing is near, `otherwise` or the list of all."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; {otherwise or 'known: ' + ', '.join(known)}"


def check_known(kind: str, names: Iterable[str], choices: Iterable[str]) -> None:
    """Raise UsageError for the first of `names` that is not among `choices`."""
    known = tuple(choices)
    for name in names:
        if name not in known:
            raise UsageError(f"unknown {kind} {name!r}{did_you_mean(name, known)}")
