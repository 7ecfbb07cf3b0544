"""Convolution and recurrent states of one linear-attention layer for all slots, written in place.

Shape suffixes: N slots, B sequences in one call, C channels, K convolution kernel size, T new tokens.
"""

import torch


class LinearState:
    """The states of a linear-attention layer; a model may have several per layer, distinguished by an index."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.conv_NCK: dict[int, torch.Tensor] = {}
        self.recurrent: dict[int, torch.Tensor] = {}
        """State index -> [N, ...], in the model's own shape."""

    @property
    def nbytes(self) -> int:
        return sum(state.nbytes for state in (*self.conv_NCK.values(), *self.recurrent.values()))

    def roll_conv(
        self, rows: slice, x_BCT: torch.Tensor, *, index: int, kernel_size: int | None, continued: bool
    ) -> torch.Tensor:
        """Keep the last K inputs, and return the inputs preceded by their left context, if any: [B, C, K + T]."""
        if index not in self.conv_NCK:
            places = x_BCT.shape[-1] if kernel_size is None else kernel_size
            self.conv_NCK[index] = x_BCT.new_zeros((self._slots, x_BCT.shape[1], places))
        state_BCK = self.conv_NCK[index][rows]
        if continued:
            x_BCT = torch.cat([state_BCK, x_BCT], dim=-1)
        elif x_BCT.shape[-1] < state_BCK.shape[-1]:
            x_BCT = torch.nn.functional.pad(x_BCT, (state_BCK.shape[-1] - x_BCT.shape[-1], 0))
        state_BCK.copy_(x_BCT[..., -state_BCK.shape[-1] :])
        return x_BCT

    def conv(self, index: int, sizes: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """The convolution states [N, C, K] of all slots, allocated on the first call in the dtype of `like`."""
        if index not in self.conv_NCK:
            self.conv_NCK[index] = like.new_zeros((self._slots, *sizes))
        return self.conv_NCK[index]

    def state(self, index: int, sizes: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """The recurrent states [N, ...] of all slots, allocated on the first call in fp32."""
        if index not in self.recurrent:
            self.recurrent[index] = torch.zeros((self._slots, *sizes), dtype=torch.float32, device=like.device)
        return self.recurrent[index]

    def set_recurrent(self, rows: slice, state: torch.Tensor, *, index: int) -> torch.Tensor:
        """Overwrite the recurrent states of some slots in place, and return them as stored."""
        if index not in self.recurrent:
            self.recurrent[index] = state.new_zeros((self._slots, *state.shape[1:]))
        stored = self.recurrent[index][rows]
        return stored.copy_(state)

    def allocate_like(self, other: "LinearState") -> None:
        """Allocate the tensors that the same layer has in another cache, unless they exist already."""
        for mine, theirs in ((self.conv_NCK, other.conv_NCK), (self.recurrent, other.recurrent)):
            for index, state in theirs.items():
                if index not in mine:
                    mine[index] = state.new_zeros((self._slots, *state.shape[1:]))

    def tensors(self, slot: int) -> list[torch.Tensor]:
        """Views of everything stored for a slot."""
        return [state[slot] for state in (*self.conv_NCK.values(), *self.recurrent.values())]
