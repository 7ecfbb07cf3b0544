"""The checks of a preflight, in an order that lets each say something that those before it do not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from evalkit.errors import RequestFailedError, UsageError
from evalkit.records import ModelIdentity, PreflightCheck
from evalkit.running.protocols import Tokenizer
from model_adapters.engine.layer_kinds import layer_kinds
from model_adapters.engine.memory_plan import choose_plan, slot_cost
from model_adapters.engine.model_runner import ModelRunner
from model_adapters.preflight.engine_passes import batch_logits, prefill_trace, prefix_trace
from model_adapters.preflight.gaps import BOUNDS, Bounds, compare_logits, compare_traces
from model_adapters.preflight.reference_pass import padded_logits, plain_trace, rule_by_definition
from model_adapters.preflight.trace import Trace, decoder_layers, first_layers_only

SHORT_TOKENS = 96
FULL_TOKENS = 224
LONG_TOKENS = 1024
FIRST_LAYERS = 4
SEGMENT_TOKENS = 37
"""Divides neither a chunk of the delta rule nor a window: borders fall anywhere."""
PREFIX_SHARE = 0.6
DECODE_STEPS = 4
PADDING = 17

# Words, digits, white space of several kinds, and characters of two, three and four bytes.
ROUND_TRIP = "The answer is 42,  not\t17.\nZwölf naïve Füchse — 東京 🙂\n\n    return x[i] + 1\n"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked; the model runs only through the engine afterwards."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    identity: ModelIdentity


def full_preflight(subject: Subject, ctx: int) -> tuple[PreflightCheck, ...]:
    """All checks for runs of `ctx` tokens."""
    checks = [_positions(subject), _length(subject, ctx), *_tokenizer(subject.tokenizer)]
    refusal = _refusal(subject)
    if refusal is not None:
        return (*checks, refusal)
    checks += [_memory(subject, ctx), *_whole_model(subject, FULL_TOKENS, padding=True)]
    return (*checks, *_first_layers(subject, min(LONG_TOKENS, ctx)))


def short_preflight(subject: Subject) -> tuple[PreflightCheck, ...]:
    """What can be told in the time that a run spends on loading anyway."""
    refusal = _refusal(subject)
    if refusal is not None:
        return (refusal,)
    return (_positions(subject), *_whole_model(subject, SHORT_TOKENS, padding=False))


def refuse_stopped(model: str, checks: Iterable[PreflightCheck]) -> None:
    """Raise UsageError naming the first check that says stop."""
    stopped = next((check for check in checks if check.outcome == "stop"), None)
    if stopped is not None:
        raise UsageError(
            f"{model}: preflight stops at {stopped.name}: {stopped.statement}; "
            "see `evalkit preflight`, or run it all the same with --skip-preflight"
        )


def _positions(subject: Subject) -> PreflightCheck:
    positions = subject.identity.positions
    if positions.injected:
        return PreflightCheck("positions", "stop", f"built with {positions.description}")
    return PreflightCheck("positions", "note" if positions.override else "pass", positions.description)


def _length(subject: Subject, ctx: int) -> PreflightCheck:
    trained = subject.identity.trained_length
    if trained is None:
        return PreflightCheck("trained length", "note", "the checkpoint does not say to what length it was trained")
    if ctx > trained:
        return PreflightCheck("trained length", "note", f"{ctx:,} tokens are beyond the trained {trained:,}")
    return PreflightCheck("trained length", "pass", f"{ctx:,} tokens of {trained:,}")


def _tokenizer(tokenizer: Tokenizer) -> list[PreflightCheck]:
    read = tokenizer.decode(tokenizer.encode(ROUND_TRIP))
    if read == ROUND_TRIP:
        round_trip = PreflightCheck("tokenizer", "pass", "text comes back unchanged")
    else:
        place = next((i for i, (a, b) in enumerate(zip(read, ROUND_TRIP, strict=False)) if a != b), len(read))
        shown = f"{ROUND_TRIP[place : place + 8]!r} comes back as {read[place : place + 8]!r}"
        round_trip = PreflightCheck("tokenizer", "note", f"text comes back changed: {shown}")
    prefix = tokenizer.encode_prompt("a")[: tokenizer.special_prompt_tokens()]
    told = f"puts {prefix} before a prompt" if prefix else "puts nothing before a prompt"
    return [round_trip, PreflightCheck("special tokens", "note", f"the tokenizer {told}")]


def _refusal(subject: Subject) -> PreflightCheck | None:
    """Why the engine does not run this family at all."""
    try:
        layer_kinds(subject.model.config)
    except UsageError as error:
        return PreflightCheck("family", "stop", f"{subject.identity.family}: {error}")
    return None


def _memory(subject: Subject, ctx: int) -> PreflightCheck:
    model = subject.model
    try:
        plan = choose_plan(model, ctx)
    except RequestFailedError as error:
        return PreflightCheck("memory", "stop", str(error))
    size = slot_cost(model.config, model.dtype).bytes(ctx) / 2**30
    return PreflightCheck(
        "memory",
        "pass",
        f"{size:.2f} GiB of keys, values and states a sequence of {ctx:,} tokens; "
        f"{plan.slots} decoded together, segments of {plan.segment_tokens:,}",
    )


def _whole_model(subject: Subject, tokens: int, *, padding: bool) -> list[PreflightCheck]:
    """The whole model at a short length, in the dtype of the run."""
    model, bounds = subject.model, BOUNDS[subject.model.dtype]
    token_ids = _token_ids(subject, tokens)
    model.set_attn_implementation("eager")
    checks = [_padding(model, token_ids, bounds)] if padding else []
    with rule_by_definition(model) as has_rule:
        expected = plain_trace(model, token_ids)
    try:
        runner = ModelRunner(model)
    except UsageError as error:
        return [*checks, PreflightCheck("family", "stop", f"{subject.identity.family}: {error}")]
    in_one = prefill_trace(runner, token_ids, tokens)
    return [
        compare_traces("kernels", _kernels_against(has_rule), in_one, expected, bounds),
        *_engine_against_itself(runner, token_ids, in_one, bounds),
        *checks,
    ]


def _kernels_against(has_rule: bool) -> str:
    code = "eager attention and the gated delta rule by its definition" if has_rule else "transformers' own code"
    return f"the engine against {code}"


def _engine_against_itself(
    runner: ModelRunner, token_ids: Sequence[int], in_one: Trace, bounds: Bounds
) -> list[PreflightCheck]:
    """Segments, prefix reuse and a batch, against the same prompt in one piece."""
    tokens = len(token_ids)
    segmented = prefill_trace(runner, token_ids, SEGMENT_TOKENS)
    prefix_tokens = int(tokens * PREFIX_SHARE)
    reused = prefix_trace(runner, token_ids, prefix_tokens)
    lengths = [tokens - DECODE_STEPS, tokens // 2, SEGMENT_TOKENS]
    batch = torch.cat(batch_logits(runner, token_ids, lengths, DECODE_STEPS))
    alone = torch.cat([in_one.logits_TV[length : length + DECODE_STEPS] for length in lengths])
    return [
        compare_traces("segments", f"segments of {SEGMENT_TOKENS} against one piece", segmented, in_one, bounds),
        compare_traces(
            "prefix reuse",
            "continued from a snapshot against fresh",
            reused,
            in_one.rows(prefix_tokens, tokens),
            bounds,
        ),
        compare_logits(
            "batch", f"prompts of {len(lengths)} lengths decoded together against alone", batch, alone, bounds
        ),
    ]


def _padding(model: PreTrainedModel, token_ids: Sequence[int], bounds: Bounds) -> PreflightCheck:
    """transformers' own batch, which pads; the engine does not."""
    short_ids = token_ids[PADDING:]
    expected_TV = plain_trace(model, short_ids).logits_TV
    found_TV = padded_logits(model, token_ids, short_ids)
    return compare_logits("padding", "a prompt padded on the left against alone", found_TV, expected_TV, bounds)


def _first_layers(subject: Subject, tokens: int) -> list[PreflightCheck]:
    """The first layers alone at a length that takes many chunks and segments; their outputs go to the head."""
    model, bounds = subject.model, BOUNDS[subject.model.dtype]
    count = min(FIRST_LAYERS, len(decoder_layers(model)))
    token_ids = _token_ids(subject, tokens)
    model.set_attn_implementation("eager")
    with first_layers_only(model, count):
        with rule_by_definition(model):
            expected = plain_trace(model, token_ids)
        found = prefill_trace(ModelRunner(model), token_ids, 7 * SEGMENT_TOKENS)
    what = f"layers 0 to {count - 1} on {tokens:,} tokens in segments against one plain pass"
    return [compare_traces("first layers", what, found, expected, bounds)]


def _token_ids(subject: Subject, tokens: int) -> list[int]:
    """A prompt of so many tokens: prose-like text over and over, so that a trained model is in its own ground."""
    text = " ".join(f"In the year {1500 + 7 * number} the {number}th letter went to town." for number in range(tokens))
    return subject.tokenizer.encode_prompt(text)[:tokens]
