"""Memory of several sequences: one slot each, allocated once, shared by prefill and decode.

cache = SlottedCache(layout, slots=4, max_tokens=65_536, device=model.device)
step = Pass(cache, [Row(slot=0, start=0, tokens=2_048)])    # the layers of a forward pass write through it
step.advance()                                              # once every layer has seen the tokens
"""

from dataclasses import dataclass

import torch

from model_adapters.engine.memory.key_value_buffer import KeyValueBuffer, WindowBuffer
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.memory.linear_state import LinearState


@dataclass(frozen=True, slots=True)
class SlotMark:
    """The length of a slot, with a copy of what continuing from it would overwrite, in the cache's order."""

    length: int
    tensors: tuple[torch.Tensor, ...]


class SlottedCache:
    """Memory for `slots` sequences of at most `max_tokens` tokens.

    A layer's tensors are allocated on its first write, at their final size and in the model's own shapes; afterwards no
    address changes. Lengths are stored on the device, for steps without host synchronization, and on the host for
    everything else.
    """

    def __init__(self, layout: MemoryLayout, *, slots: int, max_tokens: int, device: torch.device) -> None:
        self.layout = layout
        self.slots, self.max_tokens, self.device = slots, max_tokens, device
        self.lengths = [0] * slots
        """Number of tokens in each slot."""
        self.length_N = torch.zeros(slots, dtype=torch.long, device=device)
        """The same on the device."""
        self.prompts = [0] * slots
        """Length of the prompt in each slot, even if it has not been read completely."""
        self.prompt_N = torch.zeros(slots, dtype=torch.long, device=device)
        """The same on the device."""
        self.buffers: dict[int, KeyValueBuffer | WindowBuffer] = {}
        """Layer index -> KV cache, for layers that have written one."""
        self.states = [LinearState(slots) for _ in layout.layers]
        """The states of each layer, empty until it has written some."""

    @property
    def kv_bytes(self) -> int:
        """Allocated bytes of the KV cache, sliding windows included."""
        return sum(buffer.nbytes for buffer in self.buffers.values())

    @property
    def state_bytes(self) -> int:
        """Allocated bytes of convolution and recurrent states."""
        return sum(state.nbytes for state in self.states)

    def buffer(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeyValueBuffer | WindowBuffer:
        """A layer's KV cache, allocated on the first call in the given shapes."""
        if layer_index not in self.buffers:
            window = self.layout.layers[layer_index].window
            self.buffers[layer_index] = (
                KeyValueBuffer(k_BGTD, v_BGTD, slots=self.slots, places=self.max_tokens)
                if window is None
                else WindowBuffer(k_BGTD, v_BGTD, slots=self.slots, window=window, max_tokens=self.max_tokens)
            )
        return self.buffers[layer_index]

    def begin(self, slot: int, prompt_tokens: int) -> None:
        """Record the length of the prompt for an empty slot; a slot in use keeps its record."""
        if not self.lengths[slot]:
            self._set_prompt(slot, prompt_tokens)

    def advance_slot(self, slot: int, tokens: int) -> None:
        """Add a segment to a slot's length, once every layer has seen it."""
        self._set_length(slot, self.lengths[slot] + tokens)

    def advance(self, sequences: int) -> None:
        """Add one token to the length of each of the first `sequences` slots, without synchronizing the device."""
        self.count(sequences)
        self.length_N[:sequences] += 1

    def count(self, sequences: int) -> None:
        """Do the same on the host only, after a step that has updated the device itself."""
        self.lengths[:sequences] = [length + 1 for length in self.lengths[:sequences]]

    def reset(self, slot: int) -> None:
        """Empty a slot; its next sequence starts from nothing."""
        self._set_length(slot, 0)
        self._set_prompt(slot, 0)

    @torch.no_grad()
    def erase(self, slot: int) -> None:
        """Empty a slot and overwrite it with zeros, so that no NaN is left in it."""
        for tensor in self._tensors(slot, self.max_tokens):
            tensor.zero_()
        self.reset(slot)

    @torch.no_grad()
    def erase_rest(self, slot: int) -> None:
        """Overwrite what a slot holds after its sequence's last token with zeros, so that no NaN is left there."""
        for buffer in self.buffers.values():
            for tensor in buffer.tensors(slot, self.max_tokens):
                tensor[:, self.lengths[slot] :].zero_()

    @torch.no_grad()
    def move(self, source: int, target: int) -> None:
        """Move a sequence to another slot."""
        length = self.lengths[source]
        for old, new in zip(self._tensors(source, length), self._tensors(target, length), strict=True):
            new.copy_(old)
        self._set_length(target, length)
        self._set_prompt(target, self.prompts[source])
        self.reset(source)

    @torch.no_grad()
    def adopt(self, slot: int, source: "SlottedCache", source_slot: int) -> None:
        """Copy the contents of a slot in another cache of the same model into a slot."""
        length = source.lengths[source_slot]
        for index, buffer in source.buffers.items():
            self.buffer(index, *(tensor[None] for tensor in buffer.tensors(source_slot, 0)))
        for mine, state in zip(self.states, source.states, strict=True):
            mine.allocate_like(state)
        for old, new in zip(source._tensors(source_slot, length), self._tensors(slot, length), strict=True):
            new.copy_(old)
        self._set_length(slot, length)
        self._set_prompt(slot, source.prompts[source_slot])

    @torch.no_grad()
    def mark(self, slot: int) -> SlotMark:
        """Copy what continuing in a slot overwrites; the KV cache of full attention only grows."""
        length = self.lengths[slot]
        return SlotMark(length, tuple(tensor.clone() for tensor in self._overwritten(slot, length)))

    @torch.no_grad()
    def rewind(self, slot: int, mark: SlotMark) -> None:
        """Restore a slot to a mark; its sequence must only have been continued since."""
        for target, saved in zip(self._overwritten(slot, mark.length), mark.tensors, strict=True):
            target.copy_(saved)
        self._set_length(slot, mark.length)

    def _overwritten(self, slot: int, length: int) -> list[torch.Tensor]:
        tensors = [tensor for state in self.states for tensor in state.tensors(slot)]
        windows = (buffer for buffer in self.buffers.values() if isinstance(buffer, WindowBuffer))
        return tensors + [tensor for window in windows for tensor in window.tensors(slot, length)]

    def _set_prompt(self, slot: int, tokens: int) -> None:
        self.prompts[slot] = tokens
        self.prompt_N[slot].fill_(tokens)

    def _set_length(self, slot: int, length: int) -> None:
        self.lengths[slot] = length
        # Assigning a number would copy it from the host, which waits for the device to finish everything before.
        self.length_N[slot].fill_(length)

    def _tensors(self, slot: int, length: int) -> list[torch.Tensor]:
        tensors: list[torch.Tensor] = []
        for index, state in enumerate(self.states):
            tensors += state.tensors(slot)
            if index in self.buffers:
                tensors += self.buffers[index].tensors(slot, length)
        return tensors
