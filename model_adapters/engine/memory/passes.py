"""One forward pass over a slotted cache: rows of tokens, and how layers read and write the memory of their slots.

A row is a run of tokens of one text: a segment of a prompt, the newest token of a sequence, or a branch that continues
a slot's text without being stored. All rows are concatenated into one sequence of X tokens, so projections, norms and
MLPs see no padding; layers that mix tokens process the rows in groups (`rows.py`).

rows = [Row(slot=0, start=0, tokens=70), Row(slot=1, start=4096, tokens=512)]
with running(Pass(cache, rows)) as step:
    decoder(input_ids_1X, position_ids=step.positions, past_key_values=CacheView(step))

Shape suffixes: X tokens of all rows, B rows of a group, G key/value heads, T tokens of a group's longest row, S keys,
D key or value size, C channels, K convolution kernel size.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch

from model_adapters.engine.memory.key_value_buffer import KeysValues, KeyValueBuffer, WindowBuffer
from model_adapters.engine.memory.layout import AttentionCall
from model_adapters.engine.memory.linear_state import LinearState
from model_adapters.engine.memory.rows import Grouping, Row, RowGroup, attention_groups, split_dim, state_groups
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.memory.transfers import to_device
from model_adapters.kernels.key_value.places import TokenPlaces
from model_adapters.kernels.packed_rows import PackedRows

States = dict[int, torch.Tensor | None]
"""State index -> states [B, ...] of a group's rows; None until the model has written one."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The keys and values visible to a group of rows, [B, G, S, D]; the queries belong to the last of them."""

    group: RowGroup
    k_BGSD: torch.Tensor
    v_BGSD: torch.Tensor
    before: KeysValues | None = None
    """Keys and values [1, G, S, D] that come before those of all rows, in order."""


class Pass:
    """Rows of tokens, each in its own slot unless no row is kept.

    Raises ValueError if a slot that is written is also read by another row.
    """

    def __init__(self, cache: SlottedCache, rows: Sequence[Row], *, row_multiple: int = 1) -> None:
        slots = Counter(row.slot for row in rows)
        if any(row.keeps and slots[row.slot] > 1 for row in rows):
            raise ValueError("two rows of a pass are in one slot, and one of them is kept; use two passes")
        self.cache, self.rows = cache, tuple(rows)
        self.tokens = sum(row.tokens for row in rows)
        self._row_multiple = row_multiple
        self._calls = 0
        self._seen: dict[int, list[Seen]] = {}
        self._reads = Counter(call.layer_index for call in cache.layout.calls)
        self._unstored: dict[int, Callable[[], None]] = {}
        """Layer -> what stores its new keys and values, over those that its attention still has to see."""
        self._group: RowGroup | None = None
        self._copies: dict[tuple[int, int], torch.Tensor] = {}
        """States of rows that are not kept, which modules may overwrite."""

    @property
    def length(self) -> int:
        """Number of tokens before this pass, for the row with the most."""
        return max(row.start for row in self.rows)

    @cached_property
    def positions(self) -> torch.Tensor:
        """The position of every token."""
        if len(self.rows) == 1:
            (row,) = self.rows
            return torch.arange(row.start, row.start + row.tokens, device=self.cache.device)[None]
        positions = [torch.arange(row.start, row.start + row.tokens) for row in self.rows]
        return to_device(torch.cat(positions)[None], self.cache.device)

    @property
    def offsets(self) -> int | torch.Tensor:
        """What gives each token's position if its index among all tokens is added."""
        if len(self.rows) == 1:
            return self.rows[0].start
        return self._offsets

    @cached_property
    def _offsets(self) -> torch.Tensor:
        return self.positions[0] - torch.arange(self.tokens, device=self.cache.device)

    @cached_property
    def prompt_tokens(self) -> torch.Tensor:
        """The length of each token's prompt."""
        prompts = [self.cache.prompts[row.slot] for row in self.rows for _ in range(row.tokens)]
        return to_device(torch.tensor([prompts]), self.cache.device)

    @cached_property
    def last_places(self) -> torch.Tensor:
        """Index of each row's last token among all tokens."""
        ends, end = [], 0
        for row in self.rows:
            end += row.tokens
            ends.append(end - 1)
        return to_device(torch.tensor(ends), self.cache.device)

    @cached_property
    def read(self) -> int | torch.Tensor:
        """The tokens whose output is needed: how many at the end, or their indices."""
        if len(self.rows) == 1:
            return self.rows[0].outputs
        if all(row.outputs >= row.tokens for row in self.rows):
            return self.tokens
        places: list[int] = []
        end = 0
        for row in self.rows:
            end += row.tokens
            places += range(end - min(row.outputs, row.tokens), end)
        return to_device(torch.tensor(places, dtype=torch.long), self.cache.device)

    @cached_property
    def attention_groups(self) -> Grouping:
        """The rows in groups for attention."""
        return attention_groups(self.rows, self.cache.device, multiple=self._row_multiple)

    @cached_property
    def state_groups(self) -> Grouping:
        """The rows in groups for layers with states; kept rows are not padded, which would change their states."""
        return state_groups(self.rows, self.cache.device, multiple=self._row_multiple)

    @cached_property
    def packed_rows(self) -> PackedRows:
        """The rows for kernels that process all of them in one launch."""
        packed = PackedRows.of(
            [row.tokens for row in self.rows],
            slots=[row.slot for row in self.rows],
            continues=[row.start > 0 for row in self.rows],
            keeps=[row.keeps for row in self.rows],
        )
        return replace(packed, table_B6=to_device(packed.table_B6, self.cache.device))

    def advance(self) -> None:
        """Add the tokens of kept rows to their slots' lengths, once every layer has seen them."""
        for row in self.rows:
            if row.keeps:
                self.cache.advance_slot(row.slot, row.tokens)

    def next_call(self) -> AttentionCall:
        """The current attention call; a model makes the same calls in every pass."""
        calls = self.cache.layout.calls
        if self._calls == len(calls):
            raise RuntimeError(f"the model calls attention more than the {len(calls)} times of its first forward pass")
        self._calls += 1
        return calls[self._calls - 1]

    def append(self, layer_index: int, k_1GXD: torch.Tensor, v_1GXD: torch.Tensor) -> KeysValues:
        """Store new keys and values of a layer, and return the ones that the layer passes to attention.

        A layer that transforms them gets those of all rows, concatenated; for other layers attention looks them up
        itself (`seen`).
        """
        self._seen[layer_index] = seen = self._see(layer_index, k_1GXD, v_1GXD)
        if not self.cache.layout.layers[layer_index].transformed:
            # Replacing the new keys frees their memory, or that of a product they are views of.
            alone = len(self.rows) == 1 and seen[0].before is None
            return (seen[0].k_BGSD, seen[0].v_BGSD) if alone else (k_1GXD, v_1GXD)
        return _in_a_row([one.k_BGSD for one in seen]), _in_a_row([one.v_BGSD for one in seen])

    def seen(self, call: AttentionCall, key: torch.Tensor, value: torch.Tensor) -> list[Seen]:
        """The keys and values that each group of rows sees in an attention call with these `key` and `value`."""
        layer_index = call.layer_index
        seen = self._seen[layer_index]
        self._reads[layer_index] -= 1
        if not self._reads[layer_index]:
            del self._seen[layer_index]  # a window's keys are copies
        if not self.cache.layout.layers[layer_index].transformed:
            return seen
        found, first = [], 0
        for one in seen:
            rows, keys = one.k_BGSD.shape[0], one.k_BGSD.shape[2]
            here = slice(first, first + rows * keys)
            k, v = (split_dim(x[0, :, here], 1, (rows, keys)).transpose(0, 1) for x in (key, value))
            found.append(replace(one, k_BGSD=k, v_BGSD=v))
            first = here.stop
        return found

    def finish_call(self, call: AttentionCall) -> None:
        """Store what had to wait for an attention call."""
        if not self._reads[call.layer_index] and call.layer_index in self._unstored:
            self._unstored.pop(call.layer_index)()

    def _see(self, layer_index: int, k_1GXD: torch.Tensor, v_1GXD: torch.Tensor) -> list[Seen]:
        buffer = self.cache.buffer(layer_index, k_1GXD, v_1GXD)
        if (behind := self._see_behind_ring(layer_index, buffer, k_1GXD, v_1GXD)) is not None:
            return [behind]
        seen = []
        for group in self.attention_groups.groups:
            k, v = (group.batch(x.transpose(1, 2)).transpose(1, 2) for x in (k_1GXD, v_1GXD))
            row, before = group.rows[0], None
            if row.start and not row.keeps:
                before = buffer.before(row.slot, row.start)
                if self.cache.layout.layers[layer_index].transformed:
                    (k, v), before = _behind(before, (k, v)), None
            for index, kept in enumerate(group.rows):
                if kept.keeps:
                    own = (x[index : index + 1, :, : kept.tokens] for x in (k, v))
                    whole = buffer.append_segment(kept.slot, kept.start, *own)
                    k, v = whole if len(group.rows) == 1 else (k, v)
            seen.append(Seen(group, k, v, before))
        return seen

    def _see_behind_ring(
        self, layer_index: int, buffer: KeyValueBuffer | WindowBuffer, k_1GXD: torch.Tensor, v_1GXD: torch.Tensor
    ) -> Seen | None:
        """What a segment sees behind a window's ring that is in order: not copied, and not overwritten until then."""
        (row, *others), layer = self.rows, self.cache.layout.layers[layer_index]
        if not isinstance(buffer, WindowBuffer) or layer.transformed or layer.chunked:
            return None
        waits = row.keeps and not others and self._reads[layer_index] > 0
        before = buffer.ring_before(row.slot, row.start) if waits else None
        if before is None:
            return None
        self._unstored[layer_index] = partial(buffer.store_segment, row.slot, row.start, k_1GXD, v_1GXD)
        return Seen(self.attention_groups.groups[0], k_1GXD, v_1GXD, before)

    @contextmanager
    def on(self, group: RowGroup) -> Iterator[None]:
        """Limit the states in this block to those of one group of rows."""
        before, self._group = self._group, group
        self._copies.clear()
        try:
            yield
        finally:
            self._group = before
            self._copies.clear()

    def linear_state(self, layer_index: int) -> LinearState:
        """A layer's states of all slots, for a layer that updates them itself."""
        return self.cache.states[layer_index]

    @property
    def continued(self) -> bool:
        """Whether the current rows continue from states instead of starting a sequence."""
        return self._rows_with_states.continued if self._group is not None else self.length > 0

    def conv_states(self, layer_index: int) -> States:
        """The convolution states of a layer; modules may overwrite them."""
        return self._states(self.cache.states[layer_index].conv_NCK)

    def recurrent_states(self, layer_index: int) -> States:
        """The recurrent states of a layer; modules may overwrite them."""
        return self._states(self.cache.states[layer_index].recurrent)

    def roll_conv(self, layer_index: int, x_BCT: torch.Tensor, *, index: int, kernel_size: int | None) -> torch.Tensor:
        """Keep the last K inputs of a convolution, and return the inputs preceded by their left context, if any."""
        state, group = self.cache.states[layer_index], self._rows_with_states
        if group.keeps:
            return state.roll_conv(group.slots, x_BCT, index=index, kernel_size=kernel_size, continued=self.continued)
        if not self.continued:
            return x_BCT
        copy_BCK = self._copy(state.conv_NCK, index)
        x_BCT = torch.cat([copy_BCK, x_BCT], dim=-1)
        copy_BCK.copy_(x_BCT[..., -copy_BCK.shape[-1] :])
        return x_BCT

    def set_recurrent(self, layer_index: int, state: torch.Tensor, *, index: int) -> torch.Tensor:
        """Store new recurrent states, and return them as stored."""
        group, states = self._rows_with_states, self.cache.states[layer_index]
        if group.keeps:
            return states.set_recurrent(group.slots, state, index=index)
        return self._copy(states.recurrent, index).copy_(state) if self.continued else state

    @property
    def _rows_with_states(self) -> RowGroup:
        if self._group is not None:
            return self._group
        groups = self.state_groups.groups
        if len(groups) > 1:
            raise RuntimeError("a layer's states were used outside the module that used them in the first pass")
        return groups[0]

    def _states(self, states: dict[int, torch.Tensor]) -> States:
        group = self._rows_with_states
        return {
            index: None
            if index not in states
            else states[index][group.slots]
            if group.keeps
            else self._copy(states, index)
            for index in range(self.cache.layout.states_per_layer)
        }

    def _copy(self, states: dict[int, torch.Tensor], index: int) -> torch.Tensor:
        """The states of a group's rows, valid while a module runs on it."""
        key = id(states), index
        if key not in self._copies:
            self._copies[key] = states[index].index_select(0, self._rows_with_states.row_slots)
        return self._copies[key]


class TokenPass(Pass):
    """A decode step: one token for each of the first slots, independent of lengths on the host.

    It can be recorded as a graph. `places` bounds the visible keys and must exceed every length; shapes depend only on
    `places` and `sequences`. The tokens are appended to the slots or written to the given positions.
    """

    def __init__(
        self, cache: SlottedCache, sequences: int, places: int, position_B: torch.Tensor | None = None
    ) -> None:
        super().__init__(cache, [Row(slot, cache.lengths[slot], 1) for slot in range(sequences)])
        self.places = places
        self.position_B = cache.length_N[:sequences] if position_B is None else position_B
        """Position of each sequence's new token, on the device; by default a view of the cache's lengths."""

    @property
    def positions(self) -> torch.Tensor:
        return self.position_B[None]

    @property
    def offsets(self) -> torch.Tensor:
        return self._offsets

    @cached_property
    def key_counts(self) -> torch.Tensor:
        """Number of keys that each token sees in full attention; added once for all layers."""
        return self.position_B + 1

    @property
    def prompt_tokens(self) -> torch.Tensor:
        return self.cache.prompt_N[None, : self.tokens]

    @property
    def read(self) -> int:
        return self.tokens

    @cached_property
    def state_groups(self) -> Grouping:
        # All of them continue, including free slots among them.
        return Grouping([RowGroup(self.rows, range(self.tokens), self.cache.device, continued=True)])

    @property
    def attention_groups(self) -> Grouping:
        return self.state_groups

    def advance(self) -> None:
        self.cache.advance(self.tokens)

    def places_of(self, layer_index: int, k_1GXD: torch.Tensor, v_1GXD: torch.Tensor) -> TokenPlaces:
        """Where a layer itself stores new keys and values of these shapes before it calls attention, which sees them.

        Takes the place of `append` for a layer that does not transform them.
        """
        buffer = self.cache.buffer(layer_index, k_1GXD, v_1GXD)
        views = buffer.first_places(self.tokens, self.places)
        self._seen[layer_index] = [Seen(self.state_groups.groups[0], *views)]
        return buffer.token_places(self.position_B)

    def _see(self, layer_index: int, k_1GXD: torch.Tensor, v_1GXD: torch.Tensor) -> list[Seen]:
        buffer = self.cache.buffer(layer_index, k_1GXD, v_1GXD)
        new = k_1GXD.transpose(0, 2), v_1GXD.transpose(0, 2)
        return [Seen(self.state_groups.groups[0], *buffer.append_tokens(self.position_B, *new, self.places))]


def _behind(before: KeysValues, new: KeysValues) -> KeysValues:
    k, v = (torch.cat([old.expand(len(x), -1, -1, -1), x], dim=2) for old, x in zip(before, new, strict=True))
    return k, v


def _in_a_row(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenate keys or values [B, G, S, D] of several groups into [1, G, sum of B × S, D]."""
    flat = [part if len(part) == 1 else part.transpose(0, 1).flatten(1, 2)[None] for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=2)


_CURRENT: ContextVar[Pass | None] = ContextVar("pass", default=None)


@contextmanager
def running(step: Pass) -> Iterator[Pass]:
    """Make a pass the current one in this block, so that layers can find it."""
    token = _CURRENT.set(step)
    try:
        yield step
    finally:
        _CURRENT.reset(token)


def current_pass() -> Pass | None:
    """The running forward pass; None outside the engine."""
    return _CURRENT.get()
