"""Adapter of transformers' causal language models, hybrid or not, which one engine runs."""

import resource
import sys
from collections.abc import Iterable, Iterator

import torch
from transformers import PreTrainedModel

from evalkit.records import Completion, EngineDescription, MemoryUse, ModelIdentity, Request
from evalkit.running.protocols import Tokenizer
from evalkit.running.text_requests import cut_at
from evalkit.running.thinking import read_tokens
from model_adapters.engine.engine import Engine
from model_adapters.engine.fast_modules.choose import gdn_kernel
from model_adapters.engine.forward.slot_attention import attention_path
from model_adapters.engine.scheduling.sequence import Generation


class TransformersAdapter:
    """Answers requests greedily with a transformers model.

    `segment_tokens` (prompt tokens per prefill chunk) and `batch_sequences` (sequences decoded together) are chosen by
    the device and its memory if they are None. With `batch_invariant`, an answer depends on its own prompt alone. The
    model runs only through this adapter afterwards. Raises UsageError for a model that the engine cannot run.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        identity: ModelIdentity,
        *,
        segment_tokens: int | None = None,
        batch_sequences: int | None = None,
        batch_invariant: bool = False,
    ) -> None:
        self._tokenizer, self._identity = tokenizer, identity
        self._engine = Engine(
            model,
            segment_tokens=segment_tokens,
            slots=batch_sequences,
            tokenizer=tokenizer,
            batch_invariant=batch_invariant,
        )
        self._weights_bytes = sum(parameter.nbytes for parameter in model.parameters())
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Answer requests in any order, pulling the next only when there is room for it."""
        return map(self._completion, self._engine.generate(requests))

    def memory(self) -> MemoryUse:
        """Peak memory: the CUDA allocator's since the adapter was made, or the process's resident set on a CPU."""
        on_gpu = self._device.type == "cuda"
        cache = self._engine.cache
        return MemoryUse(
            peak_bytes=torch.cuda.max_memory_allocated(self._device) if on_gpu else _peak_resident_bytes(),
            weights_bytes=self._weights_bytes,
            kv_bytes=None if cache is None else cache.kv_bytes,
            state_bytes=None if cache is None else cache.state_bytes,
            method="peak of the CUDA allocator" if on_gpu else "peak resident set of the process",
        )

    def describe(self) -> EngineDescription:
        """Device, the plan once the first request has made one, and the savings by prefix caching."""
        plan, prefixes = self._engine.plan, self._engine.prefixes
        return EngineDescription(
            engine="evalkit",
            device=str(self._device),
            dtype=str(self._engine.runner.model.dtype).removeprefix("torch."),
            attention=attention_path(self._engine.runner.layout),
            gdn_kernel=gdn_kernel(self._engine.runner.model),
            batch_invariant="no" if self._engine.shapes is None else str(self._engine.shapes),
            segment_tokens=None if plan is None else plan.segment_tokens,
            batch_sequences=None if plan is None else plan.slots,
            max_tokens=None if plan is None else plan.max_tokens,
            prefixes_read=prefixes.read,
            prefix_requests=prefixes.continued,
            prefix_tokens_saved=prefixes.tokens_saved,
        )

    @property
    def _device(self) -> torch.device:
        return self._engine.runner.device

    def _completion(self, generation: Generation) -> Completion:
        thought, answer = self._texts(generation)
        governed = generation.thought_end is not None
        return Completion(
            request_id=generation.request_id,
            text=cut_at(answer, generation.stop),
            prompt_tokens=generation.prompt_tokens,
            completion_tokens=len(generation.token_ids),
            finish_reason=generation.finish_reason,
            prefill_seconds=generation.prefill_seconds,
            decode_seconds=generation.decode_seconds,
            error=generation.error,
            log_probabilities=None if generation.scores is None else generation.scores.log_probabilities,
            is_greedy=None if generation.scores is None else generation.scores.is_greedy,
            continuations=generation.continuations,
            token_ids=generation.token_ids[generation.thought_tokens :],
            thought=thought if governed else None,
            thought_tokens=generation.thought_tokens if governed else None,
            thought_end=generation.thought_end,
        )

    def _texts(self, generation: Generation) -> tuple[str, str]:
        """The thought, empty if the request governs none, and the answer."""
        token_ids, count, end = generation.token_ids, generation.thought_tokens, generation.thought_end
        answer = [token_id for token_id in token_ids[count:] if token_id not in self._engine.stop_ids]
        if generation.thinking is None or end is None:
            return "", self._tokenizer.decode(answer)
        ended = end == "unclosed" and token_ids[-1] in self._engine.stop_ids
        thought = token_ids[: count - ended]
        return read_tokens(thought, answer, end, generation.thinking, self._tokenizer)


def _peak_resident_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
