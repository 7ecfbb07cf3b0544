"""Migration of run records from schema run/1 to run/2.

Fields were added under run/1, so its oldest records have no sessions, and an object of margins.
"""

import re
from typing import Any

from evalkit.records.codec import RecordError
from evalkit.records.results import EFFECTIVE_LENGTH

Fields = dict[str, Any]

_RUN_1 = re.compile(r"evalkit\.run/1(\.\d+)?")


def to_run_2(data: Fields) -> Fields:
    """The fields of a run/1 record in the form of run/2; any other record unchanged.

    Raises RecordError for a field that is not of run/1.
    """
    if _RUN_1.fullmatch(str(data.get("schema"))) is None:
        return data
    for step in (_add_sessions, _flatten_margins, _take_engine, _place_figures, _rename_verdicts):
        data = step(data)
    return {**data, "schema": "evalkit.run/2"}


def _add_sessions(data: Fields) -> Fields:
    """Before sessions were recorded, a record described the last process as if it had answered all samples."""
    parts = [data.get(name) for name in ("config", "environment", "timing", "memory", "counts")]
    if "sessions" in data or not all(isinstance(part, dict) for part in parts):
        return data
    config, environment, timing, memory, counts = (part or {} for part in parts)
    session = {
        "number": 0,
        "started_at": None,
        "environment": environment,
        "engine": config["engine"] if isinstance(config.get("engine"), dict) else {},
        "samples": counts.get("n", 0),
        "wall_seconds": timing.get("wall_seconds"),
        "first_prompt_seconds": timing.get("first_prompt_seconds"),
        "memory": memory,
        "ended": True,
    }
    return {**data, "sessions": [session]}


def _flatten_margins(data: Fields) -> Fields:
    """Move the margins of a context extension, which were a separate object."""
    config = data.get("config")
    margins = config.get("margins") if isinstance(config, dict) else None
    if config is None or not isinstance(margins, dict):
        return data
    names = {"nats": "margin", "points": "margin_points", "bits": "margin_bits"}
    flat = {new: margins[old] for old, new in names.items() if old in margins}
    return {**data, "config": {**{name: value for name, value in config.items() if name != "margins"}, **flat}}


def _take_engine(data: Fields) -> Fields:
    """How the model was run was a part of the configuration."""
    config = data.get("config")
    if not isinstance(config, dict) or "engine" not in config:
        return data
    rest = {name: value for name, value in config.items() if name != "engine"}
    return {**data, "config": rest, "engine": config["engine"]}


def _place_figures(data: Fields) -> Fields:
    """Collect figures, which run/1 had in three places, with coordinates that were parts of their names."""
    if "derived" not in data:
        return data
    if not isinstance(data["derived"], dict):
        raise RecordError("RunRecord.derived: expected an object")
    suite, results = data.get("suite"), _objects(data, "results")
    # Those of a loss are of all windows of its only row, the others of the rows of a whole run.
    scored = results[0].get("n", 0) if suite == "loss" and results else 0
    figures = [{**figure, **_coordinates(suite, figure.get("name"))} for figure in _objects(data, "figures")]
    derived = [_derived(name, value, scored) for name, value in data["derived"].items()]
    kept = {name: value for name, value in data.items() if name not in ("derived", "effective_length")}
    return {
        **kept,
        "results": [_without_updates(row) for row in results],
        "figures": [*_effective_length(data, figures), *derived, *figures],
    }


def _objects(data: Fields, name: str) -> list[Fields]:
    """A list of objects, which may be missing."""
    listed = data.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise RecordError(f"RunRecord.{name}: expected a list of objects")
    return listed


def _effective_length(data: Fields, figures: list[Fields]) -> list[Fields]:
    """The effective length of RULER, 0 if below every length; an extension has it among its figures."""
    length = data.get("effective_length")
    below = data.get("suite") == "ruler" and any(row.get("complete") for row in _objects(data, "summary"))
    if (length is None and not below) or any(figure.get("name") == EFFECTIVE_LENGTH for figure in figures):
        return []
    return [{"name": EFFECTIVE_LENGTH, "value": length or 0, "unit": "tokens"}]


def _derived(name: str, value: Any, n: int) -> Fields:
    fields = {"name": name, **_coordinates(None, name)}
    unit = _UNITS.get(fields["name"], "")
    return {**fields, "value": value or 0 if unit == "updates" else value, "unit": unit, "n": n}


_UNITS = {
    "wavg_increasing": "points",
    "wavg_decreasing": "points",
    "updates_held": "updates",
    "scored_tokens": "tokens",
    "scored_bytes": "bytes",
    "copy_share": "share",
}
_NAMES = (
    re.compile(r"(?P<name>mean)/(?P<ctx>\d+)"),
    re.compile(r"(?P<name>effective_length)/(?P<part>own_share|baseline)"),
    re.compile(r"(?P<name>effective_length)/fixed"),
    re.compile(r"(?P<name>grid)/(?P<ctx>\d+)/(?P<depth>[\d.]+-[\d.]+)"),
    re.compile(r"(?P<name>position_(?:nats|bits))/(?P<position>\d+-\d+)"),
    re.compile(r"(?P<name>updates_held)/(?P<part>[^@]+)(?:@(?P<ctx>\d+))?"),
    re.compile(r"(?P<name>nats_per_token)/(?P<part>copy|rest)"),
    re.compile(r"(?P<name>group)/(?P<part>stem|humanities|social_sciences|other)"),
)
_LM_EVAL_NAME = re.compile(r"(?:(?P<name>group)/(?P<part>.+)|(?P<task>.+))/(?P<metric>[^/,]+)(?:,(?P<filter>.+))?")


def _coordinates(suite: Any, name: Any) -> Fields:
    """The name of a figure of run/1, split into name and coordinates."""
    patterns = (_LM_EVAL_NAME,) if suite == "lm-eval" else _NAMES
    found = next((match for pattern in patterns if (match := pattern.fullmatch(str(name)))), None)
    if found is None:
        return {}
    fields: Fields = {key: text for key, text in found.groupdict().items() if text is not None}
    fields |= {"name": fields["task"]} if "task" in fields else {}
    fields |= {"ctx": int(fields["ctx"])} if "ctx" in fields else {}
    for key, kind in (("depth", float), ("position", int)):
        fields |= {key: [kind(end) for end in fields[key].split("-")]} if key in fields else {}
    return {key: value for key, value in fields.items() if key != "task"}


def _without_updates(row: Fields) -> Fields:
    task, updates = row.get("task"), row.get("updates")
    named = isinstance(task, str) and updates is not None
    return {**row, "task": str(task).removesuffix(f":{updates}")} if named else row


_VERDICT = {
    "check": "target",
    "verdict": "outcome",
    "statement": "reason",
    "bound": "limit",
    "ci95": "interval",
}


def _rename_verdicts(data: Fields) -> Fields:
    """Rename the fields of verdicts, which differed from those of a gate's verdicts."""
    if "verdicts" not in data:
        return data
    verdicts = [{_VERDICT.get(name, name): value for name, value in one.items()} for one in _objects(data, "verdicts")]
    return {**data, "verdicts": verdicts}
