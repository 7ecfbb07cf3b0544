"""Forward passes of one model over a slotted cache: prompts in segments or together, branches, and decode steps.

Shape suffixes: X tokens of all rows of a pass, B rows, V vocabulary, D model width.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from transformers import PreTrainedModel

from evalkit.errors import UsageError
from evalkit.running.activity import Activity, report
from model_adapters.engine.forward.decoder_layers import find_decoder
from model_adapters.engine.forward.first_position import first_position
from model_adapters.engine.forward.full_precision_head import full_precision_head, output_embeddings
from model_adapters.engine.forward.last_layer import last_mlp, only_read_tokens
from model_adapters.engine.forward.long_rope import factors_by_prompt, long_rotaries
from model_adapters.engine.forward.mixers import mixers_by_groups
from model_adapters.engine.forward.probe import NotSupportedError, measure_memory, refused_in_one_line
from model_adapters.engine.forward.second_segment import continues_from_states
from model_adapters.engine.forward.slot_attention import use_slot_attention
from model_adapters.engine.memory.cost import Needs, activation_bytes_per_token
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.memory.passes import Pass, TokenPass, running
from model_adapters.engine.memory.rows import Row
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.memory.transfers import to_device
from model_adapters.engine.memory.transformers_cache import view_for
from model_adapters.kernels.compiling import only_compiling
from model_adapters.module_patches import patches_of

GPU_ROW_MULTIPLE = 32
ALLOCATING_TOKENS = 16
"""Length of the prompt that allocates a cache: a few tokens, whose own activations are small."""


class Known(NamedTuple):
    """What was measured of a model."""

    layout: MemoryLayout
    mixers: tuple[torch.nn.Module, ...]
    first_position: int


_KNOWN: WeakKeyDictionary[PreTrainedModel, dict[tuple[object, ...], Known]] = WeakKeyDictionary()
"""By model, and by what decides the measurements; holds parts of a model only as long as the whole exists."""


def known_of(model: PreTrainedModel) -> Known | None:
    """What has been measured of a model as it is now."""
    return _KNOWN.get(model, {}).get(_what_runs(model))


def set_known(model: PreTrainedModel, known: Known) -> None:
    """Let runners of a model, as it is now, measure nothing."""
    _KNOWN.setdefault(model, {})[_what_runs(model)] = known


class ModelRunner:
    """A model with the engine's attention; afterwards it runs only through an engine.

    Passes of a few tokens measure what its layers store, once for a model as it is: its configuration, modules, device
    and dtype, and the functions that replace their own. Raises UsageError if the model is not a causal language model,
    if it is spread over several devices, or if the engine cannot run it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        _refuse_spread(model)
        self._head = output_embeddings(model)
        model.train(False)
        self.model = model
        self._decoder = find_decoder(model)
        # Mamba-2 has another argument name for its cache, and would ignore a cache passed under the usual name.
        named = inspect.signature(self._decoder.forward).parameters
        self._cache_argument = "cache_params" if "cache_params" in named else "past_key_values"
        self._view = view_for(self._decoder)
        self._last_mlp: torch.nn.Module | None = None
        self.row_multiple = GPU_ROW_MULTIPLE if self.device.type == "cuda" else 1
        """Batches are padded to a multiple of this many rows, so that they have few shapes."""
        self._first_position = 0
        self._unread_11 = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        """A token id for a forward that computes logits only; a new one would be a launch in each step."""
        self._mixers: tuple[torch.nn.Module, ...] = ()
        self._long_rotaries = long_rotaries(self._decoder)
        mlp = last_mlp(self._decoder)
        known = known_of(model)
        with refused_in_one_line(model):
            if known is not None:
                self.layout, self._mixers, self._first_position = known
                self._last_mlp = mlp if self.layout.last_mlp_runs_last else None
                use_slot_attention(model)
                return
            self.layout, self._mixers = measure_memory(model, self.run, mlp)
            if self.layout.calls and "position_ids" not in named:
                # It would count through all rows of a pass, from the longest.
                raise NotSupportedError("numbers positions by itself")
            self._first_position = first_position(model)
            self._last_mlp = mlp if self.layout.last_mlp_runs_last else None
            use_slot_attention(model)
            self.layout = replace(self.layout, continues=continues_from_states(self))
        if not only_compiling():
            set_known(model, Known(self.layout, self._mixers, self._first_position))

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def logit_count(self) -> int:
        """Number of logits per position: the vocabulary size, padding included."""
        return self._head.weight.shape[0]

    @property
    def needs(self) -> Needs:
        """The memory that the model needs beyond its weights, with activations as estimated."""
        decoder, dtype = self.model.config.get_text_config(decoder=True), self.model.dtype
        return Needs(
            self.layout.cost,
            activation_bytes_per_token(decoder, dtype),
            self.device.type == "cuda",
            weights_bytes=sum(parameter.nbytes for parameter in self.model.parameters()),
            logit_count=self.logit_count,
            in_one_piece=not self.layout.continues,
        )

    def new_cache(self, *, slots: int, max_tokens: int) -> SlottedCache:
        """Create an empty cache for this model."""
        return SlottedCache(self.layout, slots=slots, max_tokens=max_tokens, device=self.device)

    def allocate(self, cache: SlottedCache) -> None:
        """Allocate an empty cache by reading a short prompt; all slots are empty afterwards.

        A cache allocated by a long prompt lies between its activations, in memory that they then need a second time.
        """
        tokens = min(ALLOCATING_TOKENS, cache.max_tokens)
        try:
            self.prefill(cache, 0, [0] * tokens, tokens)
        finally:
            cache.erase(0)

    @torch.no_grad()
    def run(self, step: Pass, id_1X: torch.Tensor) -> Any:
        """Run one pass of the decoder without advancing the cache; returns its output, with hidden states [1, X, D]."""
        mlp, mixers = only_read_tokens(self._last_mlp, step.read), mixers_by_groups(self._mixers, step)
        with mlp, mixers, factors_by_prompt(self._long_rotaries, step), running(step):
            return self._decoder(
                input_ids=id_1X,
                position_ids=step.positions + self._first_position if self._first_position else step.positions,
                use_cache=True,
                **{self._cache_argument: self._view(step)},
            )

    @torch.no_grad()
    def prefill(self, cache: SlottedCache, slot: int, token_ids: Sequence[int], segment_tokens: int) -> torch.Tensor:
        """Append a prompt to a slot in segments; returns the fp32 logits [1, V] after its last token.

        Peak memory beyond weights and cache is the activations of one segment. The last segment holds the remainder.
        """
        return self.logits(self.read(cache, slot, token_ids, segment_tokens), 0, 1)

    @torch.no_grad()
    def prefill_together(self, cache: SlottedCache, first_slot: int, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append prompts to consecutive slots in one pass; returns the fp32 logits [B, V] after each."""
        output = self.read_together(cache, first_slot, prompts)
        return self.logits_of(output, output.last_hidden_state)

    @torch.no_grad()
    def read_together(self, cache: SlottedCache, first_slot: int, prompts: Sequence[Sequence[int]]) -> Any:
        """Do the same; returns the decoder's output at the last token of each, with hidden states [1, B, D]."""
        slots = range(first_slot, first_slot + len(prompts))
        rows = []
        for slot, prompt in zip(slots, prompts, strict=True):
            cache.begin(slot, len(prompt))
            rows.append(Row(slot, cache.lengths[slot], len(prompt)))
        step, output = self._packed(cache, rows, prompts)
        step.advance()
        return with_hidden(output, output.last_hidden_state[:, step.last_places])

    @torch.no_grad()
    def segments(
        self,
        cache: SlottedCache,
        slot: int,
        token_ids: Sequence[int],
        segment_tokens: int,
        *,
        unread_tokens: int = 0,
    ) -> Iterator[Any]:
        """Append tokens to a slot in segments; yields the decoder's output for each, with hidden states [1, T, D].

        `unread_tokens` is the number of further tokens in the prompt after these.
        """
        cache.begin(slot, len(token_ids) + unread_tokens)
        for place, segment in enumerate(self._split(token_ids, segment_tokens), start=1):
            yield self._append(cache, slot, segment, outputs=segment.shape[1])
            if place * segment_tokens < len(token_ids):
                report(Activity("prefill", place * segment_tokens, len(token_ids)))

    @torch.no_grad()
    def read(self, cache: SlottedCache, slot: int, token_ids: Sequence[int], segment_tokens: int) -> Any:
        """Append tokens to a slot in segments; returns the decoder's output at the last one, hidden state [1, 1, D]."""
        cache.begin(slot, len(token_ids))
        *earlier, last = self._split(token_ids, segment_tokens)
        for place, segment in enumerate(earlier, start=1):
            self._append(cache, slot, segment, outputs=0)
            report(Activity("prefill", place * segment_tokens, len(token_ids)))
        output = self._append(cache, slot, last, outputs=1)
        return with_hidden(output, output.last_hidden_state[:, -1:].clone())

    @torch.no_grad()
    def branch(self, cache: SlottedCache, slots: Sequence[int], texts: Sequence[Sequence[int]]) -> Any:
        """Read texts that each continue the contents of a slot, without changing it.

        Returns the decoder's output with hidden states [1, X, D] of all texts, concatenated.
        """
        rows = [
            Row(slot, cache.lengths[slot], len(text), keeps=False, outputs=len(text))
            for slot, text in zip(slots, texts, strict=True)
        ]
        return self._packed(cache, rows, texts)[1]

    def logits(self, output: Any, first: int, end: int) -> torch.Tensor:
        """The fp32 logits [end - first, V] at the given positions of a pass."""
        return self.logits_of(output, output.last_hidden_state[:, first:end])

    @torch.no_grad()
    def logits_of(self, output: Any, hidden_1TD: torch.Tensor) -> torch.Tensor:
        """The fp32 logits [T, V] of hidden states, in a decoder output whose class depends on the family.

        They come from the model's own forward with the decoder replaced, which includes everything after the head, such
        as a scale or a cap.
        """
        part = with_hidden(output, hidden_1TD)
        unread_1T = self._unread_11.expand(1, hidden_1TD.shape[1])
        self._decoder.forward = lambda *_, **__: part
        try:
            with full_precision_head(self.model):
                logits_1TV: torch.Tensor = self.model(input_ids=unread_1T, use_cache=False).logits
                return logits_1TV[0].float()
        finally:
            del self._decoder.forward

    @torch.no_grad()
    def decode(self, cache: SlottedCache, id_B1: torch.Tensor, places: int) -> torch.Tensor:
        """Append one token to each of the first B slots; returns the fp32 logits [B, V] after them.

        `places` bounds the visible keys and must exceed every length. Never waits for the device.
        """
        step = TokenPass(cache, id_B1.shape[0], places)
        logits_BV = self.token_logits(step, id_B1[:, 0])
        step.advance()
        return logits_BV

    @torch.no_grad()
    def token_logits(self, step: TokenPass, id_B: torch.Tensor) -> torch.Tensor:
        """The fp32 logits [B, V] of a pass of single tokens; does not advance the cache, so that it can be recorded."""
        output = self.run(step, id_B[None])
        return self.logits_of(output, output.last_hidden_state)

    def _append(self, cache: SlottedCache, slot: int, id_1T: torch.Tensor, *, outputs: int) -> Any:
        step = Pass(cache, [Row(slot, cache.lengths[slot], id_1T.shape[1], outputs=outputs)])
        output = self.run(step, id_1T)
        step.advance()
        return output

    def _packed(self, cache: SlottedCache, rows: Sequence[Row], texts: Sequence[Sequence[int]]) -> tuple[Pass, Any]:
        step = Pass(cache, rows, row_multiple=self.row_multiple)
        return step, self.run(step, self._on_device([token_id for text in texts for token_id in text]))

    def _split(self, token_ids: Sequence[int], segment_tokens: int) -> list[torch.Tensor]:
        """The prompt on the device as segments [1, T]; the last one holds the remainder."""
        id_1T = self._on_device(token_ids)
        return [id_1T[:, start : start + segment_tokens] for start in range(0, id_1T.shape[1], segment_tokens)]

    def _on_device(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Token ids [1, T]; through NumPy, which reads a list 6 times as fast as PyTorch does."""
        return to_device(torch.from_numpy(np.array([token_ids], dtype=np.int64)), self.device)


def _what_runs(model: PreTrainedModel) -> tuple[object, ...]:
    """What decides the measurements of a model."""
    modules = tuple(module for module in model.modules() if module is not model)
    return model.config.to_json_string(), model.device, model.dtype, modules, patches_of(model).placed


def with_hidden(output: Any, hidden_BTD: Any) -> Any:
    """Copy a decoder's output with other last hidden states and without a reference to its cache."""
    part = copy.copy(output)
    part.last_hidden_state = hidden_BTD
    for name in ("past_key_values", "cache_params"):
        if getattr(part, name, None) is not None:
            setattr(part, name, None)
    return part


def _refuse_spread(model: PreTrainedModel) -> None:
    """Raise UsageError for a model whose weights are on several devices, as with transformers' `device_map`."""
    places = sorted({str(weight.device) for weight in model.parameters()})
    if len(places) > 1:
        raise UsageError(f"{type(model).__name__} is spread over {', '.join(places)}; a model runs on one device")
