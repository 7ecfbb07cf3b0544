"""Forward passes of one model over a slotted cache: segments of a prompt, and one token for each of many sequences.

Shape suffixes: B sequences, V vocabulary.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from model_adapters.engine.forward.full_precision_head import full_precision_head, output_embeddings
from model_adapters.engine.forward.last_layer import last_mlp, only_last_tokens
from model_adapters.engine.forward.probe import measure_memory
from model_adapters.engine.forward.slot_attention import use_slot_attention
from model_adapters.engine.memory.cost import Needs, activation_bytes_per_token
from model_adapters.engine.memory.passes import BranchStep, CacheStep, DecodeStep, PrefillStep, running
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.memory.transformers_cache import CacheView

GPU_BRANCH_STEP_TOKENS = 32


class ModelRunner:
    """A model with the engine's attention; afterwards it runs only through an engine.

    A few tokens are run through it to measure what it remembers. Raises UsageError if the model is no causal language
    model or the engine cannot run it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._head = output_embeddings(model)
        model.train(False)
        self.model = model
        self._decoder = find_decoder(model)
        # Mamba-2 has a name of its own for its cache, and would leave one under the usual name unread.
        named = inspect.signature(self._decoder.forward).parameters
        self._cache_argument = "cache_params" if "cache_params" in named else "past_key_values"
        self._last_mlp: torch.nn.Module | None = None
        mlp = last_mlp(self._decoder)
        self.layout = measure_memory(model, partial(self._call, self._decoder), mlp)
        self._last_mlp = mlp if self.layout.last_mlp_runs_last else None
        use_slot_attention(model)
        self.branch_step_tokens = GPU_BRANCH_STEP_TOKENS if self.device.type == "cuda" else 1
        """Texts that branch off are padded to a multiple of this."""

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def logit_count(self) -> int:
        """Logits at one position: the vocabulary, with its padding."""
        return self._head.weight.shape[0]

    @property
    def needs(self) -> Needs:
        """What the model takes beside its weights."""
        decoder, dtype = self.model.config.get_text_config(decoder=True), self.model.dtype
        return Needs(self.layout.cost, activation_bytes_per_token(decoder, dtype), self.device.type == "cuda")

    def new_cache(self, *, slots: int, max_tokens: int) -> SlottedCache:
        """An empty cache for this model."""
        return SlottedCache(self.layout, slots=slots, max_tokens=max_tokens, device=self.device)

    @torch.no_grad()
    def prefill(self, cache: SlottedCache, slot: int, token_ids: Sequence[int], segment_tokens: int) -> torch.Tensor:
        """Append a prompt to a slot in segments; the fp32 logits [1, V] after its last token.

        Memory above weights and cache is one segment's activations. The last segment takes what is left.
        """
        *earlier, last = self._split(token_ids, segment_tokens)
        for segment in earlier:
            step = PrefillStep(cache, slot, output_tokens=0)
            self._call(self._decoder, step, segment, self._positions(cache, slot, segment))
            cache.advance_slot(slot, segment.shape[1])
        positions = self._positions(cache, slot, last)
        logits_1V = self._logits(PrefillStep(cache, slot), last, positions)
        cache.advance_slot(slot, last.shape[1])
        return logits_1V

    @torch.no_grad()
    def segments(self, cache: SlottedCache, slot: int, token_ids: Sequence[int], segment_tokens: int) -> Iterator[Any]:
        """Append tokens to a slot in segments; the decoder's output for each, with hidden states [1, T, D]."""
        for segment in self._split(token_ids, segment_tokens):
            step = PrefillStep(cache, slot, output_tokens=segment.shape[1])
            yield self._call(self._decoder, step, segment, self._positions(cache, slot, segment))
            cache.advance_slot(slot, segment.shape[1])

    @torch.no_grad()
    def read(self, cache: SlottedCache, slot: int, token_ids: Sequence[int], segment_tokens: int) -> Any:
        """Append tokens to a slot in segments; the decoder's output at the last, with a hidden state [1, 1, D]."""
        *earlier, last = self._split(token_ids, segment_tokens)
        for segment in (*earlier, last):
            step = PrefillStep(cache, slot, output_tokens=1 if segment is last else 0)
            output = self._call(self._decoder, step, segment, self._positions(cache, slot, segment))
            cache.advance_slot(slot, segment.shape[1])
        return with_hidden(output, output.last_hidden_state[:, -1:].clone())

    @torch.no_grad()
    def branch(self, cache: SlottedCache, slot: int, id_BT: torch.Tensor) -> Any:
        """Read texts that each continue what a slot holds, and change nothing there: hidden states [B, T or more, D].

        Shorter texts are padded at their end, with any token: it reaches no position before it. On a GPU all are
        padded further, so that passes have few shapes, at positions that the longest text has already.
        """
        texts, tokens = id_BT.shape
        padding = -tokens % self.branch_step_tokens
        id_BT = torch.cat([id_BT, id_BT[:, -1:].expand(-1, padding)], dim=1)
        place_T = torch.arange(tokens + padding, device=self.device).clamp(max=tokens - 1)
        position_BT = (cache.lengths[slot] + place_T)[None].expand(texts, -1)
        return self._call(self._decoder, BranchStep(cache, slot, texts), id_BT, position_BT)

    def logits(self, output: Any, first: int, end: int) -> torch.Tensor:
        """The fp32 logits [end - first, V] at some positions of what `segments` yields."""
        return self.logits_of(output, output.last_hidden_state[:, first:end])

    @torch.no_grad()
    def logits_of(self, output: Any, hidden_1TD: torch.Tensor) -> torch.Tensor:
        """The fp32 logits [T, V] of hidden states from the decoder's output, which is a class of each family's own.

        The model's own forward makes them, with the decoder stood in for: whatever it does after its head (a scale, a
        cap) is done here too.
        """
        part = with_hidden(output, hidden_1TD)
        unread_1T = torch.zeros((1, hidden_1TD.shape[1]), dtype=torch.long, device=self.device)
        self._decoder.forward = lambda *_, **__: part
        try:
            with full_precision_head(self.model):
                logits_1TV: torch.Tensor = self.model(input_ids=unread_1T, use_cache=False).logits
                return logits_1TV[0].float()
        finally:
            del self._decoder.forward

    @torch.no_grad()
    def decode(self, cache: SlottedCache, id_B1: torch.Tensor, places: int) -> torch.Tensor:
        """Append one token to each of the first B slots; the fp32 logits [B, V] after them.

        `places` bounds the keys looked at and exceeds every length. Nothing here waits for the device.
        """
        sequences = id_B1.shape[0]
        logits_BV = self.decode_logits(DecodeStep(cache, sequences, places), id_B1)
        cache.advance(sequences)
        return logits_BV

    @torch.no_grad()
    def decode_logits(self, step: DecodeStep, id_B1: torch.Tensor) -> torch.Tensor:
        """The fp32 logits [B, V] of a step that says which positions its tokens take; counts nothing."""
        return self._logits(step, id_B1, step.position_B[:, None])

    def _split(self, token_ids: Sequence[int], segment_tokens: int) -> list[torch.Tensor]:
        """The prompt on the device as segments [1, T]; the last is what is left."""
        id_1T = torch.tensor([token_ids], dtype=torch.long, device=self.device)
        return [id_1T[:, start : start + segment_tokens] for start in range(0, id_1T.shape[1], segment_tokens)]

    def _positions(self, cache: SlottedCache, slot: int, id_1T: torch.Tensor) -> torch.Tensor:
        start = cache.lengths[slot]
        return torch.arange(start, start + id_1T.shape[1], device=self.device)[None]

    def _logits(self, step: CacheStep, id_BT: torch.Tensor, position_BT: torch.Tensor) -> torch.Tensor:
        with full_precision_head(self.model):
            output = self._call(self.model, step, id_BT, position_BT, logits_to_keep=1)
        logits_B1V: torch.Tensor = output.logits
        return logits_B1V[:, -1].float()

    def _call(
        self, module: torch.nn.Module, step: CacheStep, id_BT: torch.Tensor, position_BT: torch.Tensor, **options: Any
    ) -> Any:
        """One forward pass of the model or its decoder."""
        read_tokens = step.output_tokens if isinstance(step, PrefillStep) else id_BT.shape[1]
        with only_last_tokens(self._last_mlp, read_tokens), running(step):
            return module(
                input_ids=id_BT,
                position_ids=position_BT,
                use_cache=True,
                **{self._cache_argument: CacheView(step)},
                **options,
            )


def find_decoder(model: PreTrainedModel) -> torch.nn.Module:
    """The module that turns token ids into the hidden states that the model's head takes."""
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    # Some heads have a linear layer under the name of a decoder.
    return decoder if isinstance(decoder, PreTrainedModel) else model.base_model


def with_hidden(output: Any, hidden_BTD: Any) -> Any:
    """A copy of a decoder's output with these last hidden states and no hold on the cache it was made with."""
    part = copy.copy(output)
    part.last_hidden_state = hidden_BTD
    for name in ("past_key_values", "cache_params"):
        if getattr(part, name, None) is not None:
            setattr(part, name, None)
    return part
