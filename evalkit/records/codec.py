"""Records to JSON and back, with the field names of the records."""

import dataclasses
import json
import math
import re
import types
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

MAX_NESTING = 200
"""Levels of lists and objects in a JSON text: more than any record has, and few enough to be walked recursively."""

# Legal in JSON text and yet no text to print: DEL and the C1 controls act on terminals, U+2028 and its like break or
# reorder lines, and lone surrogates cannot be written as UTF-8. They occur inside strings only, so escaping is safe.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class RecordError(ValueError):
    """A JSON object is not the record it should be."""


def to_dict(record: Any) -> dict[str, Any]:
    """The record as nested dictionaries; its tuples stay tuples, which JSON writes as lists."""
    return dataclasses.asdict(record)


def to_json(record: Any, *, indent: int | None = None) -> str:
    """The record as one JSON text that any UTF-8 file or terminal can take.

    NaN and infinity raise ValueError, because no two readers agree on them.
    """
    return json_text(to_dict(record), indent=indent)


def json_text(values: dict[str, Any], *, indent: int | None = None) -> str:
    """The fields of a record as `to_json` writes them."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, indent=indent)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def from_dict(cls: type[T], data: Any) -> T:
    """Build `cls` from JSON values.

    A newer writer may add fields, which are ignored, and words to a Literal of strings, which are kept as text.
    Raises RecordError naming the field if a required one is missing or a value has the wrong type.
    """
    if not isinstance(data, dict):
        raise RecordError(f"{cls.__name__}: expected an object, found {type(data).__name__}")
    hints = _hints(cls)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # T is always a dataclass here
        if field.name in data:
            values[field.name] = _convert(hints[field.name], data[field.name], f"{cls.__name__}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecordError(f"{cls.__name__}.{field.name} is missing")
    return cls(**values)


def from_json(cls: type[T], text: str) -> T:
    """Build `cls` from one JSON text; RecordError where it is not JSON or not that record."""
    return from_dict(cls, parse_json(text))


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """The values of one JSON text, a byte order mark before it allowed.

    Raises RecordError if it is not UTF-8, not JSON or nested more than MAX_NESTING deep, and with `finite` also if it
    has NaN or infinity in it.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        values = json.loads(decoded.removeprefix("\ufeff"), parse_constant=_refuse_constant if finite else None)
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8 (byte {error.start:,})") from None
    except RecursionError:
        raise RecordError(_TOO_DEEP) from None
    except ValueError as error:
        raise RecordError(f"not JSON: {error}") from None
    # Counting brackets is quick, and a text with few of them cannot be deep.
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


_HINTS: dict[type[Any], dict[str, Any]] = {}


def _hints(cls: type[Any]) -> dict[str, Any]:
    # Resolving them costs more than converting a whole sample record.
    if cls not in _HINTS:
        _HINTS[cls] = get_type_hints(cls)
    return _HINTS[cls]


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(get_args(hint), value, where)
    if origin is Literal:
        # A newer version may know words that this one does not; they are kept as they were written.
        return _require(isinstance(value, str) or value in get_args(hint), value, where)
    if origin is tuple:
        return _convert_tuple(get_args(hint), value, where)
    if origin is dict:
        _require(isinstance(value, dict), value, where)
        return {key: _convert(get_args(hint)[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)  # type: ignore[arg-type]  # a class: hints never hold instances
    if hint is float:
        _require(_is_finite_number(value), value, where)
        return float(value)
    if hint is int:
        return _require(isinstance(value, int) and _is_finite_number(value), value, where)
    return _require(isinstance(value, hint), value, where)


def _is_finite_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def _convert_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    # float last, so that a value keeps the narrowest type that it fits.
    for option in sorted((o for o in options if o is not type(None)), key=lambda o: o is float):
        try:
            return _convert(option, value, where)
        except RecordError:
            continue
    return _require(False, value, where)


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _require(isinstance(value, list | tuple), value, where)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    _require(len(value) == len(arguments), value, where)
    return tuple(_convert(hint, item, where) for hint, item in zip(arguments, value, strict=True))


def _require(condition: bool, value: Any, where: str) -> Any:
    if not condition:
        shown = repr(value)
        raise RecordError(f"{where}: {shown[:60]}{'…' if len(shown) > 60 else ''} has the wrong type")
    return value
