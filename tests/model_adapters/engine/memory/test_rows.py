"""Groups of rows: batches and their joined results, and what reaches the device."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.engine.memory import rows as rows_module
from model_adapters.engine.memory.rows import Row, attention_groups, state_groups

CPU = torch.device("cpu")


def mixed_rows(branches: list[tuple[int, int]], kept: list[int]) -> list[Row]:
    """Branches (slot, tokens) of slots 0 to 3, and kept rows of these lengths, fresh and continued, in other slots."""
    rows = [Row(slot, 5 + slot, tokens, keeps=False) for slot, tokens in branches]
    return rows + [Row(10 + index, 7 * (index % 2), tokens) for index, tokens in enumerate(kept)]


@given(
    branches=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=9),
    kept=st.lists(st.integers(1, 9), max_size=4),
    multiple=st.sampled_from([1, 4]),
)
def test_joined_batches_are_in_the_order_of_the_pass(
    branches: list[tuple[int, int]], kept: list[int], multiple: int
) -> None:
    rows = mixed_rows(branches, kept)
    x_1X = torch.arange(sum(row.tokens for row in rows))[None]
    for grouped in (attention_groups, state_groups):
        grouping = grouped(rows, CPU, multiple=multiple)
        batches = [group.batch(x_1X) for group in grouping.groups]
        assert [batch.shape for batch in batches] == [(len(group.rows), group.tokens) for group in grouping.groups]
        for group, batch in zip(grouping.groups, batches, strict=True):
            for first, row, tokens in zip(group.firsts, group.rows, batch.tolist(), strict=True):
                # Padding repeats the last token.
                assert tokens == [first + min(token, row.tokens - 1) for token in range(group.tokens)]
        assert torch.equal(grouping.join(batches), x_1X)


def test_indices_of_many_groups_reach_the_device_in_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    own = rows_module.to_device

    def counted(x: torch.Tensor, device: Any) -> torch.Tensor:
        copied.append(len(x))
        return own(x, device)

    monkeypatch.setattr(rows_module, "to_device", counted)
    rows = mixed_rows([(index % 4, 1 + index % 3) for index in range(12)], [3, 4])
    grouping = attention_groups(rows, CPU, multiple=4)
    x_1X = torch.arange(sum(row.tokens for row in rows))[None]
    grouping.join([group.batch(x_1X) for group in grouping.groups])
    assert len(grouping.groups) >= 5
    assert len(copied) == 1
    copied.clear()
    single = attention_groups([Row(0, 8, 40)], CPU, multiple=4)
    single.join([group.batch(x_1X[:, :40]) for group in single.groups])
    assert copied == []
