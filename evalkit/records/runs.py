"""Records of a whole run: model identity, corpora, plan and RunRecord."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from evalkit.records.execution import EngineDescription, Environment, MemoryUse, Timing
from evalkit.records.results import Figure, ResultRow, SummaryRow, UnscoredCell, Verdict
from evalkit.records.samples import SampleKey, SampleRecord
from evalkit.records.sessions import Session
from evalkit.records.shards import Shard

SCHEMA = "evalkit.run/2"
START_SCHEMA = "evalkit.start/1"
UNKNOWN = "unknown"
"""Placeholder in the identity of a model of which only the answers are known."""
SERVED = "served:"
"""Before a model's name in place of its fingerprint, if a server runs it."""


@dataclass(frozen=True, slots=True)
class PositionScheme:
    """Position scheme of a checkpoint, as its config.json states it and as transformers completed it."""

    kind: str
    """none, rope, linear, dynamic, yarn, longrope, llama3, other, or a word of a newer version."""
    description: str
    """One line for readers, such as `RoPE θ=500000` or `none (DRoPE)`."""
    theta: float | None = None
    factor: float | None = None
    original_length: int | None = None
    injected: bool = False
    """True if transformers fills in a value that the checkpoint does not state."""
    override: str | None = None
    """Positions forced in place of the checkpoint's own, for a control experiment."""

    @property
    def key(self) -> tuple[str | float | int | None, ...]:
        """Equal for two schemes exactly if they are the same, whatever their descriptions."""
        return self.kind, self.theta, self.factor, self.original_length, self.override


@dataclass(frozen=True, slots=True)
class ThinkingUse:
    """How a model that can think was set, with its chat template."""

    budget_tokens: int
    """Maximum number of tokens of thought; 0 if thinking is off."""
    switches: dict[str, Any] = field(default_factory=dict)
    """Variables of the template that were set, by name, such as `enable_thinking`."""
    open: str | None = None
    """The opening tag; None if the template has none."""
    close: str | None = None
    """The closing tag."""
    forced: str | None = None
    """Text that is inserted where a thought is closed by force, before an answer prefix."""

    @property
    def description(self) -> str:
        """One line for readers: `at most 1,024 tokens, enable_thinking=true, <think> … </think>`."""
        budget = f"at most {self.budget_tokens:,} tokens" if self.budget_tokens else "off"
        switches = [f"{name}={str(value).lower()}" for name, value in self.switches.items()]
        return ", ".join([budget, *switches, *([f"{self.open} … {self.close}"] if self.open else [])])


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Identity of the model that answered, by which mixing two models is refused."""

    path: str
    """The --model that the user passed."""
    family: str
    """transformers' `model_type`."""
    fingerprint: str
    """sha256 over the weights' files and config.json, as `sha256:<hex>`."""
    tokenizer: str
    """sha256 over the tokenizer's definition, as `sha256:<hex>`."""
    dtype: str
    positions: PositionScheme
    trained_length: int | None
    parameters: int
    trained: bool = True
    """False for random weights; every report then says so."""
    quantization: str | None = None
    """How the stored weights are quantized and how they were loaded; None if they are not quantized."""
    commit: str | None = None
    """Commit of the hub repository; None for a model that is not from the hub."""
    base: str | None = None
    """The model that an adapter was merged into; None if `path` is a whole model."""
    chat_template: str | None = None
    """sha256 of the chat template that renders the prompts, as `sha256:<hex>`; None if prompts are raw text."""
    thinking: ThinkingUse | None = None
    """How thinking was set; None if prompts are raw text, and for a template without switch and tags of thought."""

    @property
    def name(self) -> str:
        """`path`, with forced positions in brackets, because a control experiment counts as another model."""
        forced = self.positions.override
        return self.path if forced is None else f"{self.path} [CONTROL EXPERIMENT: positions forced to {forced}]"

    @classmethod
    def by_name(cls, path: str, fingerprint: str, tokenizer: str = UNKNOWN) -> "ModelIdentity":
        """The identity of a model that runs elsewhere, such as on a server: its weights and their dtype are unknown."""
        positions = PositionScheme("other", UNKNOWN)
        return cls(path, UNKNOWN, fingerprint, tokenizer, UNKNOWN, positions, trained_length=None, parameters=0)


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """One check of a preflight, with its outcome."""

    name: str
    outcome: str
    """pass, note (information only), stop, or a word of a newer version."""
    statement: str
    """One line for readers."""
    logit_gap: float | None = None
    """Largest absolute difference between logits."""
    relative_gap: float | None = None
    """Root mean square of the differences between logits, relative to that of the logits."""
    bound: float | None = None
    """Upper limit of `relative_gap`."""
    top1_agreement: float | None = None
    """Share of positions whose most probable token is the same."""
    first_departing_layer: int | None = None
    """The first layer whose output differs by more than the bound."""
    made_at: str | None = None
    """When an earlier process made it, with the same weights, code, libraries and kind of GPU (UTC, as
    `2026-05-01T12:00:00Z`); None if the process of the run did."""


@dataclass(frozen=True, slots=True)
class CorpusUse:
    """A corpus that was used for a result."""

    role: str
    """`essays`, `squad`, `hotpotqa`, `samples`, …"""
    name: str
    sha256: str
    """sha256 of the file as it was read; for an embedded corpus, of its uncompressed text."""
    source: str
    """File name, URL or `embedded`."""


def generated_roles(corpora: Iterable[CorpusUse]) -> tuple[str, ...]:
    """Roles for which generated text was used, on which scores do not compare with published ones."""
    return tuple(sorted({corpus.role for corpus in corpora if corpus.source == "embedded"}))


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """All questions of a run, before any prompt is built."""

    keys: tuple[SampleKey, ...]
    unscored: tuple[UnscoredCell, ...]
    corpora: tuple[CorpusUse, ...]
    question_settings: dict[str, Any] = field(default_factory=dict)
    """Settings that change a question or its score and are not part of a key, dialect or corpus."""
    warnings: tuple[str, ...] = ()
    """Warnings before the run starts, one line each."""
    log_probabilities: bool = False
    """Whether a request asks for log-probabilities of given text, which not every server gives."""
    prefix_tasks: tuple[str, ...] = ()
    """Tasks whose samples share a prefix, which an engine reads once if they stay together."""
    shard: Shard | None = None
    """The shard that `keys` are; None if they are all samples of the suite."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """The content of started.json: what is known about a run before its first sample."""

    schema: str
    run_id: str
    suite: str
    suite_version: str
    dialect: str
    seed: int
    model: ModelIdentity
    config: dict[str, Any]
    """The configuration as completed by defaults."""
    config_passed: dict[str, Any]
    """The configuration as the user passed it."""
    corpora: tuple[CorpusUse, ...]
    planned: int
    """Number of samples in the plan, or in the shard."""
    unscored: tuple[UnscoredCell, ...]
    warnings: tuple[str, ...]
    tokens_seen: int | None = None
    preflight: tuple[PreflightCheck, ...] = ()
    question_settings: dict[str, Any] = field(default_factory=dict)
    shard: Shard | None = None
    """None for a whole run."""
    planned_tokens: int | None = None
    """Requested tokens of those samples, by which time left is estimated; None in older files."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of samples `n` of a run, of which `errors` and `unscored`."""

    n: int = 0
    errors: int = 0
    unscored: int = 0

    @classmethod
    def of(cls, samples: Collection[SampleRecord]) -> "Counts":
        return cls(
            n=len(samples),
            errors=sum(sample.error is not None for sample in samples),
            unscored=sum(sample.unscored is not None for sample in samples),
        )


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything needed to rerun, compare and gate one run: the content of run.json."""

    schema: str
    run_id: str
    suite: str
    suite_version: str
    dialect: str
    seed: int
    model: ModelIdentity
    config: dict[str, Any]
    """The configuration as completed by defaults."""
    config_passed: dict[str, Any]
    """The configuration as the user passed it."""
    corpora: tuple[CorpusUse, ...]
    environment: Environment
    """Environment of the last session."""
    results: tuple[ResultRow, ...]
    summary: tuple[SummaryRow, ...]
    failures: dict[str, int]
    """Failure kind -> number of samples."""
    unscored: tuple[UnscoredCell, ...]
    counts: Counts
    timing: Timing
    """Over all sessions; `first_prompt_seconds` of the first."""
    memory: MemoryUse
    """Memory of the session with the highest peak."""
    warnings: tuple[str, ...]
    engine: EngineDescription = field(default_factory=EngineDescription)
    """Environment of the last session."""
    tokens_seen: int | None = None
    """Training tokens of the checkpoint, if known."""
    figures: tuple[Figure, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """Verdicts of suites with checks; most suites have none."""
    preflight: tuple[PreflightCheck, ...] = ()
    """Checks made before the first sample; empty if they were skipped."""
    sessions: tuple[Session, ...] = ()
    """The processes that answered the samples, in order."""
    question_settings: dict[str, Any] = field(default_factory=dict)
    """Settings that change a question or its score and are in no sample key, dialect or corpus."""
    unfinished: bool = False
    """True for the record of a stopped run, which is shown and never written to run.json."""
    planned: int | None = None
    """Number of samples in the plan, or in the shard; None in older records."""
    shard: Shard | None = None
    """Which part of a run this is; None for a whole run. A shard is merged with the others before it is judged."""
    merged_shards: int | None = None
    """Number of shards that a whole run was merged from; None if it was not. `Session.shard` says which."""

    @property
    def started_at(self) -> str | None:
        """Start of the first session in UTC, as `2026-05-01T12:00:00Z`; None if unknown."""
        return next((session.started_at for session in self.sessions if session.started_at is not None), None)

    def figure(self, name: str, part: str = "") -> Figure | None:
        """The figure of this name and part; None if the run has none."""
        return next((figure for figure in self.figures if (figure.name, figure.part) == (name, part)), None)
