"""Keys and values of one attention layer for all slots, allocated once at their final size.

Shape suffixes: N slots, B sequences in one call, G key/value heads, M places a slot, T new tokens, S keys returned,
D key or value size.
"""

import torch

KeysValues = tuple[torch.Tensor, torch.Tensor]


class KeyValueBuffer:
    """A full-attention layer's memory: place p of a slot holds the key and value of position p."""

    def __init__(self, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor, *, slots: int, places: int) -> None:
        # Zeros, not empty memory: masked places are multiplied by 0, and 0 times an old NaN is NaN.
        self.k_NGMD = k_BGTD.new_zeros((slots, k_BGTD.shape[1], places, k_BGTD.shape[3]))
        self.v_NGMD = v_BGTD.new_zeros((slots, v_BGTD.shape[1], places, v_BGTD.shape[3]))

    @property
    def nbytes(self) -> int:
        return self.k_NGMD.nbytes + self.v_NGMD.nbytes

    def append_segment(self, slot: int, start: int, k_1GTD: torch.Tensor, v_1GTD: torch.Tensor) -> KeysValues:
        """Store a segment whose first token has position `start`; returns all S = start + T keys and values."""
        stop = start + k_1GTD.shape[2]
        self.k_NGMD[slot, :, start:stop] = k_1GTD[0]
        self.v_NGMD[slot, :, start:stop] = v_1GTD[0]
        return self.k_NGMD[slot : slot + 1, :, :stop], self.v_NGMD[slot : slot + 1, :, :stop]

    def append_tokens(
        self, position_B: torch.Tensor, k_BG1D: torch.Tensor, v_BG1D: torch.Tensor, places: int
    ) -> KeysValues:
        """Store one token for each of the first B slots, and return views of their first `places` places.

        No address and no shape depends on the positions, so that the call can be captured in a CUDA graph.
        """
        rows_B = torch.arange(len(position_B), device=position_B.device)
        self.k_NGMD[rows_B, :, position_B] = k_BG1D[:, :, 0]
        self.v_NGMD[rows_B, :, position_B] = v_BG1D[:, :, 0]
        return self.k_NGMD[: len(position_B), :, :places], self.v_NGMD[: len(position_B), :, :places]

    def tensors(self, slot: int, length: int) -> list[torch.Tensor]:
        """Views of all that a slot of `length` tokens remembers here."""
        return [self.k_NGMD[slot, :, :length], self.v_NGMD[slot, :, :length]]


class WindowBuffer:
    """A sliding-window layer's memory: a ring of M = window places, position p at place p mod window."""

    def __init__(self, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor, *, slots: int, places: int) -> None:
        self._ring = KeyValueBuffer(k_BGTD, v_BGTD, slots=slots, places=places)
        self.window = places

    @property
    def nbytes(self) -> int:
        return self._ring.nbytes

    def append_segment(self, slot: int, start: int, k_1GTD: torch.Tensor, v_1GTD: torch.Tensor) -> KeysValues:
        """Store a segment, and return in order the keys and values that its queries may see.

        These are the last min(start, window - 1) before the segment, and the segment.
        """
        return (
            self._append(self._ring.k_NGMD[slot : slot + 1], start, k_1GTD),
            self._append(self._ring.v_NGMD[slot : slot + 1], start, v_1GTD),
        )

    def append_tokens(
        self, position_B: torch.Tensor, k_BG1D: torch.Tensor, v_BG1D: torch.Tensor, places: int
    ) -> KeysValues:
        """Store one token for each of the first B slots, and return views of their rings (in no order)."""
        return self._ring.append_tokens(position_B % self.window, k_BG1D, v_BG1D, min(places, self.window))

    def tensors(self, slot: int, length: int) -> list[torch.Tensor]:
        """Views of all that a slot of `length` tokens remembers here."""
        return self._ring.tensors(slot, min(length, self.window))

    def _append(self, ring_1GMD: torch.Tensor, start: int, new_1GTD: torch.Tensor) -> torch.Tensor:
        kept = min(start, self.window - 1)
        first = (start - kept) % self.window
        before = [ring_1GMD[:, :, first : first + kept], ring_1GMD[:, :, : max(0, first + kept - self.window)]]
        seen_1GSD = torch.cat([*before, new_1GTD], dim=2)
        written = min(new_1GTD.shape[2], self.window)
        stop = start + new_1GTD.shape[2]
        at = (stop - written) % self.window
        head = min(written, self.window - at)
        ring_1GMD[:, :, at : at + head] = seen_1GSD[:, :, seen_1GSD.shape[2] - written :][:, :, :head]
        ring_1GMD[:, :, : written - head] = seen_1GSD[:, :, seen_1GSD.shape[2] - written + head :]
        return seen_1GSD
