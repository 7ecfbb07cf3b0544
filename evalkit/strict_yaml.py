"""YAML files that users write: policies and plans."""

from collections.abc import Mapping
from typing import Any

import yaml

from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError

_LARGEST_FILE = 1 << 20
"""Characters."""


class _StrictLoader(yaml.SafeLoader):
    """YAML where a key stands once: the last of two equal keys would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise UsageError(f"{key!r} stands there twice (line {node.value[position][0].start_mark.line + 1})")
        return super().construct_mapping(node, deep)


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


def refuse_unknown(kind: str, data: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    """Raise UsageError with a suggestion for the first key of `data` that is not `known`."""
    for name in data:
        if name not in known:
            raise UsageError(f"unknown {kind} {name!r}{did_you_mean(str(name), known)}")
