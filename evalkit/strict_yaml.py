"""YAML files that users write: policies and plans."""

import re
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
import yaml

from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError

T = TypeVar("T")

_LARGEST_FILE = 1 << 20
"""Characters."""
_MOST_DIGITS = 300
"""Few enough for a float; Python prints no integer of thousands of digits."""


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that rejects duplicate keys; PyYAML and msgspec.yaml silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise UsageError(f"{key!r} is there twice (line {node.value[position][0].start_mark.line + 1})")
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number: int = super().construct_yaml_int(node)
        if abs(number) > 10**_MOST_DIGITS:
            raise UsageError(f"a number in line {node.start_mark.line + 1} has more than {_MOST_DIGITS} digits")
        return number


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)


def read_yaml(text: str) -> Any:
    """Parse YAML, rejecting duplicate keys; UsageError carries the line."""
    if len(text) > _LARGEST_FILE:
        raise UsageError(f"it has {len(text):,} characters, more than {_LARGEST_FILE:,}")
    try:
        return yaml.load(text, _StrictLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise UsageError(f"not YAML{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"not YAML: {error}") from None


def read_fields(cls: type[T], data: Any, where: str = "") -> T:
    """`data` as the dataclass `cls`: its fields are the keys, each with its type and, as a `Meta`, what to write.

    Raises UsageError that begins with `where` and names an unknown key with a suggestion, a missing key, or a value of
    another type or out of bounds.
    """
    hints = get_type_hints(cls, include_extras=True)
    if not isinstance(data, dict):
        found = "it is empty" if data is None else f"{data!r} is no mapping"
        raise UsageError(f"{where}{found}; its keys are {', '.join(hints)}")
    for name, value in data.items():
        if name not in hints:
            raise UsageError(f"{where}unknown key {name!r}{did_you_mean(str(name), hints)}")
        if value is None:
            raise UsageError(f"{where}{name} has no value; it must be {_wanted(hints[name])}")
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        # msgspec says neither which value it found nor what to write instead, so only the name of the key is used.
        name = next(re.finditer(r"(?<=\$\.)\w+|(?<=field `)\w+", str(error)))[0]
        found = f"is {data[name]!r}" if name in data else "is missing"
        raise UsageError(f"{where}{name} {found}; it must be {_wanted(hints[name])}") from None


def _wanted(hint: Any) -> str:
    """The first description in a hint: its own, or that of a member of its union."""
    described = [part.description for part in getattr(hint, "__metadata__", ()) if isinstance(part, msgspec.Meta)]
    return next(filter(None, described), "") or next(filter(None, map(_wanted, get_args(hint))), "")
