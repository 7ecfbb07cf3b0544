"""Compare each of the engine's ways to run a prompt with one plain pass of transformers' own code."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import torch
from transformers import PreTrainedModel

from evalkit.records import PreflightCheck
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.scheduling.position_limit import position_limit, schemes_by_length
from model_adapters.preflight.engine_passes import (
    batch_logits,
    branch_logits,
    prefill_trace,
    prefix_cache,
    reused_trace,
)
from model_adapters.preflight.gaps import Reference, compare
from model_adapters.preflight.reference_pass import has_rule, padded_logits, plain_trace, reference
from model_adapters.preflight.trace import Trace

SEGMENT_TOKENS = 37
"""A multiple neither of the delta rule's chunks nor of a window, so that segments end anywhere in both."""
WINDOW_TOKENS = 24
"""Window size for the check: windows end inside a segment, before it, and in the decoded tokens."""
ORIGINAL_TOKENS = 48
"""Original RoPE length for the check: it ends inside a segment and in the decoded tokens."""
PREFIX_SHARE = 0.6
SHORT_BRANCH_TOKENS = 11
DECODE_STEPS = 4
PADDING = 17


class EquivalenceChecks:
    """The checks of one prompt; a pass that several checks need runs once, on first use."""

    def __init__(self, runner: ModelRunner, token_ids: Sequence[int]) -> None:
        self._runner, self._token_ids = runner, token_ids
        self._prefix_tokens = int(len(token_ids) * PREFIX_SHARE)
        self._all = range(len(token_ids))

    def kernels(self) -> PreflightCheck:
        """Compare one piece with transformers' own code."""
        code = (
            "eager attention and the gated delta rule by its definition"
            if has_rule(self._runner.model)
            else "transformers' own code"
        )
        return self._reference.compare("kernels", f"the engine against {code}", self._in_one, self._all)

    def segments(self) -> PreflightCheck:
        """Compare segments that end at arbitrary positions with one piece."""
        what = f"segments of {SEGMENT_TOKENS} against one piece"
        return self._base.compare("segments", what, self._segmented, self._all)

    def prefix_reuse(self) -> PreflightCheck:
        """Compare a cached prefix continued in another slot with a fresh prompt."""
        found = reused_trace(self._runner, self._prefix, self._token_ids)
        what = "continued from a kept prefix against fresh"
        return self._base.compare("prefix reuse", what, found, range(self._prefix_tokens, len(self._token_ids)))

    def branches(self) -> PreflightCheck:
        """Compare texts, one of them empty, that branch off from a cached prefix with one piece."""
        found, positions = self._branched(self._prefix)
        empty = self._runner.new_cache(slots=1, max_tokens=1)
        fresh = branch_logits(self._runner, empty, self._token_ids, (SEGMENT_TOKENS, SHORT_BRANCH_TOKENS))
        found = torch.cat([found, fresh])
        positions += [*range(SEGMENT_TOKENS), *range(SHORT_BRANCH_TOKENS)]
        what = "texts that continue one prefix together against one piece"
        return self._base.compare("branches", what, Trace((), found), positions)

    def batch(self) -> PreflightCheck:
        """Compare prompts of different lengths decoded together with each prompt alone."""
        found, positions = self._decoded()
        what = f"prompts of {len(self._lengths)} lengths decoded together against alone"
        return self._base.compare("batch", what, Trace((), found), positions)

    def padding(self) -> PreflightCheck:
        """Compare transformers' own batch, which pads its prompts, with one prompt; the engine does not pad."""
        model, short_ids = self._runner.model, self._token_ids[PADDING:]
        found = Trace((), padded_logits(model, self._token_ids, short_ids))
        # Both sides round.
        bounds = self._reference.bounds.times(1 if self._reference.is_exact else 2)
        what = "a prompt padded on the left against alone"
        return compare("padding", what, found, plain_trace(model, short_ids), bounds)

    def window_border(self) -> PreflightCheck:
        """Repeat all comparisons with attention windows short enough to end within the prompt."""
        with windows_set_to(self._runner.model, WINDOW_TOKENS):
            short = EquivalenceChecks(ModelRunner(self._runner.model), self._token_ids)
            return short._all_ways("window border", f"windows of {WINDOW_TOKENS} in segments, branches and a batch")

    def rope_length(self) -> PreflightCheck:
        """Repeat all comparisons with an original RoPE length that ends within the prompt."""
        model = self._runner.model
        own = position_limit(model)
        with original_length_set_to(model, ORIGINAL_TOKENS):
            limit = position_limit(model)
            if own is not None and limit is not None and limit.tokens <= ORIGINAL_TOKENS and not limit.reads_alone:
                return PreflightCheck(
                    "rope length", "pass", f"prompts of more than {own.tokens:,} tokens are refused: {own.reason}"
                )
            short = EquivalenceChecks(ModelRunner(model), self._token_ids)
            if limit is not None and limit.reads_alone:
                what = f"an original length of {ORIGINAL_TOKENS} in segments"
                return short._reference.compare("rope length", what, short._segmented, short._all)
            what = f"an original length of {ORIGINAL_TOKENS} in segments, branches and a batch"
            return short._all_ways("rope length", what)

    def _all_ways(self, name: str, what: str) -> PreflightCheck:
        branched, branch_positions = self._branched(self._prefix)
        decoded, decode_positions = self._decoded()
        segmented = self._segmented.logits_TV
        found = Trace((), torch.cat([segmented, branched.to(segmented), decoded.to(segmented)]))
        return self._reference.compare(name, what, found, [*self._all, *branch_positions, *decode_positions])

    @cached_property
    def _reference(self) -> Reference:
        return reference(self._runner.model, self._token_ids)

    @cached_property
    def _in_one(self) -> Trace:
        return prefill_trace(self._runner, self._token_ids, len(self._token_ids))

    @cached_property
    def _base(self) -> Reference:
        """The expected values; in fp32 the engine's own pass, so that a fault of its kernels is reported only once."""
        exact = self._reference.is_exact
        return Reference(self._runner.model, self._in_one, None) if exact else self._reference

    @cached_property
    def _segmented(self) -> Trace:
        return prefill_trace(self._runner, self._token_ids, SEGMENT_TOKENS)

    @cached_property
    def _prefix(self) -> SlottedCache:
        return prefix_cache(self._runner, self._token_ids[: self._prefix_tokens], SEGMENT_TOKENS)

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        tokens = len(self._token_ids)
        return tokens - DECODE_STEPS, tokens // 2, SEGMENT_TOKENS

    def _branched(self, prefix: SlottedCache) -> tuple[torch.Tensor, list[int]]:
        start, rest = self._prefix_tokens, self._token_ids[self._prefix_tokens :]
        found = branch_logits(self._runner, prefix, rest, (len(rest), SHORT_BRANCH_TOKENS))
        return found, [*range(start, len(self._token_ids)), *range(start, start + SHORT_BRANCH_TOKENS)]

    def _decoded(self) -> tuple[torch.Tensor, list[int]]:
        found = batch_logits(self._runner, self._token_ids, self._lengths, DECODE_STEPS, SEGMENT_TOKENS)
        return found, [length + step for length in self._lengths for step in range(DECODE_STEPS)]


@contextmanager
def windows_set_to(model: PreTrainedModel, tokens: int) -> Iterator[None]:
    """Set the size of the model's sliding windows or chunks, for transformers' own masks, in this block."""
    config = model.config.get_text_config(decoder=True)
    names = [name for name in ("sliding_window", "attention_chunk_size") if getattr(config, name, None) is not None]
    own = {name: getattr(config, name) for name in names}
    try:
        for name in names:
            setattr(config, name, tokens)
        yield
    finally:
        for name, value in own.items():
            setattr(config, name, value)


@contextmanager
def original_length_set_to(model: PreTrainedModel, tokens: int) -> Iterator[None]:
    """Set the original length of rotary schemes that depend on the prompt's length, in this block."""
    config = model.config.get_text_config(decoder=True)
    modules = [module for module in model.modules() if hasattr(module, "original_max_seq_len")]
    with ExitStack() as stack:
        for scheme in schemes_by_length(config):
            stack.callback(_restore, scheme, dict(scheme))
            scheme["original_max_position_embeddings"] = tokens
            if "dynamic" in scheme["rope_type"]:
                stack.callback(setattr, config, "max_position_embeddings", config.max_position_embeddings)
                config.max_position_embeddings = tokens
        for module in modules:
            stack.callback(_restore, vars(module), dict(vars(module)))
            # Frequencies are replaced or overwritten in place.
            stack.callback(module._buffers.update, {name: buffer.clone() for name, buffer in module.named_buffers()})
            vars(module).update(original_max_seq_len=tokens, max_seq_len_cached=tokens)
        yield


def _restore(values: dict[str, Any], before: dict[str, Any]) -> None:
    values.clear()
    values.update(before)
