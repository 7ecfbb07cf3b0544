"""Records of one question: Sample, Request, Asked, Completion, Score and SampleRecord."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

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
    "cut_while_thinking",
    "unclosed_thought",
    "other",
]
ThoughtEnd = Literal["closed", "forced", "unclosed", "absent"]
"""closed: by the model; forced: at the budget of thought, where the closing tag was inserted; unclosed: the model ended
its turn inside the thought, so that there is no answer; absent: the model answered without a thought."""


@dataclass(frozen=True, slots=True)
class SampleKey:
    """What determines a sample, apart from corpora, dialect and tokenizer."""

    task: str
    ctx: int
    """Requested context length in tokens: prompt, answer prefix and budget of new tokens (thought, answer) together.

    0 if no length is requested: the prompt is as long as its question.
    """
    index: int
    seed: int

    @property
    def id(self) -> str:
        """The key by which two runs are paired."""
        return f"{self.task}/{self.ctx}/{self.index}/{self.seed}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One question with everything needed to judge its answer; it knows no model and no tokens."""

    key: SampleKey
    prompt: str
    """The whole text given to the model, answer prefix included."""
    answer_prefix: str
    """The end of `prompt` that opens the answer; empty if the task has none."""
    targets: tuple[str, ...]
    generation_tokens: int
    """Maximum number of new tokens, those of a thought included."""
    prompt_tokens: int
    """Length of `prompt` in tokens of the tokenizer it was sized for, including the model's special tokens."""
    metric: str
    """Name of its metric."""
    depths: tuple[float, ...] = ()
    """Depths of the needles as fractions of the haystack (0 = start, 1 = end), in needle order."""
    gold_positions: tuple[int, ...] = ()
    """Places of the targets' sources: document slots (QA), needle or line numbers (other tasks)."""
    distractors: tuple[str, ...] = ()
    """Answers to other questions, planted in the prompt: an answer that names one is a `wrong_needle`."""
    evidence: tuple[tuple[int, int], ...] = ()
    """(start, end) in characters of `prompt`: needles and other places that contain the right answer."""

    @property
    def id(self) -> str:
        return self.key.id


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model may think before its answer, which alone counts against the request's `generation_tokens`."""

    budget_tokens: int
    """Maximum number of tokens of thought, tags included; then `close_ids` are inserted and the answer begins."""
    open: str
    """The opening tag."""
    close: str
    """The closing tag."""
    close_ids: tuple[int, ...]
    """Tokens of the closing tag with what belongs around it, and of the answer prefix if there is one."""
    answer_ids: tuple[int, ...] = ()
    """Tokens inserted after a closing tag that the model wrote: an answer prefix; empty to let the model go on."""
    opened: bool = True
    """Whether the prompt ends inside the thought; otherwise the model opens one, or answers at once."""
    open_tokens: int = 0
    """New tokens within which it has to open one; 0 if the prompt does."""
    stop: tuple[str, ...] = ()
    """Strings that end the turn inside the thought."""

    @property
    def most_tokens(self) -> int:
        """Maximum number of new tokens before the answer."""
        return max(self.budget_tokens, self.open_tokens) + max(len(self.close_ids), len(self.answer_ids))


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a model, without the gold answer."""

    id: str
    token_ids: tuple[int, ...]
    """The prompt, including special tokens."""
    generation_tokens: int
    """Maximum number of tokens of the answer."""
    scored_from: int | None = None
    """Index, at least 1, of the first token whose log-probability is requested; nothing is generated then."""
    prefix_id: str | None = None
    """Name of the prefix that this prompt shares with others, so that an engine can cache it."""
    prefix_tokens: int = 0
    """Length of that prefix in tokens."""
    continuations: tuple[tuple[int, ...], ...] = ()
    """Token sequences to score, each as a continuation of `token_ids`; nothing is generated then."""
    stop: tuple[str, ...] = ()
    """Stop strings: the first that the answer contains ends it, and is not part of it."""
    thinking: Thinking | None = None
    """The thought before the answer, if the model may think; None to take all new tokens as the answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A sample and its requests, built together and kept until the sample's line is written.

    A suite whose judge needs more of what it built, such as the length of each token, adds fields in a subclass.
    """

    sample: Sample
    requests: tuple[Request, ...]
    """At least one, each with an id of its own."""


@dataclass(frozen=True, slots=True)
class ContinuationScore:
    """Log-probability of a continuation of a prompt."""

    log_probability: float
    """Nats, summed over the continuation's tokens."""
    is_greedy: bool
    """Whether each of its tokens is the model's most probable one."""


def total_seconds(parts: Iterable[float | None]) -> float | None:
    """Their sum; None if one of them is not known."""
    seconds = list(parts)
    return None if None in seconds else math.fsum(each for each in seconds if each is not None)


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to one request, not yet judged."""

    request_id: str
    text: str
    """The answer, without the thought before it."""
    prompt_tokens: int
    completion_tokens: int
    """New tokens, those of the thought included."""
    finish_reason: FinishReason
    prefill_seconds: float | None
    decode_seconds: float | None
    """None if they are not known."""
    error: str | None = None
    """What failed, in one line; set exactly if `finish_reason` is "error"."""
    log_probabilities: tuple[float, ...] | None = None
    """Nats, of the request's tokens from `scored_from` on; None if text was generated, and after an error."""
    is_greedy: bool | None = None
    """Whether each of those tokens is the model's most probable one."""
    continuations: tuple[ContinuationScore, ...] | None = None
    """Of the request's continuations, in their order; None if none were requested, and after an error."""
    token_ids: tuple[int, ...] | None = None
    """The answer's tokens, with the one that ended it if it is known; None if they are not known."""
    token_log_probabilities: tuple[float, ...] | None = None
    """Nats, of the answer's tokens from the first on; None if they are not known."""
    thought: str | None = None
    """Text of the thought, without its tags; None if the request has no `thinking`."""
    thought_tokens: int | None = None
    """New tokens before the answer: the thought, its tags, and what was inserted."""
    thought_end: ThoughtEnd | None = None

    @staticmethod
    def joined(name: str, parts: "Sequence[Completion]") -> "Completion":
        """One completion of all requests of a sample, in their order, under the sample's id.

        Tokens and seconds are summed; the first error counts for all.
        """
        if len(parts) == 1:
            return replace(parts[0], request_id=name)
        failed = next((part for part in parts if part.error is not None), None)
        scored = [part.log_probabilities for part in parts if part.log_probabilities is not None]
        continued = [part.continuations for part in parts if part.continuations is not None]
        greedy = [part.is_greedy for part in parts if part.is_greedy is not None]
        thoughts = [part.thought for part in parts if part.thought is not None]
        ends = [part.thought_end for part in parts if part.thought_end is not None]
        return Completion(
            request_id=name,
            text="" if failed else "".join(part.text for part in parts),
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            completion_tokens=sum(part.completion_tokens for part in parts),
            finish_reason=failed.finish_reason if failed else parts[-1].finish_reason,
            prefill_seconds=total_seconds(part.prefill_seconds for part in parts),
            decode_seconds=total_seconds(part.decode_seconds for part in parts),
            error=failed.error if failed else None,
            log_probabilities=sum(scored, ()) if scored and not failed else None,
            is_greedy=all(greedy) if greedy and not failed else None,
            continuations=sum(continued, ()) if continued and not failed else None,
            thought="".join(thoughts) if thoughts else None,
            thought_tokens=sum(part.thought_tokens or 0 for part in parts) if thoughts else None,
            thought_end=min(ends, key=_WORST_FIRST.index, default=None),
        )


_WORST_FIRST: tuple[ThoughtEnd, ...] = ("unclosed", "forced", "closed", "absent")


@dataclass(frozen=True, slots=True)
class PositionSums:
    """Sums over the scored tokens of a prompt whose positions lie in [first, end)."""

    first: int
    end: int
    nats: float
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Score:
    """A judgement of one completion by its sample's metric."""

    value: float | None
    """In [0, 1], or in the metric's unit (`bits_per_byte`); None means not scored (never a sentinel, never NaN)."""
    failure: FailureKind | None = None
    """Why the value is below 1; None for a full score and for an unscored sample."""
    measures: dict[str, float] = field(default_factory=dict)
    """Sums that the value is made of, if summaries need them: `nats`, `bytes`, …"""
    positions: tuple[PositionSums, ...] = ()
    """The loss by position, ascending, if that is measured."""
    prediction: str | None = None
    """The answer if it is not the completion's text, such as the most probable choice."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of a prompt, stored so that pages need neither tokenizer nor corpora; untrusted text."""

    start: int
    """Its first character in the prompt."""
    text: str
    marks: tuple[tuple[int, int], ...] = ()
    """(start, end) in characters of `text`, ascending: places that contain the right answer."""


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
    finish_reason: str
    """A `FinishReason`, or a word of a newer version."""
    metric: str
    score: float | None
    failure: str | None
    """A `FailureKind`, or a word of a newer version; None for a full score and for an unscored sample."""
    error: str | None
    """Why the request failed in the model; such a sample is not a wrong answer."""
    unscored: str | None
    """Why the sample could not be run (for instance: it does not fit the context)."""
    prefill_seconds: float | None
    decode_seconds: float | None
    """None if they are not known."""
    measures: dict[str, float] = field(default_factory=dict)
    """Sums that `score` is made of, if summaries need them: `nats`, `bytes`, …"""
    generation_tokens: int | None = None
    """Budget of new tokens; None if not recorded."""
    session: int = 0
    """Number of the session that answered it; 0 if not recorded."""
    replica: int = 0
    """Number of the replica that answered it in that session; 0 without replicas."""
    positions: tuple[PositionSums, ...] = ()
    """The loss by position, ascending, if that is measured."""
    continuations: tuple[ContinuationScore, ...] = ()
    """Of the sample's requests, in their order; empty if none were scored, or not recorded."""
    excerpts: tuple[Excerpt, ...] = ()
    """Pieces of the prompt in their order, the last one its end; empty if not recorded."""
    thought: str | None = None
    """Text of the thought before the answer, untrusted as the answer is; None if thinking was not governed."""
    thought_tokens: int | None = None
    """Tokens of `completion_tokens` before the answer: the thought, its tags, and what was inserted."""
    thought_end: str | None = None
    """A `ThoughtEnd`, or a word of a newer version."""
