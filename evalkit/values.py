"""Values as users write them: as text on the command line, as YAML in a plan.

msgspec reads neither `64K` nor `a, b` nor a path relative to a plan, and its messages do not show the value.
"""

import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError

_WHOLE = re.compile(r"\s*(-?[0-9]{1,15})\s*([kKmM]?)\s*")
"""More digits are a mistake, and int() refuses thousands of them with an error of its own."""
MAX_CONTEXT = 10**9
SCRIPTED_PREFIX = "scripted:"
"""Prefix of a file with scripted replies, which replaces a model in tests of suites and plans."""


def counted(number: int, noun: str) -> str:
    """A number of things: `1 task`, `13 tasks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class ModelName(str):
    """What --model takes: a checkpoint folder, a hub id with or without @REVISION, reference:NAME or scripted:FILE."""

    def below(self, folder: Path) -> str:
        """The same model, if its name is a path relative to `folder`."""
        if self.startswith(SCRIPTED_PREFIX):
            return f"{SCRIPTED_PREFIX}{folder / self.removeprefix(SCRIPTED_PREFIX)}"
        return str(folder / self) if folder != Path() and (folder / self).is_dir() else str(self)


class TokenBudget(int):
    """A number of tokens, 0 or `off` for none."""


def read_token_budget(value: Any, name: str) -> TokenBudget:
    """`off`, `4096` or `4K`; UsageError naming `name` for anything else."""
    # YAML reads a bare `off` as false.
    number = 0 if value is False or value == "off" else _whole_number(value) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < MAX_CONTEXT:
        raise UsageError(f"{name}: {value!r} is not a number of tokens; write off, or a number such as 4096 or 4K")
    return TokenBudget(number)


def read_value(value: Any, hint: Any, name: str, folder: Path | None = None) -> Any:
    """`value` as the type `hint` asks for; UsageError naming `name` if it is not one.

    A hint is int, float, bool, str, Path, ModelName, TokenBudget, a StrEnum, a tuple of whole numbers or of names, or
    one of these or None.
    Text is read by it: `64K` is 65536, `4096,64K` two whole numbers, `a, b` two names. Paths are relative to `folder`.
    """
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] if _is_union(hint) else [hint]
    if value is None and _is_union(hint):
        return None
    (kind,) = kinds
    if get_origin(kind) is tuple:
        return _read_list(value, get_args(kind)[0], name)
    read = _read_one(value, kind, name)
    if folder is not None and isinstance(read, Path):
        return folder / read
    return read.below(folder) if folder is not None and isinstance(read, ModelName) else read


def parse_contexts(text: str) -> tuple[int, ...]:
    """Context lengths from `4096,16384,64K`, ascending and without repeats; UsageError for anything else."""
    _refuse_thousands(text, "--ctx")
    lengths = set()
    for part in text.split(","):
        length = _whole_number(part)
        if length is None or not 0 < length < MAX_CONTEXT:
            raise UsageError(f"--ctx: {part.strip()!r} is not a context length; write 65536, 64K or 4096,16384")
        lengths.add(length)
    return tuple(sorted(lengths))


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _read_list(value: Any, kind: Any, name: str) -> tuple[Any, ...]:
    if isinstance(value, str) and re.search(r"\bctx$", name):  # `--updates 4,200` is a list
        _refuse_thousands(value, name)
    parts: Sequence[Any] = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        parts = [parts]
    if kind is str:
        parts = [part.strip() if isinstance(part, str) else part for part in parts]
        parts = [part for part in parts if part != ""]
        if not parts:
            raise UsageError(f"{name}: {value!r} names nothing; separate names with commas")
    return tuple(dict.fromkeys(_read_one(part, kind, name) for part in parts))


def _read_one(value: Any, kind: Any, name: str) -> Any:
    if kind is TokenBudget:
        return read_token_budget(value, name)
    read = None
    if kind is bool:
        read = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
    elif kind is int:
        read = _whole_number(value) if isinstance(value, str) else value
    elif kind is float:
        read = _number(value)
    elif issubclass(kind, StrEnum):
        # YAML reads a bare `off` as false.
        value = "off" if value is False else value
        if value not in list(kind):
            raise UsageError(
                f"{name}: {value!r} is unknown{did_you_mean(str(value), [member.value for member in kind])}"
            )
        read = kind(value)
    elif kind in (str, Path, ModelName) and isinstance(value, str | Path):
        read = kind(value)
    if not isinstance(read, kind) or (isinstance(read, bool) and kind is not bool):
        shown = value.strip() if isinstance(value, str) else value
        raise UsageError(f"{name}: {shown!r} is not {_WANTED[kind]}")
    return read


_WANTED: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number, such as 4096 or 64K",
    float: "a number, such as 0.05",
    str: "text",
    Path: "a path",
    ModelName: "the name of a model",
}


def _whole_number(text: str) -> int | None:
    match = _WHOLE.fullmatch(text)
    return int(match[1]) * {"": 1, "k": 1024, "m": 1024**2}[match[2].lower()] if match else None


def _refuse_thousands(text: str, name: str) -> None:
    """Raise UsageError for a number with commas between its thousands, which would be read as several numbers."""
    if re.fullmatch(r"\d{1,2}(,\d{3})+|\d{3}(,0\d\d)+", text.strip()):
        raise UsageError(f"{name}: {text.strip()} would be several numbers; write {text.strip().replace(',', '')}")


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None
