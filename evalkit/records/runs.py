"""Records of a whole run: model identity, corpora, plan, rows, verdicts and RunRecord."""

from dataclasses import dataclass, field
from typing import Any, Literal

from evalkit.records.samples import SampleKey
from evalkit.records.sessions import Session

SCHEMA = "evalkit.run/1"
START_SCHEMA = "evalkit.start/1"
UNKNOWN = "unknown"
"""What the identity of a model says where only its answers are known."""


@dataclass(frozen=True, slots=True)
class PositionScheme:
    """How a checkpoint encodes positions, as its raw config.json says and as transformers completed it."""

    kind: Literal["none", "rope", "linear", "dynamic", "yarn", "longrope", "llama3", "other"]
    description: str
    """One line for people, such as `RoPE θ=500000` or `none (DRoPE)`."""
    theta: float | None = None
    factor: float | None = None
    original_length: int | None = None
    injected: bool = False
    """True where transformers fills in a value that the checkpoint does not state."""
    override: str | None = None
    """What was forced in the place of the checkpoint's own positions: a control experiment, not the model itself."""

    @property
    def key(self) -> tuple[str | float | int | None, ...]:
        """What two schemes share if they are the same, however they are described."""
        return self.kind, self.theta, self.factor, self.original_length, self.override


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model answered: enough to refuse mixing two of them."""

    path: str
    """What the user passed as --model."""
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
    """False for the embedded default while it has random weights: every report says so."""
    quantization: str | None = None
    """How the stored weights are quantized, and what was done about it; None if they are not."""

    @property
    def name(self) -> str:
        """`path`, and with it the positions that were forced on the model: a control experiment is another model."""
        forced = self.positions.override
        return self.path if forced is None else f"{self.path} [CONTROL EXPERIMENT: positions forced to {forced}]"


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """One way in which a model could be run wrongly, and whether it is."""

    name: str
    outcome: Literal["pass", "note", "stop"]
    """`note`: to be known, and no reason to stop."""
    statement: str
    """One line for people."""
    logit_gap: float | None = None
    """Largest difference of a logit."""
    relative_gap: float | None = None
    """Root mean square of the logits' differences, relative to that of the logits."""
    bound: float | None = None
    """What `relative_gap` must not exceed."""
    top1_agreement: float | None = None
    """Share of positions whose most probable token is the same."""
    first_departing_layer: int | None = None
    """The first layer whose output departs by more than the bound."""


@dataclass(frozen=True, slots=True)
class CorpusUse:
    """A corpus that stood behind a result."""

    role: str
    """`essays`, `squad`, `hotpotqa`, `samples`, …"""
    name: str
    sha256: str
    """Of the file as it was read; for generated corpora, of the generator's definition."""
    source: str
    """File name, URL or `embedded`."""


@dataclass(frozen=True, slots=True)
class UnscoredCell:
    """A task and length that were asked for and cannot be scored, with the reason."""

    task: str
    ctx: int
    reason: str


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """All that a run will ask, before any prompt is built."""

    keys: tuple[SampleKey, ...]
    unscored: tuple[UnscoredCell, ...]
    corpora: tuple[CorpusUse, ...]
    question_settings: dict[str, Any] = field(default_factory=dict)
    """Settings that change a question or its score and are in no key, dialect or corpus."""
    warnings: tuple[str, ...] = ()
    """What should be known before hours are spent; one line each."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The score of one task at one context length, 0-100, or in the metric's unit (`bits_per_byte`)."""

    task: str
    ctx: int
    metric: str
    value: float | None
    n: int
    """Scored samples behind the value."""
    ci95: tuple[float, float] | None
    errors: int = 0
    unscored: int = 0
    chance: float | None = None
    """What guessing among the possible answers scores, 0-100; None where there is no such list."""
    updates: int | None = None
    """State updates in each question; `task` is then `<task>:<updates>`, so that every row has a name of its own."""


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The mean over the tasks at one context length, 0-100."""

    ctx: int
    mean: float | None
    ci95: tuple[float, float] | None
    tasks: int
    complete: bool
    """False where a task of the suite is missing, errored or unscored: the mean is not the published one."""
    by_sample: bool = False
    """True where every sample weighs alike (micro average), not every task."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number beside the rows that has an interval or a unit of its own."""

    name: str
    """Path-like, such as `nats_per_token/copy`."""
    value: float | None
    unit: str
    ci95: tuple[float, float] | None
    n: int
    """What it rests on: samples, or windows of text."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check concludes, and what it could have concluded."""

    check: str
    """Path-like, such as `effective_length/fixed`."""
    verdict: Literal["pass", "fail", "undecided"]
    """`undecided`: these samples cannot tell."""
    statement: str
    """One line for people: what was found, and held against what."""
    unit: str
    value: float | None
    bound: float | None
    """What the value is held against."""
    ci95: tuple[float, float] | None
    detectable: float | None
    """The smallest true difference that this many samples show with a power of 80 %, in `detectable_unit`."""
    detectable_unit: str = ""


@dataclass(frozen=True, slots=True)
class SuiteSummary:
    """What a suite makes of its sample records."""

    results: tuple[ResultRow, ...]
    summary: tuple[SummaryRow, ...]
    effective_length: int | None
    derived: dict[str, float | None] = field(default_factory=dict)
    """Named figures beside the table, such as `wavg_increasing`."""
    figures: tuple[Figure, ...] = ()
    unscored: tuple[UnscoredCell, ...] = ()
    """What turned out only when it was prepared, beside the cells of the plan."""
    warnings: tuple[str, ...] = ()
    """What the samples show about the run beside their scores; one line each."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known of a run before its first sample: the content of started.json."""

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
    """Samples of the plan."""
    unscored: tuple[UnscoredCell, ...]
    warnings: tuple[str, ...]
    tokens_seen: int | None = None
    preflight: tuple[PreflightCheck, ...] = ()
    question_settings: dict[str, Any] = field(default_factory=dict)


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
    environment: dict[str, Any]
    """Of the last session."""
    results: tuple[ResultRow, ...]
    summary: tuple[SummaryRow, ...]
    effective_length: int | None
    derived: dict[str, float | None]
    failures: dict[str, int]
    """Failure kind -> number of samples."""
    unscored: tuple[UnscoredCell, ...]
    counts: dict[str, int]
    """`n` (asked), `errors`, `unscored`."""
    timing: dict[str, float | None]
    """Seconds: `wall_seconds` and the times of the samples over all sessions, `first_prompt_seconds` of the first."""
    memory: dict[str, float | int | str | None]
    """Of the session with the highest peak."""
    warnings: tuple[str, ...]
    tokens_seen: int | None = None
    """Training tokens behind the checkpoint, where known."""
    figures: tuple[Figure, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """Of checks that say pass or fail; most suites have none."""
    preflight: tuple[PreflightCheck, ...] = ()
    """What was checked before the first sample; empty where it was skipped."""
    sessions: tuple[Session, ...] = ()
    """The processes that answered the samples, in their order."""
    question_settings: dict[str, Any] = field(default_factory=dict)
    """Settings that change a question or its score and are in no sample key, dialect or corpus."""
    unfinished: bool = False
    """True for what is shown of a run that was stopped; run.json never holds such a record."""
    planned: int | None = None
    """Samples of the plan; None in records that do not tell."""
