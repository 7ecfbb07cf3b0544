"""The rows of a pass, and the groups in which token-mixing layers process them.

Shape suffixes: X tokens of all rows, B rows of a group, T tokens of its longest row.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from model_adapters.engine.memory.transfers import to_device

PADDING_SHARE = 2
"""Limit on a group's size, padding included, as a multiple of its rows' tokens."""


@dataclass(frozen=True, slots=True)
class Row:
    """A run of tokens that continues a slot's text."""

    slot: int
    start: int
    """Position of its first token, which is the number of tokens in the slot before."""
    tokens: int
    keeps: bool = True
    """Whether the tokens are stored in the slot; otherwise the slot does not change."""
    outputs: int = 1
    """Number of its last tokens whose output is needed after the decoder's layers."""


class RowGroup:
    """Rows processed in one call, [B, T, ...], right-padded to the longest.

    All layers are causal, so padding does not affect the tokens before it. It repeats the row's last token, because any
    other token might be one for which the model computes NaN.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        firsts: Sequence[int],
        device: torch.device,
        *,
        continued: bool | None = None,
        multiple: int = 1,
    ) -> None:
        self.rows, self.firsts, self.device = tuple(rows), tuple(firsts), device
        self.keeps = self.rows[0].keeps
        self.continued = any(row.start for row in rows) if continued is None else continued
        longest = max(row.tokens for row in rows)
        self.tokens = longest if len(rows) == 1 else -(-longest // multiple) * multiple
        """T."""
        ends = [first + row.tokens for first, row in zip(firsts, rows, strict=True)]
        self.is_adjacent = ends[:-1] == list(firsts[1:])
        self.is_padded = any(row.tokens < self.tokens for row in rows)
        self._taken: torch.Tensor | None = None
        """Index in the pass of each token of a batch, if a batch is not a view."""
        self._unpadded: torch.Tensor | None = None
        """Index in a batch of each token of the rows, if there is padding."""

    @property
    def slots(self) -> slice:
        """The slots of kept rows, which are consecutive."""
        return slice(self.rows[0].slot, self.rows[0].slot + len(self.rows))

    @cached_property
    def row_slots(self) -> torch.Tensor:
        """The slot of each row, on the device."""
        return to_device(torch.tensor([row.slot for row in self.rows]), self.device)

    @property
    def places(self) -> torch.Tensor:
        """Indices of the rows' tokens in the pass, in the order of `unbatch`, on the host."""
        rows = zip(self.firsts, self.rows, strict=True)
        return torch.cat([torch.arange(first, first + row.tokens) for first, row in rows])

    def batch(self, x_1X: torch.Tensor) -> torch.Tensor:
        """Gather the rows from [1, X, ...] to [B, T, ...]; a view unless they need padding or are not adjacent."""
        first = self.firsts[0]
        if self.is_adjacent and not self.is_padded:
            rows = x_1X[:, first : first + len(self.rows) * self.tokens]
            return rows if len(self.rows) == 1 else split_dim(rows[0], 0, (len(self.rows), self.tokens))
        if self._taken is None:
            raise RuntimeError("a group of rows is used outside a grouping")
        return split_dim(x_1X[0].index_select(0, self._taken), 0, (len(self.rows), self.tokens))

    def unbatch(self, x_BT: torch.Tensor) -> torch.Tensor:
        """Concatenate the rows without padding: [B, T, ...] to [1, tokens, ...]."""
        if len(self.rows) == 1:
            return x_BT
        flat = x_BT.flatten(0, 1)
        return (flat if self._unpadded is None else flat.index_select(0, self._unpadded))[None]

    def indices(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The two index tensors of `use`, on the host; None for one that is not needed."""
        taken = unpadded = None
        if self.is_padded or not self.is_adjacent:
            token_T = torch.arange(self.tokens)
            rows = zip(self.firsts, self.rows, strict=True)
            taken = torch.cat([first + token_T.clamp(max=row.tokens - 1) for first, row in rows])
        if self.is_padded:
            starts = range(0, len(self.rows) * self.tokens, self.tokens)
            rows = zip(starts, self.rows, strict=True)
            unpadded = torch.cat([torch.arange(start, start + row.tokens) for start, row in rows])
        return taken, unpadded

    def use(self, taken: torch.Tensor | None, unpadded: torch.Tensor | None) -> None:
        """Take the `indices` on the device."""
        self._taken, self._unpadded = taken, unpadded


class Grouping:
    """All rows of a pass, divided into groups, whose indices go to the device in one copy."""

    def __init__(self, groups: Sequence[RowGroup]) -> None:
        self.groups = tuple(groups)
        host = [self._find_order(), *(index for group in self.groups for index in group.indices())]
        needed = [index for index in host if index is not None]
        moved = to_device(torch.cat(needed), self.groups[0].device) if needed else torch.empty(0)
        parts = iter(torch.split(moved, [len(index) for index in needed]))
        self._order, *indices = [None if index is None else next(parts) for index in host]
        for group, taken, unpadded in zip(self.groups, indices[::2], indices[1::2], strict=True):
            group.use(taken, unpadded)

    def join(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Join the groups' results [B, T, ...] to one sequence [1, X, ...] in the order of the pass."""
        flat = [group.unbatch(part) for group, part in zip(self.groups, parts, strict=True)]
        joined = flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)
        return joined if self._order is None else joined.index_select(1, self._order)

    def _find_order(self) -> torch.Tensor | None:
        """Index of each token of the pass among those of the groups; None if the order is the same."""
        if len(self.groups) == 1 and self.groups[0].is_adjacent:
            return None
        order = torch.cat([group.places for group in self.groups]).argsort()
        in_order = torch.equal(order, torch.arange(len(order)))
        return None if in_order else order


def attention_groups(rows: Sequence[Row], device: torch.device, *, multiple: int) -> Grouping:
    """Group rows that start a sequence, and rows that branch off from the same slot; all others are alone."""

    def shared(index: int, row: Row) -> Hashable:
        if row.start == 0:
            return "fresh"
        return index if row.keeps else ("branches", row.slot, row.start)

    return _grouped(rows, shared, device, multiple=multiple)


def state_groups(rows: Sequence[Row], device: torch.device, *, multiple: int) -> Grouping:
    """Group rows that are not kept, and kept rows in consecutive slots and of equal lengths.

    All rows of a group continue or none does.
    """
    run = 0
    before: Row | None = None

    def shared(_: int, row: Row) -> Hashable:
        nonlocal run, before
        last, before = before, row if row.keeps else None
        if not row.keeps:
            return ("branches", row.start > 0)
        follows = last is not None and row.slot == last.slot + 1
        alike = last is not None and (row.tokens, row.start > 0) == (last.tokens, last.start > 0)
        run += not (follows and alike)
        return ("kept", run)

    return _grouped(rows, shared, device, multiple=multiple, in_order=True)


def _grouped(
    rows: Sequence[Row],
    shared: Callable[[int, Row], Hashable],
    device: torch.device,
    *,
    multiple: int,
    in_order: bool = False,
) -> Grouping:
    """Group rows by key, with padding limited by PADDING_SHARE.

    Kept rows `in_order` are not sorted by length; rows that are not kept are padded to a `multiple`.
    """
    firsts, end = [], 0
    keyed: dict[Hashable, list[int]] = {}
    for index, row in enumerate(rows):
        firsts.append(end)
        end += row.tokens
        keyed.setdefault(shared(index, row), []).append(index)
    groups = []
    for members in keyed.values():
        keeps = rows[members[0]].keeps
        if not (in_order and keeps):
            members.sort(key=lambda index: rows[index].tokens)
        for chosen in _little_padded([rows[index].tokens for index in members]):
            indices = [members[place] for place in chosen]
            group = [rows[index] for index in indices], [firsts[index] for index in indices]
            groups.append(RowGroup(*group, device, multiple=1 if keeps else multiple))
    return Grouping(groups)


def split_dim(x: torch.Tensor, dim: int, sizes: tuple[int, ...]) -> torch.Tensor:
    """Split one dimension into several, as a view."""
    split: torch.Tensor = x.unflatten(dim, sizes)  # type: ignore[no-untyped-call]
    return split


def _little_padded(tokens: Sequence[int]) -> list[range]:
    """Split rows of these lengths into runs with padding within PADDING_SHARE."""
    runs, first = [], 0
    for place in range(1, len(tokens) + 1):
        run = tokens[first : place + 1]
        if place == len(tokens) or max(run) * len(run) > PADDING_SHARE * sum(run):
            runs.append(range(first, place))
            first = place
    return runs
