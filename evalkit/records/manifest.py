"""The content of manifest.json: what all samples of a run have in common."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evalkit.records.execution import EngineDescription
from evalkit.records.runs import CorpusUse, ModelIdentity, PositionScheme, RunRecord
from evalkit.records.shards import Shard

MANIFEST_SCHEMA = "evalkit.manifest/2"
UNQUANTIZED = "none"

_DECIDING = (
    "suite",
    "suite_version",
    "dialect",
    "seed",
    "fingerprint",
    "tokenizer",
    "chat_template",
    "thinking",
    "dtype",
    "quantization",
    "evalkit",
    "engine",
    "gdn_kernel",
    "device",
    "batch_invariant",
)
_ADDED = ("position_scheme", "quantization", "evalkit", "engine", "gdn_kernel", "device", "batch_invariant")
"""Fields that the first version did not record; None if unknown."""

Corpora = Mapping[str, Mapping[str, str]]
"""Role -> name -> sha256."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that decides the questions of a run and the answers to them."""

    schema: str
    suite: str
    suite_version: str
    dialect: str
    seed: int
    model: str
    """The model as the user named it; only `fingerprint` decides whether it is the same one."""
    fingerprint: str
    tokenizer: str
    dtype: str
    positions: str
    """One line for readers; `position_scheme` decides."""
    corpora: dict[str, dict[str, str]]
    """Role -> name -> sha256. A role is served by one file, or by several with names of their own."""
    position_scheme: PositionScheme | None = None
    quantization: str | None = None
    """`none` for weights in `dtype`."""
    evalkit: str | None = None
    """Version of evalkit."""
    engine: str | None = None
    gdn_kernel: str | None = None
    """Kernel of the gated delta rule."""
    device: str | None = None
    """Type of the device, such as `cuda`."""
    batch_invariant: str | None = None
    """The fixed shapes of passes; `no` if shapes follow from the requests and from memory."""
    chat_template: str | None = None
    """sha256 of the chat template; None if prompts are raw text."""
    thinking: str | None = None
    """Budget, template switches and tags of thought in one line; None if thinking is not governed."""
    question_settings: dict[str, Any] = field(default_factory=dict)
    """Settings that change a question or its score and are not part of a sample key, dialect or corpus."""
    shard: str = ""
    """The shard of a run that the samples are, such as `3/8`; empty for a whole run."""

    @staticmethod
    def of(
        *,
        suite: str,
        version: str,
        dialect: str,
        seed: int,
        identity: ModelIdentity,
        corpora: Iterable[CorpusUse],
        question_settings: Mapping[str, Any] | None = None,
        shard: Shard | None = None,
    ) -> "Manifest":
        return Manifest(
            schema=MANIFEST_SCHEMA,
            suite=suite,
            suite_version=version,
            dialect=dialect,
            seed=seed,
            model=identity.path,
            fingerprint=identity.fingerprint,
            tokenizer=identity.tokenizer,
            dtype=identity.dtype,
            positions=identity.positions.description,
            corpora=by_role(corpora),
            position_scheme=identity.positions,
            quantization=identity.quantization or UNQUANTIZED,
            chat_template=identity.chat_template,
            thinking=None if identity.thinking is None else identity.thinking.description,
            question_settings=dict(question_settings or {}),
            shard="" if shard is None else shard.name,
        )

    @staticmethod
    def of_record(record: RunRecord) -> "Manifest":
        """The manifest of a finished run, as far as its record states it."""
        return Manifest.of(
            suite=record.suite,
            version=record.suite_version,
            dialect=record.dialect,
            seed=record.seed,
            identity=record.model,
            corpora=record.corpora,
            question_settings=record.question_settings,
            shard=record.shard,
        ).answered_by(record.engine, record.environment.evalkit)

    def answered_by(self, engine: EngineDescription, evalkit: str | None) -> "Manifest":
        """With what answers the questions: the engine, and the version of evalkit."""
        return replace(
            self,
            evalkit=evalkit,
            engine=engine.engine,
            gdn_kernel=engine.gdn_kernel,
            device=engine.device_type,
            batch_invariant=engine.batch_invariant,
        )

    def differences(self, other: "Manifest") -> list[str]:
        """`name: here -> there` for everything that must agree and does not.

        Fields unknown to one side, and corpora that only one side needs, are not compared.
        """
        found = [
            (name, here, there)
            for name in _DECIDING
            if None not in (here := getattr(self, name), there := getattr(other, name)) and here != there
        ]
        if self.position_scheme and other.position_scheme and self.position_scheme.key != other.position_scheme.key:
            found.append(("positions", self.positions, other.positions))
        if self.shard != other.shard:
            found.append(("shard", self.shard or "the whole run", other.shard or "the whole run"))
        found += differing_settings(self.question_settings, other.question_settings)
        found += corpus_conflicts(self.corpora, other.corpora)
        return [f"{name}: {here} -> {there}" for name, here, there in found]

    def unknown_beside(self, other: "Manifest") -> list[str]:
        """Names of fields that `other` has and this manifest lacks."""
        names = [name for name in _ADDED if getattr(self, name) is None and getattr(other, name) is not None]
        return names + [name for name in other.question_settings if name not in self.question_settings]

    def extended(self, other: "Manifest") -> "Manifest":
        """The manifest completed by corpora and fields that only `other` has."""
        known = {name: getattr(other, name) for name in _ADDED if getattr(self, name) is None}
        roles = dict.fromkeys((*self.corpora, *other.corpora))
        corpora = {role: {**other.corpora.get(role, {}), **self.corpora.get(role, {})} for role in roles}
        settings = {**other.question_settings, **self.question_settings}
        return replace(self, **known, corpora=corpora, question_settings=settings)

    @property
    def asked(self) -> dict[str, Any]:
        """The questions and the model, apart from the software and hardware that run it."""
        return {
            **{name: getattr(self, name) for name in ("suite", "suite_version", "dialect", "seed")},
            **{name: getattr(self, name) for name in ("fingerprint", "tokenizer", "dtype", "quantization", "corpora")},
            "override": None if self.position_scheme is None else self.position_scheme.override,
            "question_settings": self.question_settings,
            # Left out for raw text, whose folders are called as before there were templates.
            **({} if self.chat_template is None else {"chat_template": self.chat_template}),
            **({} if self.thinking is None else {"thinking": self.thinking}),
        }


def by_role(corpora: Iterable[CorpusUse]) -> dict[str, dict[str, str]]:
    """Role -> name -> sha256."""
    roles: dict[str, dict[str, str]] = {}
    for corpus in corpora:
        roles.setdefault(corpus.role, {})[corpus.name] = corpus.sha256
    return roles


def differing_settings(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, here, there) of settings that both sides have and that differ."""
    return [(name, here[name], there[name]) for name in here if name in there and here[name] != there[name]]


def corpus_conflicts(here: Corpora, there: Corpora) -> list[tuple[str, str, str]]:
    """(`corpus ROLE`, here, there) of roles for which two runs used different text.

    A role or file that only one run needs belongs to tasks of that run alone. If none of a role's files has the same
    name in both, their content decides: each text of one run must be among those of the other.
    """
    return [conflict for role in here if role in there for conflict in _role_conflicts(role, here[role], there[role])]


def _role_conflicts(role: str, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    shared = [name for name in here if name in there]
    for name in shared:
        if here[name] != there[name]:
            yield f"corpus {role}", _named(name, here[name]), _named(name, there[name])
    contents = set(here.values()), set(there.values())
    if not shared and not (contents[0] <= contents[1] or contents[1] <= contents[0]):
        sides = [", ".join(_named(name, sha256) for name, sha256 in side.items()) for side in (here, there)]
        yield f"corpus {role}", sides[0], sides[1]


def _named(name: str, sha256: str) -> str:
    return f"{name} ({sha256.removeprefix('sha256:')[:12]})"
