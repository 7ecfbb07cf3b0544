"""Migration of records of earlier versions to the present one when they are read.

A record names its schema as `evalkit.run/1`. Fields are added under the same number: a reader uses the default of a
missing field and ignores an unknown one. A change of meaning gets the next number and a step here.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from evalkit.records import run_1
from evalkit.records.codec import RecordError, from_dict, from_json, parse_json
from evalkit.records.manifest import MANIFEST_SCHEMA, Manifest
from evalkit.records.runs import SCHEMA, START_SCHEMA, RunRecord, RunStart
from evalkit.records.samples import SampleRecord
from evalkit.records.sessions import SessionList

T = TypeVar("T")
Fields = dict[str, Any]

SESSIONS_SCHEMA = "evalkit.sessions/1"
_SCHEMAS: dict[type[Any], str] = {
    Manifest: MANIFEST_SCHEMA,
    RunRecord: SCHEMA,
    RunStart: START_SCHEMA,
    SessionList: SESSIONS_SCHEMA,
}
_NUMBERED = re.compile(r"(?P<kind>.+)/(?P<major>\d{1,9})(\.\d+)?")


class NewerRecordError(RecordError):
    """A record whose meaning changed after this version of evalkit; the message continues the file's name."""


def read_record(cls: type[T], text: str) -> T:
    """Build `cls` from one JSON text of any version up to this one.

    Raises NewerRecordError for a newer one, and RecordError if it is not JSON or not that record.
    """
    if cls not in _SCHEMAS and (cls is not SampleRecord or not any(mark in text for mark in _OLD_MEASURES)):
        return from_json(cls, text)
    return from_dict(cls, migrate(cls, parse_json(text)))


def migrate(cls: type[Any], data: Any) -> Any:
    """The fields of a record of kind `cls` as this version writes them; raises as `read_record`."""
    if not isinstance(data, dict):
        return data  # `from_dict` says what is wrong with it
    if "schema" in data and cls in _SCHEMAS:
        _check_schema(data["schema"], _SCHEMAS[cls])
    for step in _STEPS.get(cls, ()):
        data = step(data)
    return data


def _check_schema(found: Any, known: str) -> None:
    """Raise NewerRecordError for a newer major version, and RecordError for any other schema."""
    here, there = _NUMBERED.fullmatch(known), _NUMBERED.fullmatch(str(found))
    if here is None or there is None or there["kind"] != here["kind"]:
        raise RecordError(f"its schema is {str(found)[:60]}, this evalkit reads {known}")
    if int(there["major"]) > int(here["major"]):
        raise NewerRecordError(f"has schema {found}, this evalkit reads up to {known}; upgrade evalkit to read it")


def _nest_corpora(data: Fields) -> Fields:
    """manifest/1 had no schema, and corpora as `role:name` -> sha256."""
    corpora = data.get("corpora")
    if "schema" in data or not isinstance(corpora, dict):
        return data
    nested: dict[str, dict[str, Any]] = {}
    for key, sha256 in corpora.items():
        role, _, name = key.partition(":")
        nested.setdefault(role, {})[name] = sha256
    return {**data, "schema": MANIFEST_SCHEMA, "corpora": nested}


_EMBEDDED_SHA256 = {
    "e0625114b7d8ab191d68d6dfe4dcd8e286b08699a1c20798387c1b6fd2559cf9": (
        "1a1414865013a196582a45cc38df5e437e9142c53b15f75066d688e246745d89"
    ),
    "0d5ff6fd17db88ee6a324bf398d6c8fba9c2cd738fd783fecfc1467fbcccee25": (
        "a6a348092465c65ee28f754ff34996f4dcd6cf759562dd16803fc61c9ce477b9"
    ),
    "55ee5f81027ae0fe0c70f642e2ca9d8015f69cec976f40abe2d473fce462cfb3": (
        "11a31ca5352c4c367ebb369104cf6894204e5e44de5888534018e0cda988dd9b"
    ),
}
"""Embedded corpora were identified by the source of their generator, and are now identified by their text."""


def _identify_embedded(data: Fields) -> Fields:
    """Corpora are objects with a sha256 in runs, and role -> name -> sha256 in manifests."""
    corpora = data.get("corpora")
    if isinstance(corpora, list):
        return {**data, "corpora": [_identified(corpus, "sha256") for corpus in corpora]}
    if isinstance(corpora, dict):
        return {**data, "corpora": {role: _identified(names, *names) for role, names in corpora.items()}}
    return data


def _identified(fields: Any, *keys: str) -> Any:
    if not isinstance(fields, dict):
        return fields  # `from_dict` reports what is wrong
    return {**fields, **{key: _EMBEDDED_SHA256.get(str(fields.get(key)), fields.get(key)) for key in keys}}


_OLD_MEASURES = ('"tokens@', '"log_probability_0"')
"""What lines of samples with numbers in the names of measures have in them."""


def _place_sums(data: Fields) -> Fields:
    """Sums by position were measures called `nats@2048`, of buckets of a 32nd of the context but at least 64 tokens."""
    measures, ctx = data.get("measures"), data.get("ctx")
    if "positions" in data or not isinstance(measures, dict) or not isinstance(ctx, int):
        return data
    width = max(64, ctx // 32)
    starts = sorted(int(name.removeprefix("tokens@")) for name in measures if re.fullmatch(r"tokens@\d{1,12}", name))
    positions = [
        {
            "first": start,
            "end": start + width,
            "nats": measures.get(f"nats@{start}"),
            **{name: _whole(measures.get(f"{name}@{start}")) for name in ("tokens", "bytes")},
        }
        for start in starts
    ]
    kept = {name: value for name, value in measures.items() if "@" not in name}
    return {**data, "measures": kept, "positions": positions}


def _place_continuations(data: Fields) -> Fields:
    """Log-probabilities were measures: `log_probability_0` and `greedy_0` of a continuation, the first of a text."""
    measures = data.get("measures")
    first = measures.get("log_probability_0") if isinstance(measures, dict) else None
    if "continuations" in data or not isinstance(measures, dict) or not isinstance(first, float):
        return data
    if "greedy_0" not in measures:
        # Those of MMLU, more than one, are read by nothing.
        return data if "log_probability_1" in measures else {**data, "measures": {"nats": -first, **measures}}
    numbers = range(sum(name.startswith("greedy_") for name in measures))
    continuations = [
        {"log_probability": measures.get(f"log_probability_{n}"), "is_greedy": measures.get(f"greedy_{n}") == 1}
        for n in numbers
    ]
    kept = {name: value for name, value in measures.items() if not name.startswith(("log_probability_", "greedy_"))}
    return {**data, "measures": kept, "continuations": continuations}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


_STEPS: dict[type[Any], tuple[Callable[[Fields], Fields], ...]] = {
    Manifest: (_nest_corpora, _identify_embedded),
    RunRecord: (run_1.to_run_2, _identify_embedded),
    RunStart: (_identify_embedded,),
    SampleRecord: (_place_sums, _place_continuations),
}
