"""Records to JSON and back, with the field names of the records."""

import json
import math
import re
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import msgspec

T = TypeVar("T")

MAX_NESTING = 200
"""Maximum nesting of a JSON text: more than any record has, and few enough levels for recursion."""

# Legal in JSON text but unsafe to print: DEL and the C1 controls act on terminals, U+2028 and similar break or reorder
# lines, and lone surrogates cannot be written as UTF-8. They occur only inside strings, so escaping them is safe.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class RecordError(ValueError):
    """A JSON value does not have the fields or types of its record."""


def to_dict(record: Any) -> dict[str, Any]:
    """The record as nested dictionaries, with tuples, which JSON writes as lists."""
    fields: dict[str, Any] = msgspec.to_builtins(record, enc_hook=_plain)
    return fields


def _plain(value: Any) -> Any:
    """Subclasses of text and numbers, such as NumPy's floats, which the JSON writer takes as they are."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"a record cannot hold {type(value).__name__}")


def to_json(record: Any, *, indent: int | None = None) -> str:
    """The record as JSON that is safe for any UTF-8 file or terminal.

    NaN and infinity raise ValueError, because JSON does not define them.
    """
    return json_text(to_dict(record), indent=indent)


def json_text(values: dict[str, Any], *, indent: int | None = None) -> str:
    """The fields of a record as `to_json` writes them."""
    # msgspec writes NaN and infinity as null, and refuses lone surrogates.
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, indent=indent)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def from_dict(cls: type[T], data: Any) -> T:
    """Build `cls` from JSON values.

    Fields that `cls` does not have are ignored, because a newer writer may have added them. It may also add words, so
    records declare them as `str`, not as a Literal. Raises RecordError with the path of a value that is missing or has
    the wrong type.
    """
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        raise RecordError(misfit(error, cls.__name__)) from None
    except UnicodeError:
        # msgspec, which does not name the place, takes such text only where text belongs.
        raise RecordError(
            f"{cls.__name__}: half of a surrogate pair in a field's name or in place of a number"
        ) from None


def misfit(error: msgspec.MsgspecError, root: str = "") -> str:
    """Place and kind of an error in a JSON value called `root`."""
    reason, _, path = str(error).replace("`", "").partition(" - at $")
    place = f"{root}{path}".lstrip(".")
    return f"{place}: {reason[0].lower()}{reason[1:]}" if place else reason


def from_json(cls: type[T], text: str) -> T:
    """Build `cls` from one JSON text; RecordError if it is not JSON or not that record."""
    if text.count("[") + text.count("{") <= MAX_NESTING and _HUGE_NUMBER.search(text) is None:
        # Input that msgspec cannot read, such as lone surrogates, takes a slower path, which also reports the error.
        with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
            return msgspec.json.decode(text, type=cls)
    return from_dict(cls, parse_json(text))


_HUGE_NUMBER = re.compile(r"[0-9]{300}")
"""msgspec reads integers that no float holds."""


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """The values of one JSON text, a byte order mark before it allowed.

    Raises RecordError if it is not UTF-8, not JSON or nested more than MAX_NESTING deep, and with `finite` also if it
    has NaN, infinity or a number beyond any float in it.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        values = json.loads(decoded.removeprefix("\ufeff"), **(_FINITE if finite else {}))
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8 (byte {error.start:,})") from None
    except RecursionError:
        raise RecordError(_TOO_DEEP) from None
    except ValueError as error:
        raise RecordError(f"not JSON: {error}") from None
    # Counting brackets is fast, and a text with few of them cannot be deep.
    if decoded.count("[") + decoded.count("{") > MAX_NESTING and _is_too_deep(values):
        raise RecordError(_TOO_DEEP)
    return values


_TOO_DEEP = f"nested more than {MAX_NESTING} levels deep"


def _is_too_deep(values: Any) -> bool:
    level = [values]
    for _ in range(MAX_NESTING + 1):
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return False
        level = [item for value in containers for item in (value.values() if isinstance(value, dict) else value)]
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite_float(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"{_shortened(digits)} is too large")
    return number


def _finite_int(digits: str) -> int:
    _finite_float(digits)
    return int(digits)


def _shortened(digits: str) -> str:
    return f"{digits[:20]}…" if len(digits) > 20 else digits


_FINITE: dict[str, Any] = {
    "parse_constant": _refuse_constant,
    "parse_float": _finite_float,
    "parse_int": _finite_int,
}
"""Arguments of `json.loads`."""
