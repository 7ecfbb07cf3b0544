"""The checks of a preflight, ordered so that each one adds information to those before it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from evalkit.errors import RequestFailedError, UsageError
from evalkit.records import ModelIdentity, PreflightCheck
from evalkit.running.chat import Chat
from evalkit.running.model_options import ChatMode, ChatOptions
from evalkit.running.protocols import Tokenizer
from model_adapters.engine.forward.activations import needs_of
from model_adapters.engine.forward.decoder_layers import decoder_layers, first_layers_only
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.scheduling.fixed_shapes import GPU_SEGMENT_TOKENS, FixedShapes, fix_shapes
from model_adapters.engine.scheduling.memory_plan import choose_plan
from model_adapters.engine.scheduling.position_limit import position_limit, schemes_by_length
from model_adapters.failures import describe_failure
from model_adapters.preflight.engine_passes import neighbours_logits, prefill_trace
from model_adapters.preflight.equivalence import SEGMENT_TOKENS, EquivalenceChecks
from model_adapters.preflight.reference_pass import reference

FAMILY = "family"
SHORT_TOKENS = 96
FULL_TOKENS = 224
LONG_TOKENS = 1024
FIRST_LAYERS = 4

# Words, digits, several kinds of white space, and characters of two, three and four bytes.
ROUND_TRIP = "The answer is 42,  not\t17.\nZwölf naïve Füchse — 東京 🙂\n\n    return x[i] + 1\n"


@dataclass(frozen=True, slots=True)
class Subject:
    """The model under check; afterwards it runs only through the engine."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    identity: ModelIdentity


def full_preflight(subject: Subject, ctx: int) -> tuple[PreflightCheck, ...]:
    """All checks for runs of `ctx` tokens."""
    checks = [
        _guarded("positions", lambda: _positions(subject)),
        _guarded("trained length", lambda: _length(subject, ctx)),
        _guarded("tokenizer", lambda: _round_trip(subject.tokenizer)),
        _guarded("special tokens", lambda: _special_tokens(subject.tokenizer)),
        _guarded("chat template", lambda: _chat_template(subject)),
    ]
    runner = _runner(subject)
    if isinstance(runner, PreflightCheck):
        return (*checks, runner)
    checks += [
        _guarded("memory", lambda: _memory(runner, ctx)),
        *_whole_model(subject, runner, FULL_TOKENS, padding=True),
        _guarded("first layers", lambda: _first_layers(subject, runner, ctx)),
    ]
    return tuple(checks)


def short_preflight(
    subject: Subject, *, invariant: tuple[int | None, int | None] | None = None
) -> tuple[PreflightCheck, ...]:
    """The checks that take about as long as loading the model.

    `invariant` are the segment size and batch size of a run whose answers must not depend on each other, if it is one.
    """
    runner = _runner(subject)
    if isinstance(runner, PreflightCheck):
        return (runner,)
    positions = _guarded("positions", lambda: _positions(subject))
    checks = (positions, *_whole_model(subject, runner, SHORT_TOKENS, padding=False))
    if invariant is None:
        return checks
    shapes = fix_shapes(subject.model, runner.layout, *invariant, on_gpu=runner.device.type == "cuda")
    return (*checks, _guarded("batch invariance", lambda: _invariance(subject, runner, shapes)))


def refuse_stopped(model: str, checks: Iterable[PreflightCheck]) -> None:
    """Raise UsageError naming the first check with outcome stop."""
    stopped = next((check for check in checks if check.outcome == "stop"), None)
    if stopped is not None and stopped.name == FAMILY:
        # --skip-preflight would not help.
        raise UsageError(f"{model}: {stopped.statement}")
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


def _round_trip(tokenizer: Tokenizer) -> PreflightCheck:
    read = tokenizer.decode(tokenizer.encode(ROUND_TRIP))
    if read == ROUND_TRIP:
        return PreflightCheck("tokenizer", "pass", "text comes back unchanged")
    place = next((i for i, (a, b) in enumerate(zip(read, ROUND_TRIP, strict=False)) if a != b), len(read))
    shown = f"{ROUND_TRIP[place : place + 8]!r} comes back as {read[place : place + 8]!r}"
    return PreflightCheck("tokenizer", "note", f"text comes back changed: {shown}")


def _special_tokens(tokenizer: Tokenizer) -> PreflightCheck:
    statement = f"the tokenizer puts {tokenizer.add_special_tokens([]) or 'nothing'} before a prompt"
    return PreflightCheck("special tokens", "note", statement)


def _chat_template(subject: Subject) -> PreflightCheck:
    if subject.tokenizer.chat_template is None:
        return PreflightCheck("chat template", "note", "the tokenizer has none, so prompts are raw text")
    try:
        ends = Chat(subject.tokenizer, ChatOptions(ChatMode.USER), model=subject.identity.path).stop
    except UsageError as error:
        return PreflightCheck("chat template", "note", str(error))
    ending = f"; answers end at {ends[0]}" if ends else ""
    return PreflightCheck("chat template", "note", f"used with --chat prefill and --chat user, unused without{ending}")


def _runner(subject: Subject) -> ModelRunner | PreflightCheck:
    """The model in the engine, or the check that says why the engine cannot run this family."""
    try:
        return ModelRunner(subject.model)
    except Exception as error:  # noqa: BLE001 - the family's code may raise anything, and all of it means the same
        return PreflightCheck(FAMILY, "stop", f"{subject.identity.family}: {describe_failure(error)}")


def _memory(runner: ModelRunner, ctx: int) -> PreflightCheck:
    limit = position_limit(runner.model)
    needs = needs_of(runner, GPU_SEGMENT_TOKENS, None if limit is None else limit.tokens)
    try:
        plan = choose_plan(needs, runner.device, ctx)
    except RequestFailedError as error:
        return PreflightCheck("memory", "stop", str(error))
    size = runner.layout.cost.bytes(ctx) / 2**30
    return PreflightCheck(
        "memory",
        "pass",
        f"{size:.2f} GiB of KV cache and states per sequence of {ctx:,} tokens; "
        f"{plan.slots} decoded together, segments of {plan.segment_tokens:,}",
    )


def _invariance(subject: Subject, runner: ModelRunner, shapes: FixedShapes) -> PreflightCheck:
    """Compare a sequence in the first slot beside short ones with the same sequence in the last slot beside long ones.

    Rounding may differ by place or by neighbours only in some libraries, so that this is found out on the device.
    """
    token_ids = _token_ids(subject, SHORT_TOKENS)
    short, long = token_ids[: len(token_ids) // 3], token_ids[1:]
    first = neighbours_logits(runner, shapes.sequences, token_ids[:-1], [short] * (shapes.sequences - 1), slot=0)
    last = neighbours_logits(
        runner, shapes.sequences, token_ids[:-1], [long] * (shapes.sequences - 1), slot=shapes.sequences - 1
    )
    if torch.equal(first, last):
        return PreflightCheck("batch invariance", "pass", f"logits do not depend on neighbours ({shapes})")
    gap = float((first - last).abs().max())
    return PreflightCheck(
        "batch invariance", "stop", f"{shapes}: logits depend on neighbours by up to {gap:.1e}; use --batch 1", gap
    )


def _whole_model(subject: Subject, runner: ModelRunner, tokens: int, *, padding: bool) -> list[PreflightCheck]:
    """Check the whole model on a short prompt, in the run's dtype."""
    try:
        ways = EquivalenceChecks(runner, _token_ids(subject, tokens))
    except Exception as error:  # noqa: BLE001 - tokenizers may raise anything
        return [PreflightCheck("tokenizer", "stop", describe_failure(error))]
    checks = {
        "kernels": ways.kernels,
        "segments": ways.segments,
        "prefix reuse": ways.prefix_reuse,
        "branches": ways.branches,
        "batch": ways.batch,
    }
    if any((layer.window or 0) > tokens // 2 for layer in runner.layout.layers):
        checks["window border"] = ways.window_border
    if schemes_by_length(subject.model.config.get_text_config(decoder=True)):
        checks["rope length"] = ways.rope_length
    if padding:
        checks["padding"] = ways.padding
    return [_guarded(name, check) for name, check in checks.items()]


def _first_layers(subject: Subject, runner: ModelRunner, ctx: int) -> PreflightCheck:
    """Check the first layers alone, followed by the head, on a prompt of many chunks and segments.

    The prompt is also longer than the model's real attention windows.
    """
    model, segment_tokens = subject.model, 7 * SEGMENT_TOKENS
    count = min(FIRST_LAYERS, len(decoder_layers(model)))
    windows = [layer.window or 0 for layer in runner.layout.layers[:count]]
    limit = position_limit(model)
    tokens = min(
        max(LONG_TOKENS, max(windows, default=0) + segment_tokens), ctx, *([] if limit is None else [limit.tokens])
    )
    token_ids = _token_ids(subject, tokens)
    with first_layers_only(model, count):
        expected = reference(model, token_ids)
        found = prefill_trace(ModelRunner(model), token_ids, segment_tokens)
    what = f"layers 0 to {count - 1} on {tokens:,} tokens in segments against one plain pass"
    return expected.compare("first layers", what, found, range(tokens))


def _guarded(name: str, check: Callable[[], PreflightCheck]) -> PreflightCheck:
    """Run a check; whatever it raises becomes a stop, because a model that cannot be checked is not run."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - the family's code may raise anything, and it is this check's finding
        return PreflightCheck(name, "stop", describe_failure(error))


def _token_ids(subject: Subject, tokens: int) -> list[int]:
    """A prompt of `tokens` tokens of repetitive prose, similar to what models are trained on."""
    text = " ".join(f"In the year {1500 + 7 * number} the {number}th letter went to town." for number in range(tokens))
    return subject.tokenizer.encode_prompt(text)[:tokens]
