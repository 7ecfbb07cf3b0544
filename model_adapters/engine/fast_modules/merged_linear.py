"""Merge linear layers with the same input into one matrix, so that a step reads the input once and launches once.

No weight is stored twice: the layers' own weights become views of the matrix.

Shape suffixes: N rows of the matrix, D features.
"""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import nn

ROW_MULTIPLE = 64
"""cuBLAS uses slower kernels if the number of rows is not a multiple of about 8: on an H100, 17,340 rows of 3,840
features took 95 µs, and 22,016 rows 64 µs."""


class MergedProjections:
    """Groups of linear layers, each group's rows adjacent and zero-padded to a multiple of ROW_MULTIPLE."""

    def __init__(self, groups: Sequence[Sequence[nn.Linear]]) -> None:
        first = groups[0][0].weight
        counts = [sum(layer.weight.shape[0] for layer in group) for group in groups]
        padded = [-(-count // ROW_MULTIPLE) * ROW_MULTIPLE for count in counts]
        self.weight_ND = first.new_zeros((sum(padded), first.shape[1]))
        self.rows: list[list[slice]] = []
        """The rows of each layer, by group."""
        self.ends: list[int] = []
        """The end of each group's rows (exclusive)."""
        self._placed: list[tuple[nn.Linear, torch.Tensor]] = []
        start = 0
        for group, size in zip(groups, padded, strict=True):
            at, places = start, []
            for layer in group:
                places.append(slice(at, at + layer.weight.shape[0]))
                own_ND = self.weight_ND[places[-1]]
                own_ND.copy_(layer.weight)
                layer.weight.data = own_ND
                self._placed.append((layer, own_ND))
                at = places[-1].stop
            start += size
            self.rows.append(places)
            self.ends.append(start)

    @property
    def is_current(self) -> bool:
        """Whether the layers still use these weights: a model may be moved or reloaded."""
        return all(layer.weight.data_ptr() == own_ND.data_ptr() for layer, own_ND in self._placed)


_MERGED: WeakKeyDictionary[nn.Module, MergedProjections] = WeakKeyDictionary()


@torch.no_grad()
def merge_projections(owner: nn.Module, groups: Sequence[Sequence[nn.Linear]]) -> MergedProjections | None:
    """Return the merged projections of a module, made on the first call; None if its layers cannot be merged."""
    known = _MERGED.get(owner)
    if known is not None and known.is_current:
        return known
    weights = [layer.weight for group in groups for layer in group]
    alike = {(type(weight), weight.dtype, weight.device, weight.shape[1]) for weight in weights}
    plain = all(type(layer) is nn.Linear and layer.bias is None for group in groups for layer in group)
    if not plain or len(alike) != 1 or type(weights[0]) is not nn.Parameter:
        return None
    _MERGED[owner] = merged = MergedProjections(groups)
    if merged.weight_ND.is_cuda:
        # The original weights leave holes in the memory pool that no later allocation fits.
        torch.cuda.empty_cache()
    return merged
