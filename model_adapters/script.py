"""`--model scripted:FILE`: a model with replies from a file, for tests of suites, plans and reports.

FILE is JSON lines. A line is a rule; `match` is a request id (a sample's id, such as `vt/4096/0/42`) or a pattern of
it, `*` if left out:

    {"model": {"tokens_seen": 1000, "identity": {"trained_length": 4096}, "log": "asked.txt"}}
    {"match": "vt/4096/0/42", "text": "VAR A, VAR B"}
    {"match": "*/3/42", "error": "out of memory"}
    {"text": "no idea", "thought": "Where was it?", "prefer": 1, "nats": 0.5, "wait_seconds": 0.01}

An exact id takes precedence over patterns, and among patterns the first match counts. The file's sha256 is the model's
fingerprint, so an edited file is another model.
"""

from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from time import sleep
from typing import Any

from evalkit.did_you_mean import check_known
from evalkit.errors import RequestFailedError, UsageError
from evalkit.files import reading
from evalkit.records import ContinuationScore, ModelIdentity, Request
from evalkit.records.codec import RecordError, from_dict, parse_json, to_dict
from evalkit.running.model_options import SCRIPTED_PREFIX, ModelOptions
from model_adapters.fingerprint import file_sha256
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedReply


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """The optional first line of a script, which describes the model."""

    identity: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's identity that differ from the default."""
    warnings: tuple[str, ...] = ()
    tokens_seen: int | None = None
    chat_template: str | None = None
    """A Jinja template of its tokenizer."""
    log: str | None = None
    """File, relative to the script, to which the id of every request is appended."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The reply to requests whose id matches."""

    match: str = "*"
    text: str = ""
    error: str | None = None
    """Error message; the request then fails and has no answer."""
    prefer: int = 0
    """Index of the most probable continuation."""
    nats: float = 1.0
    """Loss in nats of every scored token."""
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    wait_seconds: float = 0.0
    """Seconds before the reply."""
    thought: str | None = None
    """What it thinks before the answer, if the run lets it think."""
    closes: bool = True
    """Whether it closes its thought."""


class Script:
    """A parsed script; raises UsageError with file and line of an error."""

    def __init__(self, options: ModelOptions) -> None:
        self._path = Path(options.model.removeprefix(SCRIPTED_PREFIX))
        with reading(f"{options.model}: {self._path}"):
            lines = self._path.read_text(encoding="utf-8").splitlines()
        self.model = ScriptedModel()
        rules = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                entry = self._parse(line, number)
                if isinstance(entry, Rule):
                    rules.append(entry)
                else:
                    self.model = entry
        self._exact = {rule.match: rule for rule in reversed(rules)}
        self._patterns = [rule for rule in rules if set(rule.match) & set("*?[")]
        self.identity = self._identity(options)

    def reply(self, request: Request) -> ScriptedReply:
        """The reply of the rule that `request` matches; RequestFailedError if there is none."""
        if self.model.log is not None:
            with (self._path.parent / self.model.log).open("a", encoding="utf-8") as log:
                log.write(f"{request.id}\n")
        rule = self._exact.get(request.id) or next(
            (rule for rule in self._patterns if fnmatchcase(request.id, rule.match)), None
        )
        if rule is None:
            raise RequestFailedError(f"{self._path} has no reply to {request.id}")
        if rule.wait_seconds:
            sleep(rule.wait_seconds)
        scored = 0 if request.scored_from is None else len(request.token_ids) - request.scored_from
        continuations = tuple(
            ContinuationScore(-1.0 - (number != rule.prefer), is_greedy=number == rule.prefer)
            for number in range(len(request.continuations))
        )
        return ScriptedReply(
            rule.text,
            error=rule.error,
            prefill_seconds=rule.prefill_seconds,
            decode_seconds=rule.decode_seconds,
            log_probabilities=(-rule.nats,) * scored if scored else None,
            continuations=continuations or None,
            thought=rule.thought,
            closes=rule.closes,
        )

    def _parse(self, line: str, number: int) -> Rule | ScriptedModel:
        where = f"{self._path}:{number}"
        try:
            entry = parse_json(line)
            is_model = number == 1 and isinstance(entry, dict) and "model" in entry
            kind: type[Rule] | type[ScriptedModel] = ScriptedModel if is_model else Rule
            values = entry["model"] if is_model else entry
            if isinstance(values, dict):
                check_known("key", values, [field.name for field in fields(kind)])
            return from_dict(kind, values)
        except (RecordError, UsageError) as error:
            raise UsageError(f"{where}: {error}") from None

    def _identity(self, options: ModelOptions) -> ModelIdentity:
        own = {"path": options.model, "fingerprint": f"sha256:{file_sha256(self._path)}"}
        try:
            return from_dict(ModelIdentity, {**to_dict(SCRIPTED_IDENTITY), **own, **self.model.identity})
        except RecordError as error:
            raise UsageError(f"{self._path}:1: {error}") from None
