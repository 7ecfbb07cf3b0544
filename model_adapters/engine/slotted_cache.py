"""The memory of several sequences: one slot each, allocated once, shared by prefill and decode.

cache = SlottedCache(model.config, slots=4, max_tokens=65_536, device=model.device)
view = cache.prefill_view(0)               # goes to the model as `past_key_values`
cache.advance_slot(0, tokens=2_048)        # after every layer has seen the segment
view = cache.decode_view(sequences=2, places=4_096)
cache.advance(sequences=2)
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from model_adapters.engine.cache_step import BranchStep, DecodeStep, PrefillStep
from model_adapters.engine.cache_view import CacheView
from model_adapters.engine.key_value_buffer import KeyValueBuffer, WindowBuffer
from model_adapters.engine.layer_kinds import layer_kinds
from model_adapters.engine.linear_state import LinearState


@dataclass(frozen=True, slots=True)
class SlotSnapshot:
    """All that one slot remembered, copied; `tensors` are in the cache's own order."""

    length: int
    tensors: tuple[torch.Tensor, ...]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)


class SlottedCache:
    """Memory for `slots` sequences of at most `max_tokens` tokens.

    A layer's tensors are allocated when the model first writes to it, at their final size and with the shapes that
    the model uses; after that no address changes. Lengths stand on the device, for steps without a host
    synchronisation, and on the host, for everything else.
    """

    def __init__(self, config: PreTrainedConfig, *, slots: int, max_tokens: int, device: torch.device) -> None:
        self.kinds = layer_kinds(config)
        self.window: int | None = config.sliding_window if "sliding" in self.kinds else None
        self.states_per_layer: int = getattr(config, "number_of_conv_states", 1)
        self.keeps_latents = getattr(config, "kv_lora_rank", None) is not None
        """Whether layers expand keys and values from what is kept, so that they need it and not only the kept keys."""
        self.slots, self.max_tokens = slots, max_tokens
        self.lengths = [0] * slots
        """Tokens that each slot holds."""
        self.length_N = torch.zeros(slots, dtype=torch.long, device=device)
        """The same on the device."""
        self.buffers: dict[int, KeyValueBuffer | WindowBuffer] = {}
        """Layer index -> keys and values, for attention layers that have been written to."""
        self.states = {index: LinearState(slots) for index, kind in enumerate(self.kinds) if kind == "linear"}

    @property
    def kv_bytes(self) -> int:
        """Allocated bytes of keys and values, sliding windows included."""
        return sum(buffer.nbytes for buffer in self.buffers.values())

    @property
    def state_bytes(self) -> int:
        """Allocated bytes of convolution and recurrent states."""
        return sum(state.nbytes for state in self.states.values())

    def buffer(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeyValueBuffer | WindowBuffer:
        """The layer's keys and values, allocated on the first call with the shapes given."""
        if layer_index not in self.buffers:
            window = self.layer_window(layer_index)
            self.buffers[layer_index] = (
                KeyValueBuffer(k_BGTD, v_BGTD, slots=self.slots, places=self.max_tokens)
                if window is None
                else WindowBuffer(k_BGTD, v_BGTD, slots=self.slots, window=window, max_tokens=self.max_tokens)
            )
        return self.buffers[layer_index]

    def layer_window(self, layer_index: int) -> int | None:
        """Keys that a query of the layer may see, its own included; None without a limit."""
        return self.window if self.kinds[layer_index] == "sliding" else None

    def prefill_view(self, slot: int, output_tokens: int = 1) -> CacheView:
        """What a segment of one sequence reads and writes; it starts at the slot's present length.

        The model's output is right for the segment's last `output_tokens` positions only.
        """
        return CacheView(PrefillStep(self, slot, output_tokens))

    def decode_view(self, sequences: int, places: int, position_B: torch.Tensor | None = None) -> CacheView:
        """What a step of one token for each of the first `sequences` slots reads and writes.

        `places` bounds the keys that are looked at and must exceed every length; shapes depend on these two only.
        The tokens go where the slots end, or to the positions given.
        """
        return CacheView(DecodeStep(self, sequences, places, position_B))

    def branch_view(self, slot: int, texts: int) -> CacheView:
        """What a pass of some texts reads that each continue one slot; it writes nothing."""
        return CacheView(BranchStep(self, slot, texts))

    def advance_slot(self, slot: int, tokens: int) -> None:
        """Count a segment that every layer has seen."""
        self.lengths[slot] += tokens
        self.length_N[slot] = self.lengths[slot]

    def advance(self, sequences: int) -> None:
        """Count one token for each of the first `sequences` slots; on the device without a synchronisation."""
        self.count(sequences)
        self.length_N[:sequences] += 1

    def count(self, sequences: int) -> None:
        """The same on the host alone, after a step that has counted on the device itself."""
        self.lengths[:sequences] = [length + 1 for length in self.lengths[:sequences]]

    def reset(self, slot: int) -> None:
        """Empty a slot; its next sequence starts from nothing."""
        self.lengths[slot] = 0
        self.length_N[slot] = 0

    @torch.no_grad()
    def erase(self, slot: int) -> None:
        """Empty a slot and overwrite it with zeros, so that no NaN of its sequence is left behind."""
        for tensor in self._tensors(slot, self.max_tokens):
            tensor.zero_()
        self.reset(slot)

    @torch.no_grad()
    def move(self, source: int, target: int) -> None:
        """Copy a sequence to another slot and empty its own."""
        length = self.lengths[source]
        for old, new in zip(self._tensors(source, length), self._tensors(target, length), strict=True):
            new.copy_(old)
        self._set_length(target, length)
        self.reset(source)

    @torch.no_grad()
    def snapshot(self, slot: int) -> SlotSnapshot:
        """A copy of all that a slot remembers."""
        length = self.lengths[slot]
        return SlotSnapshot(length, tuple(tensor.clone() for tensor in self._tensors(slot, length)))

    @torch.no_grad()
    def restore(self, slot: int, snapshot: SlotSnapshot) -> None:
        """Let a slot continue from a snapshot of this cache, taken from any of its slots."""
        for target, saved in zip(self._tensors(slot, snapshot.length), snapshot.tensors, strict=True):
            target.copy_(saved)
        self._set_length(slot, snapshot.length)

    @torch.no_grad()
    def adopt(self, slot: int, source: "SlottedCache", source_slot: int) -> None:
        """Let a slot continue from a copy of what a slot of another cache of the same model holds."""
        length = source.lengths[source_slot]
        for index, buffer in source.buffers.items():
            self.buffer(index, *(tensor[None] for tensor in buffer.tensors(source_slot, 0)))
        for index, state in source.states.items():
            self.states[index].allocate_like(state)
        for old, new in zip(source._tensors(source_slot, length), self._tensors(slot, length), strict=True):
            new.copy_(old)
        self._set_length(slot, length)

    @torch.no_grad()
    def mark(self, slot: int) -> SlotSnapshot:
        """A copy of what going on in a slot overwrites; keys and values of full attention only grow."""
        length = self.lengths[slot]
        return SlotSnapshot(length, tuple(tensor.clone() for tensor in self._overwritten(slot, length)))

    @torch.no_grad()
    def rewind(self, slot: int, mark: SlotSnapshot) -> None:
        """Take a slot back to where it was marked, if its sequence only went on since then."""
        for target, saved in zip(self._overwritten(slot, mark.length), mark.tensors, strict=True):
            target.copy_(saved)
        self._set_length(slot, mark.length)

    def _overwritten(self, slot: int, length: int) -> list[torch.Tensor]:
        tensors = [tensor for state in self.states.values() for tensor in state.tensors(slot)]
        windows = (buffer for buffer in self.buffers.values() if isinstance(buffer, WindowBuffer))
        return tensors + [tensor for window in windows for tensor in window.tensors(slot, length)]

    def _set_length(self, slot: int, length: int) -> None:
        self.lengths[slot] = length
        self.length_N[slot] = length

    def _tensors(self, slot: int, length: int) -> list[torch.Tensor]:
        tensors: list[torch.Tensor] = []
        for index in range(len(self.kinds)):
            if index in self.states:
                tensors += self.states[index].tensors(slot)
            elif index in self.buffers:
                tensors += self.buffers[index].tensors(slot, length)
        return tensors
