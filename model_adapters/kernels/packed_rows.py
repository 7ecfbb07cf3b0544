"""Rows of tokens one after another in one sequence, for kernels that process all rows of a pass in one launch.

Shape suffixes: X tokens of all rows, B rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import torch

CHUNK_TOKENS = 64
"""Tokens of a chunk of the gated delta rule; every row begins with a new chunk."""


@dataclass(frozen=True, slots=True)
class PackedRows:
    """The rows of a sequence [1, X, ...], each with its states in a slot."""

    table_B6: torch.Tensor
    """Of each row: its first token and number of tokens, its first chunk among those of all rows, the slot of its
    states, whether it continues from them (1) or starts from zeros (0), and whether it overwrites them."""
    tokens: int
    """Tokens of all rows."""
    longest: int
    """Tokens of the longest row."""
    chunks: int
    """Chunks of all rows."""
    any_kept: bool
    """Whether a row overwrites its states."""

    @classmethod
    def of(
        cls, tokens: Sequence[int], *, slots: Sequence[int], continues: Sequence[bool], keeps: Sequence[bool]
    ) -> "PackedRows":
        """Rows of these lengths, with their table on the host."""
        chunks = [-(-count // CHUNK_TOKENS) for count in tokens]
        firsts, first_chunks = (list(accumulate(counts, initial=0))[:-1] for counts in (tokens, chunks))
        rows = zip(firsts, tokens, first_chunks, slots, continues, keeps, strict=True)
        return cls(torch.tensor(list(rows), dtype=torch.long), sum(tokens), max(tokens), sum(chunks), any(keeps))


@lru_cache(maxsize=64)
def equal_rows(sequences: int, tokens: int, device: torch.device, *, continues: bool) -> PackedRows:
    """Sequences of the same length, whose states are in as many slots and are overwritten."""
    every = range(sequences)
    rows = PackedRows.of(
        [tokens] * sequences, slots=every, continues=[continues for _ in every], keeps=[True for _ in every]
    )
    return replace(rows, table_B6=rows.table_B6.to(device))


def check_packed(rows: PackedRows, tokens: int, device: torch.device) -> None:
    """Raise ValueError unless a sequence of so many tokens on this device consists of these rows."""
    if rows.tokens != tokens or rows.table_B6.device != device:
        raise ValueError(
            f"rows of {rows.tokens} tokens on {rows.table_B6.device}; a sequence of {tokens} on {device} needs as many"
        )
