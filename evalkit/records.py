"""The records that pass between the stages of a run; all of them are frozen.

The flow is Sample -> Request -> Completion -> Score -> SampleRecord -> RunRecord. Field names are a promise:
fields are added, never renamed.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = "evalkit.run/1"

FinishReason = Literal["stop", "length", "error"]
FailureKind = Literal[
    "empty",
    "budget_cut",
    "wrong_format",
    "wrong_needle",
    "wrong_state",
    "wrong_choice",
    "partial",
    "prompt_echo",
    "other",
]


@dataclass(frozen=True, slots=True)
class SampleKey:
    """What a sample is a function of, beside the corpora, the dialect and the tokenizer."""

    task: str
    ctx: int
    """Requested context length in tokens: prompt, answer prefix and generation budget together.

    0 where nothing is requested: the prompt is as long as its question.
    """
    index: int
    seed: int

    @property
    def id(self) -> str:
        """The key by which two runs are paired."""
        return f"{self.task}/{self.ctx}/{self.index}/{self.seed}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One question: everything asked and everything needed to judge the answer, and no model in it."""

    key: SampleKey
    prompt: str
    """The whole text given to the model, answer prefix included."""
    answer_prefix: str
    """The end of `prompt` that opens the answer; empty where a task has none."""
    targets: tuple[str, ...]
    generation_tokens: int
    """Budget of new tokens."""
    prompt_tokens: int
    """True length of `prompt` under the tokenizer it was sized for, special tokens of the model included."""
    depths: tuple[float, ...] = ()
    """Where the needles stand, as fractions of the haystack (0 = start, 1 = end), in needle order."""
    gold_positions: tuple[int, ...] = ()
    """Where the targets' sources stand: document slots (QA), needle or line numbers (other tasks)."""
    distractors: tuple[str, ...] = ()
    """Answers to questions that were not asked, planted in the prompt: finding one is a `wrong_needle`."""
    scored_from: int | None = None
    """Character of `prompt` from which on it is scored itself, as text; None where an answer is generated."""

    @property
    def id(self) -> str:
        return self.key.id


@dataclass(frozen=True, slots=True)
class Request:
    """One piece of work for a model; it holds no gold answer."""

    id: str
    token_ids: tuple[int, ...]
    """The prompt as the model reads it, special tokens included."""
    generation_tokens: int
    scored_from: int | None = None
    """Index, at least 1, of the first token whose log-probability is asked for; nothing is generated then."""
    prefix_id: str | None = None
    """Name of the tokens that this prompt begins with and shares with others, so that they are read once for all."""
    prefix_tokens: int = 0
    """How many of `token_ids`, from the first on, those are."""
    continuations: tuple[tuple[int, ...], ...] = ()
    """Token sequences to be scored, each as what follows `token_ids`; nothing is generated then."""


@dataclass(frozen=True, slots=True)
class ContinuationScore:
    """How probable a model finds a continuation of a prompt."""

    log_probability: float
    """Nats, summed over the continuation's tokens."""
    is_greedy: bool
    """Whether each of its tokens is the one that the model finds most probable."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model did with one request, without judgement."""

    request_id: str
    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: FinishReason
    prefill_seconds: float
    decode_seconds: float
    error: str | None = None
    """One line saying what failed; set exactly when `finish_reason` is "error"."""
    log_probabilities: tuple[float, ...] | None = None
    """Nats, of the request's tokens from `scored_from` on; None where text was generated, and after an error."""
    is_greedy: bool | None = None
    """Whether each of those tokens is the one that the model finds most probable."""
    continuations: tuple[ContinuationScore, ...] | None = None
    """Of the request's continuations, in their order; None where none were asked for, and after an error."""


@dataclass(frozen=True, slots=True)
class Score:
    """A judgement of one completion."""

    metric: str
    value: float | None
    """In [0, 1], or in the metric's unit (`bits_per_byte`); None means not scored (never a sentinel, never NaN)."""
    failure: FailureKind | None = None
    """Why the value is below 1; None for a full score and for an unscored sample."""
    measures: dict[str, float] = field(default_factory=dict)
    """Sums that the value is made of, where summaries need them: `nats`, `bytes`, …"""
    prediction: str | None = None
    """The answer, where it is another text than the completion's, such as the choice found most probable."""


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One line of samples.jsonl."""

    id: str
    task: str
    ctx: int
    index: int
    seed: int
    prompt_tokens: int
    completion_tokens: int
    prompt_sha256: str
    depths: tuple[float, ...]
    gold_positions: tuple[int, ...]
    targets: tuple[str, ...]
    prediction: str
    finish_reason: FinishReason
    metric: str
    score: float | None
    failure: FailureKind | None
    error: str | None
    """Why the request failed on the model's side; such a sample is not a wrong answer."""
    unscored: str | None
    """Why the sample could not be asked at all (for instance: it cannot fit the context)."""
    prefill_seconds: float
    decode_seconds: float
    measures: dict[str, float] = field(default_factory=dict)
    """Sums that `score` is made of, where summaries need them: `nats`, `bytes`, …"""
    generation_tokens: int | None = None
    """Budget of new tokens; None in records that do not tell."""


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
    """Seconds: `wall_seconds`, `prefill_seconds`, `decode_seconds`, `first_prompt_seconds`, …"""
    memory: dict[str, float | int | str | None]
    warnings: tuple[str, ...]
    tokens_seen: int | None = None
    """Training tokens behind the checkpoint, where known."""
    figures: tuple[Figure, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """Of checks that say pass or fail; most suites have none."""
    preflight: tuple[PreflightCheck, ...] = ()
    """What was checked before the first sample; empty where it was skipped."""
