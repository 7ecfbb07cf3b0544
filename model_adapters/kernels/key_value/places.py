"""Where one token of each of many sequences is stored, and whether its key and value fit there.

Shape suffixes: N slots, B sequences, G key/value heads, M places per slot, D key size, E value size.
"""

from typing import NamedTuple

import torch


class TokenPlaces(NamedTuple):
    """Place position_B[b] mod M of slot b, for the first B of N slots."""

    k_NGMD: torch.Tensor
    v_NGME: torch.Tensor
    position_B: torch.Tensor

    def check(self, k_BGD: torch.Tensor, v_BGE: torch.Tensor) -> None:
        """Raise ValueError, in one line, if a kernel cannot store these keys and values here."""
        sequences = self.position_B.shape[0]
        for name, new, kept in (("k", k_BGD, self.k_NGMD), ("v", v_BGE, self.v_NGME)):
            expected = (sequences, kept.shape[1], kept.shape[3])
            fits = new.dim() == 3 and new.shape == expected and sequences <= kept.shape[0]
            if not fits or new.dtype != kept.dtype or new.device != kept.device:
                raise ValueError(f"{name} is {tuple(new.shape)} {new.dtype}; it must fit its cache {tuple(kept.shape)}")
            if new.stride(-1) != 1 or kept.stride(-1) != 1:
                raise ValueError(f"{name} or its cache is strided in its last dimension; make it contiguous there")
        if self.k_NGMD.shape[:3] != self.v_NGME.shape[:3]:
            shapes = f"{tuple(self.k_NGMD.shape)} and {tuple(self.v_NGME.shape)}"
            raise ValueError(f"the caches are {shapes}; they must have equal places")
